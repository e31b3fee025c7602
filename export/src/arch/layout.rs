//! Which parameters a model has, by name and shape; how many; and how much arithmetic they cost.
//!
//! Names are limbeck's own and the same for every architecture, so that losses, optimizers, layer maps and graphs
//! know one set of names; `checkpoint::names` says where each lives in a Hugging Face file.

use super::head::{Head, HeadStart};
use super::{Family, ModelConfig};

/// How a new parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All 0: biases.
    Zeros,
    /// All 1: LayerNorm weights.
    Ones,
    /// Normal of this standard deviation (GPT-2).
    Normal(f64),
    /// Normal of this standard deviation, drawn again beyond two of them (Google BERT and what came of it).
    TruncatedNormal(f64),
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// For example `encoder.attention.0.query.weight`.
    pub name: String,
    /// Dimensions; a linear weight is `[out, in]`.
    pub shape: Vec<i64>,
    /// Its value in a new model.
    pub init: Init,
}

impl Spec {
    /// Number of scalars.
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|&d| d as u64).product()
    }

    /// True for a parameter with an empty dimension.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct Layout {
    specs: Vec<Spec>,
    std: f64,
    truncated: bool,
}

impl Layout {
    fn tensor(&mut self, name: &str, shape: &[usize], init: Init) {
        let shape = shape.iter().map(|&d| d as i64).collect();
        self.specs.push(Spec { name: name.to_owned(), shape, init });
    }

    fn table(&mut self, name: &str, rows: usize, width: usize, std: f64) {
        let init = if self.truncated { Init::TruncatedNormal(std) } else { Init::Normal(std) };
        self.tensor(&format!("{name}.weight"), &[rows, width], init);
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize, std: f64) {
        self.table(name, outputs, inputs, std);
        self.tensor(&format!("{name}.bias"), &[outputs], Init::Zeros);
    }

    fn norm(&mut self, name: &str, size: usize) {
        self.tensor(&format!("{name}.weight"), &[size], Init::Ones);
        self.tensor(&format!("{name}.bias"), &[size], Init::Zeros);
    }
}

/// Every parameter of an encoder and its head, in the order of the forward pass.
pub fn parameter_layout(config: &ModelConfig, head: Head) -> Vec<Spec> {
    let (h, e, f, std) =
        (config.hidden_size, config.embedding_size, config.intermediate_size, config.initializer_range);
    let attended = config.attention_size();
    let gpt2 = config.family == Family::Gpt2;
    // GPT-2, section 2.3: residual projections shrink with the number of residual layers, 2 L; its positions start
    // at half the deviation (openai/gpt-2, src/model.py).
    let residual_std = if gpt2 { std / (2.0 * config.layers as f64).sqrt() } else { std };
    let position_std = if gpt2 { std / 2.0 } else { std };
    let mut layout = Layout { specs: Vec::new(), std, truncated: !gpt2 };
    layout.table("embeddings.words", config.vocab_size, e, std);
    layout.table("embeddings.positions", config.position_rows, e, position_std);
    if config.token_types > 0 {
        layout.table("embeddings.types", config.token_types, e, std);
    }
    if !config.pre_norm {
        layout.norm("embeddings.norm", e);
    }
    if config.embedding_projection {
        layout.linear("embeddings.projection", e, h, std);
    }
    if config.relative_buckets > 0 {
        layout.table("encoder.relative_bias", config.relative_buckets, config.attention_heads, std);
    }
    let (attention_blocks, ffn_blocks) = config.block_counts();
    for i in 0..attention_blocks {
        let block = format!("encoder.attention.{i}");
        for projection in ["query", "key", "value"] {
            layout.linear(&format!("{block}.{projection}"), h, attended, std);
        }
        layout.linear(&format!("{block}.output"), attended, h, residual_std);
        layout.norm(&format!("{block}.norm"), h);
    }
    for i in 0..ffn_blocks {
        let block = format!("encoder.ffn.{i}");
        layout.linear(&format!("{block}.up"), h, f, std);
        layout.linear(&format!("{block}.down"), f, h, residual_std);
        layout.norm(&format!("{block}.norm"), h);
    }
    if config.pre_norm {
        layout.norm("encoder.norm", h);
    }
    if head.stores_pooler(config) {
        layout.linear("pooler", h, h, std);
    }
    head_layout(&mut layout, config, head);
    layout.specs
}

fn head_layout(layout: &mut Layout, config: &ModelConfig, head: Head) {
    let (h, e, std) = (config.hidden_size, config.embedding_size, layout.std);
    match head {
        Head::None | Head::Embedding { .. } | Head::CausalLm => {}
        Head::Classification { labels } => match HeadStart::of(config) {
            HeadStart::Pooler { .. } => layout.linear("head.output", h, labels, std),
            HeadStart::Dense(_) => {
                layout.linear("head.dense", h, h, std);
                layout.linear("head.output", h, labels, std);
            }
            HeadStart::LastToken => layout.table("head.output", labels, h, std),
        },
        Head::TokenClassification { labels } => layout.linear("head.output", h, labels, std),
        Head::Span => layout.linear("head.output", h, 2, std),
        Head::ReplacedToken => {
            layout.linear("head.dense", h, h, std);
            layout.linear("head.output", h, 1, std);
        }
        Head::MaskedLm | Head::Pretraining => {
            // The decoder is the token table.
            layout.linear("head.dense", h, e, std);
            layout.norm("head.norm", e);
            layout.tensor("head.decoder.bias", &[config.vocab_size], Init::Zeros);
            if head == Head::Pretraining {
                layout.linear("head.sentence", h, 2, std);
            }
        }
    }
}

/// Exact parameter counts by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ParameterCount {
    /// Token, position and type tables with their norm and projection.
    pub embeddings: u64,
    /// All transformer layers; what they share counts once.
    pub layers: u64,
    /// The dense layer on the first token.
    pub pooler: u64,
    /// The task head; a decoder that is the token table counts nothing.
    pub head: u64,
    /// Encoder with the architecture's pooler, without the head: the figure that papers print.
    pub encoder: u64,
    /// All that a model with this head has.
    pub total: u64,
}

/// Counts parameters (integers, from [`parameter_layout`]).
pub fn count_parameters(config: &ModelConfig, head: Head) -> ParameterCount {
    let mut count = ParameterCount::default();
    for spec in parameter_layout(config, head) {
        let part = match spec.name.split('.').next() {
            Some("embeddings") => &mut count.embeddings,
            Some("encoder") => &mut count.layers,
            Some("pooler") => &mut count.pooler,
            _ => &mut count.head,
        };
        *part += spec.len();
        count.total += spec.len();
    }
    let h = config.hidden_size as u64;
    count.encoder = count.embeddings + count.layers + if config.pooler { h * h + h } else { 0 };
    count
}

#[cfg(test)]
mod tests;
