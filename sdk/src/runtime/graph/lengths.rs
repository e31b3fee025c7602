//! Which tensors of a graph have a run's texts and tokens as their first two axes.
//!
//! `[batch, length, any]` are the rows that a table gives for `input_ids` or `position_ids`, and what is computed of such
//! tensors by operators that leave the first two axes as they are. What is not known to be of that kind counts as another:
//! so a node is refused, at worst, that would have been right.

use std::collections::{HashMap, HashSet};

use super::places::Node;
use crate::bundle::POSITION_IDS;
use crate::bundle::check::INPUT_IDS;
use crate::int8::{DOMAIN, TERNARY_ROWS};

const CONTRIB: &[u8] = b"com.microsoft";

/// What is known of tensors, by name.
#[derive(Default)]
pub(super) struct Lengths<'a> {
    /// `[batch, length, any]`.
    of_tokens: HashSet<&'a [u8]>,
    /// `[batch, length, blocks, size]`: rows that are stored in blocks.
    of_blocks: HashSet<&'a [u8]>,
    /// Number of axes of what does not change.
    constants: HashMap<&'a [u8], usize>,
    /// The values of lists of a few whole numbers.
    lists: HashMap<&'a [u8], Vec<i64>>,
}

impl<'a> Lengths<'a> {
    /// A tensor that does not change, with its values if they are a few whole numbers.
    pub(super) fn constant(&mut self, name: &'a [u8], axes: usize, numbers: Option<Vec<i64>>) {
        self.constants.insert(name, axes);
        if let (1, Some(numbers)) = (axes, numbers) {
            self.lists.insert(name, numbers);
        }
    }

    pub(super) fn of_tokens(&mut self, name: &'a [u8]) {
        self.of_tokens.insert(name);
    }

    pub(super) fn is_of_tokens(&self, name: &[u8]) -> bool {
        self.of_tokens.contains(name)
    }

    fn is_constant(&self, name: &[u8], axes: impl Fn(usize) -> bool) -> bool {
        self.constants.get(name).is_some_and(|&found| axes(found))
    }

    /// Learns what a node gives. `inputs` are the graph's own.
    pub(super) fn node(&mut self, node: &Node<'a>, inputs: &HashSet<&[u8]>) {
        let Some(&output) = node.outputs.first() else { return };
        let first = node.input(0);
        if let (Some(&axes), true) = (self.constants.get(first), keeps_axes(node)) {
            // Weights that are stored in another type.
            self.constants.insert(output, axes);
            return;
        }
        if (node.domain, node.operator) == (CONTRIB, b"GatherBlockQuantized") {
            let rows = self.is_constant(first, |axes| axes == 3) && self.is_ids(node.input(1), inputs);
            if rows && matches!(node.attribute(b"gather_axis"), Some(0)) {
                self.of_blocks.insert(output);
            }
            return;
        }
        if self.gives_of_tokens(node, inputs) {
            let all = node.operator == b"Split";
            self.of_tokens.extend(node.outputs.iter().take(if all { usize::MAX } else { 1 }));
        }
    }

    fn is_ids(&self, name: &[u8], inputs: &HashSet<&[u8]>) -> bool {
        [INPUT_IDS, POSITION_IDS].map(str::as_bytes).contains(&name) && inputs.contains(name)
    }

    fn gives_of_tokens(&self, node: &Node, inputs: &HashSet<&[u8]>) -> bool {
        let first = node.input(0);
        let own = self.is_of_tokens(first);
        let ids = |name: &[u8]| self.is_ids(name, inputs);
        let list = |number: usize| self.lists.get(node.input(number)).map(Vec::as_slice);
        // A vector lies along the last axis.
        let vector = |name: &[u8]| name.is_empty() || self.is_constant(name, |axes| axes <= 1);
        let matrix = |name: &[u8]| self.is_constant(name, |axes| axes == 2);
        let last_axis = || matches!(node.attribute(b"axis"), Some(2 | -1));
        let domain = node.domain;
        if domain == DOMAIN.as_bytes() {
            return node.operator == TERNARY_ROWS.as_bytes() && ids(first);
        }
        if domain == CONTRIB {
            return match node.operator {
                b"Gelu" | b"MatMulNBits" | b"SkipLayerNormalization" => own,
                b"BiasGelu" | b"FastGelu" => own && vector(node.input(1)),
                b"DynamicQuantizeMatMul" | b"MatMulIntegerToFloat" => own && matrix(node.input(1)),
                _ => false,
            };
        }
        if !domain.is_empty() {
            return false;
        }
        match node.operator {
            b"Gather" => matrix(first) && ids(node.input(1)) && matches!(node.attribute(b"axis"), None | Some(0)),
            b"MatMul" | b"MatMulInteger" => own && matrix(node.input(1)),
            b"Add" | b"Sub" | b"Mul" | b"Div" | b"Pow" => {
                let [a, b] = [first, node.input(1)];
                own && (vector(b) || self.is_of_tokens(b)) || self.is_of_tokens(b) && vector(a)
            }
            b"Concat" => last_axis() && node.inputs.iter().all(|input| self.is_of_tokens(input)),
            b"Split" => own && last_axis(),
            // 0 takes over an axis as it is.
            b"Reshape" => {
                (own || self.of_blocks.contains(first))
                    && node.attribute(b"allowzero").is_none()
                    && matches!(list(1), Some([0, 0, last]) if *last > 0)
            }
            b"Slice" => own && matches!(list(3), Some([2 | -1])),
            b"LayerNormalization"
            | b"Gelu"
            | b"Tanh"
            | b"Erf"
            | b"Sigmoid"
            | b"Relu"
            | b"Sqrt"
            | b"Cast"
            | b"Identity"
            | b"DynamicQuantizeLinear" => own,
            b"QuantizeLinear" | b"DequantizeLinear" => own && vector(node.input(1)),
            _ => false,
        }
    }
}

/// Whether what a node gives has as many axes as its first input.
fn keeps_axes(node: &Node) -> bool {
    node.domain.is_empty() && matches!(node.operator, b"Cast" | b"Identity" | b"DequantizeLinear" | b"Transpose")
}
