//! What a graph keeps outside of itself: only weights of its own bundle.
//!
//! A tensor of an ONNX file can say "my data are in that file at that offset",
//! and ONNX Runtime follows: to any file the process may read, and for some
//! reserved names to addresses in memory. So every such reference in a graph
//! is read here before ONNX Runtime sees it. The walk knows just enough of the
//! protobuf encoding and of onnx.proto to reach every tensor.
//!
//! Knowing them also lets [`super::weights`] hand the weights over one by one,
//! without a copy. The references themselves are then made to point nowhere,
//! so that no file that happens to have that name is ever opened.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use super::protobuf::{self, Field, Fields, Value};
use crate::BundleError;
use crate::int8::DOMAIN;

mod lengths;
mod operators;
mod places;
#[cfg(test)]
mod tests;

/// Messages nested deeper than this are refused; protobuf itself stops at 100.
const MAX_DEPTH: usize = 64;

/// A tensor of the graph whose data lie in the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExternalTensor {
    pub name: String,
    /// Number of the element type in onnx.proto.
    pub element: u64,
    pub shape: Vec<i64>,
    /// Where the data are, in bytes; never outside of the weights.
    pub range: Range<usize>,
    /// Whether a node computes with nothing but this and other constants, so
    /// that ONNX Runtime would do it once and for all when it loads the graph.
    pub folded: bool,
    /// Whether a node takes it that does not just look rows up in it.
    pub multiplied: bool,
}

/// A graph that was read, and what it needs.
pub(super) struct Graph {
    /// The graph, with references that point nowhere.
    pub bytes: Vec<u8>,
    /// The tensors to be given to ONNX Runtime by hand.
    pub tensors: Vec<ExternalTensor>,
}

/// Reads a graph whose weights are in `file`, which has `length` bytes.
/// Anything that refers to another place is an error.
pub(super) fn read(graph: &[u8], file: &str, length: usize) -> Result<Graph, BundleError> {
    let mut walk = Walk { whole: graph, file, length, found: Vec::new(), places: Vec::new() };
    walk.message(Message::Model, graph, 0, true)?;
    places::check(graph)?;
    let Walk { found: mut tensors, places, .. } = walk;

    let (folded, multiplied) = (folded(graph)?, multiplied(graph)?);
    for tensor in &mut tensors {
        tensor.folded = folded.contains(tensor.name.as_bytes());
        tensor.multiplied = multiplied.contains(tensor.name.as_bytes());
    }
    let mut bytes = graph.to_vec();
    let nowhere = nowhere(file.len());
    for place in places {
        if let Some(place) = bytes.get_mut(place) {
            place.copy_from_slice(&nowhere);
        }
    }
    Ok(Graph { bytes, tensors })
}

/// A relative path that no file has: nobody can know it beforehand, and on
/// Windows it is not even allowed.
fn nowhere(length: usize) -> Vec<u8> {
    let random = RandomState::new();
    let digits = (0..).flat_map(|i: u64| format!("{:016x}", random.hash_one(i)).into_bytes());
    std::iter::once(b'*').chain(digits).take(length).collect()
}

/// Names of the initializers that go into a node without any other input than
/// constants.
fn folded(graph: &[u8]) -> Result<HashSet<&[u8]>, BundleError> {
    let (mut constants, mut folded) = (HashSet::new(), HashSet::new());
    let graphs = || Fields(graph).filter_map(|field| field.map(|field| field.bytes_of(7)).transpose());
    for graph in graphs() {
        for field in Fields(graph?) {
            if let Some(tensor) = field?.bytes_of(5) {
                constants.insert(Tensor::read(tensor)?.name);
            }
        }
    }
    // Nodes are in the order they are computed in.
    for graph in graphs() {
        for field in Fields(graph?) {
            let Some(node) = field?.bytes_of(1) else { continue };
            let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
            for field in Fields(node) {
                match field? {
                    Field { number: 1, value: Value::Bytes(name) } if !name.is_empty() => inputs.push(name),
                    Field { number: 2, value: Value::Bytes(name) } => outputs.push(name),
                    _ => {}
                }
            }
            if inputs.iter().all(|input| constants.contains(input)) {
                folded.extend(inputs);
                constants.extend(outputs);
            }
        }
    }
    Ok(folded)
}

