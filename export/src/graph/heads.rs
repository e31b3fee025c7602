//! Attention heads of another width than an operator takes.

use ndarray::{ArrayD, Axis, Slice};

use super::Arrays;
use crate::arch::ModelConfig;

/// `GroupQueryAttention` takes heads whose width is a multiple of this.
const STEP: usize = 8;

/// Width of a head's keys and values in the buffers of a graph of [`super::Profile::Ort`] with a cache.
pub fn kept_head_size(config: &ModelConfig) -> usize {
    config.head_size().next_multiple_of(STEP)
}

/// The weights with zeros after each head's queries, keys and values up to [`kept_head_size`]. They add nothing to
/// products of queries and keys, and give outputs of zero, which the output map has zeros for.
pub(super) fn widen(arrays: &Arrays, config: &ModelConfig) -> Arrays {
    let (heads, size, wide) = (config.attention_heads, config.head_size(), kept_head_size(config));
    let widened = |array: &ArrayD<f32>, axis: usize| {
        let mut shape = array.shape().to_vec();
        shape[axis] = heads * wide;
        let mut out = ArrayD::zeros(shape);
        for head in 0..heads {
            let from = array.slice_axis(Axis(axis), Slice::from(head * size..(head + 1) * size));
            out.slice_axis_mut(Axis(axis), Slice::from(head * wide..head * wide + size)).assign(&from);
        }
        out
    };
    let changed = |name: &str, array: &ArrayD<f32>| {
        let of_attention = name.strip_prefix("encoder.attention.").and_then(|rest| rest.split_once('.'));
        match of_attention.map(|(_, part)| part) {
            Some("output.weight") => widened(array, 1),
            Some(part) if ["query.", "key.", "value."].iter().any(|of| part.starts_with(of)) => widened(array, 0),
            _ => array.clone(),
        }
    };
    arrays.iter().map(|(name, array)| (name.clone(), changed(name, array))).collect()
}
