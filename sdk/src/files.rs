//! Files that appear whole or not at all.

use std::fs;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file: to a new one in the same folder, which is flushed to the disk, looked at by `check` and only
/// then gets its name. If anything fails, what was at `path` before is still there, unchanged.
pub(crate) fn write(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    check: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".limbeck.tmp");
    #[cfg(unix)]
    {
        // As if made by open(2): readable by all that the umask allows.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(folder).map_err(|source| Error::io("write to", folder, source))?;
    let mut out = BufWriter::new(file.as_file());
    write(&mut out)
        .and_then(|()| out.flush())
        .and_then(|()| file.as_file().sync_all())
        .map_err(|source| Error::io("write", path, source))?;
    drop(out);
    check(file.path())?;
    file.persist(path).map_err(|error| Error::io("rename a new file to", path, error.error))?;
    sync_folder(folder)
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::io("read", path, source);
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let source = std::io::Error::new(std::io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
        return Err(failed(source));
    }
    Ok(bytes)
}

/// Makes the new name itself survive a power cut.
fn sync_folder(folder: &Path) -> Result<()> {
    #[cfg(unix)]
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| Error::io("flush the folder", folder, source))?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
