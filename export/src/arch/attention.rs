//! Multi-head self-attention, and what each position may see.

use tch::{Device, Kind, Tensor};

use super::capture::{Positions, Projections};
use super::dropout::dropout;
use super::embeddings::Linear;
use super::tokens::Tokens;
use super::{ModelConfig, Scope};
use crate::quantize::RoundedHeads;
use crate::train::Autocast;

/// Which keys each query may see, as `[batch or 1, 1, query or 1, key]` of 1 and 0 (fp32): tokens that are not
/// padding, and in a causal model the own and earlier positions, of a banded layer those in its band.
/// `mask` is `[batch, length]` (1 token, 0 pad).
fn visible(mask: &Tensor, causal: bool, band: Option<(usize, Option<usize>)>) -> Tensor {
    let keep = mask.to_kind(Kind::Float).unsqueeze(1).unsqueeze(1);
    if !causal {
        return keep;
    }
    let away = distances(mask.size()[1], mask.device());
    let mut seen = away.ge(0);
    if let Some((width, stride)) = band {
        let mut inside = away.lt(width as i64);
        if let Some(stride) = stride {
            inside = inside.logical_or(&away.remainder(stride as i64).eq(0));
        }
        seen = seen.logical_and(&inside);
    }
    keep * seen.to_kind(Kind::Float)
}

/// 1 where query and key are tokens of `mask` and the key is `seen` (as [`visible`] says), else 0:
/// `[batch, 1, query, key]`.
fn token_pairs(seen: &Tensor, mask: &Tensor) -> Tensor {
    seen * mask.to_kind(Kind::Float).unsqueeze(1).unsqueeze(-1)
}

/// Which pairs of positions a layer's attention joins, `[batch, query, key]` of 1 and 0 (fp32): both are tokens of
/// `mask` (`[batch, length]`, 1 token, 0 pad) and the query may see the key. Losses over attention take it in place
/// of the mask where a model is causal.
pub fn visible_pairs(config: &ModelConfig, mask: &Tensor, layer: usize) -> Tensor {
    token_pairs(&visible(mask, config.causal, config.attention_pattern.band(layer)), mask).squeeze_dim(1)
}

/// Query position minus key position, `[length, length]`.
fn distances(length: i64, device: Device) -> Tensor {
    let positions = Tensor::arange(length, (Kind::Int64, device));
    positions.unsqueeze(1) - positions.unsqueeze(0)
}

/// What is added to the scores of one layer, and what its captured scores keep.
pub(super) struct Bias {
    /// `[batch or 1, heads or 1, query or 1, key]`: the relative position bias where there is one, and the lowest
    /// finite bf16 where a key may not be seen: that of fp32 would be minus infinity there, and a row of nothing else
    /// has no softmax. `None` where every key is known to be seen and nothing is added.
    added: Option<Tensor>,
    /// The same of the products' kind: autocast would make it for each layer.
    fused: Option<Tensor>,
    /// The relative position bias alone.
    relative: Option<Tensor>,
    /// 1 where query and key are tokens and the key may be seen, else 0; `None` where all are known to be.
    keep: Option<Tensor>,
    /// `[batch, length]`, 1 at tokens and 0 at padding.
    tokens: Tensor,
}

impl Bias {
    /// `relative` is `[1, heads, length, length]`; `all` says that `mask` is known to be of tokens alone.
    pub(super) fn new(
        mask: &Tensor,
        all: bool,
        causal: bool,
        band: Option<(usize, Option<usize>)>,
        relative: Option<&Tensor>,
    ) -> Self {
        let seen = (causal || !all).then(|| visible(mask, causal, band));
        let hidden = seen.as_ref().map(|seen| (seen - 1.0) * f64::from(half::bf16::MAX));
        let added = match (relative, &seen, hidden) {
            // Not a sum: the lowest value must stay finite.
            (Some(relative), Some(seen), Some(hidden)) => Some(relative.where_self(&seen.gt(0.0), &hidden)),
            (Some(relative), ..) => Some(relative.shallow_clone()),
            (None, _, hidden) => hidden,
        };
        let of_products = |added: &Tensor| match Autocast::is_on() {
            true => added.to_kind(Kind::BFloat16),
            false => added.shallow_clone(),
        };
        Self {
            fused: added.as_ref().map(of_products),
            added,
            relative: relative.map(Tensor::shallow_clone),
            keep: seen.map(|seen| token_pairs(&seen, mask)),
            tokens: mask.shallow_clone(),
        }
    }

