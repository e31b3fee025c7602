//! The step of `cargo xtask test` for Kotlin and Java, through Maven.

use anyhow::{Context, Result};

use super::{Outcome, ended, skip, watched};
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
pub fn test(engines: &Engines) -> Result<Outcome> {
    if !runs("mvn", "--version") || !runs("javac", "--version") {
        return Ok(skip("Maven and a JDK are not installed, the tests of Kotlin and Java were not run"));
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
