//! The writer.

use std::path::Path;

use super::{Manifest, SectionKind};
use crate::Result;

/// Writes a bundle.
#[derive(Clone, Debug)]
pub struct BundleWriter(());

impl BundleWriter {
    /// Starts a bundle with its manifest.
    pub fn new(_manifest: Manifest) -> BundleWriter {
        todo!()
    }
    /// Adds a section.
    pub fn section(self, _kind: SectionKind, _name: impl Into<String>, _bytes: impl Into<Vec<u8>>) -> BundleWriter {
        todo!()
    }
    /// Adds the tokenizer, graph, weights and labels under their usual names.
    pub fn classifier(
        self,
        _tokenizer: Vec<u8>,
        _graph: Vec<u8>,
        _weights: Vec<u8>,
        _labels: &[String],
    ) -> BundleWriter {
        todo!()
    }
    /// Writes the bundle to a file and returns its size in bytes.
    pub fn write(&self, _path: impl AsRef<Path>) -> Result<u64> {
        todo!()
    }
    /// The bundle's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        todo!()
    }
}
