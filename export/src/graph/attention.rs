//! Multi-head attention as nodes.

use anyhow::Result;

use super::activation::scaled;
use super::builder::{GraphBuilder, Value};
use super::linear::{Linear, Storage};
use super::{Arrays, Part, Profile};
use crate::arch::ModelConfig;

/// What one layer's attention is given besides its input.
pub(super) struct Surroundings<'a> {
    pub config: &'a ModelConfig,
    /// The padding mask `[batch, key]`, int32.
    pub mask: Option<&'a str>,
    /// Its additive form, for attention in its parts and where only the first token is computed.
    pub mask_bias: Option<&'a str>,
    /// `[1, heads or 1, query, key]`, with places of tokens `[batch, ...]`; added to scores.
    pub distance_bias: Option<&'a str>,
    /// Keys and values of earlier tokens.
    pub past: Option<[&'a str; 2]>,
    /// Names for those of all tokens, where they are outputs.
    pub present: Option<[String; 2]>,
    /// Where past and present may be the same memory: the last place of each row and the tokens of the longest.
    pub ends: Option<&'a [String; 2]>,
    /// Compute the first token's row only: the others would be thrown away.
    pub first_only: bool,
}

/// The three maps of an attention block.
pub(super) struct Projections<'a> {
    parameter: String,
    query: Linear<'a>,
    key: Linear<'a>,
    value: Linear<'a>,
}

impl<'a> Projections<'a> {
    pub(super) fn read(arrays: &'a Arrays, parameter: &str) -> Result<Self> {
        let read = |part: &str| Linear::read(arrays, &format!("{parameter}.{part}"));
        Ok(Self { parameter: parameter.to_owned(), query: read("query")?, key: read("key")?, value: read("value")? })
    }

    /// All three side by side.
    pub(super) fn together(&self) -> Linear<'a> {
        let parameter = format!("{}.query_key_value", self.parameter);
        Linear::side_by_side(&parameter, &[&self.query, &self.key, &self.value])
    }

    /// Query, key, value without biases, and the biases side by side; one product where all rows are needed.
    fn products(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &str,
        first: Option<&str>,
        width: usize,
        storage: Storage,
    ) -> ([String; 3], Option<String>) {
        let all = self.together();
        let bias = all.bias(graph);
        if !storage.fuses(Part::Projections) && storage.profile == Profile::Ort {
            let of = |graph: &mut GraphBuilder, map: &Linear, part: &str, x: &str| {
                map.product(graph, &format!("{name}.{part}"), x, storage)
            };
            let query = of(graph, &self.query, "query", first.unwrap_or(x));
            return ([query, of(graph, &self.key, "key", x), of(graph, &self.value, "value", x)], bias);
        }
        let Some(first) = first else {
            let product = all.product(graph, &format!("{name}.query_key_value"), x, storage);
            return (graph.split(&format!("{name}.split"), &product, 3 * width), bias);
        };
        let query = self.query.product(graph, &format!("{name}.query"), first, storage);
        let pair = Linear::side_by_side(&format!("{}.key_value", self.parameter), &[&self.key, &self.value]);
        let product = pair.product(graph, &format!("{name}.key_value"), x, storage);
        let [key, value] = graph.split(&format!("{name}.split"), &product, 2 * width);
        ([query, key, value], bias)
    }

    /// The context `[batch, query, heads x head size]` of `x`. `first` is its first row where only that one is needed.
    pub(super) fn attend(
        &self,
        graph: &mut GraphBuilder,
        name: &str,
        x: &str,
        first: Option<&str>,
        around: &Surroundings,
        storage: Storage,
    ) -> String {
        if let Some(ends) = around.ends {
            let product = self.together().apply(graph, &format!("{name}.query_key_value"), x, storage);
            return kept(graph, name, &product, around, ends);
        }
        let (products, bias) = self.products(graph, name, x, first, around.config.attention_size(), storage);
        match storage.fuses(Part::Attention) {
            true => fused(graph, name, &products, bias.as_deref().unwrap_or(""), around),
            false => open(graph, name, &products, bias, around),
        }
    }
}

