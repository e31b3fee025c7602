//! The bindings: the packages for Python and Node, built over one library and tested as their users get them; Kotlin, Java and
//! Swift.

pub mod jvm;
pub mod node;
pub mod python;
pub mod swift;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::cache::Cache;
use crate::command::{cargo, repository};
use crate::engines::Engines;
use crate::package::library;

/// What a suite came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed.
    pub failed: u64,
    /// Tests, or suites, that could not be run here.
    pub skipped: u64,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Builds the library once and runs the suites of the bindings over it. What fails to be built counts as one failure.
/// C++ is not among them: its suite is one of the C library's tests (capi/tests/cpp.rs), with the same cases.
pub fn test(engines: &Engines) -> Outcome {
    let built = Cache::locate().and_then(|cache| Ok((cache, build(engines)?)));
    let (cache, library) = match built {
        Ok(built) => built,
        Err(error) => return failure("the library for the bindings", &error),
    };
    let mut outcome = Outcome::default();
    std::thread::scope(|scope| {
        let python = scope.spawn(|| python::test(&cache, &library, engines));
        outcome.add(node::test(&cache, &library, engines).unwrap_or_else(|error| failure("Node", &error)));
        let python = python.join().unwrap_or_else(|_| Err(anyhow!("the thread of its suite panicked")));
        outcome.add(python.unwrap_or_else(|error| failure("Python", &error)));
    });
    outcome
}

fn failure(what: &str, error: &anyhow::Error) -> Outcome {
    eprintln!("error: {what}: {error:#}");
    Outcome { failed: 1, ..Outcome::default() }
}

fn skip(reason: &str) -> Outcome {
    eprintln!("\n*** SKIPPED: {reason} ***");
    Outcome { skipped: 1, ..Outcome::default() }
}

/// The shared library as the tests of the C library build it, so that nothing is compiled twice.
fn build(engines: &Engines) -> Result<PathBuf> {
    let mut cargo = cargo();
    engines.apply(&mut cargo);
    cargo.args(["build", "--package", "limbeck-capi", "--lib", "--message-format=json-render-diagnostics"]);
    cargo.env("LIMBECK_CAPI_TEST_HOOKS", "0");
    let child = cargo.stdout(Stdio::piped()).spawn().context("running cargo")?;
    let output = child.wait_with_output().context("waiting for cargo")?;
    if !output.status.success() {
        bail!("cargo build failed; its words are above");
    }
    let folder = library::folder_of(&String::from_utf8(output.stdout)?).context("cargo built no library")?;
    shared(&folder)
}

/// The shared library in a folder.
fn shared(folder: &Path) -> Result<PathBuf> {
    let library = folder.join(file_name());
    if !library.is_file() {
        bail!("{} is not there", library.display());
    }
    Ok(library)
}

/// The shared library's name on this system.
fn file_name() -> &'static str {
    match std::env::consts::OS {
        "macos" => "liblimbeck.dylib",
        "windows" => "limbeck.dll",
        _ => "liblimbeck.so",
    }
}

/// Runs a command and gives all that it printed, in its order as far as it has one, and whether it succeeded.
fn captured(command: &mut Command) -> Result<(bool, String)> {
    let output = command.stdin(Stdio::null()).output().with_context(|| {
        let program = command.get_program().to_string_lossy().into_owned();
        format!("running {program}")
    })?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
    Ok((output.status.success(), text))
}

/// Runs a command that must succeed, and gives what it printed.
fn succeed(command: &mut Command, what: &str) -> Result<String> {
    let (success, text) = captured(command)?;
    if !success {
        bail!("{what} failed:\n{}", text.trim());
    }
    Ok(text)
}

/// What ended badly before it counted has failed all the same.
fn ended(mut outcome: Outcome, succeeded: bool) -> Outcome {
    if (!succeeded || outcome.passed == 0) && outcome.failed == 0 {
        outcome.failed = 1;
    }
    outcome
}

/// Runs a program whose output is shown, and gives its lines and whether it ended well.
fn watched(mut program: Command) -> Result<(Vec<String>, bool)> {
    let name = program.get_program().to_string_lossy().into_owned();
    let mut child = program.stdout(Stdio::piped()).spawn().with_context(|| format!("running {name}"))?;
    let mut output = BufReader::new(child.stdout.take().context("it has no output")?);
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    while output.read_until(b'\n', &mut line)? != 0 {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        println!("{text}");
        lines.push(text);
        line.clear();
    }
    Ok((lines, child.wait()?.success()))
}

/// Copies a folder, but for what git leaves out.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)?.collect::<std::io::Result<Vec<_>>>()? {
        let name = entry.file_name();
        let is = |other: &str| name == OsStr::new(other);
        if is("node_modules") || is("prebuilds") || is("build") || is("__pycache__") {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// The licences, copied to a folder.
fn copy_licences(to: &Path) -> Result<()> {
    for name in ["LICENSE-APACHE", "LICENSE-MIT"] {
        std::fs::copy(repository().join(name), to.join(name)).with_context(|| format!("copying {name}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The version stands in the workspace's Cargo.toml; Python's setup.py and Conan's recipe read it there, the others
    /// cannot.
    #[test]
    fn versions_agree() {
        let version = env!("CARGO_PKG_VERSION");
        let read = |name: &str| std::fs::read_to_string(repository().join("bindings").join(name)).unwrap();
        let json = |name: &str| serde_json::from_str::<Value>(&read(name)).unwrap();
        assert_eq!(json("node/package.json")["version"], version);
        let lock = json("node/package-lock.json");
        assert_eq!(lock["version"], version);
        assert_eq!(lock["packages"][""]["version"], version);
        assert!(read("node/README.md").contains(&format!("limbeck-{version}.tgz")));
        assert!(read("python/pyproject.toml").contains("dynamic = [\"version\"]"));
        assert!(read("kotlin/pom.xml").contains(&format!("\n  <version>{version}</version>\n")));
        assert!(read("swift/Limbeck.podspec").contains(&format!("\n  pod.version = '{version}'\n")));
        assert_eq!(json("../capi/packaging/vcpkg/limbeck/vcpkg.json")["version"], version);
        let sample = read("../examples/android/app/build.gradle.kts");
        assert!(sample.contains(&format!("limbeck-android:{version}\"")));
        let conan = read("../capi/packaging/conan/conanfile.py");
        assert!(conan.contains("\"../../../Cargo.toml\"") && !conan.contains(version));
    }

    #[test]
    fn what_others_made_is_not_copied() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("lib")).unwrap();
        std::fs::create_dir_all(from.path().join("node_modules/koffi")).unwrap();
        std::fs::write(from.path().join("lib/index.js"), "1").unwrap();
        copy_folder(from.path(), to.path()).unwrap();
        assert!(to.path().join("lib/index.js").is_file() && !to.path().join("node_modules").exists());
    }
}
