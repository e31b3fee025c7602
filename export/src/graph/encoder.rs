//! A BERT classifier as an ONNX graph for ONNX Runtime's CPU kernels.

use anyhow::{Result, ensure};
use ndarray::Axis;

use super::Arrays;
use super::builder::{BuiltGraph, GraphBuilder, Value};
use super::linear::{Linear, WeightMode, gather_rows, layer_norm, matrix};
use super::proto::DataType;
use crate::arch::{Head, ModelConfig, parameter_layout};

/// Name of the classifier's output, `[batch, labels]` fp32.
pub const LOGITS: &str = "logits";
/// Name of the optional second output, `[batch, length, hidden]` fp32.
pub const LAST_HIDDEN: &str = "last_hidden_state";

/// What the graph should look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphOptions {
    /// Storage of matrices and of the token table.
    pub weights: WeightMode,
    /// Take an `attention_mask` and so padded batches; without it every row must be whole.
    pub mask: bool,
    /// Take `token_type_ids`; without them every token has type 0, folded into the position table.
    pub token_types: bool,
    /// Give the last hidden state too, for parity tests. The last layer is then computed for all
    /// tokens, not only for the first one that the classifier reads.
    pub hidden_output: bool,
}

struct Writer<'a> {
    graph: GraphBuilder,
    arrays: &'a Arrays,
    config: &'a ModelConfig,
    options: GraphOptions,
    mask: Option<String>,
}

/// Writes a sequence classifier.
///
/// Inputs are int32 `[batch, length]`: `input_ids`, then `attention_mask` (1 token, 0 pad) and
/// `token_type_ids` when asked for.
///
/// # Errors
/// A weight that is missing or of another shape than `config` implies.
pub fn build_classifier(
    arrays: &Arrays,
    config: &ModelConfig,
    labels: usize,
    options: GraphOptions,
) -> Result<BuiltGraph> {
    for spec in parameter_layout(config, Head::Classification { labels }) {
        let shape: Option<Vec<i64>> = arrays.get(&spec.name).map(|a| a.shape().iter().map(|&d| d as i64).collect());
        ensure!(
            shape.as_ref() == Some(&spec.shape),
            "tensor `{}` has shape {shape:?}, expected {:?}",
            spec.name,
            spec.shape
        );
    }
    let mut writer = Writer { graph: GraphBuilder::default(), arrays, config, options, mask: None };
    let mut x = writer.embeddings()?;
    for i in 0..config.layers {
        let first_token_only = i + 1 == config.layers && !options.hidden_output;
        x = writer.layer(i, &x, first_token_only)?;
    }
    writer.head(&x, labels)?;
    if options.hidden_output {
        let hidden = writer.graph.node(LAST_HIDDEN, "Identity", &[&x], &[]);
        writer.graph.output(&hidden, DataType::Float, &["batch", "length", &config.hidden_size.to_string()]);
    }
    Ok(writer.graph.finish("limbeck-classifier"))
}

