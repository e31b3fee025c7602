//! The reader: opens a bundle and checks all of it.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{
    BundleError, CALIBRATION, Calibration, LABELS, MANIFEST, Manifest, Requires, SELF_TEST, SectionInfo, SectionKind,
    SelfTest, check, json, layout,
};
use crate::{Error, Result};

const MAX_MANIFEST: u64 = 1 << 20;

/// An opened bundle, every byte of which was checked. Cheap to clone (the
/// clones share one mapping) and usable from any thread.
#[derive(Clone, Debug)]
pub struct Bundle {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    bytes: Source,
    sections: Vec<SectionInfo>,
    content: Content,
}

/// The parts that are read when a bundle is opened.
#[derive(Debug)]
struct Content {
    manifest: Manifest,
    labels: Vec<String>,
    calibration: Calibration,
}

#[derive(Debug)]
enum Source {
    Mapped(memmap2::Mmap),
    Owned(Arc<[u8]>),
}

impl Source {
    fn as_slice(&self) -> &[u8] {
        match self {
            Source::Mapped(map) => map,
            Source::Owned(bytes) => bytes,
        }
    }
}

impl Bundle {
    /// Opens a bundle file by mapping it into memory, and checks all of it:
    /// layout, hashes, manifest, labels.
    ///
    /// While a bundle is open its file must not be changed or shortened in
    /// place: as with any mapped file, the operating system then ends the
    /// program that reads it. To replace a bundle, write the new one beside it
    /// and rename, as [`BundleWriter`](super::BundleWriter) does.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Io`] for the file, [`Error::Bundle`]
    /// for what is in it.
    pub fn open(path: impl AsRef<Path>) -> Result<Bundle> {
        let path = path.as_ref();
        Bundle::open_as(path, path.display().to_string())
    }

    /// Opens the file at `path` and calls it `name` in error messages.
    pub(super) fn open_as(path: &Path, name: String) -> Result<Bundle> {
        // Asked before opening, because opening a pipe waits for a writer.
        let metadata = fs::metadata(path).map_err(|source| Error::io("read", path, source))?;
        if !metadata.is_file() {
            let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "it is not a regular file");
            return Err(Error::Io { action: "read", path: path.to_owned(), source });
        }
        let file = fs::File::open(path).map_err(|source| Error::io("read", path, source))?;
        // SAFETY: the mapping is read-only and private to this process. That
        // nobody changes the file under it cannot be enforced by a library; the
        // documentation of `open` asks for it, and our own writer renames.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(|source| Error::io("read", path, source))?;
        Bundle::check(name, Source::Mapped(map))
    }

    /// Opens a bundle held in memory, with the same checks as [`Bundle::open`].
    ///
    /// # Errors
    /// [`Error::Bundle`] for what is in it.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Bundle> {
        Bundle::check("<memory>".to_owned(), Source::Owned(bytes.into()))
    }

    pub(super) fn check_bytes(bytes: &[u8]) -> Result<()> {
        match read(bytes) {
            Ok(_) => Ok(()),
            Err(problem) => Err(Error::Bundle { bundle: "<memory>".to_owned(), problem }),
        }
    }

    fn check(name: String, bytes: Source) -> Result<Bundle> {
        match read(bytes.as_slice()) {
            Ok((sections, content)) => Ok(Bundle { inner: Arc::new(Inner { name, bytes, sections, content }) }),
            Err(problem) => Err(Error::Bundle { bundle: name, problem }),
        }
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.content.manifest
    }

    /// The label names, in the order of the logits; empty if the task has none.
    pub fn labels(&self) -> &[String] {
        &self.inner.content.labels
    }

    /// How logits become probabilities and decisions; the defaults if the bundle does not say.
    pub fn calibration(&self) -> &Calibration {
        &self.inner.content.calibration
    }

    /// Inputs and expected outputs, if the bundle has some.
    ///
    /// # Errors
    /// [`Error::Bundle`] if the section cannot be read.
    pub fn self_test(&self) -> Result<Option<SelfTest>> {
        let Some(bytes) = self.bytes_of(SELF_TEST) else { return Ok(None) };
        let read = || {
            let self_test: SelfTest = json::parse("the self-test", bytes)?;
            self_test.check().map(|()| self_test)
        };
        read().map(Some).map_err(|problem| self.error(problem))
    }

    /// All sections, in file order.
    pub fn sections(&self) -> &[SectionInfo] {
        &self.inner.sections
    }

    /// The bytes of a section, by its name.
    pub fn section(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.bytes_of(name).map(Cow::Borrowed)
    }

    /// Size of the whole bundle in bytes.
    pub fn size(&self) -> u64 {
        self.inner.bytes.as_slice().len() as u64
    }

    /// The path it was opened from, or `<memory>`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn bytes_of(&self, name: &str) -> Option<&[u8]> {
        let section = self.inner.sections.iter().find(|section| section.name == name)?;
        Some(slice(self.inner.bytes.as_slice(), section))
    }

    pub(crate) fn error(&self, problem: BundleError) -> Error {
        Error::Bundle { bundle: self.inner.name.clone(), problem }
    }
}

