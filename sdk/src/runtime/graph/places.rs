//! Where a graph may write to keys and values.
//!
//! `GroupQueryAttention` puts keys and values where it is told to, and ONNX Runtime 1.24 does not check that there is room.
//! The sdk gives buffers with room for a run's places, which it gives as `position_ids`. So a graph must take them from there
//! and from nowhere else: how far a row reaches from the last place of each row, the whole from the highest of those and 1,
//! and what is written from the tokens of the run, one each ([`super::lengths`]); past and present must be the sdk's own.

use std::collections::{HashMap, HashSet};

use super::super::protobuf::{Field, Fields, Value};
use super::lengths::Lengths;
use super::problem;
use crate::BundleError;
use crate::bundle::{POSITION_IDS, past_name, present_name};

const OPERATOR: &[u8] = b"GroupQueryAttention";
/// Inputs of the operator: queries, keys and values in one, the past, how far each row reaches, and the whole.
const PRODUCT: usize = 0;
const PAST_KEY: usize = 3;
const ENDS: usize = 5;
const TOTAL: usize = 6;
/// Those that must be absent: keys, values, tables and places of a rotation.
const ABSENT: [usize; 5] = [1, 2, 7, 8, 9];
/// The most inputs: the last is added to the scores.
const INPUTS: usize = 11;
const INT32: u64 = 6;
const INT64: u64 = 7;

/// What is read of a NodeProto.
#[derive(Default)]
pub(super) struct Node<'a> {
    pub operator: &'a [u8],
    /// Empty for standard operators.
    pub domain: &'a [u8],
    pub inputs: Vec<&'a [u8]>,
    pub outputs: Vec<&'a [u8]>,
    /// Attributes as whole numbers; ONNX Runtime refuses those that should be some and are not.
    attributes: Vec<(&'a [u8], i64)>,
}

impl<'a> Node<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Node<'a>, BundleError> {
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

    /// Whether it is one that writes to keys and values.
    pub(super) fn writes(&self) -> bool {
        self.operator == OPERATOR
    }

    /// The input of that number; empty where there is none.
    pub(super) fn input(&self, number: usize) -> &'a [u8] {
        self.inputs.get(number).copied().unwrap_or_default()
    }

    /// The value of an attribute that stands there once.
    pub(super) fn attribute(&self, name: &[u8]) -> Option<i64> {
        let mut found = self.attributes.iter().filter(|(other, _)| *other == name);
        found.next().map(|(_, value)| *value).filter(|_| found.next().is_none())
    }

    /// Whether it is that standard operator of these inputs, with one attribute of that value.
    fn is(&self, operator: &[u8], inputs: &[&[u8]], attribute: Option<(&[u8], i64)>) -> bool {
        (self.operator, self.domain) == (operator, &b""[..])
            && self.inputs == inputs
            && self.attributes.iter().copied().eq(attribute)
    }
}

/// The main graph's nodes in their order, single numbers, and the names of its inputs.
#[derive(Default)]
struct Made<'a> {
    nodes: Vec<Node<'a>>,
    /// The node that gives an output.
    makers: HashMap<&'a [u8], usize>,
    numbers: HashMap<&'a [u8], i64>,
    inputs: HashSet<&'a [u8]>,
    /// All names of inputs, initializers and outputs of nodes; a graph in which one stands twice is not read further.
    names: HashSet<&'a [u8]>,
    twice: bool,
    /// Whether there are initializers that are written down in another way, which may have any name.
    sparse: bool,
}

impl<'a> Made<'a> {
    fn take(&mut self, name: &'a [u8]) {
        self.twice |= !self.names.insert(name);
    }

    fn node(&self, name: &[u8]) -> Option<&Node<'a>> {
        self.nodes.get(*self.makers.get(name)?)
    }

    /// Whether a name is that of the last place of each row.
    fn is_last(&self, name: &[u8]) -> bool {
        let places = POSITION_IDS.as_bytes();
        self.node(name).is_some_and(|node| {
            let last = node.input(1);
            self.inputs.contains(places)
                && node.is(b"Gather", &[places, last], Some((b"axis", 1)))
                && self.numbers.get(last) == Some(&-1)
        })
    }

    /// Whether a name is that of the highest of `ends` and 1.
    fn is_total(&self, name: &[u8], ends: &[u8]) -> bool {
        let Some(sum) = self.node(name) else { return false };
        let [highest, one] = sum.inputs[..] else { return false };
        sum.is(b"Add", &[highest, one], None)
            && self.numbers.get(one) == Some(&1)
            && self.node(highest).is_some_and(|node| node.is(b"ReduceMax", &[ends], Some((b"keepdims", 0))))
    }

    /// Whether past and present of a node are the buffers that the sdk keeps for one layer.
    fn is_of_a_layer(&self, node: &Node) -> bool {
        let named = |layer: usize| {
            let past = ["key", "value"].map(|kind| past_name(kind, layer));
            let present = ["key", "value"].map(|kind| present_name(kind, layer));
            (0..2).all(|part| {
                let past = past[part].as_bytes();
                node.input(PAST_KEY + part) == past
                    && self.inputs.contains(past)
                    && node.outputs.get(1 + part).copied() == Some(present[part].as_bytes())
            })
        };
        let digits = node.input(PAST_KEY).rsplit(|&byte| byte == b'.').next().unwrap_or_default();
        let layer = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        node.outputs.len() == 3 && layer.is_some_and(named)
    }
}

