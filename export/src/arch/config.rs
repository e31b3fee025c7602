//! What a model is made of: one description for the whole family.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// An architecture that limbeck trains and exports: the names of its tensors, its heads and its defaults.
/// What it computes is told by the other fields of [`ModelConfig`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Post-norm encoder with absolute positions and segment types (Devlin 2019); MiniLM and TinyBERT too.
    Bert,
    /// BERT without segments, positions counted from 2 (Liu 2019).
    Roberta,
    /// Positions from 2 and a relative position bias in every layer (Song 2020).
    Mpnet,
    /// BERT without segments and pooler (Sanh 2019).
    DistilBert,
    /// Factorized embedding and shared layers (Lan 2020).
    Albert,
    /// BERT without pooler, its embedding as wide as it likes (Clark 2020).
    Electra,
    /// Pre-norm causal decoder (Radford 2019); GPT-3 with banded layers (Brown 2020).
    Gpt2,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 7] = [
        Family::Bert,
        Family::Roberta,
        Family::Mpnet,
        Family::DistilBert,
        Family::Albert,
        Family::Electra,
        Family::Gpt2,
    ];

    /// The `model_type` of `config.json`, also the family name in a bundle's manifest.
    pub fn name(self) -> &'static str {
        match self {
            Family::Bert => "bert",
            Family::Roberta => "roberta",
            Family::Mpnet => "mpnet",
            Family::DistilBert => "distilbert",
            Family::Albert => "albert",
            Family::Electra => "electra",
            Family::Gpt2 => "gpt2",
        }
    }
}

