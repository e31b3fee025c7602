//! The process-wide ONNX Runtime.

use std::path::{Path, PathBuf};

pub(crate) mod cancel;

use crate::Result;

/// The ONNX Runtime library in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// Its version: `1.24.4`.
    pub version: String,
    /// The file, or the bare name that the system's loader resolved.
    pub path: PathBuf,
}

/// Loads ONNX Runtime.
pub fn load(_path: Option<&Path>) -> Result<RuntimeInfo> {
    todo!()
}

/// The library loaded so far, if any.
pub fn loaded() -> Option<&'static RuntimeInfo> {
    todo!()
}

/// Adds a folder in which [`load`] looks for the library.
pub fn provide_search_dir(_dir: PathBuf) {
    todo!()
}
