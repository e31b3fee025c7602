//! Task losses.

mod pupil;
mod replaced;

use tch::{Kind, Reduction, Tensor};

pub(crate) use pupil::{Given, Pupil};
pub use replaced::{all_tokens, corrupt, sample};

/// A target that no loss looks at.
pub const IGNORED: i64 = -100;

/// Mean cross-entropy of `[..., labels]` logits against `[...]` int64 label indices, over those that are not
/// [`IGNORED`]. For texts (`[batch, labels]`), tokens and masked language models (`[batch, length, labels]`).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let classes = logits.size()[logits.dim() - 1];
    logits.reshape([-1, classes]).cross_entropy_loss::<Tensor>(
        &labels.reshape([-1]),
        None,
        Reduction::Mean,
        IGNORED,
        0.0,
    )
}

/// Independent labels: mean binary cross-entropy of logits and 0/1 targets (fp32) of one shape.
pub fn binary_cross_entropy(logits: &Tensor, targets: &Tensor) -> Tensor {
    logits.binary_cross_entropy_with_logits::<Tensor>(targets, None, None, Reduction::Mean)
}

/// Regression: mean squared difference of two tensors of one shape.
pub fn mean_squared_error(values: &Tensor, targets: &Tensor) -> Tensor {
    values.mse_loss(targets, Reduction::Mean)
}

/// Answer spans: the mean of the cross-entropies of start and end over the tokens of each text. `logits`
/// `[batch, length, 2]`, `mask` `[batch, length]` (1 token, 0 pad), `starts` and `ends` `[batch]` int64.
pub fn span(logits: &Tensor, mask: &Tensor, starts: &Tensor, ends: &Tensor) -> Tensor {
    let padding = (mask.to_kind(Kind::Float) - 1.0) * f64::from(f32::MAX);
    let side = |index: i64, targets: &Tensor| cross_entropy(&(logits.select(-1, index) + &padding), targets);
    (side(0, starts) + side(1, ends)) / 2.0
}

/// Replaced tokens (Clark 2020): binary cross-entropy over tokens that are not padding. `logits`, `mask` and
/// `replaced` (1 for a replaced token) are `[batch, length]`.
pub fn replaced_token(logits: &Tensor, mask: &Tensor, replaced: &Tensor) -> Tensor {
    let kept = mask.to_kind(Kind::Bool);
    let targets = replaced.to_kind(Kind::Float).masked_select(&kept);
    binary_cross_entropy(&logits.masked_select(&kept), &targets)
}

/// The next token: cross-entropy of each position's `[batch, length, vocabulary]` logits with the token after it,
/// for those of `targets` `[batch, length]` (the ids) that are not [`IGNORED`].
pub fn next_token(logits: &Tensor, targets: &Tensor) -> Tensor {
    let length = targets.size()[1];
    cross_entropy(&logits.narrow(1, 0, length - 1), &targets.narrow(1, 1, length - 1))
}

/// Share of rows whose largest logit is the label's.
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(labels).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}
