//! Multi-head self-attention.

use tch::{Kind, Tensor};

use super::embeddings::Linear;
use super::{ModelConfig, Scope};

/// Additive form of a `[batch, length]` mask (1 keep, 0 pad) for `[batch, heads, query, key]` scores:
/// 0 where a key may be seen, the lowest finite fp32 where not.
pub fn masked_bias(mask: &Tensor) -> Tensor {
    let keep = mask.to_kind(Kind::Float).unsqueeze(1).unsqueeze(1);
    (keep - 1.0) * f64::from(f32::MAX)
}

pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: i64,
    head_size: i64,
    dropout: f64,
}

impl Attention {
    pub(super) fn new(scope: &Scope, config: &ModelConfig) -> Self {
        Self {
            query: Linear::new(&scope.child("query")),
            key: Linear::new(&scope.child("key")),
            value: Linear::new(&scope.child("value")),
            heads: config.attention_heads as i64,
            head_size: config.head_size() as i64,
            dropout: config.attention_dropout,
        }
    }

    fn split_heads(&self, x: &Tensor) -> Tensor {
        let (batch, length) = (x.size()[0], x.size()[1]);
        x.view([batch, length, self.heads, self.head_size]).transpose(1, 2)
    }

    /// `x` `[batch, length, hidden]`, `bias` from [`masked_bias`]. Returns the context and, when
    /// asked, the scores before the mask and softmax: `Q K^T / sqrt(d)`, `[batch, heads, length, length]`.
    ///
    /// No fused kernel returns scores, so they are only computed where a loss needs them.
    pub(super) fn forward(&self, x: &Tensor, bias: &Tensor, scores_too: bool, train: bool) -> (Tensor, Option<Tensor>) {
        let q = self.split_heads(&self.query.forward(x));
        let k = self.split_heads(&self.key.forward(x));
        let v = self.split_heads(&self.value.forward(x));
        let (context, scores) = if scores_too {
            let scores = q.matmul(&k.transpose(-1, -2)) / (self.head_size as f64).sqrt();
            let weights = (&scores + bias).softmax(-1, Kind::Float).dropout(self.dropout, train);
            (weights.matmul(&v), Some(scores))
        } else {
            let dropout = if train { self.dropout } else { 0.0 };
            let context = Tensor::scaled_dot_product_attention(&q, &k, &v, Some(bias), dropout, false, None, false);
            (context, None)
        };
        let (batch, length) = (x.size()[0], x.size()[1]);
        (context.transpose(1, 2).contiguous().view([batch, length, self.heads * self.head_size]), scores)
    }
}
