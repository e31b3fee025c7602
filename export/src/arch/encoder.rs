//! The transformer: embeddings, then layers of an attention block and a feed-forward block.

use tch::Tensor;

use super::attention::{Attention, Bias, relative_bias};
use super::embeddings::{Embeddings, Linear, Norm};
use super::head::activate;
use super::{Activation, Family, ModelConfig, Params, Scope};

/// What a forward pass keeps besides the last hidden state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Every layer's hidden state, the embedding output first.
    pub hidden_states: bool,
    /// Every layer's attention scores before softmax, 0 where nothing may be seen.
    pub attention_scores: bool,
}

/// The result of a forward pass.
#[derive(Debug)]
pub struct Encoded {
    /// `[batch, length, hidden]`, after the final norm where there is one.
    pub last_hidden: Tensor,
    /// `layers + 1` tensors `[batch, length, hidden]` when captured, else empty. The last is
    /// [`Self::last_hidden`].
    pub hidden_states: Vec<Tensor>,
    /// `layers` tensors `[batch, heads, length, length]` when captured, else empty.
    pub attention_scores: Vec<Tensor>,
}

struct AttentionBlock {
    attention: Attention,
    output: Linear,
    norm: Norm,
    pre_norm: bool,
    dropout: f64,
}

impl AttentionBlock {
    fn new(scope: &Scope, config: &ModelConfig) -> Self {
        Self {
            attention: Attention::new(scope, config),
            output: Linear::new(&scope.child("output")),
            norm: Norm::new(&scope.child("norm"), config.layer_norm_eps),
            pre_norm: config.pre_norm,
            dropout: config.hidden_dropout,
        }
    }

    fn forward(&self, x: &Tensor, bias: &Bias, scores_too: bool, train: bool) -> (Tensor, Option<Tensor>) {
        let attend = |x: &Tensor| {
            let (context, scores) = self.attention.forward(x, bias, scores_too, train);
            (self.output.forward(&context).dropout(self.dropout, train), scores)
        };
        if self.pre_norm {
            let (attended, scores) = attend(&self.norm.forward(x));
            (attended + x, scores)
        } else {
            let (attended, scores) = attend(x);
            (self.norm.forward(&(attended + x)), scores)
        }
    }
}

struct FeedForwardBlock {
    up: Linear,
    down: Linear,
    norm: Norm,
    activation: Activation,
    pre_norm: bool,
    dropout: f64,
}

impl FeedForwardBlock {
    fn new(scope: &Scope, config: &ModelConfig) -> Self {
        Self {
            up: Linear::new(&scope.child("up")),
            down: Linear::new(&scope.child("down")),
            norm: Norm::new(&scope.child("norm"), config.layer_norm_eps),
            activation: config.activation,
            pre_norm: config.pre_norm,
            // transformers' ALBERT has no dropout here.
            dropout: if config.family == Family::Albert { 0.0 } else { config.hidden_dropout },
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let feed = |x: &Tensor| {
            self.down.forward(&activate(&self.up.forward(x), self.activation)).dropout(self.dropout, train)
        };
        if self.pre_norm { feed(&self.norm.forward(x)) + x } else { self.norm.forward(&(feed(x) + x)) }
    }
}

/// An encoder over parameters that it shares with a [`Params`].
pub struct Encoder {
    config: ModelConfig,
    embeddings: Embeddings,
    relative_bias: Option<Tensor>,
    attention: Vec<AttentionBlock>,
    ffn: Vec<FeedForwardBlock>,
    final_norm: Option<Norm>,
}

impl Encoder {
    /// Builds the modules over `params`, which must hold the layout of `config`.
    pub fn new(params: &Params, config: &ModelConfig) -> Self {
        let scope = params.scope("encoder");
        let (attention, ffn) = config.block_counts();
        Self {
            embeddings: Embeddings::new(&params.scope("embeddings"), config),
            relative_bias: scope.find("relative_bias.weight"),
            attention: (0..attention)
                .map(|i| AttentionBlock::new(&scope.child(&format!("attention.{i}")), config))
                .collect(),
            ffn: (0..ffn).map(|i| FeedForwardBlock::new(&scope.child(&format!("ffn.{i}")), config)).collect(),
            final_norm: config.pre_norm.then(|| Norm::new(&scope.child("norm"), config.layer_norm_eps)),
            config: config.clone(),
        }
    }

    /// `ids` and `mask` (1 token, 0 pad) are `[batch, length]` int64, `types` likewise or all 0;
    /// `train` switches dropout on. Padding may stand on either side.
    pub fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        capture: Capture,
        train: bool,
    ) -> Encoded {
        let relative = self.relative_bias.as_ref().map(|table| relative_bias(table, &self.config, ids.size()[1]));
        let bias = |band| Bias::new(mask, self.config.causal, band, relative.as_ref());
        let dense = bias(None);
        let mut x = self.embeddings.forward(ids, mask, types, train);
        let (mut hidden_states, mut attention_scores) = (Vec::new(), Vec::new());
        for (layer, (attention, ffn)) in self.config.blocks().into_iter().enumerate() {
            if capture.hidden_states {
                hidden_states.push(x.shallow_clone());
            }
            let banded = self.config.attention_pattern.band(layer).map(|band| bias(Some(band)));
            let bias = banded.as_ref().unwrap_or(&dense);
            let (attended, scores) = self.attention[attention].forward(&x, bias, capture.attention_scores, train);
            attention_scores.extend(scores);
            x = self.ffn[ffn].forward(&attended, train);
        }
        if let Some(norm) = &self.final_norm {
            x = norm.forward(&x);
        }
        if capture.hidden_states {
            hidden_states.push(x.shallow_clone());
        }
        Encoded { last_hidden: x, hidden_states, attention_scores }
    }
}