/// Names that go into a node which does not just look rows up in a table, nor is of limbeck's own operators, which use
/// weights where they lie.
fn multiplied(graph: &[u8]) -> Result<HashSet<&[u8]>, BundleError> {
    let mut multiplied = HashSet::new();
    for field in Fields(graph) {
        let Some(graph) = field?.bytes_of(7) else { continue };
        for field in Fields(graph) {
            let Some(node) = field?.bytes_of(1) else { continue };
            let (mut inputs, mut operator, mut domain) = (Vec::new(), &b""[..], &b""[..]);
            for field in Fields(node) {
                match field? {
                    Field { number: 1, value: Value::Bytes(name) } => inputs.push(name),
                    Field { number: 4, value: Value::Bytes(name) } => operator = name,
                    Field { number: 7, value: Value::Bytes(name) } => domain = name,
                    _ => {}
                }
            }
            if !operator.starts_with(b"Gather") && domain != DOMAIN.as_bytes() {
                multiplied.extend(inputs);
            }
        }
    }
    Ok(multiplied)
}

/// Bits of an element, for the types that may be outside of the graph.
pub(super) fn element_bits(element: u64) -> Option<u64> {
    Some(match element {
        // 4-bit integers, two to a byte.
        21 | 22 => 4,
        // uint8, int8, bool
        2 | 3 | 9 => 8,
        // uint16, int16, float16, bfloat16
        4 | 5 | 10 | 16 => 16,
        // float, int32, uint32
        1 | 6 | 12 => 32,
        // int64, double, uint64
        7 | 11 | 13 => 64,
        _ => return None,
    })
}

/// The messages of onnx.proto on the way to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    SparseTensor,
    Tensor,
}

impl Message {
    /// What a field of this message holds, if it leads to a tensor.
    fn field(self, number: u64) -> Option<Message> {
        use Message::*;
        Some(match (self, number) {
            (Model, 7) | (Training, 1 | 2) | (Attribute, 6 | 11) => Graph,
            (Model, 20) => Training,
            (Model, 25) => Function,
            (Graph, 1) | (Function, 7) => Node,
            (Node, 5) | (Function, 11) => Attribute,
            (Graph, 15) | (Attribute, 22 | 23) => SparseTensor,
            (Graph, 5) | (Attribute, 5 | 10) | (SparseTensor, 1 | 2) => Tensor,
            _ => return None,
        })
    }
}

struct Walk<'a> {
    whole: &'a [u8],
    file: &'a str,
    length: usize,
    found: Vec<ExternalTensor>,
    /// Where in the whole graph the references stand.
    places: Vec<Range<usize>>,
}

