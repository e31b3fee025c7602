//! Task heads on an encoder.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Activation, Family, ModelConfig};

/// How one vector is made of a text's token vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The mean over tokens that are not padding.
    Mean,
    /// The first token's.
    Cls,
    /// The largest value of each dimension over tokens that are not padding.
    Max,
}

/// What sits on the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// Nothing: the encoder, with its pooler where the architecture has one.
    None,
    /// One vector a text; no parameters of its own.
    Embedding {
        /// How the token vectors become one.
        pooling: Pooling,
        /// Scale it to length 1.
        normalize: bool,
    },
    /// One set of logits a text (or pair of texts): classes, independent labels, or one number (regression).
    Classification {
        /// Number of logits.
        labels: usize,
    },
    /// One set of logits a token.
    TokenClassification {
        /// Number of classes.
        labels: usize,
    },
    /// Two logits a token: start and end of an answer.
    Span,
    /// Logits over the vocabulary for each token, decoded with the token table.
    MaskedLm,
    /// [`Head::MaskedLm`], and two logits on the pooled first token: sentence order (ALBERT) or next sentence (BERT).
    Pretraining,
    /// One logit a token: above 0 for a replaced one (ELECTRA).
    ReplacedToken,
    /// Logits over the vocabulary for the token after each position, decoded with the token table.
    CausalLm,
}

/// What a sequence classifier reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadStart {
    /// The pooled first token; relu of it where the flag says so.
    Pooler { relu: bool },
    /// The first token through a dense layer with this activation.
    Dense(DenseActivation),
    /// The last token that is not padding; no bias.
    LastToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DenseActivation {
    Tanh,
    Gelu,
    Relu,
}

impl HeadStart {
    pub(crate) fn of(config: &ModelConfig) -> Self {
        match config.family {
            Family::Bert | Family::Albert => HeadStart::Pooler { relu: config.pooled_relu },
            Family::Roberta | Family::Mpnet => HeadStart::Dense(DenseActivation::Tanh),
            Family::Electra => HeadStart::Dense(DenseActivation::Gelu),
            Family::DistilBert => HeadStart::Dense(DenseActivation::Relu),
            Family::Gpt2 => HeadStart::LastToken,
        }
    }
}

/// The most labels of a head.
const MAX_LABELS: usize = 1 << 20;

impl Head {
    /// The name used on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Head::None => "none",
            Head::Embedding { .. } => "embedding",
            Head::Classification { .. } => "classification",
            Head::TokenClassification { .. } => "token-classification",
            Head::Span => "span",
            Head::MaskedLm => "masked-lm",
            Head::Pretraining => "pretraining",
            Head::ReplacedToken => "replaced-token",
            Head::CausalLm => "causal-lm",
        }
    }

    /// Refuses a head that the architecture does not have.
    pub fn check(self, config: &ModelConfig) -> Result<()> {
        let family = config.family;
        let fits = match self {
            Head::None | Head::Classification { .. } | Head::TokenClassification { .. } | Head::Span => true,
            Head::Embedding { pooling, .. } => !(config.causal && pooling == Pooling::Cls),
            Head::MaskedLm => !config.causal,
            Head::Pretraining => matches!(family, Family::Bert | Family::Albert),
            Head::ReplacedToken => family == Family::Electra,
            Head::CausalLm => config.causal,
        };
        if !fits {
            bail!("{} has no {} head", family.name(), self.name());
        }
        if let Head::Classification { labels } | Head::TokenClassification { labels } = self
            && !(1..=MAX_LABELS).contains(&labels)
        {
            bail!("a head of {labels} labels; there must be 1 to {MAX_LABELS}");
        }
        Ok(())
    }

    /// Whether this head reads the last hidden state of the first token and of no other.
    pub(crate) fn reads_first_token_only(self, config: &ModelConfig) -> bool {
        match self {
            Head::Classification { .. } => HeadStart::of(config) != HeadStart::LastToken,
            Head::Embedding { pooling, .. } => pooling == Pooling::Cls,
            _ => false,
        }
    }

    /// Whether this head computes with the pooled first token.
    pub(crate) fn reads_pooler(self, config: &ModelConfig) -> bool {
        config.pooler
            && match self {
                Head::None | Head::Pretraining => true,
                Head::Classification { .. } => matches!(HeadStart::of(config), HeadStart::Pooler { .. }),
                _ => false,
            }
    }

    /// Whether the pooler's weights are stored with this head. An embedding model does not read them, but is
    /// transformers' bare encoder, which has them.
    pub(crate) fn stores_pooler(self, config: &ModelConfig) -> bool {
        self.reads_pooler(config) || (config.pooler && matches!(self, Head::Embedding { .. }))
    }
}

/// The activation inside a masked-LM head: Hugging Face fixes it for some families, whatever the layers use.
pub(crate) fn masked_lm_activation(config: &ModelConfig) -> Activation {
    match config.family {
        Family::Roberta | Family::Mpnet | Family::Electra => Activation::GeluErf,
        _ => config.activation,
    }
}

pub(super) fn activate(x: &Tensor, activation: Activation) -> Tensor {
    match activation {
        Activation::GeluErf => x.gelu("none"),
        Activation::GeluTanh => x.gelu("tanh"),
        Activation::Relu => x.relu(),
    }
}
