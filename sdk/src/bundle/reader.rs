//! The reader: opens a bundle and checks all of it.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::source::{self, Source};
use super::{
    BundleError, BundleOptions, CALIBRATION, Calibration, LABELS, MANIFEST, Manifest, PublicKey, Requires, SELF_TEST,
    SectionInfo, SectionKind, SelfTest, check, json, layout, options, signature,
};
use crate::{Error, Result};

const MAX_MANIFEST: u64 = 1 << 20;

/// An opened bundle, every byte of which was checked. Cheap to clone (the
/// clones share one mapping) and usable from any thread.
#[derive(Clone, Debug)]
pub struct Bundle {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    bytes: Source,
    content: Content,
}

/// What a bundle's bytes say.
struct Content {
    sections: Vec<SectionInfo>,
    /// For each section what it holds, if it was encrypted and is not any more.
    decrypted: Vec<Option<Vec<u8>>>,
    manifest: Manifest,
    labels: Vec<String>,
    calibration: Calibration,
}

impl Content {
    /// What a section of the bundle `bytes` holds; none for one that is not
    /// there or was left encrypted.
    fn bytes_of<'a>(&'a self, name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let at = self.sections.iter().position(|section| section.name == name)?;
        match &self.decrypted[at] {
            None if self.sections[at].encrypted => None,
            None => Some(slice(bytes, &self.sections[at])),
            decrypted => decrypted.as_deref(),
        }
    }

    fn still_encrypted(&self) -> impl Iterator<Item = &SectionInfo> {
        let pairs = self.sections.iter().zip(&self.decrypted);
        pairs.filter(|(section, decrypted)| section.encrypted && decrypted.is_none()).map(|(section, _)| section)
    }
}

/// Not the bytes: they are many, and what was decrypted is not for logs.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Inner");
        debug.field("name", &self.name).field("sections", &self.content.sections);
        debug.field("manifest", &self.content.manifest).field("labels", &self.content.labels).finish_non_exhaustive()
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
        BundleOptions::default().open(path)
    }

    /// Settings to be changed before opening: keys to trust, a lowest build
    /// number, a way to decrypt.
    pub fn options() -> BundleOptions {
        BundleOptions::default()
    }

    /// Opens a bundle held in memory, with the same checks as [`Bundle::open`].
    ///
    /// # Errors
    /// [`Error::Bundle`] for what is in it.
    pub fn from_bytes(bytes: impl Into<Arc<[u8]>>) -> Result<Bundle> {
        BundleOptions::default().open_bytes(bytes)
    }

    /// Opens a bundle that lies in an open file: `length` bytes from `offset`
    /// on, or all up to the end of the file. So a file descriptor will do where
    /// there is no path, and an uncompressed asset inside an application's
    /// package needs no copy. The file's own position is of no matter.
    ///
    /// At an offset that is a multiple of 64 the bundle is mapped, and what
    /// [`Bundle::open`] says of changing the file holds here too. At any other
    /// it is read to memory, up to the [limit](BundleOptions::size_limit).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if offset and length reach beyond the file,
    /// [`Error::Io`] if it is no regular file or cannot be read,
    /// [`Error::Bundle`] for what is in it. Messages call it `<file>`.
    pub fn from_file(file: File, offset: u64, length: Option<u64>) -> Result<Bundle> {
        BundleOptions::default().open_file(file, offset, length)
    }

    /// Reads a bundle from a stream to memory, to the stream's end. Where the
    /// length of the stream is known, give it as `length_hint`: a bundle that
    /// says it has another is then refused before it is read.
    ///
    /// No more is read than the bundle says it has, and nothing if that is more
    /// than the [limit](BundleOptions::size_limit); memory grows with the bytes
    /// that really come. A reader that blocks makes this call wait.
    ///
    /// # Errors
    /// [`Error::Io`] if reading fails, [`Error::Bundle`] for what is in it and
    /// for a stream that ends before or goes on after the bundle does. Messages
    /// call it `<reader>`.
    pub fn from_reader(reader: impl Read, length_hint: Option<u64>) -> Result<Bundle> {
        BundleOptions::default().open_reader(reader, length_hint)
    }

    /// The check that [`BundleOptions::weights_later`] leaves out.
    pub(crate) fn check_weights(&self) -> Result<()> {
        let bytes = self.inner.bytes.as_slice();
        let mut weights = self.sections().iter().filter(|section| is_raw_weights(section));
        weights.try_for_each(|section| check_hash(bytes, section)).map_err(|problem| self.error(problem))
    }

    /// The checks alone, of bytes that stay where they are.
    pub(super) fn check_bytes(bytes: &[u8], options: &BundleOptions) -> Result<()> {
        read(source::MEMORY, bytes, options).map(drop)
    }

    pub(super) fn check(name: String, bytes: Source, options: &BundleOptions) -> Result<Bundle> {
        let content = read(&name, bytes.as_slice(), options)?;
        Ok(Bundle { inner: Arc::new(Inner { name, bytes, content }) })
    }

    /// Checks that one of `keys` signed the bundle, and returns the id of the
    /// first that did.
    ///
    /// The signature covers every section: its name, kind, place in the order,
    /// and each of its bytes. To have it checked before anything else is read,
    /// open the bundle with [`BundleOptions::trusted_keys`].
    ///
    /// # Errors
    /// [`Error::Bundle`] if the bundle is not signed, not by one of these keys,
    /// or if the signature is malformed or does not fit;
    /// [`Error::InvalidArgument`] if there is no key.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<String> {
        options::some_keys(keys)?;
        let content = signature_of(self.inner.bytes.as_slice(), self.sections());
        signature::verify(self.sections(), content, keys).map_err(|problem| self.error(problem))
    }

    /// Ids of the keys that the bundle says it is signed by; none if it is not
    /// signed. This checks no signature: [`Bundle::verify`] does.
    ///
    /// # Errors
    /// [`Error::Bundle`] if the section with the signatures is malformed.
    pub fn signers(&self) -> Result<Vec<String>> {
        let content = signature_of(self.inner.bytes.as_slice(), self.sections());
        signature::signers(content).map_err(|problem| self.error(problem))
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
        &self.inner.content.sections
    }

    /// The content of a section, by its name: decrypted, if it was encrypted.
    /// None for a section that was [left encrypted](BundleOptions::keep_encrypted).
    pub fn section(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.bytes_of(name).map(Cow::Borrowed)
    }

    /// Size of the whole bundle in bytes.
    pub fn size(&self) -> u64 {
        self.inner.bytes.as_slice().len() as u64
    }

    /// The path it was opened from, or `<memory>`, `<file>`, `<reader>`.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    pub(crate) fn bytes_of(&self, name: &str) -> Option<&[u8]> {
        self.inner.content.bytes_of(name, self.inner.bytes.as_slice())
    }

    /// The bytes of one of this bundle's sections as they are in the file.
    pub(super) fn stored(&self, section: &SectionInfo) -> &[u8] {
        slice(self.inner.bytes.as_slice(), section)
    }

    /// A section that was left encrypted.
    pub(crate) fn still_encrypted(&self) -> Option<&SectionInfo> {
        self.inner.content.still_encrypted().next()
    }

    pub(crate) fn error(&self, problem: BundleError) -> Error {
        Error::Bundle { bundle: self.inner.name.clone(), problem }
    }
}

