//! The wheel, and its tests in an environment of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Outcome, captured, succeed};
use crate::cache::Cache;
use crate::command::{command, repository};
use crate::engines::Engines;
use crate::{package, python};

/// Builds the wheel over a library, into a folder. `modified` is the time of the files in it.
///
/// # Errors
/// No Python 3.10 or newer with pip, or the build fails.
pub fn wheel(cache: &Cache, library: &Path, out: &Path, modified: u64) -> Result<PathBuf> {
    let setuptools = python::setuptools(cache)?;
    let work = tempfile::tempdir().context("making a work folder")?;
    let mut pip = pip();
    pip.args(["wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir"]).arg(work.path());
    pip.arg("bindings/python").env("PYTHONPATH", setuptools).env("LIMBECK_LIBRARY", library);
    // zip knows no time before 1980.
    pip.env("SOURCE_DATE_EPOCH", modified.max(315_532_800).to_string());
    succeed(&mut pip, "building the wheel")?;
    let mut files = std::fs::read_dir(work.path())?.collect::<std::io::Result<Vec<_>>>()?;
    let (Some(wheel), true) = (files.pop(), files.is_empty()) else { bail!("pip made no wheel, or several") };
    std::fs::create_dir_all(out)?;
    let target = out.join(wheel.file_name());
    std::fs::copy(wheel.path(), &target).with_context(|| format!("writing {}", target.display()))?;
    Ok(target)
}

/// Builds the wheel, installs it into a new environment, and runs its tests there: without NumPy, and those of vectors
/// once more with it.
///
/// # Errors
/// Something cannot be built or installed.
pub fn test(cache: &Cache, library: &Path, engines: &Engines) -> Result<Outcome> {
    let work = tempfile::tempdir().context("making a work folder")?;
    let wheel = wheel(cache, library, work.path(), package::modified())?;
    let environment = work.path().join("venv");
    // Without a pip of its own, which takes seconds and which Debian has in another package.
    succeed(command("python3").args(["-m", "venv", "--without-pip"]).arg(&environment), "python3 -m venv")?;
    let python = environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let ask = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = succeed(command(&python).args(["-c", ask]), "the environment's python")?;
    let mut install = pip();
    install.args(["install", "--quiet", "--no-index", "--no-deps", "--target"]).arg(packages.trim()).arg(&wheel);
    succeed(&mut install, "installing the wheel")?;

    let run = |tests: &[&str], path: Option<&Path>| -> Result<Outcome> {
        let mut command = command(&python);
        command.current_dir(repository().join("bindings/python/tests")).args(["-m", "unittest"]).args(tests);
        command.env("ORT_DYLIB_PATH", &engines.onnx_runtime).env("PYTHONDONTWRITEBYTECODE", "1");
        match path {
            Some(path) => command.env("PYTHONPATH", path),
            None => command.env_remove("PYTHONPATH"),
        };
        counted(&mut command)
    };
    let mut outcome = run(&[], None)?;
    // They are skipped without NumPy, and run now.
    let tests = ["test_api.Vectors.test_numpy_shares_memory", "test_writing.Written.test_numpy_shares_memory"];
    let with_numpy = run(&tests, Some(&python::onnx_checker(cache)?))?;
    outcome.skipped = outcome.skipped.saturating_sub(tests.len() as u64);
    outcome.add(with_numpy);
    println!("Python: {} passed, {} failed, from {}", outcome.passed, outcome.failed, name(&wheel));
    Ok(outcome)
}

fn pip() -> Command {
    let mut command = command("python3");
    command.args(["-m", "pip"]).env("PIP_REQUIRE_VIRTUALENV", "0").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_NO_INPUT", "1");
    command
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn counted(command: &mut Command) -> Result<Outcome> {
    let (success, text) = captured(command)?;
    let mut outcome = parse(&text).unwrap_or_default();
    if !success {
        println!("{}", text.trim());
        outcome.failed = outcome.failed.max(1);
    }
    if outcome == Outcome::default() {
        bail!("unittest ran nothing:\n{}", text.trim());
    }
    Ok(outcome)
}

/// `Ran 36 tests in 20.2s`, then `OK (skipped=1)` or `FAILED (failures=1, errors=2)`.
fn parse(text: &str) -> Option<Outcome> {
    let ran: u64 = text.lines().rev().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse().ok())?;
    let verdict = text.lines().rev().find(|line| line.starts_with("OK") || line.starts_with("FAILED"))?;
    let number = |name: &str| -> u64 {
        let after = verdict.split(&format!("{name}=")).nth(1).unwrap_or_default();
        after.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    // A case of a test that fails counts as one more failure and not as one more test.
    let failed = number("failures") + number("errors");
    let skipped = number("skipped");
    Some(Outcome { passed: ran.saturating_sub(failed + skipped), failed, skipped })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_unittest_are_counted() {
        let counts = |text| parse(text).map(|outcome| (outcome.passed, outcome.failed, outcome.skipped));
        assert_eq!(counts("....\n---\nRan 4 tests in 0.1s\n\nOK\n"), Some((4, 0, 0)));
        assert_eq!(counts("Ran 36 tests in 20.2s\n\nOK (skipped=1)\n"), Some((35, 0, 1)));
        let failed = "Ran 36 tests in 20.2s\n\nFAILED (failures=1, errors=2, skipped=1)\n";
        assert_eq!(counts(failed), Some((32, 3, 1)));
        assert_eq!(counts("Traceback"), None);
    }
}
