//! The ONNX graphs that limbeck writes give what the tch model gives.
//!
//! Runs the graph files themselves (ids in, logits out) in ONNX Runtime.

mod cache;
mod checker;
mod classifier;
mod family;
mod graphs;
mod operators;
