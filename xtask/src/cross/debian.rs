//! What the arm64 lane takes from Debian.

use std::process::Command;

use anyhow::{Result, anyhow, bail};

use crate::package::targets::{DEBIAN_RUSTC, check_version, debian_version, first_line};
use crate::tools::{apt_get, is_root, runs};

/// rustc-web is the compiler that Debian builds browsers with: newer than its `rustc`, and with a standard
/// library for arm64. Its version moves with Debian's security updates and cannot be pinned.
const PACKAGES: [&str; 11] = [
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "libstd-rust-web-dev:arm64",
    "gcc-aarch64-linux-gnu",
    "g++-aarch64-linux-gnu",
    "libc6:arm64",
    "libc6-dev:arm64",
    "libgcc-s1:arm64",
    // For ONNX Runtime.
    "libstdc++6:arm64",
    "qemu-user-static",
];

/// Versions of what was used.
#[derive(Debug)]
pub struct Versions {
    /// The compiler.
    pub rustc: String,
    /// The C compiler.
    pub gcc: String,
    /// The emulator.
    pub qemu: String,
}

/// Installs what is missing.
///
/// # Errors
/// It is missing and cannot be installed, or the compiler is too old.
pub fn ensure() -> Result<Versions> {
    let missing: Vec<&str> = PACKAGES.into_iter().filter(|package| !is_installed(package)).collect();
    if !missing.is_empty() {
        if !is_root() || !runs("apt-get", "--version") {
            bail!(
                "Debian's packages {0} are missing; as root: dpkg --add-architecture arm64 && apt-get update && \
                 apt-get install --no-install-recommends {0}",
                missing.join(" ")
            );
        }
        eprintln!("installing {}", missing.join(" "));
        if !Command::new("dpkg").args(["--add-architecture", "arm64"]).status()?.success() {
            bail!("dpkg --add-architecture arm64 failed; its words are above");
        }
        apt_get(&["update", "-qq"])?;
        let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
        install.extend(&missing);
        apt_get(&install)?;
    }
    let rustc = debian_version()?;
    println!("{DEBIAN_RUSTC}: {rustc}");
    check_version(&rustc)?;
    let version = |program: &str| {
        first_line(Command::new(program).arg("--version")).ok_or_else(|| anyhow!("{program} does not run"))
    };
    Ok(Versions { rustc, gcc: version(super::GCC)?, qemu: version(super::emulator::QEMU)? })
}

fn is_installed(package: &str) -> bool {
    first_line(Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status}\n", package]))
        .is_some_and(|status| status == "installed")
}
