//! Task heads on an encoder.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::embeddings::{Linear, Norm};
use super::{Activation, Capture, Encoded, Encoder, Family, ModelConfig, Params};
use crate::train::Precision;

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

/// A head's modules.
enum Module {
    None,
    Embedding(Pooling, bool),
    Classification(ClassifierStart, Linear),
    /// With the rate of the dropout before it.
    EachToken(Linear, f64),
    ReplacedToken(Linear, Linear),
    MaskedLm {
        dense: Linear,
        norm: Norm,
        decoder: Linear,
        sentence: Option<Linear>,
    },
    CausalLm(Linear),
}

/// [`HeadStart`] with its weights.
enum ClassifierStart {
    Pooler { relu: bool },
    Dense(Linear, DenseActivation),
    LastToken,
}

impl Module {
    fn new(params: &Params, config: &ModelConfig, head: Head) -> Self {
        let linear = |name: &str| Linear::new(&params.scope(name));
        let words = || params.scope("embeddings.words").tensor("weight");
        match head {
            Head::None => Module::None,
            Head::Embedding { pooling, normalize } => Module::Embedding(pooling, normalize),
            Head::Classification { .. } => {
                let start = match HeadStart::of(config) {
                    HeadStart::Pooler { relu } => ClassifierStart::Pooler { relu },
                    HeadStart::Dense(activation) => ClassifierStart::Dense(linear("head.dense"), activation),
                    HeadStart::LastToken => ClassifierStart::LastToken,
                };
                Module::Classification(start, linear("head.output"))
            }
            // transformers: DistilBERT's taggers take the encoder's rate, and of readers only DistilBERT's drop.
            Head::TokenClassification { .. } => {
                let distilbert = config.family == Family::DistilBert;
                let rate = if distilbert { config.hidden_dropout } else { config.head_dropout };
                Module::EachToken(linear("head.output"), rate)
            }
            Head::Span => {
                let rate = if config.family == Family::DistilBert { config.hidden_dropout } else { 0.0 };
                Module::EachToken(linear("head.output"), rate)
            }
            Head::ReplacedToken => Module::ReplacedToken(linear("head.dense"), linear("head.output")),
            Head::MaskedLm | Head::Pretraining => Module::MaskedLm {
                dense: linear("head.dense"),
                norm: Norm::new(&params.scope("head.norm"), config.layer_norm_eps),
                decoder: Linear::of(words(), Some(params.scope("head.decoder").tensor("bias"))),
                sentence: (head == Head::Pretraining).then(|| linear("head.sentence")),
            },
            Head::CausalLm => Module::CausalLm(Linear::of(words(), None)),
        }
    }
}

/// An encoder with its head.
pub struct Model {
    /// The encoder.
    pub encoder: Encoder,
    pooler: Option<Linear>,
    module: Module,
    activation: Activation,
    masked_lm_activation: Activation,
    dropout: f64,
    albert: bool,
    /// Of passes that train.
    training: Precision,
    /// Of all others.
    answering: Precision,
}

/// What a model's forward pass gives.
#[derive(Debug)]
pub struct ModelOutput {
    /// What the head gives: `[batch, labels]`, `[batch, length, labels]`, `[batch, length, 2]` (span),
    /// `[batch, length, vocabulary]`, `[batch, length]` (replaced token), `[batch, hidden]` (embedding).
    /// Without a head, the last hidden state.
    pub logits: Tensor,
    /// `[batch, 2]` of a pretraining head.
    pub sentence_logits: Option<Tensor>,
    /// `[batch, hidden]`, before dropout, where the model has a pooler.
    pub pooled: Option<Tensor>,
    /// The encoder's part.
    pub encoded: Encoded,
}

impl Model {
    /// Builds the modules over `params`, which must hold the layout of `config` and `head`.
    pub fn new(params: &Params, config: &ModelConfig, head: Head) -> Self {
        // A checkpoint may lack a pooler that the head does not read.
        let pooler = head.reads_pooler(config) || (head.stores_pooler(config) && params.get("pooler.weight").is_some());
        Self {
            encoder: Encoder::new(params, config),
            pooler: pooler.then(|| Linear::new(&params.scope("pooler"))),
            module: Module::new(params, config, head),
            activation: config.activation,
            masked_lm_activation: masked_lm_activation(config),
            dropout: config.head_dropout,
            albert: config.family == Family::Albert,
            training: Precision::Fp32,
            answering: Precision::Fp32,
        }
    }

