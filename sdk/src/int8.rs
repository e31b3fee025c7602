//! Encoder layers with 8-bit weights, which this library computes itself: what a graph must hold for them.
//!
//! A graph names a whole layer as one node, [`ENCODER_LAYER`] of the domain [`DOMAIN`], or [`TERNARY_ENCODER_LAYER`] with codes
//! of 2 bits; [`TERNARY_ROWS`] looks up rows of a table of such codes. An answer depends on its text
//! alone, not on batch mates, padding, threads or the processor; the weights are used where the bundle has them mapped.
//! A library that was built without the feature `int8-kernel` refuses such bundles and says so.

use crate::BundleError;
use crate::bundle::Manifest;

/// The domain of the operators.
pub const DOMAIN: &str = "ai.limbeck";
/// The version of the domain that this library computes.
pub const VERSION: u32 = 2;
/// The operator that is a whole encoder layer.
pub const ENCODER_LAYER: &str = "EncoderLayer";
/// The same layer with weights -1, 0 and 1 of 2 bits each; since version 2.
pub const TERNARY_ENCODER_LAYER: &str = "TernaryEncoderLayer";
/// Rows of a table of such weights; since version 2.
pub const TERNARY_ROWS: &str = "TernaryRows";
/// Rows of texts that a layer computes together, where a text is no longer than that: memory does not grow with the
/// batch.
pub(crate) const ROWS: usize = 256;
/// The most columns of ternary codes that a thread has as bytes at a time: the three panels of a tile of AVX-512.
pub(crate) const COLUMNS_UNPACKED: usize = 48;

#[cfg(feature = "int8-kernel")]
pub use limbeck_int8::{COLUMNS, DEPTH, PackedWeights, attention_limits};

/// The version of the domain that first has an operator, so that libraries from before refuse what they cannot compute.
pub fn version_of(operator: &str) -> u32 {
    if operator == ENCODER_LAYER { 1 } else { VERSION }
}

/// Packs codes `[inputs, outputs]`, row by row, with one scale a column.
///
/// # Errors
/// Codes or scales that do not fit each other, -128 among the codes, or more rows than sums can hold.
#[cfg(feature = "int8-kernel")]
pub fn pack(codes: &[i8], scales: &[f32]) -> crate::Result<PackedWeights> {
    limbeck_int8::pack(codes, scales).map_err(|what| crate::Error::InvalidArgument(what.0))
}

/// Ternary codes in 2 bits each, four a byte, the first in the lowest bits, as two's complement: a byte for the
/// [`DEPTH`] codes of [`PackedWeights`] that lie side by side, or for four neighbours of a row of a table, the last ones
/// filled up with 0.
///
/// # Errors
/// Codes other than -1, 0 and 1.
#[cfg(feature = "int8-kernel")]
pub fn pack_ternary(codes: &[i8]) -> crate::Result<Vec<u8>> {
    limbeck_int8::pack_ternary(codes).map_err(|what| crate::Error::InvalidArgument(what.0))
}

/// Whether a model has encoder layers of this kind.
pub(crate) fn has_layers(manifest: &Manifest) -> bool {
    uses(manifest, ENCODER_LAYER) || has_ternary_layers(manifest)
}

/// Whether it has some whose codes have 2 bits.
pub(crate) fn has_ternary_layers(manifest: &Manifest) -> bool {
    uses(manifest, TERNARY_ENCODER_LAYER)
}

fn uses(manifest: &Manifest, operator: &str) -> bool {
    manifest.operators.iter().any(|used| used.split_once(':') == Some((DOMAIN, operator)))
}

/// Whether this library computes the operators that a bundle asks for.
pub(crate) fn check(manifest: &Manifest) -> std::result::Result<(), BundleError> {
    match manifest.opset.get(DOMAIN) {
        Some(_) if !cfg!(feature = "int8-kernel") => Err(BundleError::UnknownFeature {
            what: "operators of limbeck's own, for which this one was built without the feature `int8-kernel`:",
            value: DOMAIN.to_owned(),
        }),
        Some(&version) if version > VERSION => Err(BundleError::NeedsNewer {
            what: "version",
            needed: format!("{version} of limbeck's own operators"),
            have: VERSION.to_string(),
        }),
        _ => Ok(()),
    }
}
