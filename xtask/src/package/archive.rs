//! The archive of a package: the same bytes from the same files, whoever packs them and when.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::tools::runs;
use crate::unpack::measure;

/// Packs the folder `name` below `parent` as `parent/name.tar.gz`, and writes its hash beside it in the form
/// that `sha256sum --check` reads. `time` is that of all files in it, in seconds since 1970.
///
/// # Errors
/// GNU tar is not there, or it fails.
pub fn pack(parent: &Path, name: &str, time: u64) -> Result<(PathBuf, String)> {
    let tar = ["tar", "gtar"].into_iter().find(|program| is_gnu(program));
    let Some(tar) = tar.filter(|_| runs("gzip", "--version")) else {
        bail!("GNU tar and gzip are needed for the archive: install tar and gzip (macOS: brew install gnu-tar)");
    };
    let file = format!("{name}.tar.gz");
    let archive = parent.join(&file);
    let mut command = Command::new(tar);
    command.args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    command.args(["--mode=u=rwX,go=rX", &format!("--mtime=@{time}"), "--directory"]).arg(parent).arg(name);
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("running {tar}"))?;
    let tarred = child.stdout.take().context("tar has no output")?;
    let out = fs::File::create(&archive).with_context(|| format!("writing {}", archive.display()))?;
    // -n: without name and time of the day.
    let zipped = Command::new("gzip").args(["-n", "-9"]).stdin(tarred).stdout(out).status().context("running gzip")?;
    let tarred = child.wait().context("waiting for tar")?;
    if !tarred.success() || !zipped.success() {
        bail!("packing {} failed: tar {tarred}, gzip {zipped}", archive.display());
    }
    let (_, sha256) = measure(&archive)?;
    let line = format!("{sha256}  {file}\n");
    fs::write(parent.join(format!("{file}.sha256")), line).with_context(|| format!("writing the hash of {file}"))?;
    Ok((archive, sha256))
}

fn is_gnu(program: &str) -> bool {
    let output = Command::new(program).arg("--version").stderr(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("GNU tar"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_same_files_give_the_same_archive() {
        let make = |names: [&str; 2], mode: u32| {
            let parent = tempfile::tempdir().unwrap();
            let folder = parent.path().join("limbeck-x");
            fs::create_dir_all(folder.join("lib")).unwrap();
            for name in names {
                let path = folder.join("lib").join(name);
                fs::write(&path, name).unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            symlink("b", folder.join("lib/link")).unwrap();
            let (archive, sha256) = pack(parent.path(), "limbeck-x", 1_700_000_000).unwrap();
            assert!(archive.ends_with("limbeck-x.tar.gz"));
            let line = fs::read_to_string(parent.path().join("limbeck-x.tar.gz.sha256")).unwrap();
            assert_eq!(line, format!("{sha256}  limbeck-x.tar.gz\n"));
            let mut check = Command::new("sha256sum");
            check.args(["--check", "--status", "limbeck-x.tar.gz.sha256"]).current_dir(parent.path());
            assert!(check.status().unwrap().success());
            sha256
        };
        let first = make(["a", "b"], 0o644);
        assert_eq!(first, make(["b", "a"], 0o600), "order, time and mode of the files must not matter");
        assert_ne!(first, make(["b", "c"], 0o600));
    }
}
