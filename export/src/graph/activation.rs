//! Activations as nodes.

use super::Part;
use super::builder::GraphBuilder;
use super::linear::Storage;
use crate::arch::Activation;

/// `activation(x)`.
pub(super) fn activate(
    graph: &mut GraphBuilder,
    name: &str,
    x: &str,
    activation: Activation,
    storage: Storage,
) -> String {
    match (activation, storage.fuses(Part::Activation)) {
        (Activation::Relu, _) => graph.node(name, "Relu", &[x], &[]),
        (Activation::GeluErf, true) => graph.contrib(name, "Gelu", &[x], &[]),
        (Activation::GeluTanh, true) => graph.contrib(name, "FastGelu", &[x], &[]),
        (Activation::GeluErf, false) => {
            let scaled = scaled(graph, &format!("{name}.scaled"), x, std::f32::consts::FRAC_1_SQRT_2);
            let erf = graph.node(&format!("{name}.erf"), "Erf", &[&scaled], &[]);
            half_of_one_plus(graph, name, x, &erf)
        }
        (Activation::GeluTanh, false) => {
            let square = graph.node(&format!("{name}.square"), "Mul", &[x, x], &[]);
            let small = scaled(graph, &format!("{name}.small"), &square, 0.044_715);
            let one = graph.float(1.0);
            let factor = graph.node(&format!("{name}.factor"), "Add", &[&small, &one], &[]);
            let inner = graph.node(&format!("{name}.inner"), "Mul", &[x, &factor], &[]);
            let scaled = scaled(graph, &format!("{name}.scaled"), &inner, (2.0 / std::f32::consts::PI).sqrt());
            let tanh = graph.node(&format!("{name}.tanh"), "Tanh", &[&scaled], &[]);
            half_of_one_plus(graph, name, x, &tanh)
        }
    }
}

/// `x * factor`.
pub(super) fn scaled(graph: &mut GraphBuilder, name: &str, x: &str, factor: f32) -> String {
    let factor = graph.float(factor);
    graph.node(name, "Mul", &[x, &factor], &[])
}

/// `x/2 (1 + y)`.
fn half_of_one_plus(graph: &mut GraphBuilder, name: &str, x: &str, y: &str) -> String {
    let one = graph.float(1.0);
    let sum = graph.node(&format!("{name}.sum"), "Add", &[y, &one], &[]);
    let product = graph.node(&format!("{name}.product"), "Mul", &[x, &sum], &[]);
    scaled(graph, name, &product, 0.5)
}

/// `activation(x + bias)`: one operator where ONNX Runtime has it.
pub(super) fn activate_with_bias(
    graph: &mut GraphBuilder,
    name: &str,
    x: &str,
    bias: &str,
    activation: Activation,
    storage: Storage,
) -> String {
    match (activation, storage.fuses(Part::Activation)) {
        (Activation::GeluErf, true) => graph.contrib(name, "BiasGelu", &[x, bias], &[]),
        (Activation::GeluTanh, true) => graph.contrib(name, "FastGelu", &[x, bias], &[]),
        _ => {
            let sum = graph.node(&format!("{name}.biased"), "Add", &[x, bias], &[]);
            activate(graph, name, &sum, activation, storage)
        }
    }
}
