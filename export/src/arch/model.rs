//! An encoder with its head.

use tch::{Device, Kind, Tensor};

use super::capture::Positions;
use super::dropout::dropout;
use super::embeddings::{Linear, Norm};
use super::head::activate;
use super::{
    Activation, Capture, DenseActivation, Encoded, Encoder, Family, Head, HeadStart, ModelConfig, Params, Pooling,
    masked_lm_activation,
};
use crate::train::Precision;

/// An encoder with its head, over parameters that it shares with a [`Params`].
pub struct Model {
    params: Params,
    config: ModelConfig,
    head: Head,
    parts: Parts,
    /// Of passes that train.
    training: Precision,
    /// Of all others.
    answering: Precision,
    /// The same over copies in bf16 of the weights as they were, for passes that do not train.
    answers: Option<Parts>,
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
        Self {
            params: params.shared(),
            parts: Parts::new(params, config, head),
            config: config.clone(),
            head,
            training: Precision::Fp32,
            answering: Precision::Fp32,
            answers: None,
        }
    }

    /// The same model with its training passes in this precision. Whatever it is, outputs are fp32, and so are losses.
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { training: precision, ..self }
    }

    /// The same model with passes that do not train in this precision; outputs are fp32. In bf16 they compute with the
    /// weights as they are now.
    pub fn answering_in(self, precision: Precision) -> Self {
        let answers = match precision {
            Precision::Fp32 => None,
            Precision::Bf16 => tch::no_grad(|| self.over_copies()),
        };
        Self { answering: precision, answers, ..self }
    }

    /// The encoder.
    pub fn encoder(&self) -> &Encoder {
        &self.parts.encoder
    }

    /// The modules over copies of their maps in bf16. `None` where maps are rounded or watched; autocast then makes copies
    /// one by one, as it does when there is no memory for all of them.
    fn over_copies(&self) -> Option<Parts> {
        let copies = self.params.with_bf16_copies().ok()??;
        Some(Parts::new(&copies, &self.config, self.head))
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
        let Ok(Some(_autocast)) = precision.enter(ids.device()) else {
            // A device without autocast was refused when training began, or a teacher was made.
            return self.parts.forward(ids, mask, types, at, capture, train);
        };
        // On a CPU copies cost as much one by one.
        let copies = if train && ids.device() != Device::Cpu { self.over_copies() } else { None };
        let answers = self.answers.as_ref().filter(|_| !train);
        copies.as_ref().or(answers).unwrap_or(&self.parts).forward(ids, mask, types, at, capture, train).float()
    }

    /// The logits `[..., vocabulary]` of a masked-LM head for some of the encoder's `[..., hidden]`: for a few tokens
    /// of a text without the cost of all. `None` where the model has another head.
    pub fn masked_lm_logits(&self, hidden: &Tensor) -> Option<Tensor> {
        let Module::MaskedLm { dense, norm, decoder, .. } = &self.parts.module else { return None };
        Some(masked_lm(hidden, dense, norm, decoder, self.parts.masked_lm_activation))
    }
}

/// The modules.
struct Parts {
    encoder: Encoder,
    pooler: Option<Linear>,
    module: Module,
    activation: Activation,
    masked_lm_activation: Activation,
    dropout: f64,
    albert: bool,
    first_token_only: bool,
}

impl Parts {
    fn new(params: &Params, config: &ModelConfig, head: Head) -> Self {
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
            first_token_only: head.reads_first_token_only(config),
        }
    }

    fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        at: Option<&Tensor>,
        capture: &Capture,
        train: bool,
    ) -> ModelOutput {
        let last = match self.first_token_only {
            true => self.encoder.last_positions(capture),
            false => Positions::All,
        };
        let encoded = self.encoder.forward_to(last, ids, mask, types, capture, train);
        let hidden = &encoded.last_hidden;
        let drop = |x: &Tensor| dropout(x, self.dropout, train);
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
            Module::EachToken(output, rate) => output.forward(&dropout(hidden, *rate, train)),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::arch::parameter_layout;
    use crate::quantize::FakeQuantization;
    use crate::train::Autocast;

    fn config(kind: &str) -> ModelConfig {
        let json = match kind {
            "gpt2" => json!({"model_type": "gpt2", "vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 4,
                "n_positions": 16, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "initializer_range": 0.3}),
            _ => json!({"model_type": kind, "hidden_act": "gelu", "vocab_size": 40, "hidden_size": 16,
                "embedding_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
                "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0, "initializer_range": 0.3}),
        };
        ModelConfig::from_hf(&json).unwrap()
    }

    #[test]
    fn copies_of_all_maps_compute_as_autocast_does() {
        let _turn = crate::seeded(71);
        let ids = Tensor::from_slice(&[5i64, 6, 7, 8, 9, 0]).view([2, 3]);
        let mask = Tensor::from_slice(&[1i64, 1, 1, 1, 1, 0]).view([2, 3]);
        for (kind, head) in [("bert", Head::Pretraining), ("albert", Head::MaskedLm), ("gpt2", Head::CausalLm)] {
            let config = config(kind);
            let params = Params::initialise(&parameter_layout(&config, head), Device::Cpu);
            params.set_requires_grad(true);
            let (names, weights): (Vec<&str>, Vec<Tensor>) = params.iter().map(|(n, t)| (n, t.shallow_clone())).unzip();
            let model = Model::new(&params, &config, head);
            for capture in [Capture::default(), Capture::EVERYTHING] {
                let run = |parts: &Parts| {
                    let output = parts.forward(&ids, &mask, None, None, &capture, true).float();
                    let loss = output.logits.square().mean(Kind::Float);
                    (output, Tensor::run_backward(&[loss], &weights, false, false))
                };
                let _autocast = Autocast::bf16(Device::Cpu).unwrap();
                let ((want, gradients), (own, own_gradients)) = (run(&model.parts), run(&model.over_copies().unwrap()));
                let near = |name: &str, own: &Tensor, want: &Tensor| {
                    let difference = (own - want).abs().max().double_value(&[]);
                    let limit = 0.03 * want.abs().max().double_value(&[]).max(0.05);
                    assert!(own.kind() == Kind::Float && difference <= limit, "{kind} {name}: {difference} of {limit}");
                };
                near("logits", &own.logits, &want.logits);
                for (layer, projections) in &own.encoded.projections {
                    near("keys", &projections.key, &want.encoded.projections[layer].key);
                }
                for ((name, own), want) in names.iter().zip(&own_gradients).zip(&gradients) {
                    assert_eq!(own.defined(), want.defined(), "{name}");
                    if own.defined() {
                        near(name, own, want);
                    }
                }
            }
            // What is rounded is not copied.
            let rounded = params.fake_quantized(Some(FakeQuantization::Int8));
            assert!(Model::new(&rounded, &config, head).over_copies().is_none());
        }
    }

    #[test]
    fn a_teacher_in_bf16_answers_with_the_weights_that_it_was_made_with() {
        let _turn = crate::seeded(72);
        let (config, head) = (config("bert"), Head::Classification { labels: 3 });
        let params = Params::initialise(&parameter_layout(&config, head), Device::Cpu);
        let model = Model::new(&params, &config, head).answering_in(Precision::Bf16);
        let ids = Tensor::from_slice(&[5i64, 6, 7]).view([1, 3]);
        let answer = || tch::no_grad(|| model.forward(&ids, &ids.ones_like(), None, &Capture::default(), false).logits);
        let before = answer();
        let _ = tch::no_grad(|| params.get("encoder.ffn.1.down.weight").unwrap().shallow_clone().zero_());
        assert_eq!(answer(), before);
    }
}
