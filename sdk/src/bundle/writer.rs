//! The writer: the same input gives the same bytes, and a bundle appears at
//! its path whole or not at all.

use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{
    Bundle, CALIBRATION, Calibration, GRAPH, LABELS, MANIFEST, Manifest, SELF_TEST, SectionKind, SelfTest, TOKENIZER,
    WEIGHTS, layout,
};
use crate::{Error, Result, files};

/// Puts a bundle together and writes it.
///
/// Nothing is checked until [`write`](BundleWriter::write) or
/// [`to_bytes`](BundleWriter::to_bytes); then the reader of this library checks
/// the outcome as it would any other bundle.
#[derive(Clone, Debug)]
pub struct BundleWriter {
    manifest: Manifest,
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    kind: SectionKind,
    name: String,
    bytes: Vec<u8>,
    required: bool,
}

impl BundleWriter {
    /// Starts a bundle with its manifest, which becomes the first section.
    pub fn new(manifest: Manifest) -> BundleWriter {
        BundleWriter { manifest, sections: Vec::new() }
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
        self.sections.push(Section { kind, name: name.into(), bytes: bytes.into(), required });
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

    /// Adds how logits become probabilities and decisions.
    pub fn calibration(self, calibration: &Calibration) -> BundleWriter {
        // Text and finite numbers alone; what is not finite becomes null, which the reader refuses.
        let json = serde_json::to_vec(calibration).unwrap_or_default();
        self.section(SectionKind::Calibration, CALIBRATION, json)
    }

    /// Adds inputs with the outputs expected of them.
    pub fn self_test(self, self_test: &SelfTest) -> BundleWriter {
        let json = serde_json::to_vec(self_test).unwrap_or_default();
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
    /// the parts do not make a valid bundle.
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
            |written| Bundle::open_as(written, path.display().to_string()).map(drop),
        )
        .map_err(|error| mistake.unwrap_or(error))?;
        Ok(size)
    }

    /// The bundle's bytes.
    ///
    /// # Errors
    /// [`Error::Bundle`] when the parts do not make a valid bundle.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes)?.map_err(|error| Error::Internal(error.to_string()))?;
        Bundle::check_bytes(&bytes)?;
        Ok(bytes)
    }

    fn write_to(&self, mut out: impl Write) -> Result<std::io::Result<u64>> {
        let manifest = serde_json::to_vec(&self.manifest).map_err(|error| {
            // Serialising fails only for maps whose keys are not text.
            Error::Internal(format!("cannot write the manifest as JSON: {error}"))
        })?;
        let manifest =
            Section { kind: SectionKind::Manifest, name: MANIFEST.to_owned(), bytes: manifest, required: true };
        let sections: Vec<&Section> = std::iter::once(&manifest).chain(&self.sections).collect();
        let (header, offsets, file_length) = plan(&sections)?;
        Ok((|| {
            let mut at = 0;
            let mut put = |bytes: &[u8]| {
                at += bytes.len() as u64;
                out.write_all(bytes).map(|()| at)
            };
            put(&layout::prefix(&header, file_length))?;
            let mut end = put(&header)?;
            for (section, offset) in sections.iter().zip(offsets) {
                put(&vec![0; (offset - end) as usize])?;
                end = put(&section.bytes)?;
            }
            out.flush()?;
            Ok(end)
        })())
    }
}

/// The header, the offset of each section and the length of the file.
fn plan(sections: &[&Section]) -> Result<(Vec<u8>, Vec<u64>, u64)> {
    let hashes: Vec<String> = sections.iter().map(|section| layout::to_hex(&Sha256::digest(&section.bytes))).collect();
    let mut header = Vec::new();
    // The offsets in the header depend on its length, and its length on their
    // digits. Both only grow from one round to the next, so this settles.
    loop {
        let mut end = layout::PREFIX + header.len() as u64;
        let mut offsets = Vec::with_capacity(sections.len());
        let mut entries = Vec::with_capacity(sections.len());
        for (section, sha256) in sections.iter().zip(&hashes) {
            let align = section.kind.default_alignment();
            let offset = layout::align_up(end, align)
                .ok_or_else(|| Error::InvalidArgument("the bundle would be larger than any file".to_owned()))?;
            let length = section.bytes.len() as u64;
            offsets.push(offset);
            end = offset + length;
            entries.push(layout::HeaderSection {
                name: section.name.clone(),
                kind: section.kind.name().to_owned(),
                offset,
                length,
                sha256: sha256.clone(),
                align: (align != layout::MIN_ALIGNMENT).then_some(align),
                required: section.required,
                compression: "none".to_owned(),
            });
        }
        let next = serde_json::to_vec(&layout::Header { sections: entries })
            .map_err(|error| Error::Internal(format!("cannot write the header as JSON: {error}")))?;
        if next.len() == header.len() {
            return Ok((next, offsets, end));
        }
        header = next;
    }
}
