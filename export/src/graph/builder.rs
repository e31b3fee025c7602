//! Puts an ONNX model together: nodes, constants, weights as external data.

use std::collections::{BTreeMap, BTreeSet};

use limbeck::int8::{DOMAIN, version_of};
use prost::Message;

use super::proto::{self, DataType, DimensionValue};
use crate::quantize::Activations;

/// `ai.onnx` operator set.
pub const OPSET: i64 = 17;
/// ONNX Runtime's own domain.
const CONTRIB: &str = "com.microsoft";
/// Name by which the graph refers to its weights (the bundle section of that name).
pub const WEIGHTS_NAME: &str = "model.onnx.data";
/// Weights start at multiples of this, so that a mapped file can be used in place.
const ALIGNMENT: usize = 4096;
/// Constants up to this many bytes stay inside the graph.
const INLINE_BYTES: usize = 256;

/// A finished model.
#[derive(Default)]
pub struct BuiltGraph {
    /// The `.onnx` file.
    pub model: Vec<u8>,
    /// The external data it refers to as [`WEIGHTS_NAME`].
    pub weights: Vec<u8>,
    /// Operators used, as `domain:Name`, sorted.
    pub operators: Vec<String>,
    /// Operator set versions by domain.
    pub opset: BTreeMap<String, u32>,
}