/// `MultiHeadAttention` of ONNX Runtime.
fn fused(
    graph: &mut GraphBuilder,
    name: &str,
    [query, key, value]: &[String; 3],
    bias: &str,
    around: &Surroundings,
) -> String {
    let config = around.config;
    let [past_key, past_value] = around.past.unwrap_or(["", ""]);
    // ONNX Runtime 1.20 misreads the padding mask where there are fewer queries than keys, and one row of bias for all
    // heads of each text: there it is added, a row a head.
    let (mask, added) = match (around.first_only, around.mask_bias, around.distance_bias) {
        (true, Some(mask), distance) => {
            let heads = config.attention_heads;
            let zeros = || graph.floats("zero_by_head", &[1, heads, 1, 1], vec![0.0; heads]);
            let other = distance.map_or_else(zeros, str::to_owned);
            ("", graph.node(&format!("{name}.added"), "Add", &[&other, mask], &[]))
        }
        (_, _, distance) => (around.mask.unwrap_or(""), distance.unwrap_or("").to_owned()),
    };
    let mut inputs = vec![query.as_str(), key, value, bias, mask, &added, past_key, past_value];
    while inputs.last().is_some_and(|input| input.is_empty()) {
        inputs.pop();
    }
    let mut attributes = vec![("num_heads", Value::Int(config.attention_heads as i64))];
    if config.causal && around.distance_bias.is_none() {
        attributes.push(("unidirectional", Value::Int(1)));
    }
    let context = format!("{name}.context");
    let mut outputs = vec![context.clone()];
    outputs.extend(around.present.iter().flatten().cloned());
    graph.contrib_outputs(&context, "MultiHeadAttention", &inputs, &outputs, &attributes);
    context
}

/// `GroupQueryAttention` of ONNX Runtime, every query with keys and values of its own. It is causal, and where past and
/// present are the same memory it puts what is new behind what is there. `product` is
/// `[batch, length, 3 x heads x kept head size]`.
fn kept(graph: &mut GraphBuilder, name: &str, product: &str, around: &Surroundings, ends: &[String; 2]) -> String {
    let heads = around.config.attention_heads as i64;
    let [past_key, past_value] = around.past.unwrap_or_default();
    let mut inputs = vec![product, "", "", past_key, past_value, &ends[0], &ends[1]];
    if let Some(bias) = around.distance_bias {
        inputs.extend(["", "", "", bias]);
    }
    let scale = 1.0 / (around.config.head_size() as f32).sqrt();
    let attributes =
        [("num_heads", Value::Int(heads)), ("kv_num_heads", Value::Int(heads)), ("scale", Value::Float(scale))];
    let context = format!("{name}.context");
    let mut outputs = vec![context.clone()];
    outputs.extend(around.present.iter().flatten().cloned());
    graph.contrib_outputs(&context, "GroupQueryAttention", &inputs, &outputs, &attributes);
    context
}

/// [`fused`] in standard operators.
fn open(
    graph: &mut GraphBuilder,
    name: &str,
    products: &[String; 3],
    bias: Option<String>,
    around: &Surroundings,
) -> String {
    let config = around.config;
    let (heads, size) = (config.attention_heads as i64, config.head_size() as i64);
    let biases: Option<[String; 3]> = bias.map(|bias| {
        let sizes = graph.ints(&[config.attention_size() as i64; 3]);
        graph.outputs(&format!("{name}.biases"), "Split", &[&bias, &sizes])
    });
    let shape = graph.ints(&[0, 0, heads, size]);
    let mut parts = ["query", "key", "value"].into_iter().enumerate().map(|(i, part)| {
        let name = format!("{name}.{part}");
        let x = match &biases {
            Some(biases) => graph.node(&format!("{name}.biased"), "Add", &[&products[i], &biases[i]], &[]),
            None => products[i].clone(),
        };
        let heads = graph.node(&format!("{name}.heads"), "Reshape", &[&x, &shape], &[]);
        graph.node(&format!("{name}.by_head"), "Transpose", &[&heads], &[("perm", Value::Ints(&[0, 2, 1, 3]))])
    });
    let [query, mut key, mut value] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    drop(parts);
    if let Some([past_key, past_value]) = around.past {
        let [present_key, present_value] = around.present.clone().unwrap_or_default();
        let axis = || [("axis", Value::Int(2))];
        key = graph.node(&present_key, "Concat", &[past_key, &key], &axis());
        value = graph.node(&present_value, "Concat", &[past_value, &value], &axis());
    }
    let columns =
        graph.node(&format!("{name}.key.columns"), "Transpose", &[&key], &[("perm", Value::Ints(&[0, 1, 3, 2]))]);
    let product = graph.node(&format!("{name}.products"), "MatMul", &[&query, &columns], &[]);
    let mut scores = scaled(graph, &format!("{name}.scores"), &product, 1.0 / (size as f32).sqrt());
    for (kind, bias) in [("distance", around.distance_bias), ("mask", around.mask_bias)] {
        if let Some(bias) = bias {
            scores = graph.node(&format!("{name}.{kind}"), "Add", &[&scores, bias], &[]);
        }
    }
    let weights = graph.node(&format!("{name}.weights"), "Softmax", &[&scores], &[("axis", Value::Int(-1))]);
    let context = graph.node(&format!("{name}.by_head"), "MatMul", &[&weights, &value], &[]);
    let context =
        graph.node(&format!("{name}.by_token"), "Transpose", &[&context], &[("perm", Value::Ints(&[0, 2, 1, 3]))]);
    let whole = graph.ints(&[0, 0, config.attention_size() as i64]);
    graph.node(&format!("{name}.context"), "Reshape", &[&context, &whole], &[])
}
