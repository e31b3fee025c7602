//! The C header against the sources it is generated from.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::Arguments;
use crate::command::cargo;

/// `--help`.
pub const HELP: &str = "\
Generates the C header from capi/src and writes it to capi/include/limbeck.h.

Usage: cargo xtask header [--check]

Options:
  --check   write nothing; fail if the committed header is another one
";

/// The verb.
///
/// # Errors
/// Cargo does not run.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let check = arguments.flag("--check");
    arguments.finish()?;
    let mut cargo = cargo();
    cargo.args(["test", "--quiet", "--package", "limbeck-capi", "--test", "header"]);
    if !check {
        cargo.env("LIMBECK_BLESS", "1");
    }
    let status = cargo.status().context("running cargo")?;
    if !status.success() {
        let advice = if check { "; `cargo xtask header` writes it anew" } else { "" };
        eprintln!("error: the header check failed{advice}");
        return Ok(ExitCode::FAILURE);
    }
    println!("capi/include/limbeck.h {}", if check { "is up to date" } else { "is written" });
    Ok(ExitCode::SUCCESS)
}
