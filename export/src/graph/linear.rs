//! How weights are stored in a graph, and the nodes that use them.

use anyhow::{Context, Result};
use ndarray::{Array1, Array2, Axis, Ix1, Ix2, concatenate};

use super::Arrays;
use super::builder::{GraphBuilder, Value};
use crate::quantize::{quantize_columns, quantize_rows};

/// Storage of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightMode {
    /// fp32 `MatMul`.
    Float,
    /// Symmetric int8 weights, one scale a column; activations quantized to u8 at run time with one
    /// scale over the whole input.
    DynamicInt8,
}

/// A matrix `[in, out]` and bias `[out]` as ONNX wants them (torch stores `[out, in]`).
pub(super) struct Linear {
    weight: Array2<f32>,
    bias: Array1<f32>,
}

impl Linear {
    /// `NAME.weight` and `NAME.bias`.
    pub(super) fn read(arrays: &Arrays, name: &str) -> Result<Self> {
        let weight = matrix(arrays, &format!("{name}.weight"))?.t().as_standard_layout().into_owned();
        Ok(Self { weight, bias: vector(arrays, &format!("{name}.bias"))? })
    }

    /// Several maps of the same input side by side: one product instead of three.
    pub(super) fn side_by_side(parts: &[Linear]) -> Result<Self> {
        let weights: Vec<_> = parts.iter().map(|p| p.weight.view()).collect();
        let biases: Vec<_> = parts.iter().map(|p| p.bias.view()).collect();
        Ok(Self { weight: concatenate(Axis(1), &weights)?, bias: concatenate(Axis(0), &biases)? })
    }

    /// The bias as a constant, for operators that take it themselves.
    pub(super) fn bias(&self, graph: &mut GraphBuilder, name: &str) -> String {
        graph.floats(&format!("{name}.bias"), &[self.bias.len()], self.bias.iter().copied())
    }

    /// `x W`, without the bias.
    pub(super) fn product(&self, graph: &mut GraphBuilder, name: &str, x: &str, mode: WeightMode) -> String {
        self.emit(graph, name, x, mode, None)
    }

    /// `x W + b`.
    pub(super) fn apply(&self, graph: &mut GraphBuilder, name: &str, x: &str, mode: WeightMode) -> String {
        let bias = self.bias(graph, name);
        self.emit(graph, name, x, mode, Some(bias))
    }

    fn emit(&self, graph: &mut GraphBuilder, name: &str, x: &str, mode: WeightMode, bias: Option<String>) -> String {
        let shape = [self.weight.nrows(), self.weight.ncols()];
        let weight_name = format!("{name}.weight");
        match mode {
            WeightMode::Float => {
                let weight = graph.floats(&weight_name, &shape, self.weight.iter().copied());
                let product = graph.node(&format!("{name}.product"), "MatMul", &[x, &weight], &[]);
                match bias {
                    Some(bias) => graph.node(&format!("{name}.sum"), "Add", &[&product, &bias], &[]),
                    None => product,
                }
            }
            WeightMode::DynamicInt8 => {
                let quantized = quantize_columns(&self.weight);
                let weight = graph.int8s(&weight_name, &shape, quantized.values.iter().copied());
                let scale = graph.floats(&format!("{name}.scale"), &[shape[1]], quantized.scales.iter().copied());
                let mut inputs = vec![x, &weight, &scale];
                // Symmetric weights have no zero point; the bias comes after its empty place.
                if let Some(bias) = &bias {
                    inputs.extend(["", bias]);
                }
                graph.contrib(&format!("{name}.product"), "DynamicQuantizeMatMul", &inputs, &[])
            }
        }
    }
}

/// Rows of a `[rows, width]` table picked by int32 ids.
pub(super) fn gather_rows(
    graph: &mut GraphBuilder,
    name: &str,
    table: &Array2<f32>,
    ids: &str,
    mode: WeightMode,
) -> String {
    let shape = [table.nrows(), table.ncols()];
    match mode {
        WeightMode::Float => {
            let weight = graph.floats(&format!("{name}.weight"), &shape, table.iter().copied());
            graph.node(name, "Gather", &[&weight, ids], &[("axis", Value::Int(0))])
        }
        WeightMode::DynamicInt8 => {
            let quantized = quantize_rows(table);
            let weight = graph.int8s(&format!("{name}.weight"), &shape, quantized.values.iter().copied());
            let scale = graph.floats(&format!("{name}.scale"), &[shape[0], 1], quantized.scales.iter().copied());
            let rows = graph.node(&format!("{name}.rows"), "Gather", &[&weight, ids], &[("axis", Value::Int(0))]);
            let scales = graph.node(&format!("{name}.scales"), "Gather", &[&scale, ids], &[("axis", Value::Int(0))]);
            let cast = graph.node(&format!("{name}.cast"), "Cast", &[&rows], &[("to", Value::Int(1))]);
            graph.node(name, "Mul", &[&cast, &scales], &[])
        }
    }
}

/// LayerNormalization over the last axis.
pub(super) fn layer_norm(
    graph: &mut GraphBuilder,
    arrays: &Arrays,
    name: &str,
    x: &str,
    epsilon: f64,
) -> Result<String> {
    let (weight, bias) = (vector(arrays, &format!("{name}.weight"))?, vector(arrays, &format!("{name}.bias"))?);
    let gamma = graph.floats(&format!("{name}.weight"), &[weight.len()], weight.iter().copied());
    let beta = graph.floats(&format!("{name}.bias"), &[bias.len()], bias.iter().copied());
    let attributes = [("axis", Value::Int(-1)), ("epsilon", Value::Float(epsilon as f32))];
    Ok(graph.node(name, "LayerNormalization", &[x, &gamma, &beta], &attributes))
}

pub(super) fn matrix(arrays: &Arrays, name: &str) -> Result<Array2<f32>> {
    let array = arrays.get(name).with_context(|| format!("tensor `{name}` is missing"))?;
    array.clone().into_dimensionality::<Ix2>().with_context(|| format!("tensor `{name}` is not a matrix"))
}

fn vector(arrays: &Arrays, name: &str) -> Result<Array1<f32>> {
    let array = arrays.get(name).with_context(|| format!("tensor `{name}` is missing"))?;
    array.clone().into_dimensionality::<Ix1>().with_context(|| format!("tensor `{name}` is not a vector"))
}