fn read(bytes: &[u8]) -> Result<(Vec<SectionInfo>, Content), BundleError> {
    let (sections, header_end) = layout::read(bytes)?;
    check_gaps(bytes, &sections, header_end)?;
    for section in &sections {
        if Sha256::digest(slice(bytes, section)) != section.sha256 {
            return Err(BundleError::HashMismatch { what: format!("the section `{}`", section.name) });
        }
    }
    let manifest = find(&sections, SectionKind::Manifest, MANIFEST, "manifest")?;
    if manifest.length > MAX_MANIFEST {
        return Err(BundleError::LimitExceeded {
            what: "the length of the manifest".to_owned(),
            found: manifest.length,
            limit: MAX_MANIFEST,
        });
    }
    let manifest = read_manifest(slice(bytes, manifest))?;
    check::manifest(&manifest)?;
    for (kind, name, kind_name) in check::sections_of(&manifest.task) {
        find(&sections, kind, name, kind_name)?;
    }
    let labels = match sections.iter().find(|section| section.kind == SectionKind::Labels) {
        Some(_) => {
            let section = find(&sections, SectionKind::Labels, LABELS, "labels")?;
            let labels: Vec<String> = json::parse("the list of labels", slice(bytes, section))?;
            check::labels(&labels, &manifest)?;
            labels
        }
        None => Vec::new(),
    };
    let calibration = match sections.iter().any(|section| section.kind == SectionKind::Calibration) {
        true => {
            let section = find(&sections, SectionKind::Calibration, CALIBRATION, "calibration")?;
            let calibration: Calibration = json::parse("the calibration", slice(bytes, section))?;
            calibration.check(labels.len())?;
            calibration
        }
        false => Calibration::default(),
    };
    Ok((sections, Content { manifest, labels, calibration }))
}

fn read_manifest(bytes: &[u8]) -> Result<Manifest, BundleError> {
    #[derive(serde::Deserialize)]
    struct Peek {
        requires: Requires,
    }
    json::parse("the manifest", bytes).map_err(|error| match error {
        // A manifest of a later version may have values that do not parse
        // here. Then its version is the news, not the place of the failure.
        BundleError::Json { .. } => serde_json::from_slice::<Peek>(bytes)
            .ok()
            .and_then(|peek| check::library_version(&peek.requires).err())
            .unwrap_or(error),
        other => other,
    })
}

/// The bytes of a section. `layout::read` has checked that it lies in the file.
fn slice<'a>(bytes: &'a [u8], section: &SectionInfo) -> &'a [u8] {
    bytes.get(section.offset as usize..(section.offset + section.length) as usize).unwrap_or_default()
}

/// The one section of a kind, which must have the name given.
fn find<'a>(
    sections: &'a [SectionInfo],
    kind: SectionKind,
    name: &'static str,
    kind_name: &'static str,
) -> Result<&'a SectionInfo, BundleError> {
    let mut of_kind = sections.iter().filter(|section| section.kind == kind);
    match (of_kind.next(), of_kind.next()) {
        (Some(section), None) if section.name == name => Ok(section),
        (Some(_), Some(_)) => Err(BundleError::RepeatedSection { kind: kind_name }),
        _ => Err(BundleError::MissingSection { name, kind: kind_name }),
    }
}

/// Gaps are the one place the hashes do not cover: nothing may hide there.
fn check_gaps(bytes: &[u8], sections: &[SectionInfo], header_end: u64) -> Result<(), BundleError> {
    let mut end = header_end;
    for section in sections {
        let gap = bytes.get(end as usize..section.offset as usize).unwrap_or_default();
        if gap.iter().any(|&byte| byte != 0) {
            return Err(BundleError::GapBytes { name: section.name.clone() });
        }
        end = section.offset + section.length;
    }
    Ok(())
}
