//! The steps of `cargo xtask test` for the languages of phones: Kotlin and Java through Maven, and Swift.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::Outcome;
use crate::bench::target_folder;
use crate::command::{cargo, command, repository};
use crate::engines::Engines;
use crate::tools::runs;

/// What `-Xcheck:jni` says of a native library that breaks a rule of JNI's.
const JNI_FAULTS: [&str; 3] = ["WARNING in native method", "WARNING: JNI", "FATAL ERROR in native method"];

/// Builds the library for the JVM and runs the tests of Kotlin and Java under `-Xcheck:jni`.
///
/// # Errors
/// cargo or Maven cannot be started.
pub fn test_jvm(engines: &Engines) -> Result<Outcome> {
    if !runs("mvn", "--version") || !runs("javac", "--version") {
        eprintln!("*** SKIPPED: Maven and a JDK are not installed, the tests of Kotlin and Java were not run ***");
        return Ok(Outcome { skipped: 1, ..Outcome::default() });
    }
    let mut build = cargo();
    // With the hook that panics; see bindings/kotlin/jni/build.rs.
    build.args(["build", "--package", "limbeck-jni"]).env("LIMBECK_JNI_TEST_HOOKS", "1");
    if !build.status().context("running cargo")?.success() {
        return Ok(Outcome { failed: 1, ..Outcome::default() });
    }
    let name = format!("{}limbeck_jni{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = target_folder()?.join("debug").join(name);
    let mut maven = command("mvn");
    maven.args(["-B", "-ntp", "-Dstyle.color=never", "-f"]).arg(repository().join("bindings/kotlin/pom.xml"));
    maven.arg(format!("-Dlimbeck.library={}", library.display()));
    maven.arg(format!("-Dlimbeck.runtime={}", engines.onnx_runtime.display())).arg("verify");
    let (lines, succeeded) = watched(maven)?;
    Ok(jvm_outcome(&lines, succeeded))
}

fn jvm_outcome(lines: &[String], succeeded: bool) -> Outcome {
    let mut outcome = lines.iter().rev().find_map(|line| maven_total(line)).unwrap_or_default();
    let faults = lines.iter().filter(|line| JNI_FAULTS.iter().any(|fault| line.contains(fault))).count() as u64;
    if faults > 0 {
        eprintln!("error: -Xcheck:jni found {faults} faults; they are above");
        outcome.failed += 1;
    }
    ended(outcome, succeeded)
}

/// Surefire's last line: `[INFO] Tests run: 263, Failures: 1, Errors: 2, Skipped: 3`. Those of single classes go on.
fn maven_total(line: &str) -> Option<Outcome> {
    let counts = line.split_once("Tests run: ")?.1;
    let numbers: Vec<u64> = counts
        .split(", ")
        .map(|part| part.rsplit(' ').next().and_then(|number| number.parse().ok()))
        .collect::<Option<_>>()?;
    match numbers[..] {
        [run, failures, errors, skipped] => {
            let failed = failures + errors;
            Some(Outcome { passed: run.saturating_sub(failed + skipped), failed, skipped })
        }
        _ => None,
    }
}

/// Builds the Swift package, runs its tests and its examples, as `bindings/swift/test.sh` says.
///
/// # Errors
/// The script cannot be started.
pub fn test_swift(engines: &Engines) -> Result<Outcome> {
    let mut script = command(repository().join("bindings/swift/test.sh"));
    engines.apply(&mut script);
    if let Some(folder) = std::env::var_os("LIMBECK_SWIFT_DEBIAN").filter(|folder| !folder.is_empty()) {
        script.arg("--debian").arg(std::path::absolute(Path::new(&folder))?);
    } else if !runs("swift", "--version") {
        eprintln!(
            "error: there is no swift. Install Swift 5.9 or later; or, as root on Debian, set LIMBECK_SWIFT_DEBIAN to a \
             folder, and Debian trixie with its swiftlang is installed into it (3.4 GB)"
        );
        return Ok(Outcome { failed: 1, ..Outcome::default() });
    }
    let (lines, succeeded) = watched(script)?;
    let (mut outcome, seen) = (Outcome::default(), |end: &str| {
        lines.iter().filter(|line| line.starts_with("Test Case ") && line.contains(end)).count() as u64
    });
    (outcome.passed, outcome.failed) = (seen("' passed"), seen("' failed"));
    Ok(ended(outcome, succeeded))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mavens_total_is_counted_and_not_its_parts() {
        let all = Outcome { passed: 257, failed: 3, skipped: 3 };
        assert_eq!(maven_total("[ERROR] Tests run: 263, Failures: 1, Errors: 2, Skipped: 3"), Some(all));
        let part = "[INFO] Tests run: 6, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 1.4 s -- in a.B";
        for other in [part, "[INFO] BUILD SUCCESS", "Tests run: many", ""] {
            assert_eq!(maven_total(other), None, "{other}");
        }
    }

    #[test]
    fn a_fault_of_jni_fails_tests_that_passed() {
        let total = "[INFO] Tests run: 5, Failures: 0, Errors: 0, Skipped: 0".to_owned();
        let good = Outcome { passed: 5, ..Outcome::default() };
        assert_eq!(jvm_outcome(std::slice::from_ref(&total), true), good);
        let warning = "WARNING: JNI local refs: 66, exceeds capacity: 65".to_owned();
        assert_eq!(jvm_outcome(&[warning, total.clone()], true), Outcome { failed: 1, ..good });
        assert_eq!(jvm_outcome(&[total], false), Outcome { failed: 1, ..good });
        assert_eq!(jvm_outcome(&[], true), Outcome { failed: 1, ..Outcome::default() });
    }
}