impl Writer<'_> {
    fn embeddings(&mut self) -> Result<String> {
        let axes = ["batch", "length"];
        let ids = self.graph.input("input_ids", DataType::Int32, &axes);
        if self.options.mask {
            self.mask = Some(self.graph.input("attention_mask", DataType::Int32, &axes));
        }
        let words = matrix(self.arrays, "embeddings.word_embeddings.weight")?;
        let mut positions = matrix(self.arrays, "embeddings.position_embeddings.weight")?;
        let types = matrix(self.arrays, "embeddings.token_type_embeddings.weight")?;
        if !self.options.token_types {
            positions += &types.index_axis(Axis(0), 0);
        }
        let graph = &mut self.graph;
        let mut sum = gather_rows(graph, "embeddings.words", &words, &ids, self.options.weights);
        // The first `length` rows of the table: length is the second entry of the shape of the ids.
        let (zero, one, two) = (graph.ints(&[0]), graph.ints(&[1]), graph.ints(&[2]));
        let shape = graph.node("shape", "Shape", &[&ids], &[]);
        let length = graph.node("length", "Slice", &[&shape, &one, &two, &zero], &[]);
        let table = graph.floats("embeddings.positions.weight", &[positions.nrows(), positions.ncols()], positions);
        let rows = graph.node("embeddings.positions", "Slice", &[&table, &zero, &length, &zero], &[]);
        sum = graph.node("embeddings.sum", "Add", &[&sum, &rows], &[]);
        if self.options.token_types {
            let type_ids = graph.input("token_type_ids", DataType::Int32, &axes);
            let segments = gather_rows(graph, "embeddings.types", &types, &type_ids, WeightMode::Float);
            sum = graph.node("embeddings.typed", "Add", &[&sum, &segments], &[]);
        }
        layer_norm(graph, self.arrays, "embeddings.LayerNorm", &sum, self.config.layer_norm_eps)
    }

    /// One post-norm layer. With `first_token_only`, queries and all that follows are computed for the
    /// first token alone (keys and values still see every token): the rest would be thrown away.
    fn layer(&mut self, index: usize, x: &str, first_token_only: bool) -> Result<String> {
        let name = format!("encoder.layer.{index}");
        let (graph, mode, hidden) = (&mut self.graph, self.options.weights, self.config.hidden_size);
        let read = |part: &str| Linear::read(self.arrays, &format!("{name}.{part}"));
        let [query, key, value] =
            [read("attention.self.query")?, read("attention.self.key")?, read("attention.self.value")?];
        let packed_name = format!("{name}.attention.self");
        let (residual, q, k, v);
        let bias;
        if first_token_only {
            let (zero, one) = (graph.ints(&[0]), graph.ints(&[1]));
            residual = graph.node(&format!("{name}.first"), "Slice", &[x, &zero, &one, &one], &[]);
            q = query.product(graph, &format!("{packed_name}.query"), &residual, mode);
            let key_value = Linear::side_by_side(&[key, value])?;
            let product = key_value.product(graph, &format!("{packed_name}.key_value"), x, mode);
            [k, v] = graph.split(&format!("{packed_name}.split"), &product, 2 * hidden);
            bias = Linear::side_by_side(&[query, key_value])?.bias(graph, &packed_name);
        } else {
            residual = x.to_owned();
            let packed = Linear::side_by_side(&[query, key, value])?;
            let product = packed.product(graph, &packed_name, x, mode);
            [q, k, v] = graph.split(&format!("{packed_name}.split"), &product, 3 * hidden);
            bias = packed.bias(graph, &packed_name);
        }
        let mut inputs = vec![q.as_str(), &k, &v, &bias];
        inputs.extend(self.mask.as_deref());
        let heads = [("num_heads", Value::Int(self.config.attention_heads as i64))];
        let context = graph.contrib(&format!("{packed_name}.context"), "MultiHeadAttention", &inputs, &heads);
        let attended =
            read("attention.output.dense")?.apply(graph, &format!("{name}.attention.output.dense"), &context, mode);
        let sum = graph.node(&format!("{name}.attention.output.sum"), "Add", &[&attended, &residual], &[]);
        let eps = self.config.layer_norm_eps;
        let x = layer_norm(graph, self.arrays, &format!("{name}.attention.output.LayerNorm"), &sum, eps)?;
        let up_name = format!("{name}.intermediate.dense");
        let up = read("intermediate.dense")?;
        let product = up.product(graph, &up_name, &x, mode);
        let bias = up.bias(graph, &up_name);
        let activated = graph.contrib(&format!("{name}.intermediate.gelu"), "BiasGelu", &[&product, &bias], &[]);
        let down = read("output.dense")?.apply(graph, &format!("{name}.output.dense"), &activated, mode);
        let sum = graph.node(&format!("{name}.output.sum"), "Add", &[&down, &x], &[]);
        layer_norm(graph, self.arrays, &format!("{name}.output.LayerNorm"), &sum, eps)
    }

    fn head(&mut self, x: &str, labels: usize) -> Result<()> {
        let graph = &mut self.graph;
        let (zero, one) = (graph.ints(&[0]), graph.ints(&[1]));
        let first = graph.node("pooler.first", "Slice", &[x, &zero, &one, &one], &[]);
        let first = graph.node("pooler.token", "Squeeze", &[&first, &one], &[]);
        let pooled =
            Linear::read(self.arrays, "pooler.dense")?.apply(graph, "pooler.dense", &first, self.options.weights);
        let pooled = graph.node("pooler.tanh", "Tanh", &[&pooled], &[]);
        // The classifier is small and decides: it stays in fp32.
        let scores = Linear::read(self.arrays, "classifier")?.apply(graph, "classifier", &pooled, WeightMode::Float);
        let logits = graph.node(LOGITS, "Identity", &[&scores], &[]);
        graph.output(&logits, DataType::Float, &["batch", &labels.to_string()]);
        Ok(())
    }
}
