//! Token, position and segment embeddings, and the two layers that everything is made of.

use tch::{Kind, Tensor};

use super::capture::Positions;
use super::dropout::dropout;
use super::store::Watch;
use super::tokens::Tokens;
use super::{ModelConfig, Scope};
use crate::quantize::{FakeQuantization, of_activations};
use crate::shim::norm_as_it_is;
use crate::train::Autocast;

/// A linear map `x W^T + b`, with `W` `[out, in]`.
pub(super) struct Linear {
    pub weight: Tensor,
    pub bias: Option<Tensor>,
    /// Who is shown each input, and the name of the parameters.
    watch: Option<(Watch, String)>,
    /// What weight and input are rounded to.
    rounding: Option<FakeQuantization>,
}

impl Linear {
    /// `weight`, and `bias` where the layout has one.
    pub(super) fn new(scope: &Scope) -> Self {
        Self {
            watch: scope.watch(),
            rounding: scope.rounding(),
            ..Self::of(scope.tensor("weight"), scope.find("bias"))
        }
    }

    /// With parameters that are not its own.
    pub(super) fn of(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias, watch: None, rounding: None }
    }

    /// One map with the outputs of all in a row, where their weights are copies in bf16: `heads` of each, and the outputs of
    /// every head filled up with zeros to `size`.
    pub(super) fn joined(maps: &[Self], heads: i64, size: i64) -> Option<Self> {
        if maps.iter().any(|map| map.weight.kind() != Kind::BFloat16) {
            return None;
        }
        let weights: Vec<&Tensor> = maps.iter().map(|map| &map.weight).collect();
        let biases: Vec<&Tensor> = maps.iter().map(|map| map.bias.as_ref()).collect::<Option<_>>()?;
        let (weight, bias) = (Tensor::cat(&weights, 0), Tensor::cat(&biases, 0));
        let all_heads = heads * maps.len() as i64;
        let own = bias.size()[0] / all_heads;
        if own == size {
            return Some(Self::of(weight, Some(bias)));
        }
        let width = weight.size()[1];
        let weight = weight.view([all_heads, own, width]).constant_pad_nd([0, 0, 0, size - own]);
        let bias = bias.view([all_heads, own]).constant_pad_nd([0, size - own]);
        Some(Self::of(weight.view([all_heads * size, width]), Some(bias.view([all_heads * size]))))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        self.product(&self.input(x))
    }

    /// Whether weight and input are rounded.
    pub(super) fn is_rounded(&self) -> bool {
        self.rounding.is_some()
    }

    /// What [`Self::product`] takes for an input; maps of the same input can share it.
    pub(super) fn input(&self, x: &Tensor) -> Tensor {
        match self.rounding {
            Some(_) => of_activations(x),
            // Autocast would do it for each map.
            None if Autocast::is_on() => x.to_kind(Kind::BFloat16),
            None => x.shallow_clone(),
        }
    }

    pub(super) fn product(&self, x: &Tensor) -> Tensor {
        if let Some((watch, name)) = &self.watch {
            watch.show(name, x);
        }
        match self.rounding {
            Some(rounding) => x.linear(&rounding.of_weights(&self.weight), self.bias.as_ref()),
            None => x.linear(&self.weight, self.bias.as_ref()),
        }
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

    /// In the kind of its weights: with copies in bf16 it reads and writes bf16, and adds up in fp32 all the same.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let Self { weight, bias, eps } = self;
        let as_it_is = || norm_as_it_is(&x.to_kind(Kind::BFloat16), weight, bias, *eps).ok();
        let own = (weight.kind() == Kind::BFloat16).then(as_it_is).flatten();
        own.unwrap_or_else(|| x.layer_norm(weight.size(), Some(weight), Some(bias), *eps, false))
    }
}

pub(super) struct Embeddings {
    words: Tensor,
    /// What rows of `words` are rounded to.
    rounding: Option<FakeQuantization>,
    positions: Tensor,
    first_position: i64,
    types: Option<Tensor>,
    norm: Option<Norm>,
    projection: Option<Linear>,
    dropout: f64,
}

/// Each token's row of the position table: how many kept tokens stand before it, from `first`. So a text has the
/// same positions with padding on its left, on its right, or none. `mask` `[batch, length]` int64.
pub(super) fn position_rows(mask: &Tensor, first: i64) -> Tensor {
    (mask.cumsum(1, Kind::Int64) - 1i64).clamp_min(0) + first
}

impl Embeddings {
    pub(super) fn new(scope: &Scope, config: &ModelConfig) -> Self {
        Self {
            words: scope.tensor("words.weight"),
            rounding: scope.child("words").rounding(),
            positions: scope.tensor("positions.weight"),
            first_position: config.first_position as i64,
            types: scope.find("types.weight"),
            norm: (!config.pre_norm).then(|| Norm::new(&scope.child("norm"), config.layer_norm_eps)),
            projection: config.embedding_projection.then(|| Linear::new(&scope.child("projection"))),
            dropout: config.embedding_dropout,
        }
    }

    /// `ids`, `mask`, `types` `[batch, length]` int64 to `[batch, length, hidden]`, packed as `tokens` says.
    pub(super) fn forward(
        &self,
        ids: &Tensor,
        mask: &Tensor,
        types: Option<&Tensor>,
        tokens: &Tokens,
        train: bool,
    ) -> Tensor {
        let rows = |table: &Tensor, ids: &Tensor| {
            Tensor::embedding(table, &tokens.pack(Positions::All, ids), -1, false, false)
        };
        let mut words = rows(&self.words, ids);
        if let Some(rounding) = self.rounding {
            // Rows have scales of their own: it is enough to round those that are looked up.
            words = rounding.of_weights(&words);
        }
        let mut x = words + rows(&self.positions, &position_rows(mask, self.first_position));
        if let Some(table) = &self.types {
            x += match types {
                Some(types) => rows(table, &types.to_kind(Kind::Int64)),
                None => table.narrow(0, 0, 1),
            };
        }
        if let Some(norm) = &self.norm {
            x = norm.forward(&x);
        }
        x = dropout(&x, self.dropout, train);
        match &self.projection {
            Some(projection) => projection.forward(&x),
            None => x,
        }
    }
}
