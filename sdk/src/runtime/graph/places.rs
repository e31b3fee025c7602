//! Where a graph may write to keys and values.
//!
//! `GroupQueryAttention` puts keys and values where it is told to, and ONNX Runtime 1.24 does not check that there is room.
//! The sdk gives places that have room, as `position_ids`. So a graph must take them from there and from nowhere else:
//! how far a row reaches from the last place of each row, and the whole from the highest of those and 1.

use std::collections::HashMap;

use super::super::protobuf::{Field, Fields, Value};
use super::problem;
use crate::BundleError;
use crate::bundle::POSITION_IDS;

const OPERATOR: &[u8] = b"GroupQueryAttention";
/// Inputs of the operator: how far each row reaches, and the whole.
const ENDS: usize = 5;
const TOTAL: usize = 6;
const INT32: u64 = 6;
const INT64: u64 = 7;

/// What is read of a NodeProto.
#[derive(Default)]
struct Node<'a> {
    operator: &'a [u8],
    /// Empty for standard operators.
    domain: &'a [u8],
    inputs: Vec<&'a [u8]>,
    outputs: Vec<&'a [u8]>,
    /// Attributes as whole numbers; ONNX Runtime refuses those that should be some and are not.
    attributes: Vec<(&'a [u8], i64)>,
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8]) -> Result<Node<'a>, BundleError> {
        let mut node = Node::default();
        for field in Fields(bytes) {
            match field? {
                Field { number: 1, value: Value::Bytes(name) } => node.inputs.push(name),
                Field { number: 2, value: Value::Bytes(name) } => node.outputs.push(name),
                Field { number: 4, value: Value::Bytes(operator) } => node.operator = operator,
                Field { number: 7, value: Value::Bytes(domain) } => node.domain = domain,
                Field { number: 5, value: Value::Bytes(attribute) } => {
                    // A number of 0 may be left out.
                    let (mut name, mut value) = (&b""[..], 0);
                    for field in Fields(attribute) {
                        match field? {
                            Field { number: 1, value: Value::Bytes(bytes) } => name = bytes,
                            Field { number: 3, value: Value::Number(number) } => value = number as i64,
                            _ => {}
                        }
                    }
                    node.attributes.push((name, value));
                }
                _ => {}
            }
        }
        Ok(node)
    }

    /// Whether it is that standard operator of these inputs, with one attribute of that value.
    fn is(&self, operator: &[u8], inputs: &[&[u8]], attribute: Option<(&[u8], i64)>) -> bool {
        (self.operator, self.domain) == (operator, &b""[..])
            && self.inputs == inputs
            && self.attributes.iter().copied().eq(attribute)
    }
}

/// Whether a node, wherever it stands, is one that writes to keys and values.
pub(super) fn writes(node: &[u8]) -> Result<bool, BundleError> {
    Ok(Node::read(node)?.operator == OPERATOR)
}

/// The main graph's nodes and single numbers, by their names; none for names that stand twice.
#[derive(Default)]
struct Made<'a> {
    nodes: HashMap<&'a [u8], Option<Node<'a>>>,
    numbers: HashMap<&'a [u8], Option<i64>>,
}

impl<'a> Made<'a> {
    fn node(&self, name: &[u8]) -> Option<&Node<'a>> {
        self.nodes.get(name)?.as_ref()
    }

    fn number(&self, name: &[u8]) -> Option<i64> {
        if self.nodes.contains_key(name) { None } else { *self.numbers.get(name)? }
    }

    /// Whether a name is that of the last place of each row.
    fn is_last(&self, name: &[u8]) -> bool {
        let places = POSITION_IDS.as_bytes();
        let taken = self.nodes.contains_key(places) || self.numbers.contains_key(places);
        self.node(name).is_some_and(|node| {
            let last = node.inputs.get(1).copied().unwrap_or_default();
            !taken && node.is(b"Gather", &[places, last], Some((b"axis", 1))) && self.number(last) == Some(-1)
        })
    }

    /// Whether a name is that of the highest of `ends` and 1.
    fn is_total(&self, name: &[u8], ends: &[u8]) -> bool {
        let Some(sum) = self.node(name) else { return false };
        let [highest, one] = sum.inputs[..] else { return false };
        sum.is(b"Add", &[highest, one], None)
            && self.number(one) == Some(1)
            && self.node(highest).is_some_and(|node| node.is(b"ReduceMax", &[ends], Some((b"keepdims", 0))))
    }
}

/// Checks every node of the model's main graph that writes to keys and values.
pub(super) fn check(model: &[u8]) -> Result<(), BundleError> {
    let mut made = Made::default();
    let (mut writing, mut functions) = (Vec::new(), false);
    for field in Fields(model) {
        let field = field?;
        // A model's own functions may be called as standard operators are.
        functions |= field.number == 25;
        let Some(graph) = field.bytes_of(7) else { continue };
        for field in Fields(graph) {
            let field = field?;
            if let Some(node) = field.bytes_of(1) {
                let node = Node::read(node)?;
                if node.operator == OPERATOR {
                    writing.push([ENDS, TOTAL].map(|input| node.inputs.get(input).copied().unwrap_or_default()));
                }
                let [name] = node.outputs[..] else { continue };
                made.nodes.entry(name).and_modify(|twice| *twice = None).or_insert(Some(node));
            } else if let Some(tensor) = field.bytes_of(5) {
                let (name, number) = single_number(tensor)?;
                made.numbers.entry(name).and_modify(|twice| *twice = None).or_insert(number);
            }
        }
    }
    let right = |[ends, total]: &[&[u8]; 2]| made.is_last(ends) && made.is_total(total, ends);
    match writing.is_empty() || (!functions && writing.iter().all(right)) {
        true => Ok(()),
        false => Err(elsewhere()),
    }
}

/// The error for a node that is told by something else.
pub(super) fn elsewhere() -> BundleError {
    problem(&format!("a GroupQueryAttention does not take the places of keys and values from `{POSITION_IDS}` alone"))
}

/// The name of a tensor, and its value if it is one whole number that stands in the graph.
fn single_number(tensor: &[u8]) -> Result<(&[u8], Option<i64>), BundleError> {
    let (mut name, mut element, mut dims, mut raw, mut other) = (&b""[..], 0, 0, None, false);
    for field in Fields(tensor) {
        match field? {
            Field { number: 1, .. } => dims += 1,
            Field { number: 2, value: Value::Number(number) } => element = number,
            Field { number: 8, value: Value::Bytes(bytes) } => name = bytes,
            Field { number: 9, value: Value::Bytes(bytes) } => raw = Some(bytes),
            _ => other = true,
        }
    }
    let raw = raw.filter(|_| dims == 0 && !other);
    let number = match (element, raw) {
        (INT32, Some(raw)) => raw.try_into().ok().map(|raw| i64::from(i32::from_le_bytes(raw))),
        (INT64, Some(raw)) => raw.try_into().ok().map(i64::from_le_bytes),
        _ => None,
    };
    Ok((name, number))
}
