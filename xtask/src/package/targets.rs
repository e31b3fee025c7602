//! The targets, and what a build for each needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow, bail};

use crate::command::{cargo, command};
use crate::tools::runs;

/// Debian's package rustc-web: a compiler that has a standard library for arm64 too.
pub const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// And its cargo.
pub const DEBIAN_CARGO: &str = "/usr/bin/cargo";
/// The oldest compiler that limbeck is built with.
const OLDEST: (u32, u32) = (1, 92);
/// Android's first version with all that the standard library uses; NDK r26 and later know no older one.
const ANDROID_API: u32 = 21;

/// A target that a package is made for.
pub struct Known {
    /// Rust's name.
    pub triple: &'static str,
    /// What is there to be said of it.
    pub needs: &'static str,
}

/// All of them. `cargo xtask package --targets` prints this.
pub const KNOWN: [Known; 7] = [
    Known { triple: "x86_64-unknown-linux-gnu", needs: "nothing on such a machine" },
    Known {
        triple: "aarch64-unknown-linux-gnu",
        needs: "aarch64-linux-gnu-gcc, and rustup's target or Debian's rustc-web (`cargo xtask cross` installs both)",
    },
    Known { triple: "aarch64-linux-android", needs: "ANDROID_NDK_HOME (r28 or later), rustup's target; not run" },
    Known { triple: "armv7-linux-androideabi", needs: "ANDROID_NDK_HOME (r28 or later), rustup's target; not run" },
    Known { triple: "x86_64-linux-android", needs: "ANDROID_NDK_HOME (r28 or later), rustup's target; not run" },
    Known { triple: "aarch64-apple-darwin", needs: "a Mac with Xcode's command line tools; not run" },
    Known { triple: "aarch64-apple-ios", needs: "a Mac with Xcode: capi/packaging/xcframework.sh; not run" },
];

/// A cargo that builds for a target.
#[derive(Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// Whether it is Debian's and not the one that runs this.
    pub is_debian: bool,
    environment: Vec<(String, OsString)>,
}

impl Toolchain {
    /// Finds what is needed.
    ///
    /// # Errors
    /// Something is missing; the message is one line that says how to get it.
    pub fn find(target: &str) -> Result<Self> {
        let host = host()?;
        if target == host {
            return Ok(Self { is_debian: false, environment: Vec::new() });
        }
        if target.contains("-apple-") {
            if target.contains("-apple-ios") {
                bail!("for iOS an XCFramework is made, on a Mac with Xcode: capi/packaging/xcframework.sh");
            }
            if !cfg!(target_os = "macos") {
                bail!(
                    "no Apple SDK: {target} is built on a Mac with Xcode's command line tools (xcode-select --install)"
                );
            }
        }
        let is_debian = !has_std("rustc", target);
        if is_debian && !(target == "aarch64-unknown-linux-gnu" && has_std(DEBIAN_RUSTC, target)) {
            let debian = if target == "aarch64-unknown-linux-gnu" && cfg!(target_os = "linux") {
                ", or on Debian, as root: cargo xtask cross"
            } else {
                ""
            };
            let more =
                if target.contains("-android") { "; an Android NDK is needed, too (ANDROID_NDK_HOME)" } else { "" };
            bail!("no Rust standard library for {target}: rustup target add {target}{debian}{more}");
        }
        let mut toolchain = Self { is_debian, environment: Vec::new() };
        if is_debian {
            check_version(&debian_version()?)?;
            toolchain.set("RUSTC", DEBIAN_RUSTC);
        }
        let variable = variable(target, "LINKER");
        if std::env::var_os(&variable).is_none_or(|value| value.is_empty())
            && let Some(linker) = linker(target)?
        {
            toolchain.set(&variable, linker);
        }
        Ok(toolchain)
    }

    fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    /// The cargo, with its environment.
    pub fn cargo(&self) -> Command {
        let mut cargo = if self.is_debian { debian_cargo() } else { cargo() };
        cargo.envs(self.environment.iter().map(|(name, value)| (name, value)));
        cargo
    }
}

/// Debian's cargo with Debian's compiler, whatever rustup has set.
pub fn debian_cargo() -> Command {
    let mut cargo = command(DEBIAN_CARGO);
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTC_WRAPPER", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(name);
    }
    cargo.env("RUSTC", DEBIAN_RUSTC);
    cargo
}

/// What Debian's compiler calls itself: `rustc 1.96.0 (...)`.
///
/// # Errors
/// It is not installed.
pub fn debian_version() -> Result<String> {
    first_line(Command::new(DEBIAN_RUSTC).arg("--version"))
        .ok_or_else(|| anyhow!("{DEBIAN_RUSTC} does not run: apt-get install rustc-web (as root)"))
}

