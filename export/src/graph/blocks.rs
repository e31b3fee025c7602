//! Weights by block ([`Blocks`]): constants and the operators of ONNX Runtime that read them.

use ndarray::ArrayView2;

use super::builder::{GraphBuilder, Value};
use crate::quantize::{BlockCodes, Blocks};

/// Activations are rounded to 8 bits, block by block of each row, where the processor has kernels for that. In fp32
/// (level 0) a text of 16 tokens took twice as long with int4 and ten times with int8, and answered no better.
const ACCURACY_LEVEL: i64 = 4;

/// Maps `[out, in]` as constants.
pub(super) struct BlockMatrix {
    blocks: Blocks,
    codes: String,
    scales: String,
    zero_points: Option<String>,
    inputs: usize,
    outputs: usize,
}

impl BlockMatrix {
    /// Maps of the same input, `[out, in]` each, one below the other; quantized where `parameter` is first written.
    pub(super) fn new(graph: &mut GraphBuilder, parameter: &str, maps: &[ArrayView2<f32>], blocks: Blocks) -> Self {
        let (outputs, inputs) = (maps.iter().map(|map| map.nrows()).sum(), maps.first().map_or(0, |map| map.ncols()));
        let [codes, scales, zeros] = ["codes", "scales", "zero_points"].map(|part| format!("{parameter}.{part}"));
        let count = blocks.of(inputs);
        if !graph.has_constant(&codes) {
            let mut all = BlockCodes::default();
            maps.iter().for_each(|map| all.append(map, blocks));
            graph.bytes(&codes, &[outputs, count, blocks.bytes()], &all.codes);
            graph.floats(&scales, &[outputs, count, 1], all.scales);
            if blocks.zero_points() {
                graph.bytes(&zeros, &[all.zero_points.len()], &all.zero_points);
            }
        }
        let zero_points = blocks.zero_points().then_some(zeros);
        Self { blocks, codes, scales, zero_points, inputs, outputs }
    }

    /// `x W^T + b`.
    pub(super) fn product(&self, graph: &mut GraphBuilder, name: &str, x: &str, bias: Option<&str>) -> String {
        // A row looks its scales up as they lie; a product wants them flat.
        let flat = format!("{}.flat", self.scales);
        if !graph.has_node(&flat) {
            let all = graph.ints(&[-1]);
            graph.node(&flat, "Reshape", &[&self.scales, &all], &[]);
        }
        let mut inputs = vec![x, &self.codes, &flat];
        match (&self.zero_points, bias) {
            (zeros, Some(bias)) => inputs.extend([zeros.as_deref().unwrap_or(""), "", bias]),
            (Some(zeros), None) => inputs.push(zeros),
            (None, None) => {}
        }
        let attributes = [
            ("K", Value::Int(self.inputs as i64)),
            ("N", Value::Int(self.outputs as i64)),
            ("bits", Value::Int(self.blocks.bits().count() as i64)),
            ("block_size", Value::Int(self.blocks.size() as i64)),
            ("accuracy_level", Value::Int(ACCURACY_LEVEL)),
        ];
        graph.contrib(name, "MatMulNBits", &inputs, &attributes)
    }

    /// The maps' rows that `ids`, `[batch, length]`, name: `[batch, length, in]`. Not for zero points, which this
    /// operator wants packed otherwise.
    pub(super) fn rows(&self, graph: &mut GraphBuilder, name: &str, ids: &str) -> String {
        let attributes = [
            ("gather_axis", Value::Int(0)),
            ("quantize_axis", Value::Int(2)),
            ("block_size", Value::Int(self.blocks.size() as i64)),
            ("bits", Value::Int(self.blocks.bits().count() as i64)),
        ];
        let inputs = [self.codes.as_str(), ids, &self.scales];
        let rows = graph.contrib(&format!("{name}.blocks"), "GatherBlockQuantized", &inputs, &attributes);
        let whole = (self.blocks.of(self.inputs) * self.blocks.size()) as i64;
        let shape = graph.ints(&[0, 0, whole]);
        if whole == self.inputs as i64 {
            return graph.node(name, "Reshape", &[&rows, &shape], &[]);
        }
        let filled = graph.node(&format!("{name}.filled"), "Reshape", &[&rows, &shape], &[]);
        let [start, end, axis] = [0, self.inputs as i64, 2].map(|number| graph.ints(&[number]));
        graph.node(name, "Slice", &[&filled, &start, &end, &axis], &[])
    }
}
