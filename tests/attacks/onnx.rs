//! Just enough of the ONNX encoding to write one small classifier, right or wrong.
//!
//! `logits = sum over unmasked tokens of table[id], times head`.

use crate::base::{LABELS, VOCABULARY, WIDTH};

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field that holds bytes, text or a message.
pub fn bytes(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3 | 2, &mut out);
    varint(content.as_ref().len() as u64, &mut out);
    out.extend_from_slice(content.as_ref());
    out
}

/// A field that holds a number.
pub fn number(number: u64, value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(number << 3, &mut out);
    varint(value as u64, &mut out);
    out
}

const FLOAT: i64 = 1;
const INT32: i64 = 6;
const INT64: i64 = 7;

fn value_info(name: &str, element: i64, axes: &[&str]) -> Vec<u8> {
    let dims: Vec<u8> = axes
        .iter()
        .flat_map(|axis| match axis.parse() {
            Ok(fixed) => bytes(1, number(1, fixed)),
            Err(_) => bytes(1, bytes(2, axis)),
        })
        .collect();
    [bytes(1, name), bytes(2, bytes(1, [number(1, element), bytes(2, dims)].concat()))].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|input| bytes(1, input)).collect();
    out.extend([bytes(2, output), bytes(3, output), bytes(4, operator)].concat());
    for (name, value) in attributes {
        // Attribute type 2 is INT.
        out.extend(bytes(5, [bytes(1, name), number(3, *value), number(20, 2)].concat()));
    }
    out
}

/// A node that writes keys and values to where `ends` says.
pub fn attention(ends: &str) -> Vec<u8> {
    let inputs = ["q", "k", "v", "past_key", "past_value", ends, "total"];
    node("GroupQueryAttention", &inputs, "context", &[("num_heads", 1), ("kv_num_heads", 1)])
}

/// Where a tensor says its data are.
#[derive(Clone)]
pub struct External {
    pub location: String,
    pub offset: String,
    pub length: String,
}

impl External {
    fn new(offset: usize, length: usize) -> External {
        External { location: "model.onnx.data".into(), offset: offset.to_string(), length: length.to_string() }
    }
}

fn external_tensor(name: &str, dims: &[i64], external: &External) -> Vec<u8> {
    let mut out: Vec<u8> = dims.iter().flat_map(|&dim| number(1, dim)).collect();
    out.extend([number(2, FLOAT), bytes(8, name)].concat());
    for (key, value) in [("location", &external.location), ("offset", &external.offset), ("length", &external.length)] {
        out.extend(bytes(13, [bytes(1, key), bytes(2, value)].concat()));
    }
    out.extend(number(14, 1));
    out
}

/// The parts of the graph that an attack changes.
pub struct GraphSpec {
    pub producer: String,
    pub opset: i64,
    pub ids_name: &'static str,
    pub ids_type: i64,
    pub output_name: &'static str,
    pub last_operator: &'static str,
    pub last_input: &'static str,
    pub table_rows: i64,
    pub table: External,
    pub columns: i64,
    pub head_columns: i64,
    pub more: Vec<u8>,
}

impl Default for GraphSpec {
    fn default() -> GraphSpec {
        let (table, head) = (VOCABULARY * WIDTH * 4, WIDTH * LABELS.len() * 4);
        debug_assert_eq!(head, 32);
        GraphSpec {
            producer: "limbeck-attacks".into(),
            opset: 17,
            ids_name: "input_ids",
            ids_type: INT32,
            output_name: "logits",
            last_operator: "MatMul",
            last_input: "sum",
            table_rows: VOCABULARY as i64,
            table: External::new(0, table),
            columns: LABELS.len() as i64,
            head_columns: LABELS.len() as i64,
            more: Vec::new(),
        }
    }
}

impl GraphSpec {
    /// The bytes of the `.onnx` file.
    pub fn encode(&self) -> Vec<u8> {
        let head = External::new(VOCABULARY * WIDTH * 4, WIDTH * self.head_columns as usize * 4);
        let axis = |value: i64| {
            let data = bytes(9, value.to_le_bytes());
            [number(1, 1), number(2, INT64), bytes(8, format!("axis{value}")), data].concat()
        };
        let nodes = [
            node("Gather", &["table", self.ids_name], "embedded", &[]),
            node("Cast", &["attention_mask"], "mask", &[("to", FLOAT)]),
            node("Unsqueeze", &["mask", "axis2"], "column", &[]),
            node("Mul", &["embedded", "column"], "kept", &[]),
            node("ReduceSum", &["kept", "axis1"], "sum", &[("keepdims", 0)]),
            node(self.last_operator, &[self.last_input, "head"], self.output_name, &[]),
        ];
        let mut graph: Vec<u8> = nodes.iter().flat_map(|node| bytes(1, node)).collect();
        graph.extend(bytes(2, "tiny"));
        let table = external_tensor("table", &[self.table_rows, WIDTH as i64], &self.table);
        let head = external_tensor("head", &[WIDTH as i64, self.head_columns], &head);
        for tensor in [table, head, axis(1), axis(2)] {
            graph.extend(bytes(5, tensor));
        }
        graph.extend(bytes(11, value_info(self.ids_name, self.ids_type, &["batch", "length"])));
        graph.extend(bytes(11, value_info("attention_mask", INT32, &["batch", "length"])));
        graph.extend(bytes(12, value_info(self.output_name, FLOAT, &["batch", &self.columns.to_string()])));
        graph.extend_from_slice(&self.more);
        // The producer first: see the case of the ORT file in disguise.
        [bytes(2, &self.producer), number(1, 9), bytes(7, graph), bytes(8, number(2, self.opset))].concat()
    }
}

/// `FLOAT` where ids should be integers.
pub const FLOAT_TYPE: i64 = FLOAT;
/// 64-bit ids, which the base manifest does not announce.
pub const INT64_TYPE: i64 = INT64;
