//! The C header against the sources it is generated from.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::Arguments;
use crate::command::{cargo, command, repository};

/// `--help`.
pub const HELP: &str = "\
Generates the C header from capi/src and writes it to capi/include/limbeck.h.

Usage: cargo xtask header [--check | --pages]

Options:
  --check   write nothing; fail if the committed header is another one
  --pages   make HTML pages of the committed header in target/limbeck.h, with doxygen
";

/// The verb.
///
/// # Errors
/// Cargo does not run.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let check = arguments.flag("--check");
    let make_pages = arguments.flag("--pages");
    arguments.finish()?;
    if make_pages {
        return pages();
    }
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

/// Doxygen's pages; what it warns of is an error, by capi/Doxyfile.
fn pages() -> Result<ExitCode> {
    let root = repository();
    std::fs::create_dir_all(root.join("target")).context("making target/")?;
    let status = command("doxygen")
        .arg("Doxyfile")
        .current_dir(root.join("capi"))
        .status()
        .context("running doxygen (Debian's and Ubuntu's package doxygen)")?;
    if !status.success() {
        bail!("doxygen failed ({status}); its words are above");
    }
    println!("target/limbeck.h/index.html is written");
    Ok(ExitCode::SUCCESS)
}
