//! The reader.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

use super::{Manifest, SectionInfo};
use crate::Result;

/// An opened and fully verified bundle. Cheap to clone; `Send + Sync`.
#[derive(Clone, Debug)]
pub struct Bundle(());

impl Bundle {
    /// Opens a bundle file by mapping it into memory.
    pub fn open(_path: impl AsRef<Path>) -> Result<Bundle> {
        todo!()
    }
    /// Opens a bundle held in memory.
    pub fn from_bytes(_bytes: impl Into<Arc<[u8]>>) -> Result<Bundle> {
        todo!()
    }
    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        todo!()
    }
    /// The label names, in the order of the logits.
    pub fn labels(&self) -> &[String] {
        todo!()
    }
    /// All sections, in file order.
    pub fn sections(&self) -> &[SectionInfo] {
        todo!()
    }
    /// The bytes of a section by its name.
    pub fn section(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        todo!()
    }
    /// Size of the whole bundle in bytes.
    pub fn size(&self) -> u64 {
        todo!()
    }
}
