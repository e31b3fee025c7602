//! System programs: compilers and valgrind.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A program and what brings it.
struct Tool {
    program: &'static str,
    why: &'static str,
    /// Debian's and Ubuntu's packages.
    packages: &'static [&'static str],
}

const CC: Tool = Tool { program: "cc", why: "to link, and to compile the C programs", packages: &["gcc", "libc6-dev"] };
const CXX: Tool = Tool { program: "c++", why: "to compile the bridge to libtorch", packages: &["g++"] };
const GCC: Tool = Tool { program: "gcc", why: "for the C tests", packages: &["gcc", "libc6-dev"] };
const GXX: Tool = Tool { program: "g++", why: "for the header tests", packages: &["g++"] };
// Without the symbols of the C library valgrind does not start on Debian.
const VALGRIND: Tool = Tool { program: "valgrind", why: "for the C tests", packages: &["valgrind", "libc6-dbg"] };

/// What a build needs.
///
/// # Errors
/// Something is missing and cannot be installed.
pub fn ensure_for_build() -> Result<()> {
    ensure(&[CC, CXX])
}

/// What the tests need.
///
/// # Errors
/// Something is missing and cannot be installed.
pub fn ensure_for_tests() -> Result<()> {
    if cfg!(target_os = "linux") { ensure(&[CC, CXX, GCC, GXX, VALGRIND]) } else { ensure(&[CC, CXX]) }
}

fn ensure(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !runs(tool.program, "--version")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().flat_map(|tool| tool.packages.iter().copied()).collect();
    packages.sort_unstable();
    packages.dedup();
    if !is_root() || !runs("apt-get", "--version") {
        let needs: Vec<String> = missing.iter().map(|tool| format!("{} {}", tool.program, tool.why)).collect();
        bail!(
            "not installed: {}. Install the packages {} (these are Debian's and Ubuntu's names; \
             `apt-get install` as root) and run this again",
            needs.join("; "),
            packages.join(" ")
        );
    }
    eprintln!("installing {}", packages.join(" "));
    apt_get(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&packages);
    apt_get(&install)?;
    match missing.iter().find(|tool| !runs(tool.program, "--version")) {
        None => Ok(()),
        Some(tool) => bail!("{} still does not run after installing {}", tool.program, tool.packages.join(" ")),
    }
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().context("running apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed; its words are above", arguments.join(" "));
    }
    Ok(())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Whether a program starts.
pub fn runs(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed() {
        ensure(&[Tool { program: "rustc", why: "for this test", packages: &[] }]).unwrap();
        assert!(!runs("limbeck-no-such-program", "--version"));
    }
}
