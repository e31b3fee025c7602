//! The writer: the same input gives the same bytes, and a bundle appears at
//! its path whole or not at all.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::encryption::{self, Encrypt, Hook};
use super::signature::{self, Entry};
use super::{
    Bundle, BundleOptions, CALIBRATION, Calibration, GRAPH, LABELS, MANIFEST, Manifest, SELF_TEST, SIGNATURE,
    SectionInfo, SectionKind, SelfTest, SigningKey, TOKENIZER, WEIGHTS, layout, source,
};
use crate::{Error, Result, files};

/// Puts a bundle together and writes it.
///
/// Nothing is checked until [`write`](BundleWriter::write) or
/// [`to_bytes`](BundleWriter::to_bytes); then the reader of this library checks
/// the outcome as it would any other bundle.
#[derive(Clone, Debug)]
pub struct BundleWriter {
    /// None if it is among the sections already.
    manifest: Option<Manifest>,
    sections: Vec<Section>,
    encrypt: Option<(Vec<SectionKind>, Hook<Encrypt>)>,
    keys: Vec<SigningKey>,
    earlier: Option<Earlier>,
}

#[derive(Clone, Debug)]
struct Section {
    kind: SectionKind,
    name: String,
    bytes: Vec<u8>,
    required: bool,
    align: u64,
    /// Whether `bytes` are encrypted.
    encrypted: bool,
}

/// The signatures of the bundle that another is made from, and their text.
#[derive(Clone, Debug)]
struct Earlier {
    message: Vec<u8>,
    entries: Vec<Entry>,
}

/// A section as it goes into the file.
struct Stored<'a> {
    info: SectionInfo,
    bytes: Cow<'a, [u8]>,
}

impl BundleWriter {
    /// Starts a bundle with its manifest, which becomes the first section.
    pub fn new(manifest: Manifest) -> BundleWriter {
        BundleWriter { manifest: Some(manifest), sections: Vec::new(), encrypt: None, keys: Vec::new(), earlier: None }
    }

    /// Starts with all sections of a bundle as they are stored, in their order,
    /// but for its signatures. Encrypted ones stay encrypted, so that a bundle
    /// can be signed without the means to decrypt it (see
    /// [`BundleOptions::keep_encrypted`]).
    ///
    /// The signatures of other keys come back if the new bundle is
    /// [signed](BundleWriter::sign) and has no other content than the old one.
    pub fn from_bundle(bundle: &Bundle) -> BundleWriter {
        let section = |info: &SectionInfo| Section {
            kind: info.kind.clone(),
            name: info.name.clone(),
            bytes: bundle.stored(info).to_vec(),
            required: info.required,
            align: info.align,
            encrypted: info.encrypted,
        };
        let (signatures, sections): (Vec<_>, Vec<_>) =
            bundle.sections().iter().partition(|info| info.kind == SectionKind::Signature);
        let earlier = signatures.first().and_then(|info| {
            // What cannot be read is of no worth to anybody.
            let entries = signature::read(bundle.stored(info)).ok()?;
            Some(Earlier { message: signature::message(bundle.sections()).ok()?, entries })
        });
        let sections = sections.into_iter().map(section).collect();
        BundleWriter { manifest: None, sections, encrypt: None, keys: Vec::new(), earlier }
    }

