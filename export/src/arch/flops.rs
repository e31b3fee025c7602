//! How much arithmetic a model costs.

use super::ModelConfig;

/// Floating-point operations of the matrix products for one sequence of `length` tokens: two for each
/// multiply-add, `2 L (4HA + 2HF + 2sA) s` for `L` layers whose heads are together `A` wide (mostly `A = H`), and `2EHs`
/// for an embedding projection.
/// Sharing weights and banded attention save nothing here: the layers are computed all the same, and a band is a
/// mask.
pub fn flops(config: &ModelConfig, length: usize) -> u128 {
    let (h, f, s) = (config.hidden_size as u128, config.intermediate_size as u128, length as u128);
    let a = config.attention_size() as u128;
    let projection = if config.embedding_projection { config.embedding_size as u128 * h } else { 0 };
    2 * s * (config.blocks().len() as u128 * (4 * h * a + 2 * h * f + 2 * s * a) + projection)
}

/// One network as ELECTRA's counter sees it (google-research/electra, `flops_computation.py`): every operation of a
/// forward pass, token lookups as dense products with one-hot vectors, the backward pass as costly as the forward
/// one. It counts five operations for the whole norm after attention, not five an element; that is kept, so that
/// the published figures come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectraCost {
    /// Hidden size.
    pub hidden: u128,
    /// Layers.
    pub layers: u128,
    /// Feed-forward width.
    pub intermediate: u128,
    /// Attention heads.
    pub heads: u128,
    /// Embedding size.
    pub embedding: u128,
    /// Vocabulary size.
    pub vocabulary: u128,
    /// Sequence length in tokens.
    pub length: u128,
    /// How many of 32 tokens go through the output softmax while training (the published figures: 5).
    pub masked_of_32: u128,
}

impl ElectraCost {
    /// The cost of a model at a length. Each of the counter's networks has feed-forward width 4H and heads of 64.
    pub fn of(config: &ModelConfig, length: usize) -> Self {
        Self {
            hidden: config.hidden_size as u128,
            layers: config.blocks().len() as u128,
            intermediate: config.intermediate_size as u128,
            heads: config.attention_heads as u128,
            embedding: config.embedding_size as u128,
            vocabulary: config.vocab_size as u128,
            length: length as u128,
            masked_of_32: 5,
        }
    }

    /// One layer, one token. Per element: softmax 5, dropout 4, scale 1; norm 5; activation 8; a bias and a
    /// residual 1 each.
    fn layer(&self) -> u128 {
        let Self { hidden: h, intermediate: i, heads, length: s, .. } = *self;
        let products = 8 * h * h + 4 * h * i + 4 * h * s;
        products + 10 * s * heads + 20 * h + 9 * i + 5
    }

    /// Token, position and type lookups, norm, dropout and projection; one token.
    fn input(&self) -> u128 {
        let Self { hidden: h, embedding: e, vocabulary: v, length: s, .. } = *self;
        let projection = if e == h { 0 } else { 2 * h * e + h };
        2 * e * v + 2 * e * (s + 2) + 11 * e + projection
    }

    /// Dense layer, activation, norm and softmax over the vocabulary; one masked token.
    fn vocabulary_output(&self) -> u128 {
        let Self { hidden: h, embedding: e, vocabulary: v, .. } = *self;
        2 * e * v + 2 * h * e + 14 * e + 7 * v
    }

    /// The replaced-token head, or a classifier of the same shape; one token.
    fn binary_output(&self) -> u128 {
        2 * self.hidden * self.hidden + 11 * self.hidden
    }

    /// Forward pass of one sequence with a classification head.
    pub fn inference(&self) -> u128 {
        self.length * (self.layers * self.layer() + self.input() + self.binary_output())
    }

    /// Forward and backward passes over `sequences`, as a discriminator or as a masked language model.
    pub fn training(&self, sequences: u128, discriminator: bool) -> u128 {
        let output =
            if discriminator { 32 * self.binary_output() } else { self.masked_of_32 * self.vocabulary_output() };
        let per_token_32 = 32 * (self.layers * self.layer() + self.input()) + output;
        // Every published figure divides evenly; others lose less than one operation.
        2 * sequences * self.length * per_token_32 / 32
    }
}

#[cfg(test)]
mod tests {
    use super::super::preset;
    use super::*;

    fn config(name: &str) -> ModelConfig {
        preset(name).unwrap().config
    }

    #[test]
    fn matrix_products_equal_the_table() {
        let bert = |layers, hidden_size, attention_heads, intermediate_size| ModelConfig {
            layers,
            hidden_size,
            embedding_size: hidden_size,
            attention_heads,
            intermediate_size,
            ..config("bert-base-uncased")
        };
        // Tenths of a million multiply-adds at 128 tokens.
        for (config, expected) in [
            (config("bert-base-uncased"), 111_736),
            (config("tinybert6"), 55_868),
            (config("tinybert4"), 6_236),
            (bert(12, 384, 12, 1536), 28_689),
            (config("all-minilm-l6-v2"), 14_345),
            (bert(6, 256, 4, 1024), 6_543),
            (bert(12, 256, 4, 1024), 13_086),
            (bert(4, 256, 4, 1024), 4_362),
            (bert(4, 512, 8, 2048), 16_777),
            (bert(2, 128, 2, 512), 587),
        ] {
            assert_eq!((flops(&config, 128) + 100_000) / 200_000, expected);
        }
    }

    /// What `flops_computation.py` prints.
    #[test]
    fn electras_counter_is_reproduced() {
        let cost = |name, length| ElectraCost::of(&config(name), length);
        let pair = |disc, gen_, length, sequences| {
            cost(disc, length).training(sequences, true) + cost(gen_, length).training(sequences, false)
        };
        let bert_small = cost("electra-small", 128).training(128 * 1_450_000, false);
        let bert_base = cost("bert-base-uncased", 512).training(256 * 1_000_000, false);
        let electra_small = pair("electra-small", "electra-small-generator", 128, 128 * 1_000_000);
        let electra_base = pair("electra-base", "electra-base-generator", 512, 256 * 766_000);
        let electra_400k = pair("electra-large", "electra-large-generator", 512, 2048 * 400_000);
        let albert = cost("albert-xxlarge", 512).training(4096 * 1_500_000, false);
        assert_eq!(bert_small, 1_418_739_914_649_600_000);
        assert_eq!(bert_base, 64_283_351_040_000_000_000);
        assert_eq!(electra_small, 1_293_743_798_272_000_000);
        assert_eq!(electra_base, 64_245_418_342_776_832_000);
        assert_eq!(electra_400k, 711_760_604_089_548_800_000);
        assert_eq!(albert, 31_139_239_553_925_120_000_000);
        for (own, printed) in [
            (bert_small, 1.4187399146496e18),
            (bert_base, 6.428335104e19),
            (electra_small, 1.293743798272e18),
            (electra_base, 6.424541834277683e19),
            (electra_400k, 7.117606040895488e20),
            (albert, 3.113923955392512e22),
        ] {
            assert_eq!(own as f64, printed);
        }
    }
}