impl Walk<'_> {
    /// `main` says that only the graph of the model lies between the model and
    /// this message: its own tensors are the initializers.
    fn message(&mut self, message: Message, bytes: &[u8], depth: usize, main: bool) -> Result<(), BundleError> {
        if depth > MAX_DEPTH {
            return Err(problem("its messages are nested too deeply"));
        }
        if message == Message::Tensor {
            return self.tensor(bytes, main);
        }
        for field in Fields(bytes) {
            let Field { number, value } = field?;
            if let (Value::Bytes(bytes), Some(child)) = (value, message.field(number)) {
                use Message::*;
                // Of nodes of the main graph `places` sees where they write to.
                let of_main = main && (message, child) == (Graph, Node);
                if child == Node {
                    let node = places::Node::read(bytes)?;
                    operators::check(&node)?;
                    if !of_main && node.writes() {
                        return Err(places::elsewhere());
                    }
                }
                let main = main && matches!((message, child), (Model, Graph) | (Graph, Tensor));
                self.message(child, bytes, depth + 1, main)?;
            }
        }
        Ok(())
    }

    fn tensor(&mut self, bytes: &[u8], main: bool) -> Result<(), BundleError> {
        let tensor = Tensor::read(bytes)?;
        let name = String::from_utf8_lossy(tensor.name);
        let fail = |reason: String| Err(problem(&format!("the tensor `{}` {reason}", short(&name))));
        let Some(External { location, offset, length }) = tensor.external else { return Ok(()) };
        if location != Some(self.file.as_bytes()) {
            let place = location.map_or("no place".into(), String::from_utf8_lossy);
            return fail(format!("has its data in `{}`, and only `{}` is allowed", short(&place), self.file));
        }
        if !main {
            return fail("has its data in the weights, which only the initializers of the main graph may".to_owned());
        }
        let Some(bits) = element_bits(tensor.element) else {
            return fail(format!("has the element type {}, which weights may not have", tensor.element));
        };
        let size = tensor.shape.iter().try_fold(bits, |bits, &dim| bits.checked_mul(u64::try_from(dim).ok()?));
        let Some(size) = size.map(|bits| bits.div_ceil(8)) else {
            return fail("has a shape that makes no sense".to_owned());
        };
        let (Some(offset), Some(stated)) = (number(offset, 0), number(length, size)) else {
            return fail("has an offset or length that is no number".to_owned());
        };
        if stated != size {
            return fail(format!("has {stated} bytes of data, and its shape needs {size}"));
        }
        if offset % bits.div_ceil(8) != 0 {
            return fail(format!("has its data at {offset}, which is not aligned for its type"));
        }
        match offset.checked_add(size) {
            Some(end) if end <= self.length as u64 => {
                self.found.push(ExternalTensor {
                    name: name.into_owned(),
                    element: tensor.element,
                    shape: tensor.shape,
                    range: offset as usize..end as usize,
                    folded: false,
                    multiplied: false,
                });
                let start = location.map_or(0, |l| l.as_ptr().addr() - self.whole.as_ptr().addr());
                self.places.push(start..start + self.file.len());
                Ok(())
            }
            _ => fail(format!("has data that lie outside of the {} bytes of `{}`", self.length, self.file)),
        }
    }
}

/// What is read of a TensorProto.
#[derive(Default)]
struct Tensor<'a> {
    name: &'a [u8],
    element: u64,
    shape: Vec<i64>,
    external: Option<External<'a>>,
}

#[derive(Default)]
struct External<'a> {
    location: Option<&'a [u8]>,
    offset: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
}

impl<'a> Tensor<'a> {
    fn read(bytes: &'a [u8]) -> Result<Tensor<'a>, BundleError> {
        let mut tensor = Tensor::default();
        for field in Fields(bytes) {
            let Field { number, value } = field?;
            match (number, value) {
                (1, Value::Number(dim)) => tensor.shape.push(dim as i64),
                // The same list in the packed form.
                (1, Value::Bytes(dims)) => {
                    let mut dims = Fields(dims);
                    while !dims.is_empty() {
                        tensor.shape.push(dims.varint().ok_or_else(protobuf::cut_off)? as i64);
                    }
                }
                (2, Value::Number(element)) => tensor.element = element,
                (8, Value::Bytes(name)) => tensor.name = name,
                (13, Value::Bytes(entry)) => {
                    let external = tensor.external.get_or_insert_default();
                    let (key, value) = entry_of(entry)?;
                    let slot = match key {
                        b"location" => &mut external.location,
                        b"offset" => &mut external.offset,
                        b"length" => &mut external.length,
                        // A checksum or a note; nothing goes by them.
                        _ => continue,
                    };
                    if slot.replace(value).is_some() {
                        return Err(problem("a tensor says twice where its data are"));
                    }
                }
                // data_location = EXTERNAL, without saying where.
                (14, Value::Number(1)) => drop(tensor.external.get_or_insert_default()),
                _ => {}
            }
        }
        Ok(tensor)
    }
}

fn number(text: Option<&[u8]>, default: u64) -> Option<u64> {
    let Some(text) = text else { return Some(default) };
    // `parse` alone would take a plus sign.
    text.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

fn entry_of(entry: &[u8]) -> Result<(&[u8], &[u8]), BundleError> {
    let (mut key, mut value) = (&b""[..], &b""[..]);
    for field in Fields(entry) {
        let field = field?;
        if let Some(bytes) = field.bytes_of(1) {
            key = bytes;
        } else if let Some(bytes) = field.bytes_of(2) {
            value = bytes;
        }
    }
    Ok((key, value))
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

fn problem(text: &str) -> BundleError {
    BundleError::Graph(text.to_owned())
}
