//! The transformer: embeddings, then layers of an attention block and a feed-forward block.

use std::collections::BTreeMap;

use tch::Tensor;

use super::attention::{Attended, Attention, Bias, Keep, Pass, relative_bias};
use super::capture::{Capture, Positions, Projections};
use super::dropout::dropout;
use super::embeddings::{Embeddings, Linear, Norm};
use super::head::activate;
use super::tokens::Tokens;
use super::{Activation, Family, ModelConfig, Params, Scope};

/// The result of a forward pass.
#[derive(Debug)]
pub struct Encoded {
    /// `[batch, length, hidden]`, after the final norm where there is one; of the first token alone where no other was
    /// wanted ([`Capture::head_only`]).
    pub last_hidden: Tensor,
    /// `layers + 1` tensors `[batch, length, hidden]` when captured, else empty. The last is
    /// [`Self::last_hidden`].
    pub hidden_states: Vec<Tensor>,
    /// `[batch, heads, length, length]` by layer, of the layers that were captured.
    pub attention_scores: BTreeMap<usize, Tensor>,
    /// Queries, keys and values by layer, of the layers that were captured.
    pub projections: BTreeMap<usize, Projections>,
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

    fn forward(&self, x: &Tensor, pass: Pass) -> Attended {
        let attend = |x: &Tensor| {
            let attended = self.attention.forward(x, pass);
            let states = dropout(&self.output.forward(&attended.states), self.dropout, pass.train);
            Attended { states, ..attended }
        };
        let residual = pass.tokens.at(pass.positions, x);
        if self.pre_norm {
            let attended = attend(&self.norm.forward(x));
            Attended { states: &attended.states + &residual, ..attended }
        } else {
            let attended = attend(x);
            Attended { states: self.norm.forward(&(&attended.states + &residual)), ..attended }
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
            dropout(&self.down.forward(&activate(&self.up.forward(x), self.activation)), self.dropout, train)
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
        capture: &Capture,
        train: bool,
    ) -> Encoded {
        self.forward_to(Positions::All, ids, mask, types, capture, train)
    }

    /// What the last layer must compute for a head that reads the first token alone.
    pub(super) fn last_positions(&self, capture: &Capture) -> Positions {
        let last = self.config.blocks().len().saturating_sub(1);
        let kept = capture.hidden_states || capture.attention_scores.has(last) || capture.projections.has(last);
        let rounded = self.attention.iter().any(|block| block.attention.is_rounded());
        match capture.head_only && !kept && !rounded {
            true => Positions::First,
            false => Positions::All,
        }
    }

    /// [`Self::forward`], with what the last layer computes.
    pub(super) fn forward_to(
        &self,
        last: Positions,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        capture: &Capture,
        train: bool,
    ) -> Encoded {
        let relative = self.relative_bias.as_ref().map(|table| relative_bias(table, &self.config, ids.size()[1]));
        let tokens = Tokens::of(mask);
        let bias = |band| Bias::new(mask, tokens.all, self.config.causal, band, relative.as_ref());
        let dense = bias(None);
        let mut x = self.embeddings.forward(ids, mask, types, &tokens, train);
        let mut hidden_states = Vec::new();
        let (mut attention_scores, mut projections) = (BTreeMap::new(), BTreeMap::new());
        let blocks = self.config.blocks();
        let depth = blocks.len();
        for (layer, (attention, ffn)) in blocks.into_iter().enumerate() {
            if capture.hidden_states {
                hidden_states.push(tokens.spread(&x));
            }
            let banded = self.config.attention_pattern.band(layer).map(|band| bias(Some(band)));
            let bias = banded.as_ref().unwrap_or(&dense);
            let keep =
                Keep { scores: capture.attention_scores.has(layer), projections: capture.projections.has(layer) };
            let positions = if layer + 1 == depth { last } else { Positions::All };
            let attended =
                self.attention[attention].forward(&x, Pass { tokens: &tokens, bias, keep, positions, train });
            attention_scores.extend(attended.scores.map(|scores| (layer, scores)));
            projections.extend(attended.projections.map(|projections| (layer, projections)));
            x = self.ffn[ffn].forward(&attended.states, train);
        }
        if let Some(norm) = &self.final_norm {
            x = norm.forward(&x);
        }
        x = tokens.spread(&x);
        if capture.hidden_states {
            hidden_states.push(x.shallow_clone());
        }
        Encoded { last_hidden: x, hidden_states, attention_scores, projections }
    }
}

#[cfg(test)]
mod tests;