/// Refuses a compiler that is too old.
///
/// # Errors
/// It is, or it does not say what it is.
pub fn check_version(said: &str) -> Result<()> {
    let mut numbers = said.split(' ').nth(1).unwrap_or_default().split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        bail!("`{said}` is not the version of a Rust compiler");
    };
    if (major, minor) < OLDEST {
        bail!(
            "{said} is too old: limbeck needs {}.{} (Debian has a newer rustc-web in its security updates)",
            OLDEST.0,
            OLDEST.1
        );
    }
    Ok(())
}

/// The machine that this runs on, by Rust's name.
///
/// # Errors
/// rustc does not run.
pub fn host() -> Result<String> {
    let output = command("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| anyhow!("rustc -vV names no host"))
}

/// The first line that a program prints, if it runs.
pub fn first_line(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().filter(|_| output.status.success()).map(str::to_owned)
}

fn has_std(rustc: &str, target: &str) -> bool {
    let folder = first_line(command(rustc).args(["--print", "target-libdir", "--target", target]));
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
    entries.into_iter().flatten().flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"))
}

/// The name of cargo's variable for a target.
fn variable(target: &str, what: &str) -> String {
    format!("CARGO_TARGET_{}_{what}", target.to_uppercase().replace('-', "_"))
}

fn linker(target: &str) -> Result<Option<OsString>> {
    if target.contains("-android") {
        let ndk = std::env::var_os("ANDROID_NDK_HOME").filter(|value| !value.is_empty());
        let Some(ndk) = ndk else {
            bail!(
                "no Android NDK: set ANDROID_NDK_HOME to its folder (r28 or later, from Android Studio's SDK manager)"
            );
        };
        return Ok(Some(ndk_linker(Path::new(&ndk), target)?.into()));
    }
    if let Some(processor) = target.strip_suffix("-unknown-linux-gnu") {
        let gcc = format!("{processor}-linux-gnu-gcc");
        if !runs(&gcc, "--version") {
            bail!("no {gcc}: apt-get install gcc-{}-linux-gnu (as root)", processor.replace('_', "-"));
        }
        return Ok(Some(gcc.into()));
    }
    Ok(None)
}

/// The clang of an NDK that links for a target.
fn ndk_linker(ndk: &Path, target: &str) -> Result<PathBuf> {
    // The NDK's own name for 32-bit ARM.
    let name = target.replace("armv7-linux", "armv7a-linux");
    let hosts = ndk.join("toolchains/llvm/prebuilt");
    let folders = std::fs::read_dir(&hosts).into_iter().flatten().flatten();
    let mut found = folders.map(|folder| folder.path().join(format!("bin/{name}{ANDROID_API}-clang")));
    found.find(|path| path.is_file()).ok_or_else(|| {
        anyhow!("{} has no {name}{ANDROID_API}-clang: set ANDROID_NDK_HOME to an NDK, r28 or later", hosts.display())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn old_compilers_are_refused_by_name() {
        check_version("rustc 1.92.0 (abc 2025-12-01)").unwrap();
        check_version("rustc 1.96.0").unwrap();
        check_version("rustc 2.0.0").unwrap();
        let error = check_version("rustc 1.85.0 (4d91de4e4 2025-02-17)").unwrap_err().to_string();
        assert!(error.contains("1.85.0") && error.contains("1.92"), "{error}");
        assert!(check_version("gcc (Debian) 12").is_err());
    }

    #[test]
    fn an_ndk_has_a_clang_for_each_target() {
        let ndk = tempfile::tempdir().unwrap();
        let bin = ndk.path().join("toolchains/llvm/prebuilt/linux-x86_64/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::write(bin.join("armv7a-linux-androideabi21-clang"), "").unwrap();
        let found = ndk_linker(ndk.path(), "armv7-linux-androideabi").unwrap();
        assert!(found.ends_with("armv7a-linux-androideabi21-clang"));
        let error = ndk_linker(ndk.path(), "aarch64-linux-android").unwrap_err().to_string();
        assert!(error.contains("aarch64-linux-android21-clang") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn what_is_missing_is_said_in_one_line() {
        assert_eq!(Toolchain::find(&host().unwrap()).unwrap(), Toolchain { is_debian: false, environment: Vec::new() });
        let error = Toolchain::find("aarch64-apple-ios").unwrap_err().to_string();
        assert!(error.contains("xcframework.sh") && !error.contains('\n'), "{error}");
        // No such target: no machine has its standard library.
        let error = Toolchain::find("aarch64-unknown-limbeck").unwrap_err().to_string();
        assert!(error.contains("rustup target add aarch64-unknown-limbeck") && !error.contains('\n'), "{error}");
        assert_eq!(variable("aarch64-linux-android", "LINKER"), "CARGO_TARGET_AARCH64_LINUX_ANDROID_LINKER");
    }
}