/// Checks every node of the model's main graph that writes to keys and values.
pub(super) fn check(model: &[u8]) -> Result<(), BundleError> {
    let (mut made, mut lengths, mut functions) = (Made::default(), Lengths::default(), false);
    for field in Fields(model) {
        let field = field?;
        // A model's own functions may be called as standard operators are.
        functions |= field.number == 25;
        let Some(graph) = field.bytes_of(7) else { continue };
        for field in Fields(graph) {
            let field = field?;
            if let Some(node) = field.bytes_of(1) {
                let node = Node::read(node)?;
                for &name in node.outputs.iter().filter(|name| !name.is_empty()) {
                    made.take(name);
                    made.makers.insert(name, made.nodes.len());
                }
                made.nodes.push(node);
            } else if let Some(tensor) = field.bytes_of(5) {
                let numbers = whole_numbers(tensor)?;
                let tensor = super::Tensor::read(tensor)?;
                made.take(tensor.name);
                if let (true, Some([number])) = (tensor.shape.is_empty(), numbers.as_deref()) {
                    made.numbers.insert(tensor.name, *number);
                }
                lengths.constant(tensor.name, tensor.shape.len(), numbers);
            } else if let Some(input) = field.bytes_of(11) {
                let name = Fields(input).find_map(|field| field.map(|field| field.bytes_of(1)).transpose());
                let name = name.transpose()?.unwrap_or_default();
                made.take(name);
                made.inputs.insert(name);
            }
            made.sparse |= field.number == 15;
        }
    }
    if !made.nodes.iter().any(Node::writes) {
        return Ok(());
    }
    let mut right = !functions && !made.twice && !made.sparse;
    // In the order in which they are computed: what a node takes has been seen, or it is none of the tokens' own.
    for node in &made.nodes {
        if !node.writes() {
            lengths.node(node, &made.inputs);
            continue;
        }
        right &= node.inputs.len() <= INPUTS
            && ABSENT.iter().all(|&input| node.input(input).is_empty())
            && lengths.is_of_tokens(node.input(PRODUCT))
            && made.is_of_a_layer(node)
            && made.is_last(node.input(ENDS))
            && made.is_total(node.input(TOTAL), node.input(ENDS));
        if let (true, Some(&context)) = (right, node.outputs.first()) {
            lengths.of_tokens(context);
        }
    }
    if right { Ok(()) } else { Err(elsewhere()) }
}

/// The error for a node that is told by something else.
pub(super) fn elsewhere() -> BundleError {
    problem(&format!(
        "a GroupQueryAttention does not take the places of keys and values from `{POSITION_IDS}` alone, or not those of a \
         run's tokens in the sdk's own buffers"
    ))
}

/// The values of a tensor that is a few whole numbers and stands in the graph.
fn whole_numbers(tensor: &[u8]) -> Result<Option<Vec<i64>>, BundleError> {
    /// More are no shape.
    const MOST: usize = 8;
    let (mut element, mut raw, mut other) = (0, None, false);
    for field in Fields(tensor) {
        match field? {
            Field { number: 1, .. } | Field { number: 8, value: Value::Bytes(_) } => {}
            Field { number: 2, value: Value::Number(number) } => element = number,
            Field { number: 9, value: Value::Bytes(bytes) } => raw = Some(bytes),
            _ => other = true,
        }
    }
    let Some(raw) = raw.filter(|raw| !other && raw.len() <= MOST * size_of::<i64>()) else { return Ok(None) };
    Ok(match element {
        INT32 => {
            let (numbers, rest) = raw.as_chunks::<4>();
            rest.is_empty().then(|| numbers.iter().map(|bytes| i64::from(i32::from_le_bytes(*bytes))).collect())
        }
        INT64 => {
            let (numbers, rest) = raw.as_chunks::<8>();
            rest.is_empty().then(|| numbers.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect())
        }
        _ => None,
    })
}
