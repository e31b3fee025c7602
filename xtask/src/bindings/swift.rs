//! The step of `cargo xtask test` for Swift: by the `swift` of this machine, or by Debian's in a folder.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Result;

use super::{Outcome, ended, skip, watched};
use crate::cache::Cache;
use crate::command::{command, repository};
use crate::engines::Engines;
use crate::tools::is_root;

/// The first version that bindings/swift/Package.swift can be read by.
const OLDEST: (u32, u32) = (5, 9);

/// Where Swift comes from.
#[derive(Debug, PartialEq, Eq)]
enum Toolchain {
    /// `swift` on the PATH.
    Path,
    /// Debian with its swiftlang in a folder, which is installed first if it is not there.
    Debian(PathBuf),
    /// From nowhere; why, and what to do.
    None(String),
}

/// What this machine has.
struct Machine {
    /// Whether the package is built here from limbeck's shared library; Apple's systems take a framework.
    is_linux: bool,
    /// What `swift --version` says; `None` if it does not run.
    swift: Option<String>,
    /// Whether this may work in another root folder, which Debian's Swift needs.
    may_mount: bool,
    /// `LIMBECK_SWIFT_DEBIAN`.
    named: Option<PathBuf>,
    /// Where it lies in the cache.
    cached: Option<PathBuf>,
}

impl Machine {
    fn look() -> Result<Self> {
        let named = std::env::var_os("LIMBECK_SWIFT_DEBIAN").filter(|folder| !folder.is_empty());
        let output = command("swift").arg("--version").stdin(Stdio::null()).output();
        Ok(Self {
            is_linux: cfg!(target_os = "linux"),
            // Another program of this name, OpenStack's, has a version of its own.
            swift: output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()),
            may_mount: is_root() && mounts(),
            named: named.map(std::path::absolute).transpose()?,
            cached: Cache::locate().ok().map(|cache| cache.root().join("swift-debian")),
        })
    }

    /// Takes what is there; Debian's Swift is installed only if the tests are `required`.
    fn toolchain(&self, required: bool) -> Toolchain {
        if !self.is_linux {
            return Toolchain::None("its suite runs on Linux alone".to_owned());
        }
        let usable = |folder: &&PathBuf| self.may_mount && has_swift(folder);
        if let Some(folder) = self.named.as_ref().filter(|folder| required || usable(folder)) {
            return Toolchain::Debian(folder.clone());
        }
        let version = self.swift.as_deref().and_then(version);
        if version.is_some_and(|version| version >= OLDEST) {
            return Toolchain::Path;
        }
        if let Some(folder) = self.cached.as_ref().filter(usable) {
            return Toolchain::Debian(folder.clone());
        }
        let there = [&self.named, &self.cached].into_iter().flatten().find(|folder| has_swift(folder));
        if let Some(folder) = there.filter(|_| !self.may_mount) {
            let folder = folder.display();
            return Toolchain::None(format!(
                "the Debian in {folder} has one, and to enter it this must be root and be allowed to mount (most containers are \
                 not). Or install Swift 5.9 or later"
            ));
        }
        let found = version.map_or_else(|| "there is no swift".to_owned(), |(a, b)| format!("swift is {a}.{b}"));
        let folder = self.cached.as_deref().map_or("a folder".to_owned(), |folder| folder.display().to_string());
        Toolchain::None(format!(
            "{found}. Install Swift 5.9 or later; or, as root on Debian, set LIMBECK_SWIFT_DEBIAN to a folder and run \
             `cargo xtask test --swift`, which installs Debian trixie with its swiftlang into it (3.4 GB); in {folder} it \
             is found without the variable"
        ))
    }
}

/// Builds the Swift package, runs its tests and its examples, as `bindings/swift/test.sh` says. Without a Swift that is
/// there already this is skipped, unless it is `required`.
///
/// # Errors
/// The script cannot be started.
pub fn test(engines: &Engines, required: bool) -> Result<Outcome> {
    let mut script = command(repository().join("bindings/swift/test.sh"));
    engines.apply(&mut script);
    match Machine::look()?.toolchain(required) {
        Toolchain::Path => {}
        Toolchain::Debian(folder) => {
            script.arg("--debian").arg(folder);
        }
        Toolchain::None(why) if required => {
            eprintln!("error: the tests of Swift cannot run: {why}");
            return Ok(Outcome { failed: 1, ..Outcome::default() });
        }
        Toolchain::None(why) => return Ok(skip(&format!("the tests of Swift were not run: {why}"))),
    }
    let (lines, succeeded) = watched(script)?;
    Ok(outcome(&lines, succeeded))
}