    /// `products` of queries and keys, with what is added to them.
    fn added_to(&self, products: &Tensor) -> Tensor {
        self.added.as_ref().map_or_else(|| products.shallow_clone(), |added| products + added)
    }

    /// [`Self::added_to`] of the products of some queries, in their kind.
    fn fused(&self, positions: Positions) -> Option<Tensor> {
        let fused = self.fused.as_ref()?;
        // One row may be for all queries.
        Some(if fused.size()[2] > 1 { positions.queries_of(fused) } else { fused.shallow_clone() })
    }

    /// The scores that distillation compares, of `products`.
    fn scores(&self, products: &Tensor) -> Tensor {
        let scores = self.relative.as_ref().map_or_else(|| products.shallow_clone(), |relative| products + relative);
        self.keep.as_ref().map_or_else(|| scores.shallow_clone(), |keep| &scores * keep)
    }
}

/// The relative position bias of a `[buckets, heads]` table, `[1, heads, length, length]`.
pub(super) fn relative_bias(table: &Tensor, config: &ModelConfig, length: i64) -> Tensor {
    // One lookup a distance (key - query, from 1 - length), not one a pair.
    let buckets: Vec<i64> = (1 - length..length).map(|d| config.relative_bucket(d) as i64).collect();
    let by_distance =
        Tensor::embedding(table, &Tensor::from_slice(&buckets).to_device(table.device()), -1, false, false);
    let index = (length - 1) - distances(length, table.device());
    Tensor::embedding(&by_distance, &index, -1, false, false).permute([2, 0, 1]).unsqueeze(0)
}

/// What of one layer's attention is kept.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    pub scores: bool,
    pub projections: bool,
}

/// What one layer's attention is computed with.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub tokens: &'a Tokens,
    pub bias: &'a Bias,
    pub keep: Keep,
    pub positions: Positions,
    pub train: bool,
}

/// What attention gives: its output `[batch, length, hidden]`, which may be packed, and what was kept.
pub(super) struct Attended {
    pub states: Tensor,
    pub scores: Option<Tensor>,
    pub projections: Option<Projections>,
}

/// The maps to queries, keys and values.
enum Maps {
    Each([Linear; 3]),
    /// One map to all three, where the weights are copies anyway: one product costs less than three.
    Joined(Linear),
}

/// Heads of other sizes have no fast kernels in bf16: cuBLAS and the fused kernels read 16 bytes at a time.
const ALIGNED_HEAD: i64 = 8;

pub(super) struct Attention {
    maps: Maps,
    heads: i64,
    head_size: i64,
    dropout: f64,
}

impl Attention {
    pub(super) fn new(scope: &Scope, config: &ModelConfig) -> Self {
        let (heads, head_size) = (config.attention_heads as i64, config.head_size() as i64);
        let each = ["query", "key", "value"].map(|name| Linear::new(&scope.child(name)));
        let aligned = (head_size + ALIGNED_HEAD - 1) / ALIGNED_HEAD * ALIGNED_HEAD;
        let maps = Linear::joined(&each, heads, aligned).map_or(Maps::Each(each), Maps::Joined);
        Self { maps, heads, head_size, dropout: config.attention_dropout }
    }

    pub(super) fn is_rounded(&self) -> bool {
        matches!(&self.maps, Maps::Each([query, ..]) if query.is_rounded())
    }