    /// The same model with its training passes in this precision. Whatever it is, outputs are fp32, and so are losses.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { training: precision, ..self }
    }

    /// The same model with passes that do not train in this precision; outputs are fp32.
    pub fn answering_in(self, precision: Precision) -> Self {
        Self { answering: precision, ..self }
    }

    /// `ids` and `mask` (1 token, 0 pad) are `[batch, length]` int64, `types` likewise or all 0;
    /// `train` switches dropout on, and the precision of training.
    pub fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        capture: &Capture,
        train: bool,
    ) -> ModelOutput {
        self.forward_at(ids, mask, types, None, capture, train)
    }

    /// [`Self::forward`], where a masked-LM head guesses the tokens at the flat places `at` (`[n]` int64 of
    /// `batch * length`) alone: its logits are `[n, vocabulary]`. Other heads pay no heed to it.
    pub fn forward_at(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        at: Option<&Tensor>,
        capture: &Capture,
        train: bool,
    ) -> ModelOutput {
        let precision = if train { self.training } else { self.answering };
        match precision.enter(ids.device()) {
            // A device without autocast was refused when training began, or a teacher was made.
            Ok(None) | Err(_) => self.run(ids, mask, types, at, capture, train),
            Ok(Some(_autocast)) => self.run(ids, mask, types, at, capture, train).float(),
        }
    }

    fn run(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        at: Option<&Tensor>,
        capture: &Capture,
        train: bool,
    ) -> ModelOutput {
        let encoded = self.encoder.forward(ids, mask, types, capture, train);
        let hidden = &encoded.last_hidden;
        let drop = |x: &Tensor| x.dropout(self.dropout, train);
        let first = || hidden.select(1, 0);
        let pooled = self.pooler.as_ref().map(|pooler| pooler.forward(&first()).tanh());
        let mut sentence_logits = None;
        let logits = match &self.module {
            Module::None => hidden.shallow_clone(),
            Module::Embedding(pooling, normalize) => pool(hidden, mask, *pooling, *normalize),
            Module::Classification(start, output) => output.forward(&match start {
                ClassifierStart::Pooler { relu } => {
                    let pooled = pooled.as_ref().unwrap_or(hidden);
                    if *relu { drop(&pooled.relu()) } else { drop(pooled) }
                }
                ClassifierStart::Dense(dense, DenseActivation::Tanh) => drop(&dense.forward(&drop(&first())).tanh()),
                ClassifierStart::Dense(dense, DenseActivation::Gelu) => {
                    drop(&dense.forward(&drop(&first())).gelu("none"))
                }
                ClassifierStart::Dense(dense, DenseActivation::Relu) => drop(&dense.forward(&first()).relu()),
                ClassifierStart::LastToken => last_token(hidden, mask),
            }),
            Module::EachToken(output, rate) => output.forward(&hidden.dropout(*rate, train)),
            Module::ReplacedToken(dense, output) => {
                output.forward(&activate(&dense.forward(hidden), self.activation)).squeeze_dim(-1)
            }
            Module::MaskedLm { dense, norm, decoder, sentence } => {
                let pair = sentence.as_ref().zip(pooled.as_ref());
                // ALBERT's order head drops, BERT's next-sentence head does not.
                let pooled = |pooled: &Tensor| if self.albert { drop(pooled) } else { pooled.shallow_clone() };
                sentence_logits = pair.map(|(sentence, own)| sentence.forward(&pooled(own)));
                let read = at.map(|at| hidden.reshape([-1, hidden.size()[2]]).index_select(0, at));
                masked_lm(read.as_ref().unwrap_or(hidden), dense, norm, decoder, self.masked_lm_activation)
            }
            Module::CausalLm(decoder) => decoder.forward(hidden),
        };
        ModelOutput { logits, sentence_logits, pooled, encoded }
    }

    /// The logits `[..., vocabulary]` of a masked-LM head for some of the encoder's `[..., hidden]`: for a few tokens
    /// of a text without the cost of all. `None` where the model has another head.
    pub fn masked_lm_logits(&self, hidden: &Tensor) -> Option<Tensor> {
        let Module::MaskedLm { dense, norm, decoder, .. } = &self.module else { return None };
        Some(masked_lm(hidden, dense, norm, decoder, self.masked_lm_activation))
    }
}

fn masked_lm(hidden: &Tensor, dense: &Linear, norm: &Norm, decoder: &Linear, activation: Activation) -> Tensor {
    decoder.forward(&norm.forward(&activate(&dense.forward(hidden), activation)))
}

impl ModelOutput {
    /// All in fp32, for the losses.
    fn float(self) -> Self {
        let float = |x: Tensor| x.to_kind(Kind::Float);
        Self {
            logits: float(self.logits),
            sentence_logits: self.sentence_logits.map(float),
            pooled: self.pooled.map(float),
            encoded: Encoded {
                last_hidden: float(self.encoded.last_hidden),
                hidden_states: self.encoded.hidden_states.into_iter().map(float).collect(),
                attention_scores: self.encoded.attention_scores.into_iter().map(|(at, x)| (at, float(x))).collect(),
                projections: self.encoded.projections.into_iter().map(|(at, x)| (at, x.float())).collect(),
            },
        }
    }
}

/// The vectors of each row's last token that is not padding, `[batch, hidden]`.
fn last_token(hidden: &Tensor, mask: &Tensor) -> Tensor {
    let indices = Tensor::arange(mask.size()[1], (Kind::Int64, mask.device()));
    let last = (mask * indices).argmax(1, true).unsqueeze(-1).expand([-1, 1, hidden.size()[2]], false);
    hidden.gather(1, &last, false).squeeze_dim(1)
}

/// One vector a row of `[batch, length, hidden]`, over what `mask` keeps.
fn pool(hidden: &Tensor, mask: &Tensor, pooling: Pooling, normalize: bool) -> Tensor {
    let keep = mask.to_kind(Kind::Float).unsqueeze(-1);
    let pooled = match pooling {
        Pooling::Mean => {
            let sums = (hidden * &keep).sum_dim_intlist([1i64].as_slice(), false, Kind::Float);
            sums / keep.sum_dim_intlist([1i64].as_slice(), false, Kind::Float).clamp_min(1.0)
        }
        Pooling::Cls => hidden.select(1, 0),
        Pooling::Max => (hidden + (keep - 1.0) * f64::from(f32::MAX)).amax([1i64].as_slice(), false),
    };
    if normalize {
        // As torch's normalize: a zero vector stays zero.
        &pooled / pooled.norm_scalaropt_dim(2.0, [1i64].as_slice(), true).clamp_min(1e-12)
    } else {
        pooled
    }
}
