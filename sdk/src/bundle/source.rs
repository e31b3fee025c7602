//! Where the bytes of a bundle come from: a mapped file, a part of one, memory,
//! or a stream.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BundleError, layout};
use crate::{Error, Result};

/// What a bundle read from an open file is called in messages.
pub(super) const FILE: &str = "<file>";
/// What a bundle read from a stream is called in messages.
pub(super) const READER: &str = "<reader>";
/// What a bundle in memory is called in messages.
pub(super) const MEMORY: &str = "<memory>";
/// How much is asked for at a time.
const CHUNK: usize = 1 << 16;

pub(super) enum Source {
    Mapped(memmap2::Mmap),
    Shared(Arc<[u8]>),
    Read(Vec<u8>),
}

impl Source {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Source::Mapped(map) => map,
            Source::Shared(bytes) => bytes,
            Source::Read(bytes) => bytes,
        }
    }

    /// Maps the file at `path`.
    pub(super) fn of_path(path: &Path) -> Result<Source> {
        // Asked before opening, because opening a pipe waits for a writer.
        let metadata = std::fs::metadata(path).map_err(|source| Error::io("read", path, source))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(Error::Io { action: "read", path: path.to_owned(), source });
        }
        let file = File::open(path).map_err(|source| Error::io("read", path, source))?;
        // SAFETY: the mapping is read-only and private to this process. That
        // nobody changes the file under it cannot be enforced by a library; the
        // documentation of `open` asks for it, and our own writer renames.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| Error::io("read", path, source))?;
        Ok(Source::Mapped(map))
    }

    /// Maps `length` bytes at `offset`, or the rest of the file. What does not
    /// lie at a multiple of the sections' alignment is read to memory instead.
    pub(super) fn of_file(file: File, offset: u64, length: Option<u64>, limit: u64) -> Result<Source> {
        let metadata = file.metadata().map_err(|source| failed(FILE, source))?;
        if !metadata.is_file() {
            let reason = "it is not a regular file; read a pipe or socket as a stream";
            return Err(failed(FILE, io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        let size = metadata.len();
        let length = length.unwrap_or(size.saturating_sub(offset));
        if offset.checked_add(length).is_none_or(|end| end > size) {
            return Err(Error::InvalidArgument(format!(
                "the offset {offset} and the length {length} reach beyond the end of the file, which has {size} bytes"
            )));
        }
        if !offset.is_multiple_of(layout::MIN_ALIGNMENT) {
            return Source::of_reader(Part { file, at: offset, left: length }, FILE, Some(length), limit);
        }
        let Ok(room) = usize::try_from(length) else {
            let problem = too_long(length, usize::MAX as u64);
            return Err(Error::Bundle { bundle: FILE.to_owned(), problem });
        };
        if room == 0 {
            return Ok(Source::Read(Vec::new()));
        }
        // SAFETY: as in `of_path`; the documentation of `from_file` asks for it.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(room).map(&file) }
            .map_err(|source| failed(FILE, source))?;
        Ok(Source::Mapped(map))
    }

    /// Reads a bundle to memory: no more than it says it has, and no more than
    /// `limit`. `length` is what the stream will give, if that is known.
    pub(super) fn of_reader(mut reader: impl Read, name: &str, length: Option<u64>, limit: u64) -> Result<Source> {
        let fail = |problem| Err(Error::Bundle { bundle: name.to_owned(), problem });
        let mut bytes = Vec::new();
        let mut fill =
            |bytes: &mut Vec<u8>, to: u64| fill(&mut reader, bytes, to).map_err(|source| failed(name, source));
        // A stream that ends too early is handed on as it is: the checks of
        // the bundle say what is missing.
        if fill(&mut bytes, layout::PREFIX)? {
            return Ok(Source::Read(bytes));
        }
        let stated = match layout::stated(&bytes) {
            Ok(stated) => stated,
            Err(problem) => return fail(problem),
        };
        if fill(&mut bytes, stated.header_end)? {
            return Ok(Source::Read(bytes));
        }
        // Before a length is believed, the hash over it is checked.
        if let Err(problem) = layout::header(&bytes, &stated) {
            return fail(problem);
        }
        let size = stated.file_length;
        match length {
            Some(length) if length < size => {
                return fail(BundleError::Truncated { what: "the bundle", expected: size, found: length });
            }
            Some(length) if length > size => return fail(BundleError::TrailingBytes { extra: length - size }),
            _ => {}
        }
        let limit = limit.min(usize::MAX as u64);
        if size > limit {
            return fail(too_long(size, limit));
        }
        // One byte more would be one too many, and the checks count it so.
        fill(&mut bytes, size.saturating_add(1))?;
        Ok(Source::Read(bytes))
    }
}

fn too_long(found: u64, limit: u64) -> BundleError {
    BundleError::LimitExceeded { what: "the length of the bundle".to_owned(), found, limit }
}

/// Reads until there are `to` bytes; true if the stream ended before. Memory
/// is at most twice what the stream has really given.
fn fill(reader: &mut impl Read, bytes: &mut Vec<u8>, to: u64) -> io::Result<bool> {
    let mut chunk = vec![0; CHUNK];
    while (bytes.len() as u64) < to {
        let left = usize::try_from(to - bytes.len() as u64).unwrap_or(usize::MAX);
        let want = left.min(CHUNK);
        match reader.read(&mut chunk[..want]) {
            Ok(0) => return Ok(true),
            Ok(got) if got > want => {
                return Err(io::Error::other("the reader says it gave more bytes than it was asked for"));
            }
            Ok(got) => {
                if bytes.capacity() - bytes.len() < got {
                    bytes.try_reserve_exact(left.min(bytes.len().max(CHUNK)))?;
                }
                bytes.extend_from_slice(&chunk[..got]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Not [`Error::io`], whose words for a missing file are about paths.
fn failed(name: &str, source: io::Error) -> Error {
    Error::Io { action: "read", path: PathBuf::from(name), source }
}

/// A part of a file. Where the system allows it, reading does not move the
/// file's own position, which others may share.
struct Part {
    file: File,
    at: u64,
    left: u64,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let got = read_at(&self.file, &mut buffer[..room], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(at))?;
    file.read(buffer)
}