fn outcome(lines: &[String], succeeded: bool) -> Outcome {
    let seen =
        |end: &str| lines.iter().filter(|line| line.starts_with("Test Case ") && line.contains(end)).count() as u64;
    ended(Outcome { passed: seen("' passed"), failed: seen("' failed"), ..Outcome::default() }, succeeded)
}

/// `Swift version 6.0.3 (swift-6.0.3-RELEASE)`, among other lines.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_once("Swift version ")?.1.split(|other: char| !other.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Whether a Debian in a folder has its Swift: a link that leads nowhere from out here.
fn has_swift(debian: &Path) -> bool {
    debian.join("usr/bin/swift").symlink_metadata().is_ok_and(|entry| entry.is_symlink())
}

/// Whether root may mount, which it may not in most containers.
fn mounts() -> bool {
    let mut unshare = command("unshare");
    // What the script does: a container may allow the first and not the second.
    unshare
        .args(["--mount", "mount", "-t", "proc", "proc", "/proc"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    unshare.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(swift: Option<&str>) -> Machine {
        Machine { is_linux: true, swift: swift.map(str::to_owned), may_mount: true, named: None, cached: None }
    }

    /// A folder that looks as Debian with its Swift does from outside.
    fn debian() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/bin")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/usr/libexec/nowhere/swift", folder.path().join("usr/bin/swift")).unwrap();
        folder
    }

    fn is_none(toolchain: &Toolchain) -> bool {
        matches!(toolchain, Toolchain::None(why) if !why.is_empty())
    }

    #[test]
    fn the_version_is_read() {
        assert_eq!(
            version("Swift version 6.0.3 (swift-6.0.3-RELEASE)\nTarget: x86_64-unknown-linux-gnu"),
            Some((6, 0))
        );
        assert_eq!(version("swift-driver version: 1.90.11.1 Apple Swift version 5.10 (swiftlang-5.10)"), Some((5, 10)));
        for other in ["python-swiftclient 4.6.0", "Swift version", "Swift version six", ""] {
            assert_eq!(version(other), None, "{other}");
        }
    }

    #[test]
    fn a_swift_on_the_path_is_taken_if_it_is_new_enough() {
        for required in [false, true] {
            assert_eq!(machine(Some("Swift version 5.9 (swift-5.9-RELEASE)")).toolchain(required), Toolchain::Path);
            assert_eq!(machine(Some("Swift version 5.10.1")).toolchain(required), Toolchain::Path);
            assert!(is_none(&machine(Some("Swift version 5.8.1")).toolchain(required)));
            assert!(is_none(&machine(Some("python-swiftclient 4.6.0")).toolchain(required)));
            assert!(is_none(&machine(None).toolchain(required)));
            let apple = Machine { is_linux: false, ..machine(Some("Apple Swift version 6.0")) };
            assert!(is_none(&apple.toolchain(required)));
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_installed_is_found_and_installed_only_if_required() {
        let (there, empty) = (debian(), tempfile::tempdir().unwrap());
        let (there, empty) = (there.path().to_owned(), empty.path().to_owned());
        let named = |folder: &Path| Machine { named: Some(folder.to_owned()), ..machine(None) };
        let cached = |folder: &Path| Machine { cached: Some(folder.to_owned()), ..machine(None) };
        for required in [false, true] {
            assert_eq!(named(&there).toolchain(required), Toolchain::Debian(there.clone()));
            assert_eq!(cached(&there).toolchain(required), Toolchain::Debian(there.clone()));
            assert!(is_none(&cached(&empty).toolchain(required)));
        }
        assert!(is_none(&named(&empty).toolchain(false)));
        assert_eq!(named(&empty).toolchain(true), Toolchain::Debian(empty.clone()));
        // The one on the PATH before that of the cache, and that which is named before both.
        let both = |named| Machine { named, cached: Some(there.clone()), ..machine(Some("Swift version 6.0")) };
        assert_eq!(both(None).toolchain(false), Toolchain::Path);
        assert_eq!(both(Some(there.clone())).toolchain(false), Toolchain::Debian(there.clone()));
        assert_eq!(both(Some(empty)).toolchain(false), Toolchain::Path);
        let container = Machine { may_mount: false, ..cached(&there) };
        assert!(is_none(&container.toolchain(false)));
    }

    #[test]
    fn what_fails_after_its_tests_has_failed() {
        let lines = ["Test Case 'A.b' started", "Test Case 'A.b' passed (0.1 seconds)"].map(str::to_owned);
        let passed = Outcome { passed: 1, ..Outcome::default() };
        assert_eq!(outcome(&lines, true), passed);
        assert_eq!(outcome(&lines, false), Outcome { failed: 1, ..passed });
        assert_eq!(outcome(&["Test Case 'A.c' failed (0.1 seconds)".to_owned()], false).failed, 1);
        assert_eq!(outcome(&[], true).failed, 1);
    }
}
