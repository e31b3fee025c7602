//! Operators that a graph may have: those of ONNX, limbeck's own, and of ONNX Runtime's those that limbeck writes.
//!
//! ONNX Runtime has hundreds more, some of which trust what they are told: `SparseAttention` and
//! `DecoderMaskedMultiHeadAttention` write to keys and values at lengths that nobody checks, and those of its inner domains
//! are made by its optimizer alone. A bundle needs none of them.

use super::places::Node;
use super::{problem, short};
use crate::BundleError;
use crate::int8::DOMAIN;

const OF_ONNX_RUNTIME: [&[u8]; 10] = [
    b"BiasGelu",
    b"DynamicQuantizeMatMul",
    b"FastGelu",
    b"GatherBlockQuantized",
    b"Gelu",
    b"GroupQueryAttention",
    b"MatMulIntegerToFloat",
    b"MatMulNBits",
    b"MultiHeadAttention",
    b"SkipLayerNormalization",
];

/// Inputs of `MultiHeadAttention` before those that say where keys and values are put.
const MULTI_HEAD_INPUTS: usize = 8;

/// Refuses a node of an operator that no bundle needs.
pub(super) fn check(node: &Node) -> Result<(), BundleError> {
    let known = match node.domain {
        b"" | b"ai.onnx" => true,
        b"com.microsoft" => {
            OF_ONNX_RUNTIME.contains(&node.operator)
                && (node.operator != b"MultiHeadAttention" || node.inputs.len() <= MULTI_HEAD_INPUTS)
        }
        domain => domain == DOMAIN.as_bytes(),
    };
    if known {
        return Ok(());
    }
    let name = [node.domain, node.operator].map(|part| short(&String::from_utf8_lossy(part)).to_string());
    Err(problem(&format!("the operator `{}` of `{}` is none that a bundle may have", name[1], name[0])))
}
