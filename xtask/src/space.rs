//! Disk space: how much there is, and sizes as people read them.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// Free bytes for this user on the file system of `folder`, as far as `df` tells.
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let output = Command::new("df").arg("-Pk").arg(folder).stderr(Stdio::null()).output().ok()?;
    parse_df(std::str::from_utf8(&output.stdout).ok()?)
}

/// The fourth column of POSIX `df -Pk`, counted from the percentage: a file system's name may hold spaces.
fn parse_df(text: &str) -> Option<u64> {
    let words: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let percent = words.iter().position(|word| word.ends_with('%'))?;
    words.get(percent.checked_sub(1)?)?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Refuses early what would fail late.
///
/// # Errors
/// Less than `needed` bytes are free; the message says what to do.
pub fn require(folder: &Path, needed: u64, what: &str) -> Result<()> {
    match free_bytes(folder) {
        Some(free) if free < needed => bail!("{}", not_enough(folder, needed, Some(free), what)),
        _ => Ok(()),
    }
}

/// The message for a full disk.
pub fn not_enough(folder: &Path, needed: u64, free: Option<u64>, what: &str) -> String {
    let free = free.map_or(String::new(), |free| format!(" and {} is free", human(free)));
    format!(
        "no disk space for {what}: up to {} is needed while fetching in {}{free}. \
         Make room, or set LIMBECK_CACHE to a folder on a larger disk, then run this again",
        human(needed),
        folder.display()
    )
}

/// `531 MB`.
pub fn human(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
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
    fn a_full_disk_names_the_variable() {
        let folder = std::env::temp_dir();
        let error = require(&folder, u64::MAX, "libtorch").unwrap_err().to_string();
        assert!(error.contains("libtorch") && error.contains("LIMBECK_CACHE"), "{error}");
        require(&folder, 1, "nothing").unwrap();
    }

    #[test]
    fn sizes_are_readable() {
        assert_eq!([999, 141_649, 530_604_548, 1_600_000_000].map(human), ["999 bytes", "142 kB", "531 MB", "1.6 GB"]);
    }
}