/// An attribute's value.
pub enum Value {
    /// INT.
    Int(i64),
    /// FLOAT.
    Float(f32),
    /// INTS.
    Ints(&'static [i64]),
    /// STRING.
    Text(&'static str),
}

/// Collects a graph in topological order.
#[derive(Default)]
pub struct GraphBuilder {
    graph: proto::Graph,
    weights: Vec<u8>,
    operators: BTreeSet<String>,
    names: BTreeSet<String>,
    /// What the inputs of linear maps range over, where that is known.
    pub activations: Activations,
}

fn tensor_type(data_type: DataType, axes: &[&str]) -> proto::TypeProto {
    let dim = axes
        .iter()
        .map(|axis| proto::Dimension {
            value: Some(match axis.parse() {
                Ok(number) => DimensionValue::Fixed(number),
                Err(_) => DimensionValue::Named((*axis).to_owned()),
            }),
        })
        .collect();
    proto::TypeProto {
        tensor_type: Some(proto::TensorType { elem_type: data_type as i32, shape: Some(proto::Shape { dim }) }),
    }
}

impl GraphBuilder {
    /// Declares an input; an axis that is a number is fixed, another is dynamic. Returns its name.
    pub fn input(&mut self, name: &str, data_type: DataType, axes: &[&str]) -> String {
        let value = proto::ValueInfo { name: name.to_owned(), r#type: Some(tensor_type(data_type, axes)) };
        self.graph.input.push(value);
        name.to_owned()
    }

    /// Declares an output that a node has produced under this name.
    pub fn output(&mut self, name: &str, data_type: DataType, axes: &[&str]) {
        let value = proto::ValueInfo { name: name.to_owned(), r#type: Some(tensor_type(data_type, axes)) };
        self.graph.output.push(value);
    }

    /// Adds a constant tensor of little-endian bytes, external when large. Returns its name. A name that is there
    /// already stands for the same values: layers that share weights ask for them again, and they are stored once.
    ///
    /// # Panics
    /// When the byte count does not fit the shape: a mistake in this crate.
    pub fn constant(&mut self, name: &str, data_type: DataType, shape: &[usize], bytes: &[u8]) -> String {
        assert_eq!(bytes.len(), shape.iter().product::<usize>() * data_type.size(), "constant `{name}`");
        if !self.names.insert(name.to_owned()) {
            return name.to_owned();
        }
        let mut tensor = proto::TensorProto {
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: data_type as i32,
            name: name.to_owned(),
            ..Default::default()
        };
        if bytes.len() <= INLINE_BYTES {
            tensor.raw_data = Some(bytes.to_vec());
        } else {
            self.weights.resize(self.weights.len().next_multiple_of(ALIGNMENT), 0);
            let entry = |key: &str, value: String| proto::StringEntry { key: key.to_owned(), value };
            tensor.data_location = proto::EXTERNAL;
            tensor.external_data = vec![
                entry("location", WEIGHTS_NAME.to_owned()),
                entry("offset", self.weights.len().to_string()),
                entry("length", bytes.len().to_string()),
            ];
            self.weights.extend_from_slice(bytes);
        }
        self.graph.initializer.push(tensor);
        name.to_owned()
    }

    /// An fp32 constant.
    pub fn floats(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> String {
        if self.has_constant(name) {
            return name.to_owned();
        }
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        self.constant(name, DataType::Float, shape, &bytes)
    }

    /// An int32 constant.
    pub fn int32s(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = i32>) -> String {
        let bytes: Vec<u8> = values.into_iter().flat_map(i32::to_le_bytes).collect();
        self.constant(name, DataType::Int32, shape, &bytes)
    }

    /// An int8 constant.
    pub fn int8s(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = i8>) -> String {
        let bytes: Vec<u8> = values.into_iter().flat_map(i8::to_le_bytes).collect();
        self.constant(name, DataType::Int8, shape, &bytes)
    }

    /// A uint8 constant.
    pub fn bytes(&mut self, name: &str, shape: &[usize], values: &[u8]) -> String {
        self.constant(name, DataType::Uint8, shape, values)
    }

    /// An fp16 constant of fp32 values; one that is too large for fp16 becomes infinite.
    pub fn halves(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = f32>) -> String {
        if self.has_constant(name) {
            return name.to_owned();
        }
        let bytes: Vec<u8> = values.into_iter().flat_map(|value| half::f16::from_f32(value).to_le_bytes()).collect();
        self.constant(name, DataType::Float16, shape, &bytes)
    }

    /// A one-dimensional int64 constant, made once for equal values.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let name = format!("ints_{}", values.iter().map(i64::to_string).collect::<Vec<_>>().join("_"));
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(&name, DataType::Int64, &[values.len()], &bytes)
    }

    /// An int64 constant without dimensions, made once for equal values.
    pub fn int(&mut self, value: i64) -> String {
        self.constant(&format!("int_{value}"), DataType::Int64, &[], &value.to_le_bytes())
    }

    /// An int32 constant without dimensions, made once for equal values.
    pub fn int32(&mut self, value: i32) -> String {
        self.constant(&format!("int32_{value}"), DataType::Int32, &[], &value.to_le_bytes())
    }

    /// An fp32 constant without dimensions, made once for equal values.
    pub fn float(&mut self, value: f32) -> String {
        self.constant(&format!("float_{value:e}"), DataType::Float, &[], &value.to_le_bytes())
    }

    /// A node of `ai.onnx` with one output, which is named like the node. Returns that name.
    pub fn node(&mut self, name: &str, operator: &str, inputs: &[&str], attributes: &[(&str, Value)]) -> String {
        self.push("", name, operator, inputs, &[name.to_owned()], attributes);
        name.to_owned()
    }

    /// A node of ONNX Runtime's own domain.
    pub fn contrib(&mut self, name: &str, operator: &str, inputs: &[&str], attributes: &[(&str, Value)]) -> String {
        self.contrib_outputs(name, operator, inputs, &[name.to_owned()], attributes);
        name.to_owned()
    }

    /// [`Self::contrib`] with outputs of these names.
    pub fn contrib_outputs(
        &mut self,
        name: &str,
        operator: &str,
        inputs: &[&str],
        outputs: &[String],
        attributes: &[(&str, Value)],
    ) {
        self.push(CONTRIB, name, operator, inputs, outputs, attributes);
    }

    /// A node of limbeck's own domain, which the sdk computes.
    pub fn own(&mut self, name: &str, operator: &str, inputs: &[&str], attributes: &[(&str, Value)]) -> String {
        self.push(DOMAIN, name, operator, inputs, &[name.to_owned()], attributes);
        name.to_owned()
    }

    /// A node of `ai.onnx` whose outputs are `NAME.0`, `NAME.1`, ...
    pub fn outputs<const N: usize>(&mut self, name: &str, operator: &str, inputs: &[&str]) -> [String; N] {
        let outputs: [String; N] = std::array::from_fn(|i| format!("{name}.{i}"));
        self.push("", name, operator, inputs, &outputs, &[]);
        outputs
    }

    /// Splits evenly along the last axis of a `[batch, length, width]` tensor.
    pub fn split<const N: usize>(&mut self, name: &str, input: &str, width: usize) -> [String; N] {
        let sizes = self.ints(&vec![(width / N) as i64; N]);
        let outputs: [String; N] = std::array::from_fn(|i| format!("{name}.{i}"));
        self.push("", name, "Split", &[input, &sizes], &outputs, &[("axis", Value::Int(2))]);
        outputs
    }

    /// Whether a constant of this name was written.
    pub fn has_constant(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether a node of this name was written.
    pub fn has_node(&self, name: &str) -> bool {
        self.graph.node.iter().any(|node| node.name == name)
    }

    fn push(
        &mut self,
        domain: &str,
        name: &str,
        operator: &str,
        inputs: &[&str],
        outputs: &[String],
        attributes: &[(&str, Value)],
    ) {
        let attribute = attributes
            .iter()
            .map(|(name, value)| {
                let mut attribute = proto::Attribute { name: (*name).to_owned(), ..Default::default() };
                match value {
                    Value::Int(i) => (attribute.i, attribute.r#type) = (*i, proto::attribute_type::INT),
                    Value::Float(f) => (attribute.f, attribute.r#type) = (*f, proto::attribute_type::FLOAT),
                    Value::Text(text) => {
                        (attribute.s, attribute.r#type) = (text.as_bytes().to_vec(), proto::attribute_type::STRING);
                    }
                    Value::Ints(list) => {
                        (attribute.ints, attribute.r#type) = (list.to_vec(), proto::attribute_type::INTS);
                    }
                }
                attribute
            })
            .collect();
        let public_domain = if domain.is_empty() { "ai.onnx" } else { domain };
        self.operators.insert(format!("{public_domain}:{operator}"));
        self.graph.node.push(proto::Node {
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: outputs.to_vec(),
            name: name.to_owned(),
            op_type: operator.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
    }

    /// The model and its weights.
    pub fn finish(mut self, name: &str) -> BuiltGraph {
        self.graph.name = name.to_owned();
        let mut opset = BTreeMap::from([("ai.onnx".to_owned(), OPSET as u32)]);
        let mut opset_import = vec![proto::OperatorSet { domain: String::new(), version: OPSET }];
        // The lowest versions that have all operators.
        for operator in &self.operators {
            let (domain, version) = match operator.split_once(':') {
                Some((CONTRIB, _)) => (CONTRIB, 1),
                Some((DOMAIN, name)) => (DOMAIN, version_of(name)),
                _ => continue,
            };
            let lowest = opset.entry(domain.to_owned()).or_insert(version);
            *lowest = version.max(*lowest);
        }
        for (domain, &version) in opset.iter().rev().filter(|(domain, _)| *domain != "ai.onnx") {
            opset_import.push(proto::OperatorSet { domain: domain.clone(), version: i64::from(version) });
        }
        let model = proto::Model {
            ir_version: 9,
            producer_name: "limbeck".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import,
        };
        BuiltGraph {
            model: model.encode_to_vec(),
            weights: self.weights,
            operators: self.operators.into_iter().collect(),
            opset,
        }
    }
}
