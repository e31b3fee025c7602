//! The package clients pip and npm, run as child processes and watched.

use std::cell::OnceCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::pins::{Client, Package};
use crate::progress::{Progress, Unit};
use crate::space;

/// Why an archive could not be had.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another package would fail as well: no client, no network, no disk space.
    Everywhere(String),
    /// Only this package: gone, or not what was pinned.
    Here(String),
}

/// Something that puts a package's archive into a folder. Tests have their own.
pub trait Download {
    /// Downloads into `folder`, which is empty, and gives the archive's path. The content is not checked.
    ///
    /// # Errors
    /// See [`Failure`].
    fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf, Failure>;
}

/// The real clients.
#[derive(Default)]
pub struct Clients {
    pip: OnceCell<Option<Vec<&'static str>>>,
    npm: OnceCell<bool>,
}

const NO_PIP: &str = "no pip found: neither `python3 -m pip` nor `pip` runs. Install it (Debian and Ubuntu: \
     apt-get install python3-pip; Fedora: dnf install python3-pip), then run this again. To do without it, set LIBTORCH, \
     ORT_DYLIB_PATH and LIMBECK_TEACHER to your own copies (cargo xtask --help)";
const NO_NPM: &str = "no npm found: `npm --version` does not run. It is needed once, for the labelled sentences. Install it \
     (Debian and Ubuntu: apt-get install npm; Fedora: dnf install npm), then run this again";

impl Clients {
    fn pip(&self) -> Result<&[&'static str], Failure> {
        let found = self.pip.get_or_init(|| {
            let candidates: [&[&str]; 4] = [&["python3", "-m", "pip"], &["python", "-m", "pip"], &["pip3"], &["pip"]];
            candidates.into_iter().find(|words| answers(words)).map(<[_]>::to_vec)
        });
        found.as_deref().ok_or_else(|| Failure::Everywhere(NO_PIP.to_owned()))
    }

    fn command(&self, package: &Package, folder: &Path) -> Result<Command, Failure> {
        let requirement = |separator| format!("{}{separator}{}", package.name, package.version);
        match package.client {
            Client::Pip => {
                let words = self.pip()?;
                let mut command = Command::new(words[0]);
                command.args(&words[1..]).args(["download", "--quiet", "--no-input", "--progress-bar", "off"]);
                // Its own cache would hold the archive a second time.
                command.args(["--no-cache-dir", "--no-deps", "--only-binary=:all:"]);
                // Which wheel fits is decided by the pin, not by the Python that happens to run pip.
                command.args(["--python-version", "311", "--implementation", "cp", "--abi", "cp311", "--abi", "none"]);
                for platform in package.platform.iter().copied().chain(["any"]) {
                    command.args(["--platform", platform]);
                }
                command.arg("--dest").arg(folder).arg(requirement("=="));
                // Half files then lie where they can be watched, on the disk whose space was checked.
                command
                    .env("TMPDIR", folder)
                    .env("PIP_REQUIRE_VIRTUALENV", "0")
                    .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
                Ok(command)
            }
            Client::Npm => {
                if !self.npm.get_or_init(|| answers(&["npm"])) {
                    return Err(Failure::Everywhere(NO_NPM.to_owned()));
                }
                let mut command = Command::new("npm");
                // Its own cache will do, since the hash decides; and without a network its patience is minutes.
                command.args([
                    "pack",
                    "--loglevel=error",
                    "--no-update-notifier",
                    "--prefer-offline",
                    "--fetch-retries=2",
                ]);
                command.args(["--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000"]).arg(requirement("@"));
                command.current_dir(folder);
                Ok(command)
            }
        }
    }
}