    /// Queries, keys and values of `[batch, length, hidden]`, which may be packed, each `[batch, length, heads, head size]`; the
    /// size may be filled up with zeros. Queries are those of `positions`.
    fn projected(&self, x: &Tensor, tokens: &Tokens, positions: Positions) -> [Tensor; 3] {
        let by_head = |x: &Tensor| {
            let x = tokens.spread(x);
            x.view([x.size()[0], x.size()[1], self.heads, x.size()[2] / self.heads])
        };
        match &self.maps {
            Maps::Each([query, key, value]) => {
                // Of one input, which is rounded once where it is rounded.
                let input = query.input(x);
                let maps = [(query, positions), (key, Positions::All), (value, Positions::All)];
                maps.map(|(map, positions)| by_head(&map.product(&tokens.at(positions, &input))))
            }
            Maps::Joined(map) => {
                let all = map.forward(x);
                let width = all.size()[all.dim() - 1] / 3;
                let [query, key, value] = [0, 1, 2].map(|part| by_head(&all.narrow(-1, part * width, width)));
                [positions.of(&query), key, value]
            }
        }
    }

    /// `[batch, length, heads, head size]`, which may be filled up, as `[batch, length, hidden]`.
    fn together(&self, x: &Tensor) -> Tensor {
        let own = if x.size()[3] == self.head_size { x.shallow_clone() } else { x.narrow(3, 0, self.head_size) };
        own.contiguous().view([x.size()[0], x.size()[1], self.heads * self.head_size])
    }

    /// `x` `[batch, length, hidden]`, packed as `pass.tokens` says, and so are the states. The scores are what distillation compares:
    /// `Q K^T / sqrt(d)` with a relative position bias, before mask and softmax, `[batch, heads, length, length]`, 0 where query
    /// or key is padding or the key may not be seen.
    ///
    /// No fused kernel returns scores, so they are only computed where a loss needs them, and where weights are dropped on a
    /// CPU, which has no fused kernel for that. Of a layer that computes the first token alone nothing is kept, nor is
    /// anything rounded.
    pub(super) fn forward(&self, x: &Tensor, pass: Pass) -> Attended {
        let Pass { tokens, bias, keep, positions, train } = pass;
        let [query, key, value] = self.projected(x, tokens, positions);
        let [q, k, v] = [&query, &key, &value].map(|x| x.transpose(1, 2));
        let rounded = self.is_rounded().then(|| RoundedHeads::new([&q, &k, &v], &bias.tokens));
        let rate = if train { self.dropout } else { 0.0 };
        let fused = bias.fused(positions);
        let (context, scores) = if keep.scores || rounded.is_some() || (rate > 0.0 && x.device() == Device::Cpu) {
            let (q, k, v) = rounded.as_ref().map_or((&q, &k, &v), |heads| (&heads.query, &heads.key, &heads.value));
            let root = (self.head_size as f64).sqrt();
            let products = |q: &Tensor| q.matmul(&k.transpose(-1, -2));
            // The queries are smaller than the products. All that is as large as these stays bf16 where they are; softmax adds up
            // in fp32 all the same.
            let products = match &rounded {
                None => products(&(q / root)),
                Some(_) => products(q) / root,
            };
            let weights = match (&rounded, fused) {
                (Some(heads), _) => heads.softmax(&bias.added_to(&products)),
                (None, Some(added)) => (&products + added).softmax(-1, products.kind()),
                (None, None) => products.softmax(-1, products.kind()),
            };
            let context = dropout(&weights, self.dropout, train).matmul(v);
            (context, keep.scores.then(|| bias.scores(&products)))
        } else {
            // The default counts the zeros that heads are filled up with.
            let scale = (q.size()[3] != self.head_size).then(|| 1.0 / (self.head_size as f64).sqrt());
            (Tensor::scaled_dot_product_attention(&q, &k, &v, fused, rate, false, scale, false), None)
        };
        let whole = |x: &Tensor| self.together(x);
        Attended {
            states: tokens.pack(positions, &whole(&context.transpose(1, 2))),
            scores,
            projections: keep.projections.then(|| Projections {
                query: whole(&query),
                key: whole(&key),
                value: whole(&value),
            }),
        }
    }
}
