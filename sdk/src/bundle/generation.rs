//! What is fed to a causal model from token to token: one place for the library, its checks and those who write graphs.

use super::check::INPUT_IDS;
use super::{ElementType, TensorSpec};

/// The input, int32 `[batch, length]`, that says where each token stands in its text: keys and values of those before
/// a row's first one are in the buffers, and there the row's own are put. A run of several tokens has one row.
pub const POSITION_IDS: &str = "position_ids";

/// The input, int64 `[1]`, that says from which token of a run on logits are given.
pub const LOGITS_FROM: &str = "logits_from";

/// The input with the keys (`kind` "key") or values ("value") of earlier tokens, `[batch, heads, room, head_size]`.
pub fn past_name(kind: &str, layer: usize) -> String {
    format!("past_{kind}.{layer}")
}

/// The output with those of all tokens, of the same shape and in the same memory.
pub fn present_name(kind: &str, layer: usize) -> String {
    format!("present_{kind}.{layer}")
}

/// The inputs of a causal model of so many layers, in their order, and its outputs after the logits.
pub fn generation_tensors(layers: usize) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    let tensor = |name: String, element, axes: &[&str]| TensorSpec {
        name,
        element,
        axes: axes.iter().map(|&axis| axis.to_owned()).collect(),
    };
    let kept = |name| tensor(name, ElementType::Float32, &["batch", "heads", "room", "head_size"]);
    let kinds = || (0..layers).flat_map(|layer| ["key", "value"].map(|kind| (kind, layer)));
    let tokens = |name: &str| tensor(name.into(), ElementType::Int32, &["batch", "length"]);
    let mut inputs = vec![tokens(INPUT_IDS), tokens(POSITION_IDS)];
    inputs.push(tensor(LOGITS_FROM.into(), ElementType::Int64, &["one"]));
    inputs.extend(kinds().map(|(kind, layer)| kept(past_name(kind, layer))));
    (inputs, kinds().map(|(kind, layer)| kept(present_name(kind, layer))).collect())
}
