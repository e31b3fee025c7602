//! Whether the disk can hold the cache.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Error, Result, bail};

/// Free bytes for this user on the file system of `folder`, as far as `df` tells.
fn free_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg("--").arg(folder).stderr(Stdio::null()).output().ok()?;
    parse_df(std::str::from_utf8(&output.stdout).ok()?)
}

/// The fourth column of POSIX `df -Pk`, counted from the percentage: a file system's name may hold spaces.
fn parse_df(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percent = words.iter().position(|word| word.ends_with('%'))?;
    words.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Refuses before the teacher runs what would fail after hours.
///
/// # Errors
/// Less than `needed` bytes are known to be free.
pub(super) fn require(folder: &Path, needed: u64) -> Result<()> {
    match free_bytes(folder) {
        Some(free) if free < needed => bail!("{}", not_enough(folder, needed, Some(free))),
        _ => Ok(()),
    }
}

/// Says of a failed write that the disk is full, if that is why.
pub(super) fn explain(error: Error, folder: &Path, needed: u64) -> Error {
    let full = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>()).any(|cause| {
        matches!(cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
    });
    if full { error.context(not_enough(folder, needed, free_bytes(folder))) } else { error }
}

fn not_enough(folder: &Path, needed: u64, free: Option<u64>) -> String {
    let free = free.map_or(String::new(), |free| format!(" and {free} are free"));
    format!(
        "no disk space for the teacher's outputs: {needed} more bytes ({:.1} MB) at least are needed in {}{free}. Make \
         room (the folders beside it hold the outputs of other teachers or data), choose another folder, or move this \
         one to a larger disk and leave a link to it here: what it holds stays valid",
        needed as f64 / 1e6,
        folder.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn df_is_read_by_column() {
        let text = "Filesystem     1024-blocks     Used Available Capacity Mounted on\n/dev/a b 264211072 1500 81000000      16% /x\n";
        assert_eq!(parse_df(text), Some(81_000_000 * 1024));
        assert_eq!(parse_df("Filesystem\n"), None);
        assert_eq!(parse_df(""), None);
    }

    #[test]
    fn a_full_disk_is_explained_and_other_failures_are_left_alone() {
        let folder = Path::new("outputs");
        let failed = |kind| Error::from(std::io::Error::from(kind)).context("cannot write x");
        let full = explain(failed(ErrorKind::StorageFull), folder, 12_345).to_string();
        assert!(full.contains("12345 more bytes") && full.contains("outputs") && full.contains("link"), "{full}");
        assert_eq!(explain(failed(ErrorKind::PermissionDenied), folder, 1).to_string(), "cannot write x");
    }
}