    /// Adds a section. Sections stand in the file in the order they are added;
    /// weights begin at a multiple of 16 KiB, all others at one of 64.
    ///
    /// Sections that a reader may skip are of the kinds calibration, selftest,
    /// report, licence and those unknown to this version.
    pub fn section(mut self, kind: SectionKind, name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> BundleWriter {
        let required = matches!(
            kind,
            SectionKind::Manifest
                | SectionKind::Tokenizer
                | SectionKind::Graph
                | SectionKind::Weights
                | SectionKind::Labels
                | SectionKind::Signature
        );
        let align = kind.default_alignment();
        let (name, bytes) = (name.into(), bytes.into());
        self.sections.push(Section { kind, name, bytes, required, align, encrypted: false });
        self
    }

    /// Encrypts the sections of these kinds when the bundle is written, whether
    /// they are added before or after this call. The hook gets a section's
    /// name, kind and content and returns the bytes to store, or in words why
    /// it cannot; [`BundleOptions::decrypt`] is its counterpart. Manifest and
    /// signature may not be encrypted.
    pub fn encrypt(
        mut self,
        kinds: impl IntoIterator<Item = SectionKind>,
        hook: impl Fn(&str, &SectionKind, &[u8]) -> std::result::Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> BundleWriter {
        self.encrypt = Some((kinds.into_iter().collect(), Hook(Arc::new(hook))));
        self
    }

    /// Signs the bundle when it is written. Several keys may sign; the section
    /// `signature.json` becomes the last one.
    pub fn sign(mut self, key: &SigningKey) -> BundleWriter {
        self.keys.push(key.clone());
        self
    }

    /// Adds what every model has, under the names the reader expects: `tokenizer.json`, the ONNX graph and its
    /// external data (the graph refers to it as `model.onnx.data`).
    pub fn model(
        self,
        tokenizer: impl Into<Vec<u8>>,
        graph: impl Into<Vec<u8>>,
        weights: impl Into<Vec<u8>>,
    ) -> BundleWriter {
        self.section(SectionKind::Tokenizer, TOKENIZER, tokenizer).graph(graph, weights)
    }

    fn graph(self, graph: impl Into<Vec<u8>>, weights: impl Into<Vec<u8>>) -> BundleWriter {
        self.section(SectionKind::Graph, GRAPH, graph).section(SectionKind::Weights, WEIGHTS, weights)
    }

    /// [`model`](BundleWriter::model) and [`labels`](BundleWriter::labels) in one.
    pub fn classifier(
        self,
        tokenizer: impl Into<Vec<u8>>,
        graph: impl Into<Vec<u8>>,
        weights: impl Into<Vec<u8>>,
        labels: &[String],
    ) -> BundleWriter {
        self.section(SectionKind::Tokenizer, TOKENIZER, tokenizer).labels(labels).graph(graph, weights)
    }

    /// Adds the label names, in the order of the logits.
    pub fn labels(self, labels: &[String]) -> BundleWriter {
        self.section(SectionKind::Labels, LABELS, serde_json::Value::from(labels.to_vec()).to_string())
    }

    /// Adds how logits become probabilities and decisions, in place of what there is.
    pub fn calibration(mut self, calibration: &Calibration) -> BundleWriter {
        // Text and finite numbers alone; what is not finite becomes null, which the reader refuses.
        let json = serde_json::to_vec(calibration).unwrap_or_default();
        self.sections.retain(|section| section.kind != SectionKind::Calibration);
        self.section(SectionKind::Calibration, CALIBRATION, json)
    }

    /// Adds inputs with the outputs expected of them, in place of those there are.
    pub fn self_test(mut self, self_test: &SelfTest) -> BundleWriter {
        let json = serde_json::to_vec(self_test).unwrap_or_default();
        self.sections.retain(|section| section.kind != SectionKind::Selftest);
        self.section(SectionKind::Selftest, SELF_TEST, json)
    }

    /// Writes the bundle and returns its size in bytes.
    ///
    /// The bytes go to a new file in the same folder, are flushed to the disk
    /// and checked, and only then does the file get its name. If anything
    /// fails, what was at `path` before is still there, unchanged.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be written, [`Error::Bundle`] when
    /// the parts do not make a valid bundle or cannot be signed,
    /// [`Error::InvalidArgument`] when a section cannot be encrypted.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<u64> {
        let path = path.as_ref();
        // What is wrong with the parts is not told by an I/O error.
        let (mut size, mut mistake) = (0, None);
        files::write(
            path,
            |out| match self.write_to(out) {
                Ok(written) => written.map(|written| size = written),
                Err(error) => {
                    mistake = Some(error);
                    Err(std::io::ErrorKind::InvalidInput.into())
                }
            },
            |written| self.reading().open_as(written, path.display().to_string()).map(drop),
        )
        .map_err(|error| mistake.unwrap_or(error))?;
        Ok(size)
    }

    /// The bundle's bytes.
    ///
    /// # Errors
    /// Those of [`write`](BundleWriter::write) but for the file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?.map_err(|error| Error::Internal(error.to_string()))?;
        Bundle::check_bytes(&bytes, &self.reading())?;
        Ok(bytes)
    }

    /// How to read what was written. Of what was encrypted here the reader gets
    /// the parts that it looks into.
    fn reading(&self) -> BundleOptions {
        let looked_into = |section: &&Section| matches!(section.kind, SectionKind::Labels | SectionKind::Calibration);
        let known = self.sections.iter().filter(looked_into).filter(|section| !section.encrypted);
        let known = known.map(|section| (section.name.clone(), section.bytes.clone())).collect();
        BundleOptions::default().keep_encrypted_but(known)
    }

    fn write_to(&self, mut out: impl Write) -> Result<std::io::Result<u64>> {
        let mut sections = self.stored()?;
        let (header, file_length) = plan(&mut sections)?;
        Ok((|| {
            let mut at = 0;
            let mut put = |bytes: &[u8]| {
                at += bytes.len() as u64;
                out.write_all(bytes).map(|()| at)
            };
            put(&layout::prefix(&header, file_length))?;
            let mut end = put(&header)?;
            for section in &sections {
                put(&vec![0; (section.info.offset - end) as usize])?;
                end = put(&section.bytes)?;
            }
            out.flush()?;
            Ok(end)
        })())
    }