impl Download for Clients {
    fn download(&self, package: &Package, folder: &Path) -> Result<PathBuf, Failure> {
        let mut command = self.command(package, folder)?;
        let title = format!("{} {}", package.name, package.version);
        let broken = |error: std::io::Error| Failure::Everywhere(format!("running {:?}: {error}", package.client));
        let mut progress = Progress::new(&title, package.bytes, Unit::Bytes);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Err(broken(error)),
        };
        let mut stderr = child.stderr.take();
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(stderr) = &mut stderr {
                // What was read until a failure is all that there is to show.
                let _ = stderr.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        });
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Err(broken(error)),
            }
            progress.set(largest_file(folder).map_or(0, |(_, bytes)| bytes), "");
            std::thread::sleep(Duration::from_millis(100));
        };
        let said = reader.join().unwrap_or_default();
        if !status.success() {
            progress.abandon();
            return Err(explain(&title, &said, folder, package));
        }
        match largest_file(folder) {
            Some((path, bytes)) => {
                progress.finish(&format!("downloaded {title} ({})", space::human(bytes)));
                Ok(path)
            }
            None => {
                progress.abandon();
                Err(Failure::Here(format!("{title}: the package client reported success and left no file: {said}")))
            }
        }
    }
}

fn answers(words: &[&str]) -> bool {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The largest file below a folder: the archive, or what there is of it.
fn largest_file(folder: &Path) -> Option<(PathBuf, u64)> {
    let entries = fs::read_dir(folder).ok()?;
    let files = entries.flatten().filter_map(|entry| {
        let kind = entry.file_type().ok()?;
        if kind.is_dir() { largest_file(&entry.path()) } else { Some((entry.path(), entry.metadata().ok()?.len())) }
    });
    files.max_by_key(|(_, bytes)| *bytes)
}

/// What a client's words mean for the user.
fn explain(title: &str, said: &str, folder: &Path, package: &Package) -> Failure {
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if says(&["No space left on device", "ENOSPC", "Errno 28"]) {
        return Failure::Everywhere(space::not_enough(folder, 2 * package.bytes, space::free_bytes(folder), title));
    }
    // The reason stands in the last lines; what comes before are retries.
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(4)..].join("\n  ");
    // First the connection: pip ends a failed one with "no matching distribution" as well.
    if says(&[
        "NewConnectionError",
        "name resolution",
        "Name or service not known",
        "Connection refused",
        "Connection reset",
        "ConnectTimeout",
        "Read timed out",
        "ReadTimeout",
        "Network is unreachable",
        "ProxyError",
        "SSLError",
        "CERTIFICATE_VERIFY_FAILED",
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "network",
    ]) {
        let settings = match package.client {
            Client::Pip => "pip's settings (PIP_INDEX_URL, PIP_PROXY, PIP_CERT)",
            Client::Npm => "npm's settings (npm config get registry, proxy, cafile)",
        };
        return Failure::Everywhere(format!(
            "no network: the package registry did not answer while fetching {title}. Check the connection and {settings}, \
             then run this again; nothing half-downloaded was kept. It said:\n  {tail}"
        ));
    }
    Failure::Here(format!("{title} could not be downloaded. The package client said:\n  {tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pins::ALL_MINILM;

    fn explained(said: &str) -> Failure {
        explain("teacher 0.1.0", said, Path::new("."), ALL_MINILM.sources[0][0])
    }

    #[test]
    fn a_connection_that_fails_is_not_called_a_missing_package() {
        let said = "WARNING: Retrying after NewConnectionError('Temporary failure in name resolution')\n\
                    ERROR: Could not find a version that satisfies the requirement x==1\n\
                    ERROR: No matching distribution found for x==1\n";
        match explained(said) {
            Failure::Everywhere(text) => {
                assert!(text.contains("no network") && text.contains("teacher 0.1.0"), "{text}")
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_package_leaves_the_fallbacks_open() {
        match explained("ERROR: No matching distribution found for x==1\n") {
            Failure::Here(text) => assert!(text.contains("No matching distribution"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_disk_names_the_variable_that_moves_the_cache() {
        match explained("ERROR: Could not install: [Errno 28] No space left on device\n") {
            Failure::Everywhere(text) => assert!(text.contains("LIMBECK_CACHE"), "{text}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_growing_file_is_found_at_any_depth() {
        let folder = tempfile::tempdir().unwrap();
        assert!(largest_file(folder.path()).is_none());
        fs::create_dir_all(folder.path().join("pip-unpack-1")).unwrap();
        fs::write(folder.path().join("small"), "1").unwrap();
        fs::write(folder.path().join("pip-unpack-1/x.whl"), "12345").unwrap();
        let (path, bytes) = largest_file(folder.path()).unwrap();
        assert!(path.ends_with("x.whl") && bytes == 5);
    }
}
