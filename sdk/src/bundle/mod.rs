//! Reading and writing `.limbeck` bundles.

mod error;
mod manifest;
mod reader;
mod writer;

pub use error::BundleError;
pub use manifest::{
    Activation, Architecture, Batching, ElementType, Latency, Manifest, Provenance, Quality, Quantization, Requires,
    Task, TensorSpec, TokenizerSpec,
};
pub use reader::Bundle;
pub use writer::BundleWriter;

/// Name of the manifest's section.
pub const MANIFEST: &str = "manifest.json";
/// Name of the tokenizer's section.
pub const TOKENIZER: &str = "tokenizer.json";
/// Name of the graph's section.
pub const GRAPH: &str = "model.onnx";
/// Name of the weights' section; the graph's external data refers to it.
pub const WEIGHTS: &str = "model.onnx.data";
/// Name of the labels' section.
pub const LABELS: &str = "labels.json";

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SectionKind {
    /// The [`Manifest`], as JSON.
    Manifest,
    /// A Hugging Face `tokenizer.json`.
    Tokenizer,
    /// An ONNX model.
    Graph,
    /// External data of the ONNX model.
    Weights,
    /// A JSON array of label names, in the order of the logits.
    Labels,
    /// Calibration of probabilities.
    Calibration,
    /// Inputs and expected outputs, to be run on a device.
    Selftest,
    /// The report made when the model was trained.
    Report,
    /// Licence texts.
    Licence,
    /// A signature.
    Signature,
    /// A kind this version of the library does not know.
    Other(String),
}

/// One section of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionInfo {
    /// Name, unique in the bundle.
    pub name: String,
    /// What it holds.
    pub kind: SectionKind,
    /// Offset of its first byte from the start of the file.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Whether a reader that does not know the kind must refuse the bundle.
    pub required: bool,
}
