//! Which parameters a model has, by name and shape; how many; and how much arithmetic they cost.

use super::{Family, Head, ModelConfig};

/// One parameter: its Hugging Face name (without the family prefix) and shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// For example `encoder.layer.0.attention.self.query.weight`.
    pub name: String,
    /// Dimensions; a linear weight is `[out, in]`.
    pub shape: Vec<i64>,
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

struct Layout(Vec<Spec>);

impl Layout {
    fn tensor(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.push(Spec { name: name.into(), shape: shape.iter().map(|&d| d as i64).collect() });
    }

    fn linear(&mut self, name: &str, inputs: usize, outputs: usize) {
        self.tensor(format!("{name}.weight"), &[outputs, inputs]);
        self.tensor(format!("{name}.bias"), &[outputs]);
    }

    fn norm(&mut self, name: &str, size: usize) {
        self.tensor(format!("{name}.weight"), &[size]);
        self.tensor(format!("{name}.bias"), &[size]);
    }
}

/// Every parameter of an encoder and its head, in the order of the forward pass.
pub fn parameter_layout(config: &ModelConfig, head: Head) -> Vec<Spec> {
    let Family::Bert = config.family;
    let (h, f) = (config.hidden_size, config.intermediate_size);
    let mut layout = Layout(Vec::new());
    layout.tensor("embeddings.word_embeddings.weight", &[config.vocab_size, h]);
    layout.tensor("embeddings.position_embeddings.weight", &[config.max_positions, h]);
    layout.tensor("embeddings.token_type_embeddings.weight", &[config.token_types, h]);
    layout.norm("embeddings.LayerNorm", h);
    for i in 0..config.layers {
        let layer = format!("encoder.layer.{i}");
        for projection in ["query", "key", "value"] {
            layout.linear(&format!("{layer}.attention.self.{projection}"), h, h);
        }
        layout.linear(&format!("{layer}.attention.output.dense"), h, h);
        layout.norm(&format!("{layer}.attention.output.LayerNorm"), h);
        layout.linear(&format!("{layer}.intermediate.dense"), h, f);
        layout.linear(&format!("{layer}.output.dense"), f, h);
        layout.norm(&format!("{layer}.output.LayerNorm"), h);
    }
    layout.linear("pooler.dense", h, h);
    if let Head::Classification { labels } = head {
        layout.linear("classifier", h, labels);
    }
    layout.0
}

/// Exact parameter counts by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ParameterCount {
    /// Token, position and type tables with their norm.
    pub embeddings: u64,
    /// All transformer layers.
    pub layers: u64,
    /// The dense layer on the first token.
    pub pooler: u64,
    /// The task head.
    pub head: u64,
    /// Encoder with pooler, without the head: the figure that papers print.
    pub encoder: u64,
    /// Everything.
    pub total: u64,
}

/// Counts parameters (integers, from [`parameter_layout`]).
pub fn count_parameters(config: &ModelConfig, head: Head) -> ParameterCount {
    let mut count = ParameterCount { embeddings: 0, layers: 0, pooler: 0, head: 0, encoder: 0, total: 0 };
    for spec in parameter_layout(config, head) {
        let part = match spec.name.split('.').next() {
            Some("embeddings") => &mut count.embeddings,
            Some("encoder") => &mut count.layers,
            Some("pooler") => &mut count.pooler,
            _ => &mut count.head,
        };
        *part += spec.len();
    }
    count.encoder = count.embeddings + count.layers + count.pooler;
    count.total = count.encoder + count.head;
    count
}

/// Multiply-adds of the encoder's matrix products for one sequence of `length` tokens, times two:
/// `2 L (4H^2 + 2HF + 2sH) s` floating-point operations.
pub fn flops(config: &ModelConfig, length: usize) -> u64 {
    let (h, f, s) = (config.hidden_size as u64, config.intermediate_size as u64, length as u64);
    2 * config.layers as u64 * (4 * h * h + 2 * h * f + 2 * s * h) * s
}

#[cfg(test)]
mod tests {
    use super::super::Activation;
    use super::*;

    fn bert(layers: usize, hidden: usize, heads: usize, ffn: usize) -> ModelConfig {
        ModelConfig {
            family: Family::Bert,
            vocab_size: 30522,
            hidden_size: hidden,
            layers,
            attention_heads: heads,
            intermediate_size: ffn,
            max_positions: 512,
            token_types: 2,
            activation: Activation::GeluErf,
            layer_norm_eps: 1e-12,
            hidden_dropout: 0.1,
            attention_dropout: 0.1,
            initializer_range: 0.02,
            pad_id: 0,
        }
    }

    #[test]
    fn counts_equal_the_published_integers() {
        for (config, encoder) in [
            (bert(12, 768, 12, 3072), 109_482_240),
            (bert(24, 1024, 16, 4096), 335_141_888),
            (bert(4, 312, 12, 1200), 14_350_248),
            (bert(6, 768, 12, 3072), 66_955_008),
            (bert(12, 384, 12, 1536), 33_360_000),
            (bert(6, 384, 12, 1536), 22_713_216),
            (bert(3, 384, 12, 1536), 17_389_824),
            (bert(6, 256, 8, 1024), 12_750_080),
            (bert(2, 128, 2, 512), 4_385_920),
        ] {
            assert_eq!(count_parameters(&config, Head::None).encoder, encoder);
        }
        let base = bert(12, 768, 12, 3072);
        for (labels, total) in [(1, 109_483_009), (2, 109_483_778), (3, 109_484_547)] {
            assert_eq!(count_parameters(&base, Head::Classification { labels }).total, total);
        }
    }

    #[test]
    fn flops_equal_the_table() {
        assert_eq!(flops(&bert(12, 768, 12, 3072), 128) / 200_000, 111_736);
        assert_eq!(flops(&bert(6, 384, 12, 1536), 128) / 200_000, 14_344);
    }
}