/// Reads and checks a bundle that is called `name` in messages.
fn read(name: &str, bytes: &[u8], options: &BundleOptions) -> Result<Content> {
    let named = |problem| Error::Bundle { bundle: name.to_owned(), problem };
    let (sections, manifest) = read_outline(bytes, options).map_err(named)?;
    options.check_build(&manifest)?;
    read_content(bytes, options, sections, manifest).map_err(named)
}

/// Numbers that nobody parses. What is encrypted is checked before it is decrypted.
fn is_raw_weights(section: &SectionInfo) -> bool {
    section.kind == SectionKind::Weights && !section.encrypted
}

fn check_hash(bytes: &[u8], section: &SectionInfo) -> Result<(), BundleError> {
    match Sha256::digest(slice(bytes, section)) == section.sha256 {
        true => Ok(()),
        false => Err(BundleError::HashMismatch { what: format!("the section `{}`", section.name) }),
    }
}

/// What must be known and found right before anything is decrypted.
fn read_outline(bytes: &[u8], options: &BundleOptions) -> Result<(Vec<SectionInfo>, Manifest), BundleError> {
    let (sections, header_end) = layout::read(bytes)?;
    check_gaps(bytes, &sections, header_end)?;
    for section in &sections {
        if !(options.weights_later && is_raw_weights(section)) {
            check_hash(bytes, section)?;
        }
    }
    // From here on sections are parsed, so this is the place for signatures.
    options.check_signature(&sections, signature_of(bytes, &sections))?;
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
    Ok((sections, manifest))
}

fn read_content(
    bytes: &[u8],
    options: &BundleOptions,
    sections: Vec<SectionInfo>,
    manifest: Manifest,
) -> Result<Content, BundleError> {
    for (kind, name, kind_name) in check::sections_of(&manifest.task) {
        find(&sections, kind, name, kind_name)?;
    }
    let open = |section: &SectionInfo| match section.encrypted {
        true => options.encrypted.open(section, slice(bytes, section)),
        false => Ok(None),
    };
    let decrypted = sections.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut content =
        Content { sections, decrypted, manifest, labels: Vec::new(), calibration: Calibration::default() };
    if content.sections.iter().any(|section| section.kind == SectionKind::Labels) {
        find(&content.sections, SectionKind::Labels, LABELS, "labels")?;
        if let Some(labels) = content.bytes_of(LABELS, bytes) {
            content.labels = read_labels(labels, &content.manifest)?;
        }
    }
    if content.sections.iter().any(|section| section.kind == SectionKind::Calibration) {
        find(&content.sections, SectionKind::Calibration, CALIBRATION, "calibration")?;
        if let Some(calibration) = content.bytes_of(CALIBRATION, bytes) {
            content.calibration = json::parse("the calibration", calibration)?;
            let hidden = content.still_encrypted().any(|section| section.kind == SectionKind::Labels);
            if !hidden {
                content.calibration.check(content.labels.len())?;
            }
        }
    }
    Ok(content)
}

fn read_labels(bytes: &[u8], manifest: &Manifest) -> Result<Vec<String>, BundleError> {
    let labels: Vec<String> = json::parse("the list of labels", bytes)?;
    check::labels(&labels, manifest)?;
    Ok(labels)
}

/// The content of the section with the signatures.
fn signature_of<'a>(bytes: &'a [u8], sections: &[SectionInfo]) -> Option<&'a [u8]> {
    // `layout::read` has checked that it can only be the last.
    let last = sections.last().filter(|section| section.kind == SectionKind::Signature)?;
    Some(slice(bytes, last))
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
