//! A bundle that is timed in a process of its own, and what it reads there.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::data::{Goal, Rows};
use crate::measure::BenchResult;

/// What one call reads: a text, or two together.
pub(super) type Read<'a> = (&'a str, Option<&'a str>);

/// The row whose length in bytes, of both texts where they are read together, is that quantile of all: what an app's call
/// looks like. Of texts that are embedded, each is a row. Where no program can be given it whole, the nearest that is.
pub(super) fn row_of_quantile(rows: &Rows, goal: Goal, quantile: f64) -> Read<'_> {
    let mut reads = rows.reads(goal);
    reads.sort_by_key(|&(text, second)| (text.len() + second.map_or(0, str::len), text, second));
    let place = ((reads.len() as f64 * quantile) as usize).min(reads.len().saturating_sub(1));
    let whole =
        |&index: &usize| reads[index].0 == argument(reads[index].0) && reads[index].1 == reads[index].1.map(argument);
    let nearest = (0..reads.len()).filter(whole).min_by_key(|index| index.abs_diff(place)).unwrap_or(place);
    let (text, second) = reads.get(nearest).copied().unwrap_or_default();
    (argument(text), second.map(argument))
}

/// What of a text a program can be given as an argument: none with a zero byte, and none longer than Linux takes (128 KiB).
fn argument(text: &str) -> &str {
    const MOST: usize = 100_000;
    let text = text.split('\0').next().unwrap_or_default();
    &text[..text.floor_char_boundary(MOST)]
}

/// Times one text, or two that are read together, on one thread in a process of its own, so that memory and cold start are
/// its own.
///
/// # Errors
/// The child's error text.
pub fn measure_in_fresh_process(
    bundle: &Path,
    read: (&str, Option<&str>),
    runtime: Option<&Path>,
) -> Result<BenchResult> {
    in_fresh_process(bundle, &["--runs", "200", "--warm-up", "30"], Some(read), runtime)
}

/// Runs `limbeck bench` with these options, on what is to be read or on made-up texts.
pub(super) fn in_fresh_process(
    bundle: &Path,
    options: &[&str],
    read: Option<Read>,
    runtime: Option<&Path>,
) -> Result<BenchResult> {
    let program = std::env::current_exe().context("cannot find the limbeck program itself")?;
    let mut command = Command::new(program);
    command.arg("bench").arg(bundle).arg("--json").args(options);
    if let Some((text, second)) = read {
        command.args(["--text", text]);
        if let Some(second) = second {
            command.args(["--pair", second]);
        }
    }
    if let Some(runtime) = runtime {
        command.arg("--runtime").arg(runtime);
    }
    let output = command.output().context("cannot start `limbeck bench`")?;
    if !output.status.success() {
        bail!("`limbeck bench {}` failed: {}", bundle.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("`limbeck bench --json` printed something else")
}

#[cfg(test)]
mod tests;
