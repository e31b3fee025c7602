//! The BERT encoder: embeddings, then post-norm transformer layers.

use tch::Tensor;

use super::attention::{Attention, masked_bias};
use super::embeddings::{Embeddings, Linear, Norm};
use super::{ModelConfig, Params, Scope};

/// What a forward pass keeps besides the last hidden state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Every layer's hidden state, the embedding output first.
    pub hidden_states: bool,
    /// Every layer's attention scores before mask and softmax.
    pub attention_scores: bool,
}

/// The result of a forward pass.
#[derive(Debug)]
pub struct Encoded {
    /// `[batch, length, hidden]`.
    pub last_hidden: Tensor,
    /// `layers + 1` tensors `[batch, length, hidden]` when captured, else empty.
    pub hidden_states: Vec<Tensor>,
    /// `layers` tensors `[batch, heads, length, length]` when captured, else empty.
    pub attention_scores: Vec<Tensor>,
}

struct Layer {
    attention: Attention,
    attention_output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
    dropout: f64,
}

impl Layer {
    fn new(scope: &Scope, config: &ModelConfig) -> Self {
        Self {
            attention: Attention::new(&scope.child("attention.self"), config),
            attention_output: Linear::new(&scope.child("attention.output.dense")),
            attention_norm: Norm::new(&scope.child("attention.output.LayerNorm"), config.layer_norm_eps),
            up: Linear::new(&scope.child("intermediate.dense")),
            down: Linear::new(&scope.child("output.dense")),
            output_norm: Norm::new(&scope.child("output.LayerNorm"), config.layer_norm_eps),
            dropout: config.hidden_dropout,
        }
    }

    fn forward(&self, x: &Tensor, bias: &Tensor, scores_too: bool, train: bool) -> (Tensor, Option<Tensor>) {
        let (context, scores) = self.attention.forward(x, bias, scores_too, train);
        let attended = self.attention_output.forward(&context).dropout(self.dropout, train);
        let x = self.attention_norm.forward(&(attended + x));
        let fed = self.down.forward(&self.up.forward(&x).gelu("none")).dropout(self.dropout, train);
        (self.output_norm.forward(&(fed + x)), scores)
    }
}

/// An encoder over parameters that it shares with a [`Params`].
pub struct Encoder {
    embeddings: Embeddings,
    layers: Vec<Layer>,
}

impl Encoder {
    /// Builds the modules over `params`, which must hold the layout of `config`.
    pub fn new(params: &Params, config: &ModelConfig) -> Self {
        let layers =
            (0..config.layers).map(|i| Layer::new(&params.scope(&format!("encoder.layer.{i}")), config)).collect();
        Self { embeddings: Embeddings::new(&params.scope("embeddings"), config), layers }
    }

    /// `ids` and `mask` (1 token, 0 pad) are `[batch, length]` int64, `types` likewise or all 0;
    /// `train` switches dropout on.
    pub fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        capture: Capture,
        train: bool,
    ) -> Encoded {
        let bias = masked_bias(mask);
        let mut x = self.embeddings.forward(ids, types, train);
        let (mut hidden_states, mut attention_scores) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            if capture.hidden_states {
                hidden_states.push(x.shallow_clone());
            }
            let (next, scores) = layer.forward(&x, &bias, capture.attention_scores, train);
            attention_scores.extend(scores);
            x = next;
        }
        if capture.hidden_states {
            hidden_states.push(x.shallow_clone());
        }
        Encoded { last_hidden: x, hidden_states, attention_scores }
    }
}
