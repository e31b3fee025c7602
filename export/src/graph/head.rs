//! Task heads as nodes.

use anyhow::Result;

use super::activation::activate;
use super::builder::Value;
use super::linear::{Linear, Table, layer_norm, vector};
use super::model::Writer;
use super::positions::Extent;
use super::proto::DataType;
use crate::arch::{DenseActivation, Head, HeadStart, Pooling, masked_lm_activation};

/// Name of the logits: `[batch, labels]`, `[batch, length, labels]`, `[batch, length, vocabulary]` or, for replaced
/// tokens, `[batch, length]`; fp32, as all outputs.
pub const LOGITS: &str = "logits";
/// Name of a span head's first output, `[batch, length]`.
pub const START_LOGITS: &str = "start_logits";
/// Name of a span head's second output, `[batch, length]`.
pub const END_LOGITS: &str = "end_logits";
/// Name of a pretraining head's second output, `[batch, 2]`.
pub const SENTENCE_LOGITS: &str = "sentence_logits";
/// Name of an embedding model's output, `[batch, hidden]`.
pub const SENTENCE_EMBEDDING: &str = "sentence_embedding";
/// Name of the hidden states, `[batch, length, hidden]`: of a model without a head, or when asked for.
pub const LAST_HIDDEN: &str = "last_hidden_state";
/// Name of the second output of a model without a head, `[batch, hidden]`, where it has a pooler.
pub const POOLER_OUTPUT: &str = "pooler_output";