    /// All sections, encrypted and signed as asked for.
    fn stored(&self) -> Result<Vec<Stored<'_>>> {
        let problem = |problem| Error::Bundle { bundle: source::MEMORY.to_owned(), problem };
        let kinds = self.encrypt.iter().flat_map(|(kinds, _)| kinds);
        if let Some(kind) = kinds.into_iter().find(|kind| !encryption::allowed(kind)) {
            let kind = kind.name();
            return Err(Error::InvalidArgument(format!("sections of the kind `{kind}` may not be encrypted")));
        }
        let mut stored = Vec::with_capacity(self.sections.len() + 2);
        if let Some(manifest) = &self.manifest {
            let bytes = serde_json::to_vec(manifest).map_err(|error| {
                // Serialising fails only for maps whose keys are not text.
                Error::Internal(format!("cannot write the manifest as JSON: {error}"))
            })?;
            stored.push(Stored::new(SectionKind::Manifest, MANIFEST, bytes.into(), layout::MIN_ALIGNMENT));
        }
        for section in &self.sections {
            let (bytes, encrypted) = match (section.encrypted, &self.encrypt) {
                (false, Some((kinds, hook))) if kinds.contains(&section.kind) => {
                    (BundleWriter::encrypted(section, hook)?, true)
                }
                (encrypted, _) => (Cow::Borrowed(section.bytes.as_slice()), encrypted),
            };
            let mut entry = Stored::new(section.kind.clone(), &section.name, bytes, section.align);
            (entry.info.required, entry.info.encrypted) = (section.required, encrypted);
            stored.push(entry);
        }
        if !self.keys.is_empty() {
            let message = signature::message(stored.iter().map(|section| &section.info)).map_err(problem)?;
            let mut entries: Vec<Entry> = match &self.earlier {
                Some(earlier) if earlier.message == message => earlier.entries.clone(),
                _ => Vec::new(),
            };
            for key in &self.keys {
                let entry = Entry::new(key, &message);
                entries.retain(|other| !other.same_key(&entry));
                entries.push(entry);
            }
            let bytes = signature::write(entries)?;
            // Asked of the reader's own rules, which opening a bundle does not go by.
            signature::read(&bytes).map_err(problem)?;
            stored.push(Stored::new(SectionKind::Signature, SIGNATURE, bytes.into(), layout::MIN_ALIGNMENT));
        }
        Ok(stored)
    }

    fn encrypted(section: &Section, hook: &Hook<Encrypt>) -> Result<Cow<'static, [u8]>> {
        match (hook.0)(&section.name, &section.kind, &section.bytes) {
            Ok(bytes) => Ok(bytes.into()),
            Err(reason) => {
                Err(Error::InvalidArgument(format!("the section `{}` could not be encrypted: {reason}", section.name)))
            }
        }
    }
}

impl<'a> Stored<'a> {
    fn new(kind: SectionKind, name: &str, bytes: Cow<'a, [u8]>, align: u64) -> Stored<'a> {
        let info = SectionInfo {
            name: name.to_owned(),
            kind,
            offset: 0,
            length: bytes.len() as u64,
            sha256: Sha256::digest(&bytes).into(),
            required: true,
            align,
            encrypted: false,
        };
        Stored { info, bytes }
    }
}

/// Gives each section its offset; returns the header and the length of the file.
fn plan(sections: &mut [Stored<'_>]) -> Result<(Vec<u8>, u64)> {
    let mut header = Vec::new();
    // The offsets in the header depend on its length, and its length on their
    // digits. Both only grow from one round to the next, so this settles.
    loop {
        let mut end = layout::PREFIX + header.len() as u64;
        for Stored { info, .. } in sections.iter_mut() {
            info.offset = layout::align_up(end, info.align)
                .ok_or_else(|| Error::InvalidArgument("the bundle would be larger than any file".to_owned()))?;
            end = info.offset + info.length;
        }
        let entries = sections.iter().map(|section| layout::HeaderSection::of(&section.info)).collect();
        let next = serde_json::to_vec(&layout::Header { sections: entries })
            .map_err(|error| Error::Internal(format!("cannot write the header as JSON: {error}")))?;
        if next.len() == header.len() {
            return Ok((next, end));
        }
        header = next;
    }
}

#[cfg(test)]
impl BundleWriter {
    /// The bytes, right or wrong.
    pub(super) fn unchecked_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes).unwrap().unwrap();
        bytes
    }

    /// Replaces the text of the manifest of another bundle.
    pub(super) fn with_manifest_text(mut self, text: &str) -> BundleWriter {
        let manifest = self.sections.iter_mut().find(|section| section.kind == SectionKind::Manifest);
        manifest.unwrap().bytes = text.as_bytes().to_vec();
        self
    }
}
