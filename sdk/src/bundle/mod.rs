//! Reading and writing `.limbeck` bundles: one file with everything a model
//! needs.
//!
//! The format is on one page, `docs/bundle-format.md`; what may change in it
//! and what may not is in `COMPATIBILITY.md`.

mod calibration;
pub(crate) mod check;
#[cfg(test)]
mod damage_tests;
mod encryption;
#[cfg(test)]
mod encryption_tests;
mod error;
mod generation;
mod hex;
pub(crate) mod json;
mod key;
mod kind;
mod layout;
mod manifest;
mod options;
mod reader;
mod self_test;
mod signature;
#[cfg(test)]
mod signature_tests;
mod source;
#[cfg(test)]
mod source_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::manifest as test_manifest;
mod writer;

pub use calibration::Calibration;
pub use error::BundleError;
pub use generation::{LOGITS_FROM, POSITION_IDS, generation_tensors, past_name, present_name};
pub use key::{PublicKey, SigningKey};
pub use kind::SectionKind;
pub use manifest::{
    Activation, Architecture, Batching, ElementType, EmbeddingSpec, EntailmentSpec, GenerationSpec, Latency, Manifest,
    Pooling, Provenance, Quality, Quantization, Requires, TagScheme, Task, TensorSpec, TokenizerSpec,
};
pub use options::BundleOptions;
pub use reader::Bundle;
pub use self_test::{SelfTest, SelfTestVector};
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
/// Name of the section with inputs and expected outputs.
pub const SELF_TEST: &str = "selftest.json";
/// Name of the calibration's section.
pub const CALIBRATION: &str = "calibration.json";
/// Name of the signatures' section.
pub const SIGNATURE: &str = "signature.json";

/// One section of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SectionInfo {
    /// Name, unique in the bundle.
    pub name: String,
    /// What it holds.
    pub kind: SectionKind,
    /// Offset of its first byte from the start of the file.
    pub offset: u64,
    /// Length in bytes, as it is stored.
    pub length: u64,
    /// SHA-256 of its bytes as they are stored.
    pub sha256: [u8; 32],
    /// Whether a reader that does not know the kind must refuse the bundle.
    pub required: bool,
    /// What its offset is a multiple of.
    pub align: u64,
    /// Whether the stored bytes have to be decrypted by the caller.
    pub encrypted: bool,
}
