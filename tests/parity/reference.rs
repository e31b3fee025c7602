//! The committed references, and comparing with them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limbeck_export::checkpoint::read_tensors;
use serde_json::Value;
use tch::{Kind, Tensor};

pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/references").join(name)
}

pub fn json(name: &str) -> Value {
    let bytes = std::fs::read(path(name)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Tensors of a reference file by name.
pub struct Tensors(BTreeMap<String, Tensor>);

pub fn tensors(name: &str) -> Tensors {
    Tensors(read_tensors(&path(name)).unwrap())
}

impl Tensors {
    pub fn get(&self, name: &str) -> Tensor {
        self.0.get(name).unwrap_or_else(|| panic!("the references have no `{name}`")).shallow_clone()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.0.iter()
    }
}

/// A JSON array of numbers, or of equally long arrays of them, as int64.
pub fn integers(value: &Value) -> Tensor {
    fn collect(value: &Value, out: &mut Vec<i64>) {
        match value {
            Value::Array(list) => list.iter().for_each(|inner| collect(inner, out)),
            number => out.push(number.as_i64().unwrap()),
        }
    }
    let mut shape = Vec::new();
    let mut inner = value;
    while let Value::Array(list) = inner {
        shape.push(list.len() as i64);
        inner = &list[0];
    }
    let mut numbers = Vec::new();
    collect(value, &mut numbers);
    Tensor::from_slice(&numbers).view(&shape[..])
}

/// The largest absolute difference.
pub fn difference(own: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(own.size(), reference.size());
    // A NaN must not pass for a small difference.
    assert_eq!(own.isfinite().all().int64_value(&[]), 1, "a value is not finite");
    (own.to_kind(Kind::Double) - reference.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Asserts that no element differs by more than `limit`.
pub fn close(what: &str, own: &Tensor, reference: &Tensor, limit: f64) {
    let found = difference(own, reference);
    assert!(found <= limit, "{what} differs by {found:e}, allowed {limit:e}");
}

/// Asserts that the difference is at most `limit` of the largest reference value.
pub fn close_relative(what: &str, own: &Tensor, reference: &Tensor, limit: f64) {
    let scale = reference.abs().max().double_value(&[]);
    close(what, own, reference, limit * scale);
}
