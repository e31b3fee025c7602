//! ONNX graphs, written from weights without a tracer: already fused the way ONNX Runtime runs best.

mod builder;
mod encoder;
mod linear;
pub mod proto;

pub use builder::{BuiltGraph, OPSET, WEIGHTS_NAME};
pub use encoder::{GraphOptions, LAST_HIDDEN, LOGITS, build_classifier};
pub use linear::WeightMode;

use std::collections::BTreeMap;

use ndarray::ArrayD;

/// Weights by limbeck's names, as [`crate::checkpoint::read_arrays`] gives them.
pub type Arrays = BTreeMap<String, ArrayD<f32>>;
