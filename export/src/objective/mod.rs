//! Task losses.

mod pupil;
mod replaced;

use tch::{Kind, Reduction, Tensor};

pub(crate) use pupil::{Given, Pupil};
pub use replaced::{all_tokens, corrupt, sample};

/// A target that no loss looks at.
pub const IGNORED: i64 = -100;

/// Mean cross-entropy of `[..., labels]` logits against `[...]` int64 label indices, over those that are not
/// [`IGNORED`]; 0 where all are. For texts (`[batch, labels]`), tokens and masked language models (`[batch, length, labels]`).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    let classes = logits.size()[logits.dim() - 1];
    let labels = labels.reshape([-1]);
    let sum = logits.reshape([-1, classes]).cross_entropy_loss::<Tensor>(&labels, None, Reduction::Sum, IGNORED, 0.0);
    // libtorch's own mean of nothing is not a number, and would end the training.
    let count = labels.ne(IGNORED).sum(Kind::Int64).clamp_min(1);
    let kind = sum.kind();
    sum / count.to_kind(kind)
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

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// A tagged text whose words the tokenizer cleans away has no target, and teaches nothing.
    #[test]
    fn no_targets_are_no_loss() {
        let logits = Tensor::randn([2, 3, 4], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let none = Tensor::full([2, 3], IGNORED, (Kind::Int64, Device::Cpu));
        let loss = cross_entropy(&logits, &none);
        loss.backward();
        assert_eq!(loss.double_value(&[]), 0.0);
        assert_eq!(logits.grad().abs().sum(Kind::Float).double_value(&[]), 0.0);
        // Of some it is their mean.
        let some = Tensor::from_slice(&[1i64, IGNORED, 2, IGNORED, IGNORED, 0]).view([2, 3]);
        let logs = logits.log_softmax(-1, Kind::Float);
        let of = |row: i64, column: i64, label: i64| -logs.double_value(&[row, column, label]);
        let mean = (of(0, 0, 1) + of(0, 2, 2) + of(1, 2, 0)) / 3.0;
        assert!((cross_entropy(&logits, &some).double_value(&[]) - mean).abs() < 1e-6);
    }
}