/// The feed-forward activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `x/2 (1 + erf(x/sqrt 2))`, the `gelu` of Hugging Face.
    GeluErf,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`, Hugging Face's `gelu_new`.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// Which layers use the same weights. A block owns its LayerNorm, so sharing a block shares its norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Every layer has its own (ALBERT's "not-shared").
    None,
    /// One attention block and one feed-forward block for all layers.
    All,
    /// One attention block; a feed-forward block a layer.
    Attention,
    /// One feed-forward block; an attention block a layer.
    Ffn,
    /// The layers fall into `groups` runs of equal length; each run repeats its own `inner` layers (`num_hidden_groups`
    /// and `inner_group_num` of Hugging Face, where one repetition counts as one of `num_hidden_layers`).
    Groups {
        /// How many runs.
        groups: usize,
        /// Layers in a repetition.
        inner: usize,
    },
}

/// Which earlier positions a causal layer sees. GPT-3 alternates dense and locally banded layers; the paper
/// publishes neither width nor stride nor which layers begin, so all are settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum AttentionPattern {
    /// All of them, in every layer.
    Dense,
    /// In the layers `first`, `first + every`, ...: position `j` is seen from `i` when `i - j < width`, or
    /// when `stride` divides `i - j`. All other layers are dense.
    Banded {
        /// Positions in the band, the own one included; at least 1.
        width: usize,
        /// Distance of the far positions that are seen too (Sparse Transformer), if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stride: Option<usize>,
        /// The first banded layer.
        first: usize,
        /// Every how many layers a banded one comes.
        every: usize,
    },
}

impl AttentionPattern {
    /// Width and stride of a layer's band; `None` for a dense layer.
    pub fn band(self, layer: usize) -> Option<(usize, Option<usize>)> {
        match self {
            AttentionPattern::Banded { width, stride, first, every }
                if layer >= first && (layer - first).is_multiple_of(every) =>
            {
                Some((width, stride))
            }
            _ => None,
        }
    }
}

/// The shape of a model. Sizes are in units (not bytes); dropout rates are probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// Architecture family.
    pub family: Family,
    /// Rows of the token embedding table.
    pub vocab_size: usize,
    /// Width E of the embedding tables and their norm.
    pub embedding_size: usize,
    /// A linear map from E to H after the embedding norm. Needed where E and H differ.
    pub embedding_projection: bool,
    /// Hidden size H.
    pub hidden_size: usize,
    /// Transformer layers L (repetitions, where [`Sharing::Groups`] has inner layers).
    pub layers: usize,
    /// Attention heads; without a size of their own, they divide the hidden size.
    pub attention_heads: usize,
    /// Width of a head where it is not hidden size / heads: some heads were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_head_size: Option<usize>,
    /// Width F of the feed-forward block.
    pub intermediate_size: usize,
    /// Rows of the position table.
    pub position_rows: usize,
    /// Row of the first token's position; the rows before it are not used (RoBERTa and MPNet: 2).
    pub first_position: usize,
    /// Segment types; 0 where there is no such table.
    pub token_types: usize,
    /// Buckets of a bias on attention scores by distance, shared by all layers (MPNet: 32); 0 for none.
    pub relative_buckets: usize,
    /// Feed-forward activation.
    pub activation: Activation,
    /// LayerNorm before each block and after the last layer (GPT-2), instead of after each block (BERT).
    pub pre_norm: bool,
    /// A position sees itself and earlier ones only.
    pub causal: bool,
    /// Which layers use the same weights.
    pub sharing: Sharing,
    /// Which earlier positions a causal layer sees.
    pub attention_pattern: AttentionPattern,
    /// A dense layer with tanh on the first token.
    pub pooler: bool,
    /// The classifier reads relu of what the pooler gives, as in TinyBERT's released code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooled_relu: bool,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// Dropout after the embeddings, while training.
    pub embedding_dropout: f64,
    /// Dropout after attention output and feed-forward output, while training.
    pub hidden_dropout: f64,
    /// Dropout of attention probabilities, while training.
    pub attention_dropout: f64,
    /// Dropout before a head's last layer, while training.
    pub head_dropout: f64,
    /// Standard deviation of new weights (truncated normal).
    pub initializer_range: f64,
    /// Token id that pads a batch.
    pub pad_id: usize,
}

/// No model is wider than this, nor has a larger vocabulary; products of sizes then stay in range.
const MAX_SIZE: usize = 1 << 24;
/// No model is deeper than this.
const MAX_LAYERS: usize = 1 << 12;

/// Distances from here on fall into the last bucket (MPNet, as in T5).
pub(crate) const RELATIVE_MAX_DISTANCE: usize = 128;

impl ModelConfig {
    /// Width of one attention head.
    pub fn head_size(&self) -> usize {
        self.own_head_size.unwrap_or(self.hidden_size / self.attention_heads)
    }

    /// Width of queries, keys and values: all heads side by side.
    pub fn attention_size(&self) -> usize {
        // Two of GPT-3's published shapes are counted whose heads do not divide their width.
        self.own_head_size.map_or(self.hidden_size, |size| self.attention_heads * size)
    }

    /// The longest sequence in tokens, special tokens included.
    pub fn max_positions(&self) -> usize {
        self.position_rows - self.first_position
    }

    /// For each layer that is computed, in order: the attention block and the feed-forward block that it uses.
    pub fn blocks(&self) -> Vec<(usize, usize)> {
        match self.sharing {
            Sharing::None => (0..self.layers).map(|i| (i, i)).collect(),
            Sharing::All => vec![(0, 0); self.layers],
            Sharing::Attention => (0..self.layers).map(|i| (0, i)).collect(),
            Sharing::Ffn => (0..self.layers).map(|i| (i, 0)).collect(),
            Sharing::Groups { groups, inner } => (0..self.layers)
                .flat_map(|i| (0..inner).map(move |m| (i, m)))
                .map(|(i, m)| i * groups / self.layers * inner + m)
                .map(|block| (block, block))
                .collect(),
        }
    }

    /// How many layers are computed.
    fn blocks_in_depth(&self) -> usize {
        match self.sharing {
            Sharing::Groups { inner, .. } => self.layers.saturating_mul(inner),
            _ => self.layers,
        }
    }

    /// How many attention blocks and feed-forward blocks have weights of their own.
    pub fn block_counts(&self) -> (usize, usize) {
        let blocks = self.blocks();
        let count = |of: fn(&(usize, usize)) -> usize| blocks.iter().map(of).max().map_or(0, |last| last + 1);
        (count(|b| b.0), count(|b| b.1))
    }

    /// The bucket of a key at `distance` = key position - query position, from 0 to [`Self::relative_buckets`]:
    /// half of them for keys after the query; in each half, the first half exact and the rest logarithmic
    /// (MPNet's and T5's rule).
    pub fn relative_bucket(&self, distance: i64) -> usize {
        let half = self.relative_buckets / 2;
        let exact = half / 2;
        let away = distance.unsigned_abs() as usize;
        // fp32 as in the reference: some distances lie on the border of two buckets.
        let logarithmic = || {
            let share = (away as f32 / exact as f32).ln() / (RELATIVE_MAX_DISTANCE as f32 / exact as f32).ln();
            (exact + (share * (half - exact) as f32) as usize).min(half - 1)
        };
        let bucket = if away < exact { away } else { logarithmic() };
        if distance > 0 { half + bucket } else { bucket }
    }

    /// Refuses shapes that cannot be built.
    pub fn check(&self) -> Result<()> {
        let Self { hidden_size, attention_heads, .. } = self;
        let sizes = [
            ("vocabulary size", self.vocab_size),
            ("embedding size", self.embedding_size),
            ("hidden size", self.hidden_size),
            ("number of layers", self.layers),
            ("number of attention heads", self.attention_heads),
            ("size of an attention head", self.own_head_size.unwrap_or(1)),
            ("intermediate size", self.intermediate_size),
        ];
        for (name, size) in [("number of positions", self.position_rows), ("number of token types", self.token_types)] {
            if size > MAX_SIZE {
                bail!("the {name} is {size}; it may be {MAX_SIZE} at most");
            }
        }
        for (name, size) in sizes {
            if size == 0 || size > MAX_SIZE {
                bail!("the {name} is {size}; it must be from 1 to {MAX_SIZE}");
            }
        }
        if self.blocks_in_depth() > MAX_LAYERS {
            bail!("{} layers are more than {MAX_LAYERS}", self.blocks_in_depth());
        }
        if self.own_head_size.is_none() && !hidden_size.is_multiple_of(*attention_heads) {
            bail!("hidden size {hidden_size} is not a multiple of {attention_heads} attention heads");
        }
        if self.embedding_size != self.hidden_size && !self.embedding_projection {
            bail!("embedding size {} needs a projection to hidden size {hidden_size}", self.embedding_size);
        }
        if self.position_rows <= self.first_position {
            bail!("{} position rows leave none after the first {}", self.position_rows, self.first_position);
        }
        if self.pad_id >= self.vocab_size {
            bail!("pad token id {} is outside the vocabulary of {}", self.pad_id, self.vocab_size);
        }
        if self.pooled_relu && !matches!(self.family, Family::Bert | Family::Albert) {
            bail!("pooled_relu is for bert and albert: a {}'s classifier reads no pooler", self.family.name());
        }
        if !self.relative_buckets.is_multiple_of(4) {
            bail!("{} relative position buckets are not a multiple of 4", self.relative_buckets);
        }
        if let Sharing::Groups { groups, inner } = self.sharing
            && (groups == 0 || inner == 0 || !self.layers.is_multiple_of(groups))
        {
            bail!("{} layers cannot be shared in {groups} groups of {inner} inner layers", self.layers);
        }
        if let AttentionPattern::Banded { width, stride, every, .. } = self.attention_pattern {
            if !self.causal {
                bail!("banded attention is built for causal models only");
            }
            if width == 0 || every == 0 || stride == Some(0) {
                bail!("banded attention needs a width, a stride and an `every` of at least 1");
            }
        }
        for (name, p) in [
            ("embedding dropout", self.embedding_dropout),
            ("hidden dropout", self.hidden_dropout),
            ("attention dropout", self.attention_dropout),
            ("head dropout", self.head_dropout),
        ] {
            if !(0.0..1.0).contains(&p) {
                bail!("{name} {p} must be at least 0 and below 1");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::preset;
    use super::*;

    #[test]
    fn blocks_follow_the_sharing_mode() {
        let config = |layers, sharing| ModelConfig { layers, sharing, ..preset("albert-base").unwrap().config };
        let blocks = |layers, sharing| config(layers, sharing).blocks();
        assert_eq!(blocks(3, Sharing::None), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(blocks(3, Sharing::All), [(0, 0); 3]);
        assert_eq!(blocks(3, Sharing::Attention), [(0, 0), (0, 1), (0, 2)]);
        assert_eq!(blocks(3, Sharing::Ffn), [(0, 0), (1, 0), (2, 0)]);
        let groups = Sharing::Groups { groups: 2, inner: 2 };
        assert_eq!(blocks(4, groups), [(0, 0), (1, 1), (0, 0), (1, 1), (2, 2), (3, 3), (2, 2), (3, 3)]);
        assert_eq!(config(4, groups).block_counts(), (4, 4));
        assert_eq!(config(4, Sharing::Ffn).block_counts(), (4, 1));
    }

    #[test]
    fn relative_buckets_are_mpnets() {
        let config = preset("all-mpnet-base-v2").unwrap().config;
        // Distances and buckets from transformers' MPNetEncoder.relative_position_bucket (32 buckets, maximum 128).
        for (distance, bucket) in
            [(0, 0), (-1, 1), (1, 17), (-7, 7), (7, 23), (-8, 8), (8, 24), (-12, 9), (-16, 10), (-64, 14), (127, 31)]
        {
            assert_eq!(config.relative_bucket(distance), bucket, "distance {distance}");
        }
        assert_eq!((config.relative_bucket(-500), config.relative_bucket(500)), (15, 31));
    }

    #[test]
    fn bands_come_where_they_are_set() {
        let pattern = AttentionPattern::Banded { width: 3, stride: None, first: 1, every: 2 };
        assert_eq!((0..4).map(|i| pattern.band(i).is_some()).collect::<Vec<_>>(), [false, true, false, true]);
        assert_eq!(AttentionPattern::Dense.band(1), None);
    }

    #[test]
    fn impossible_shapes_are_refused_with_the_reason() {
        type Change = fn(&mut ModelConfig);
        let cases: [(&str, Change); 11] = [
            ("hidden size is 0", |c| c.hidden_size = 0),
            ("vocabulary size is 99999999", |c| c.vocab_size = 99_999_999),
            ("5000 layers", |c| c.layers = 5000),
            ("not a multiple of 7 attention heads", |c| c.attention_heads = 7),
            ("size of an attention head is 0", |c| c.own_head_size = Some(0)),
            ("needs a projection", |c| c.embedding_projection = false),
            ("position rows leave none", |c| c.position_rows = 0),
            ("outside the vocabulary", |c| c.pad_id = 30000),
            ("in 5 groups", |c| c.sharing = Sharing::Groups { groups: 5, inner: 1 }),
            ("causal models only", |c| {
                c.attention_pattern = AttentionPattern::Banded { width: 2, stride: None, first: 0, every: 1 }
            }),
            ("hidden dropout 1", |c| c.hidden_dropout = 1.0),
        ];
        for (message, change) in cases {
            let mut config = preset("albert-base").unwrap().config;
            config.check().unwrap();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
