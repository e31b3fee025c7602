//! What a graph takes and gives, read from its file.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use prost::Message;
use serde::Serialize;

use super::proto::{DimensionValue, Model, ValueInfo};

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TensorDescription {
    /// Its name.
    pub name: String,
    /// `float32`, `int32`, `int64`, `int8` or `uint8`; a number of onnx.proto for others.
    pub element: String,
    /// A number for a fixed axis, a name for a dynamic one.
    pub axes: Vec<String>,
}

/// A graph from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The graph's name.
    pub name: String,
    /// What it takes.
    pub inputs: Vec<TensorDescription>,
    /// What it gives.
    pub outputs: Vec<TensorDescription>,
    /// Operators, as `domain:Name`, with how many nodes have them.
    pub operators: std::collections::BTreeMap<String, usize>,
    /// Operator set versions by domain.
    pub opset: std::collections::BTreeMap<String, i64>,
}

fn tensor(value: &ValueInfo) -> TensorDescription {
    let kind = value.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let element = match kind.map_or(0, |kind| kind.elem_type) {
        1 => "float32".to_owned(),
        2 => "uint8".to_owned(),
        3 => "int8".to_owned(),
        6 => "int32".to_owned(),
        7 => "int64".to_owned(),
        other => other.to_string(),
    };
    let axes = kind.and_then(|kind| kind.shape.as_ref()).map_or(&[][..], |shape| &shape.dim).iter().map(|axis| {
        match &axis.value {
            Some(DimensionValue::Fixed(size)) => size.to_string(),
            Some(DimensionValue::Named(name)) => name.clone(),
            None => "?".to_owned(),
        }
    });
    TensorDescription { name: value.name.clone(), element, axes: axes.collect() }
}

/// `ai.onnx`, whose name in a file is empty.
fn domain(name: &str) -> &str {
    if name.is_empty() { "ai.onnx" } else { name }
}

/// Reads the description of an ONNX file's bytes.
///
/// # Errors
/// Bytes that are not an ONNX model.
pub fn describe(model: &[u8]) -> Result<Description> {
    let model = Model::decode(model).context("not an ONNX model")?;
    let graph = model.graph.context("an ONNX model without a graph")?;
    let mut operators = std::collections::BTreeMap::new();
    for node in &graph.node {
        *operators.entry(format!("{}:{}", domain(&node.domain), node.op_type)).or_default() += 1;
    }
    Ok(Description {
        name: graph.name,
        inputs: graph.input.iter().map(tensor).collect(),
        outputs: graph.output.iter().map(tensor).collect(),
        operators,
        opset: model.opset_import.iter().map(|set| (domain(&set.domain).to_owned(), set.version)).collect(),
    })
}

impl Description {
    /// As tables for a README.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (what, tensors) in [("Input", &self.inputs), ("Output", &self.outputs)] {
            let _ = writeln!(text, "| {what} | type | axes |\n|---|---|---|");
            for tensor in tensors {
                let _ = writeln!(text, "| `{}` | {} | {} |", tensor.name, tensor.element, tensor.axes.join(" x "));
            }
            text.push('\n');
        }
        let list = |items: Vec<String>| items.join(", ");
        let operators = list(self.operators.iter().map(|(name, count)| format!("{name} ({count})")).collect());
        let sets = list(self.opset.iter().map(|(domain, version)| format!("{domain} {version}")).collect());
        let _ = writeln!(text, "Operators: {operators}.\n\nOperator sets: {sets}.");
        text
    }
}

impl std::fmt::Display for Description {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (what, tensors) in [("inputs", &self.inputs), ("outputs", &self.outputs)] {
            writeln!(f, "{what}")?;
            for tensor in tensors {
                writeln!(f, "  {:<20} {:<8} [{}]", tensor.name, tensor.element, tensor.axes.join(", "))?;
            }
        }
        let mut list = String::new();
        for (operator, count) in &self.operators {
            let _ = write!(list, "{}{operator} x{count}", if list.is_empty() { "" } else { ", " });
        }
        writeln!(f, "operators  {list}")?;
        let sets: Vec<_> = self.opset.iter().map(|(domain, version)| format!("{domain} {version}")).collect();
        writeln!(f, "opset      {}", sets.join(", "))
    }
}
