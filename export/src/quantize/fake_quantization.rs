//! Quantization-aware training: in the forward pass, weights and activations are rounded to the values that the bundle
//! will hold; the weights that are trained stay fp32.
//!
//! Rounding has no useful derivative, so gradients pass through it as if it were not there: the straight-through
//! estimator (Bengio 2013, section 4). Nothing is clipped here: every scale comes from the values that it is for, so
//! that no gradient is set to 0, where TernaryBERT clips at 2.5 first.
//!
//! What is rounded is what [`limbeck::int8`] and the token table round: the weights and inputs of the maps of encoder
//! layers, attention ([`super::fake_attention`]), and the token table by row. All else is fp32 there too.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::LOWEST_SCALE;
use super::ternary::THRESHOLD;
use crate::graph::WeightMode;

/// What the weights of a model are rounded to while it is trained, the coarser the later; activations are
/// int8 with a scale for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FakeQuantization {
    /// int8, a scale for each output of a map and each row of the token table.
    Int8,
    /// -1, 0 or 1 times a scale for each output of a map and each row of the token table: [`super::ternary_rows`].
    Ternary,
}

impl FakeQuantization {
    /// How a model that was trained so is stored.
    pub fn weights(self) -> WeightMode {
        match self {
            Self::Int8 => WeightMode::Int8Layers,
            Self::Ternary => WeightMode::Ternary,
        }
    }

    /// The weights `[.., width]`, with a scale for each row, as they will be; gradients are those of `weight` itself.
    pub(crate) fn of_weights(self, weight: &Tensor) -> Tensor {
        match self {
            Self::Int8 => straight_through(weight, int8_rows),
            Self::Ternary => straight_through(weight, ternary_rows),
        }
    }
}

/// The inputs of a map, `[.., width]`, as limbeck's own layers round them: s = max |x| / 127 of each row, codes
/// x (127 / max |x|) to the nearest integer, ties to even. fp32, whatever `x` is.
pub(crate) fn of_activations(x: &Tensor) -> Tensor {
    straight_through(&x.to_kind(Kind::Float), |x| {
        let largest = x.abs().amax([-1i64].as_slice(), true);
        to_codes(x, &largest, &Tensor::from(127f32).to_device(x.device()))
    })
}

/// The nearest codes up to `limit`, ties to even, where `largest` has the largest magnitude, times what one stands for.
pub(super) fn to_codes(x: &Tensor, largest: &Tensor, limit: &Tensor) -> Tensor {
    let factor = limit / largest;
    // Zeros, or numbers so small that the reciprocal overflows, are all zeros.
    let factor = factor.where_scalarother(&factor.isfinite(), 0.0);
    (x * factor).round() * (largest / limit)
}

/// As [`super::quantize_rows`] does it, in libtorch.
fn int8_rows(weight: &Tensor) -> Tensor {
    let scale = (weight.abs().amax([-1i64].as_slice(), true) / 127.0).clamp_min(f64::from(LOWEST_SCALE));
    (weight / &scale).round().clamp(-127.0, 127.0) * scale
}

/// As [`super::ternary_rows`] does it, in libtorch.
fn ternary_rows(weight: &Tensor) -> Tensor {
    let sum = |x: &Tensor| x.sum_dim_intlist([-1i64].as_slice(), true, Kind::Double);
    let size = weight.abs().to_kind(Kind::Double);
    let threshold = sum(&size) / size.size().last().copied().unwrap_or(1).max(1) as f64 * THRESHOLD;
    let above = size.gt_tensor(&threshold);
    let scale = sum(&(size * &above)) / sum(&above).clamp_min(1.0);
    weight.sign() * above * scale.to_kind(Kind::Float).clamp_min(f64::from(LOWEST_SCALE))
}

/// `rounded(x)` whose gradient is that of x. What is added is 0, so that the value is `rounded(x)` to the bit.
pub(super) fn straight_through(x: &Tensor, rounded: impl FnOnce(&Tensor) -> Tensor) -> Tensor {
    let rounded = rounded(&x.detach());
    if x.requires_grad() { rounded + (x - x.detach()) } else { rounded }
}

#[cfg(test)]
mod tests;
