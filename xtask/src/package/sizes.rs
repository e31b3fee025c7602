//! `cargo xtask package --sizes`: what the C library adds to an app.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::targets::{first_line, host};
use super::{library, make};
use crate::command::{command, commit, repository};
use crate::tools::runs;

/// Where the results stand.
pub const RESULTS: &str = "capi/abi/sizes.json";

/// The most that the smallest library may have, stripped, tokenizers included, ONNX Runtime not.
const LIMIT: u64 = 3_850_000;
const SMALLEST: &str = "min-size-packed";

/// A program that uses the library as apps do; what it does not reach is left out.
const PROGRAM: &str = "examples/c/sentiment.c";

/// The verb with `--sizes`.
///
/// # Errors
/// A build fails, a tool is missing, or the library is over its limit.
pub fn run(save: bool) -> Result<ExitCode> {
    for (tool, package) in [("strip", "binutils"), ("gcc", "gcc")] {
        if !runs(tool, "--version") {
            bail!("no {tool}: apt-get install {package} (as root)");
        }
    }
    let target = host()?;
    let out = repository().join("out/package");
    let scratch = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for profile in library::PROFILES {
        let made = make(&target, profile, &out)?;
        let stripped = scratch.path().join("stripped.so");
        call(Command::new("strip").arg("--strip-all").arg("-o").arg(&stripped).arg(&made.shared))?;
        let program = scratch.path().join("program");
        let mut gcc = Command::new("gcc");
        gcc.args(["-std=c99", "-Os", "-s", "-Wl,--gc-sections", "-I"]).arg(made.folder.join("include"));
        gcc.arg(repository().join(PROGRAM)).arg(&made.archive).arg("-o").arg(&program);
        call(gcc.args(super::install::Target::new(&target).static_libs().split(' ')))?;
        // It must be more than a file: with one argument too few it says how it is used.
        let output = Command::new(&program).output().context("running the static program")?;
        if output.status.code() != Some(2) {
            bail!("the static program ended with {} and not with its word of usage", output.status);
        }
        rows.push(json!({
            "profile": profile, "shared_bytes": bytes(&made.shared)?, "stripped_bytes": bytes(&stripped)?,
            "archive_bytes": bytes(&made.archive)?, "program_bytes": bytes(&program)?,
        }));
    }
    let stripped = rows.iter().find(|row| row["profile"] == SMALLEST).and_then(|row| row["stripped_bytes"].as_u64());
    let results = json!({
        "schema": 1, "date": date()?, "commit": commit().unwrap_or_else(|| "unknown".to_owned()), "target": target,
        "compiler": first_line(command("rustc").arg("--version")), "limit_bytes": LIMIT, "rows": rows,
    });
    let text = serde_json::to_string_pretty(&results)? + "\n";
    print!("{text}");
    if save {
        fs::write(repository().join(RESULTS), text).with_context(|| format!("writing {RESULTS}"))?;
        println!("{RESULTS} is written; now cargo xtask docs");
    }
    verdict(stripped.context("the smallest profile was not measured")?)?;
    Ok(ExitCode::SUCCESS)
}

fn verdict(stripped: u64) -> Result<()> {
    if stripped > LIMIT {
        bail!(
            "the stripped {SMALLEST} library has {}, more than its limit of {}",
            megabytes(stripped),
            megabytes(LIMIT)
        );
    }
    Ok(())
}

/// Today in Greenwich: `2026-01-31`.
///
/// # Errors
/// The program `date` does not run.
pub fn date() -> Result<String> {
    first_line(Command::new("date").args(["-u", "+%F"])).context("`date` does not run")
}

/// `3.44 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn bytes(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?.len())
}

fn call(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// What [`run`] writes, as the page shows it.
pub fn table(results: &Value) -> Result<String> {
    let mut text = String::from(
        "| profile | liblimbeck.so | stripped | liblimbeck.a | a static program, stripped |\n|---|---|---|---|---|\n",
    );
    let megabytes = |row: &Value, name: &str| {
        let bytes = row[name].as_u64().with_context(|| format!("{RESULTS} has no {name}"))?;
        anyhow::Ok(self::megabytes(bytes))
    };
    for row in results["rows"].as_array().with_context(|| format!("{RESULTS} has no rows"))? {
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            row["profile"].as_str().unwrap_or_default(),
            megabytes(row, "shared_bytes")?,
            megabytes(row, "stripped_bytes")?,
            megabytes(row, "archive_bytes")?,
            megabytes(row, "program_bytes")?
        );
    }
    let word = |name: &str| results[name].as_str().unwrap_or("unknown").to_owned();
    Ok(text
        + &format!(
            "\nThe limit of the stripped `{SMALLEST}` library is {}. The program is [{PROGRAM}](../{PROGRAM}). \
             {}, {}, {}, limbeck at {}.\n",
            megabytes(results, "limit_bytes")?,
            word("date"),
            word("target"),
            word("compiler"),
            word("commit")
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_over_its_limit_is_refused() {
        verdict(LIMIT).unwrap();
        let error = verdict(LIMIT + 100_000).unwrap_err().to_string();
        assert!(error.contains("3.95 MB") && error.contains("3.85 MB"), "{error}");
    }

    #[test]
    fn the_table_has_a_row_a_profile() {
        let row = json!({"profile": "release", "shared_bytes": 6_500_000, "stripped_bytes": 5_250_000,
            "archive_bytes": 30_000_000, "program_bytes": 4_000_000});
        let results = json!({"date": "2026-01-02", "commit": "abc", "target": "x86_64-unknown-linux-gnu",
            "compiler": "rustc 1.95.0", "limit_bytes": 3_500_000, "rows": [row]});
        let text = table(&results).unwrap();
        assert!(text.contains("| release | 6.50 MB | 5.25 MB | 30.00 MB | 4.00 MB |\n"), "{text}");
        assert!(text.contains("is 3.50 MB") && text.contains("rustc 1.95.0, limbeck at abc."), "{text}");
        assert!(table(&json!({"rows": [{}]})).is_err());
    }
}