impl Writer<'_> {
    /// Gives what the node `x` computes as an output.
    pub(super) fn give(&mut self, name: &str, x: &str, axes: &[&str]) {
        let output = self.graph.node(name, "Identity", &[x], &[]);
        self.graph.output(&output, DataType::Float, axes);
    }

    /// `PARAMETER`, a map from hidden size to hidden size, applied to `x`.
    fn dense(&mut self, parameter: &str, x: &str) -> Result<String> {
        let storage = self.storage();
        Ok(Linear::read(self.arrays, parameter)?.apply(&mut self.graph, parameter, x, storage))
    }

    /// `PARAMETER`, which makes the logits, applied to `x` in fp32: it is small and decides.
    fn output(&mut self, parameter: &str, x: &str) -> Result<String> {
        let storage = self.storage().float();
        Ok(Linear::read(self.arrays, parameter)?.apply(&mut self.graph, parameter, x, storage))
    }

    /// The first token's vectors of `[batch, length, hidden]`, `[batch, hidden]`.
    fn first(&mut self, x: &str) -> String {
        if self.graph.has_node("first") {
            return "first".to_owned();
        }
        let (zero, one) = (self.graph.ints(&[0]), self.graph.ints(&[1]));
        let row = self.graph.node("first.row", "Slice", &[x, &zero, &one, &one], &[]);
        self.graph.node("first", "Squeeze", &[&row, &one], &[])
    }

    fn pooled(&mut self, x: &str) -> Result<String> {
        let first = self.first(x);
        let dense = self.dense("pooler", &first)?;
        Ok(self.graph.node("pooler.tanh", "Tanh", &[&dense], &[]))
    }

    /// The outputs of the head on the last hidden state `x`.
    pub(super) fn head(&mut self, x: &str, words: &Table, extent: &Extent) -> Result<()> {
        let (hidden, storage) = (self.config.hidden_size.to_string(), self.storage());
        match self.head {
            Head::None => {
                self.give(LAST_HIDDEN, x, &["batch", "length", &hidden]);
                if self.config.pooler {
                    let pooled = self.pooled(x)?;
                    self.give(POOLER_OUTPUT, &pooled, &["batch", &hidden]);
                }
            }
            Head::Embedding { pooling, normalize } => {
                let embedding = self.embedding(x, pooling, normalize);
                self.give(SENTENCE_EMBEDDING, &embedding, &["batch", &hidden]);
            }
            Head::Classification { labels } => {
                let input = match HeadStart::of(self.config) {
                    HeadStart::Pooler { relu: false } => self.pooled(x)?,
                    HeadStart::Pooler { relu: true } => {
                        let pooled = self.pooled(x)?;
                        self.graph.node("pooler.relu", "Relu", &[&pooled], &[])
                    }
                    HeadStart::Dense(activation) => {
                        let first = self.first(x);
                        let dense = self.dense("head.dense", &first)?;
                        let name = "head.dense.activated";
                        match activation {
                            DenseActivation::Tanh => self.graph.node(name, "Tanh", &[&dense], &[]),
                            DenseActivation::Relu => self.graph.node(name, "Relu", &[&dense], &[]),
                            DenseActivation::Gelu => {
                                let gelu = crate::arch::Activation::GeluErf;
                                activate(&mut self.graph, name, &dense, gelu, storage)
                            }
                        }
                    }
                    HeadStart::LastToken => self.last_token(x, extent),
                };
                let logits = self.output("head.output", &input)?;
                self.give(LOGITS, &logits, &["batch", &labels.to_string()]);
            }
            Head::TokenClassification { labels } => {
                let logits = self.output("head.output", x)?;
                self.give(LOGITS, &logits, &["batch", "length", &labels.to_string()]);
            }
            Head::Span => {
                let logits = self.output("head.output", x)?;
                let last = self.graph.ints(&[2]);
                let parts: [String; 2] = self.graph.split("head.split", &logits, 2);
                for (name, part) in [START_LOGITS, END_LOGITS].into_iter().zip(parts) {
                    let part = self.graph.node(&format!("head.{name}"), "Squeeze", &[&part, &last], &[]);
                    self.give(name, &part, &["batch", "length"]);
                }
            }
            Head::ReplacedToken => {
                let dense = self.dense("head.dense", x)?;
                let (name, activation) = ("head.dense.activated", self.config.activation);
                let active = activate(&mut self.graph, name, &dense, activation, storage);
                let logits = self.output("head.output", &active)?;
                let last = self.graph.ints(&[2]);
                let logits = self.graph.node("head.squeezed", "Squeeze", &[&logits, &last], &[]);
                self.give(LOGITS, &logits, &["batch", "length"]);
            }
            Head::MaskedLm | Head::Pretraining => {
                let dense = self.dense("head.dense", x)?;
                let activation = masked_lm_activation(self.config);
                let name = "head.dense.activated";
                let active = activate(&mut self.graph, name, &dense, activation, storage);
                let eps = self.config.layer_norm_eps;
                let normed = layer_norm(&mut self.graph, self.arrays, "head.norm", "head.normed", &active, eps)?;
                let bias = vector(self.arrays, "head.decoder.bias")?;
                let bias = self.graph.floats("head.decoder.bias", &[bias.len()], bias.iter().copied());
                self.decode(&normed, words, extent, Some(bias));
                if self.head == Head::Pretraining {
                    let pooled = self.pooled(x)?;
                    let logits = self.output("head.sentence", &pooled)?;
                    self.give(SENTENCE_LOGITS, &logits, &["batch", "2"]);
                }
            }
            Head::CausalLm => match self.logits_from.clone() {
                None => self.decode(x, words, extent, None),
                Some(from) => {
                    let graph = &mut self.graph;
                    let (zero, one, two, end) =
                        (graph.ints(&[0]), graph.ints(&[1]), graph.ints(&[2]), graph.ints(&[i64::MAX]));
                    let wanted = graph.node("head.wanted", "Slice", &[x, &from, &end, &one], &[]);
                    let shape = graph.node("head.wanted.shape", "Shape", &[&wanted], &[]);
                    let shape = graph.node("head.wanted.rows", "Slice", &[&shape, &zero, &two, &zero], &[]);
                    let storage = self.storage();
                    let logits = words.decode(&mut self.graph, "head.decoder", &wanted, &shape, None, storage);
                    self.give(LOGITS, &logits, &["batch", "wanted", &self.config.vocab_size.to_string()]);
                }
            },
        }
        if self.options.hidden_output && self.head != Head::None {
            self.give(LAST_HIDDEN, x, &["batch", "length", &hidden]);
        }
        Ok(())
    }

    fn decode(&mut self, x: &str, words: &Table, extent: &Extent, bias: Option<String>) {
        let (storage, shape) = (self.storage(), extent.shape(&mut self.graph));
        let logits = words.decode(&mut self.graph, "head.decoder", x, &shape, bias, storage);
        self.give(LOGITS, &logits, &["batch", "length", &self.config.vocab_size.to_string()]);
    }

    /// The mask as fp32 `[batch, length, 1]`.
    fn keep(&mut self, mask: &str) -> String {
        let float = self.graph.node("keep.float", "Cast", &[mask], &[("to", Value::Int(1))]);
        let axis = self.graph.ints(&[2]);
        self.graph.node("keep", "Unsqueeze", &[&float, &axis], &[])
    }

    fn embedding(&mut self, x: &str, pooling: Pooling, normalize: bool) -> String {
        let mask = self.mask.clone();
        let tokens = [("axes", Value::Ints(&[1])), ("keepdims", Value::Int(0))];
        let pooled = match (pooling, mask) {
            (Pooling::Cls, _) => self.first(x),
            (Pooling::Mean, None) => self.graph.node("pooled", "ReduceMean", &[x], &tokens),
            (Pooling::Max, None) => self.graph.node("pooled", "ReduceMax", &[x], &tokens),
            (Pooling::Mean, Some(mask)) => {
                let keep = self.keep(&mask);
                let graph = &mut self.graph;
                let (axis, one) = (graph.ints(&[1]), graph.float(1.0));
                let kept = graph.node("pooled.kept", "Mul", &[x, &keep], &[]);
                let sum = graph.node("pooled.sum", "ReduceSum", &[&kept, &axis], &[("keepdims", Value::Int(0))]);
                let count = graph.node("pooled.count", "ReduceSum", &[&keep, &axis], &[("keepdims", Value::Int(0))]);
                let count = graph.node("pooled.at_least_one", "Max", &[&count, &one], &[]);
                graph.node("pooled", "Div", &[&sum, &count], &[])
            }
            (Pooling::Max, Some(mask)) => {
                let keep = self.keep(&mask);
                let graph = &mut self.graph;
                let (one, lowest) = (graph.float(1.0), graph.float(f32::MAX));
                let pad = graph.node("pooled.pad", "Sub", &[&keep, &one], &[]);
                let lowest = graph.node("pooled.lowest", "Mul", &[&pad, &lowest], &[]);
                let kept = graph.node("pooled.kept", "Add", &[x, &lowest], &[]);
                graph.node("pooled", "ReduceMax", &[&kept], &tokens)
            }
        };
        if !normalize {
            return pooled;
        }
        let axes = [("axes", Value::Ints(&[1])), ("keepdims", Value::Int(1))];
        let length = self.graph.node("normalized.length", "ReduceL2", &[&pooled], &axes);
        // As torch's normalize: a zero vector stays zero.
        let least = self.graph.float(1e-12);
        let length = self.graph.node("normalized.at_least", "Max", &[&length, &least], &[]);
        self.graph.node("normalized", "Div", &[&pooled, &length], &[])
    }

    /// The vectors of each row's last token that is not padding, `[batch, hidden]`.
    fn last_token(&mut self, x: &str, extent: &Extent) -> String {
        let mask = self.mask.clone();
        let graph = &mut self.graph;
        let (one, first_axis) = (graph.int(1), graph.ints(&[0]));
        let total = extent.total(graph);
        let length = graph.node("last.length", "Squeeze", &[&total, &first_axis], &[]);
        let Some(mask) = mask else {
            let last = graph.node("last.index", "Sub", &[&length, &one], &[]);
            return graph.node("last", "Gather", &[x, &last], &[("axis", Value::Int(1))]);
        };
        // A product with a one-hot row picks another position in each text.
        let zero = graph.int(0);
        let range = graph.node("last.range", "Range", &[&zero, &length, &one], &[]);
        let mask = graph.node("last.mask", "Cast", &[&mask], &[("to", Value::Int(7))]);
        let kept = graph.node("last.kept", "Mul", &[&mask, &range], &[]);
        let axes = [("axes", Value::Ints(&[1])), ("keepdims", Value::Int(1))];
        let last = graph.node("last.index", "ReduceMax", &[&kept], &axes);
        let chosen = graph.node("last.chosen", "Equal", &[&last, &range], &[]);
        let chosen = graph.node("last.one_hot", "Cast", &[&chosen], &[("to", Value::Int(1))]);
        let second = graph.ints(&[1]);
        let chosen = graph.node("last.row", "Unsqueeze", &[&chosen, &second], &[]);
        let picked = graph.node("last.picked", "MatMul", &[&chosen, x], &[]);
        graph.node("last", "Squeeze", &[&picked, &second], &[])
    }
}
