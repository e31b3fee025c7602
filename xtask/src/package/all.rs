//! `cargo xtask package --all`: every package that this machine can make, and what the others need.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use super::{archive, make, modified};
use crate::bindings::{node, python};
use crate::cache::Cache;
use crate::command::{command, repository};
use crate::tools::runs;

/// Makes them over one library. What cannot be made here does not fail the call: the table says why.
///
/// # Errors
/// The C package cannot be made.
pub fn run(target: &str, profile: &str, out: &Path) -> Result<ExitCode> {
    let package = make(target, profile, out)?;
    println!("checked       {}", package.found);
    let (archive, _) = archive::pack(out, &package.name, modified())?;
    let folder = package.folder.display();
    let packages = [
        ("C and C++", Ok(archive)),
        ("Python", Cache::locate().and_then(|cache| python::wheel(&cache, &package.shared, out, modified()))),
        ("npm", node::tarball(&package.shared, out)),
        ("Maven", jar(out)),
        ("Android", script(&mut command(repository().join("bindings/kotlin/android.sh")), &out.join("android"))),
        (
            "Swift, CocoaPods",
            script(&mut command(repository().join("capi/packaging/xcframework.sh")), &out.join("xcframework")),
        ),
    ];
    print!("{}", table(&packages));
    println!("recipe    Conan             conan create capi/packaging/conan -c user.limbeck:package={folder}");
    println!(
        "recipe    vcpkg             vcpkg install limbeck --overlay-ports=capi/packaging/vcpkg \
         --x-cmake-args=-DLIMBECK_PACKAGE={folder}"
    );
    Ok(ExitCode::SUCCESS)
}

/// The jar for every machine; its native library comes by itself.
fn jar(out: &Path) -> Result<PathBuf> {
    if !runs("mvn", "--version") || !runs("javac", "--version") {
        bail!("Maven and a JDK are not installed");
    }
    let kotlin = repository().join("bindings/kotlin");
    let mut maven = command("mvn");
    finished(maven.args(["-B", "-ntp", "-q", "-f"]).arg(kotlin.join("pom.xml")).args(["package", "-DskipTests"]))?;
    let version = env!("CARGO_PKG_VERSION");
    let target = out.join(format!("limbeck-{version}.jar"));
    fs::copy(kotlin.join(format!("target/limbeck-{version}.jar")), &target).context("copying the jar")?;
    fs::copy(kotlin.join("pom.xml"), target.with_extension("pom")).context("copying pom.xml")?;
    Ok(target)
}

/// A script that makes a package in a folder, or says what it lacks.
fn script(script: &mut Command, out: &Path) -> Result<PathBuf> {
    finished(script.arg(out))?;
    Ok(out.to_owned())
}

/// Runs a program to its end; the error is its last word.
fn finished(program: &mut Command) -> Result<()> {
    let name = program.get_program().to_string_lossy().into_owned();
    let output = program.output().with_context(|| format!("running {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it failed");
    bail!("{}", last.trim_start_matches("error: "))
}

fn table(packages: &[(&str, Result<PathBuf>)]) -> String {
    let mut text = String::new();
    for (name, made) in packages {
        let _ = match made {
            Ok(path) => writeln!(text, "made      {name:17} {}", path.display()),
            Err(error) => writeln!(text, "not made  {name:17} {error:#}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told() {
        let out = tempfile::tempdir().unwrap();
        let says = |words: &str| script(Command::new("sh").args(["-c", words]), out.path());
        let packages = [
            ("C and C++", says("echo well")),
            ("Android", says("echo first; echo 'error: set ANDROID_NDK_HOME to an NDK' >&2; exit 1")),
            ("npm", script(&mut Command::new("/no/such/program"), out.path())),
        ];
        let found = table(&packages);
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines[0], format!("made      C and C++         {}", out.path().display()));
        assert_eq!(lines[1], "not made  Android           set ANDROID_NDK_HOME to an NDK");
        assert!(lines[2].starts_with("not made  npm               running /no/such/program"), "{found}");
    }
}
