//! What is fed to a causal model from token to token: one place for the library, its checks and those who write graphs.

use super::check::{ATTENTION_MASK, INPUT_IDS};
use super::{ElementType, TensorSpec};

/// The input, int64 `[1]`, that says from which token of a run on logits are given.
pub const LOGITS_FROM: &str = "logits_from";

/// The input with the keys (`kind` "key") or values ("value") of earlier tokens, `[batch, heads, past, head_size]`.
pub fn past_name(kind: &str, layer: usize) -> String {
    format!("past_{kind}.{layer}")
}

/// The output with those of all tokens, `[batch, heads, past + length, head_size]`.
pub fn present_name(kind: &str, layer: usize) -> String {
    format!("present_{kind}.{layer}")
}

/// The inputs of a causal model of so many layers, in their order, and its outputs after the logits. One without a mask
/// takes whole rows alone.
pub fn generation_tensors(layers: usize, mask: bool) -> (Vec<TensorSpec>, Vec<TensorSpec>) {
    let tensor = |name: String, element, axes: &[&str]| TensorSpec {
        name,
        element,
        axes: axes.iter().map(|&axis| axis.to_owned()).collect(),
    };
    let cached = |name, axis| tensor(name, ElementType::Float32, &["batch", "heads", axis, "head_size"]);
    let kinds = || (0..layers).flat_map(|layer| ["key", "value"].map(|kind| (kind, layer)));
    let mut inputs = vec![tensor(INPUT_IDS.into(), ElementType::Int32, &["batch", "length"])];
    if mask {
        inputs.push(tensor(ATTENTION_MASK.into(), ElementType::Int32, &["batch", "total"]));
    }
    inputs.push(tensor(LOGITS_FROM.into(), ElementType::Int64, &["one"]));
    inputs.extend(kinds().map(|(kind, layer)| cached(past_name(kind, layer), "past")));
    (inputs, kinds().map(|(kind, layer)| cached(present_name(kind, layer), "total")).collect())
}
