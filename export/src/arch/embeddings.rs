//! Token, position and segment embeddings (BERT).

use tch::{Kind, Tensor};

use super::{ModelConfig, Scope};

/// A linear map `x W^T + b`, with `W` `[out, in]`.
pub(super) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(super) fn new(scope: &Scope) -> Self {
        Self { weight: scope.tensor("weight"), bias: scope.tensor("bias") }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.linear(&self.weight, Some(&self.bias))
    }
}

/// LayerNorm over the last dimension.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    pub(super) fn new(scope: &Scope, eps: f64) -> Self {
        Self { weight: scope.tensor("weight"), bias: scope.tensor("bias"), eps }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, false)
    }
}

pub(super) struct Embeddings {
    words: Tensor,
    positions: Tensor,
    types: Tensor,
    norm: Norm,
    dropout: f64,
}

impl Embeddings {
    pub(super) fn new(scope: &Scope, config: &ModelConfig) -> Self {
        Self {
            words: scope.tensor("word_embeddings.weight"),
            positions: scope.tensor("position_embeddings.weight"),
            types: scope.tensor("token_type_embeddings.weight"),
            norm: Norm::new(&scope.child("LayerNorm"), config.layer_norm_eps),
            dropout: config.hidden_dropout,
        }
    }

    /// `ids`, `types` `[batch, length]` int64 to `[batch, length, hidden]`.
    pub(super) fn forward(&self, ids: &Tensor, types: Option<&Tensor>, train: bool) -> Tensor {
        let length = ids.size()[1];
        let words = Tensor::embedding(&self.words, ids, -1, false, false);
        let positions = self.positions.narrow(0, 0, length).unsqueeze(0);
        let segments = match types {
            Some(types) => Tensor::embedding(&self.types, &types.to_kind(Kind::Int64), -1, false, false),
            None => self.types.narrow(0, 0, 1).unsqueeze(0),
        };
        self.norm.forward(&(words + segments + positions)).dropout(self.dropout, train)
    }
}
