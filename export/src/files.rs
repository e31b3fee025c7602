//! Writing files so that a crash leaves the old file or the new one, never a part.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// Writes through a temporary file in the same folder, then fsync and rename.
///
/// # Errors
/// The folder cannot be made or the disk is full; nothing is left behind.
pub fn write_atomic(path: &Path, write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<()>) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let mut file = tempfile::Builder::new()
        .prefix(".limbeck-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    let mut buffered = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    write(&mut buffered)
        .and_then(|()| Ok(buffered.flush()?))
        .with_context(|| format!("cannot write {}", path.display()))?;
    drop(buffered);
    file.as_file().sync_all().with_context(|| format!("cannot write {}", path.display()))?;
    readable_by_all(file.as_file())?;
    file.persist(path).with_context(|| format!("cannot rename to {}", path.display()))?;
    if let Ok(folder) = File::open(folder) {
        // Makes the rename itself durable; some file systems cannot, which is no failure.
        let _ = folder.sync_all();
    }
    Ok(())
}

/// Temporary files are private by default; results should get the usual rights.
#[cfg(unix)]
fn readable_by_all(file: &File) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.set_permissions(fs::Permissions::from_mode(0o644))?)
}

#[cfg(not(unix))]
fn readable_by_all(_: &File) -> Result<()> {
    Ok(())
}

/// Writes a file that must not be there yet, in the same way. A `secret` one nobody else may read, at no moment.
///
/// # Errors
/// There is such a file already, the folder cannot be made, or the disk is full; nothing is left behind.
pub fn write_new(path: &Path, bytes: &[u8], secret: bool) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    // Temporary files have the mode 0600 from the start.
    let mut file = tempfile::Builder::new()
        .prefix(".limbeck-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .with_context(|| format!("cannot write in {}", folder.display()))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    if !secret {
        readable_by_all(file.as_file())?;
    }
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            bail!("{} is there already and is not overwritten", path.display())
        }
        Err(error) => return Err(error.error).with_context(|| format!("cannot rename to {}", path.display())),
    }
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// [`write_atomic`] for bytes at hand.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |out| Ok(out.write_all(bytes)?))
}

/// A lock that was given back may be held a moment longer, by a program that is just being started with a copy of it.
const LOCK_PATIENCE: Duration = Duration::from_millis(400);

/// Makes a folder and keeps a second run out of it; the lock goes with the process, however it ends.
///
/// # Errors
/// The folder cannot be written, or another process holds the lock.
pub fn lock_folder(out: &Path) -> Result<File> {
    let (file, path) = lock_file(out)?;
    let asked = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if asked.elapsed() < LOCK_PATIENCE => {
                thread::sleep(LOCK_PATIENCE / 20)
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                bail!("another limbeck is working in {}; wait for it, or use another --out", out.display())
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// [`lock_folder`], but a second run waits for the first, which `waits` is told.
///
/// # Errors
/// The folder cannot be written or locked.
pub fn wait_for_folder(folder: &Path, waits: impl FnOnce()) -> Result<File> {
    let (file, path) = lock_file(folder)?;
    let locked = match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
        Err(std::fs::TryLockError::WouldBlock) => {
            waits();
            file.lock()
        }
    };
    locked.with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

/// The file by which a folder is locked, and its place; makes both.
fn lock_file(folder: &Path) -> Result<(File, PathBuf)> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((file, path))
}

/// Removes a file, if it is there.
///
/// # Errors
/// It cannot be removed.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// [`write_atomic`] for indented JSON, in which a list of numbers is one line.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<()> {
    let text = numbers_on_a_line(&serde_json::to_string_pretty(value)?);
    write_bytes(path, text.as_bytes())
}

/// Indented JSON with lists of numbers on a line each: a confusion matrix is as many lines as it has rows. No string has
/// a line end in it.
fn numbers_on_a_line(pretty: &str) -> String {
    let is_number = |line: &str| line.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let mut text = String::with_capacity(pretty.len());
    // Whether the line before began a list of which only numbers came so far.
    let mut within = false;
    for line in pretty.lines() {
        let item = line.trim_start();
        let joined = within && (is_number(item) || item.starts_with(']'));
        if !joined && !text.is_empty() {
            text.push('\n');
        }
        match (joined, item.starts_with(']'), text.ends_with('[')) {
            (false, ..) => text += line,
            (true, false, false) => text = text + " " + item,
            (true, ..) => text += item,
        }
        within = item.ends_with('[') || joined && is_number(item);
    }
    text + "\n"
}

/// Reads a JSON file.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is not the JSON that is expected here", path.display()))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Lower-case hexadecimal SHA-256 of bytes.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal SHA-256 of a file, streamed.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hasher.finalize())),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_are_a_line_each() {
        let value = serde_json::json!({
            "a": [1, -2.5, 3e300], "b": [[1, 2], [3]], "c": [], "d": ["1", 2], "e": [2, "[", 3, {"f": [4]}], "g": [null, 1],
            "h": [[], [[5]]], "i": "[\n1"
        });
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let text = numbers_on_a_line(&pretty);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value, "{text}");
        for line in ["  \"a\": [1, -2.5, 3e+300],", "    [1, 2],", "    [3]", "  \"c\": [],"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
        }
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_bytes(&path, b"old").unwrap();
        let failed = write_atomic(&path, |out| {
            out.write_all(b"half")?;
            anyhow::bail!("disk full")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_replaces_none_and_a_secret_one_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.key");
        write_new(&path, b"first", true).unwrap();
        let error = write_new(&path, b"second", true).unwrap_err();
        assert!(error.to_string().contains("a.key is there already"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
