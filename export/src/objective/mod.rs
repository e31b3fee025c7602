//! Task losses.

use tch::{Kind, Reduction, Tensor};

/// Mean cross-entropy of `[batch, labels]` logits against `[batch]` int64 label indices.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor) -> Tensor {
    logits.cross_entropy_loss::<Tensor>(labels, None, Reduction::Mean, -100, 0.0)
}

/// Share of rows whose largest logit is the label's.
pub fn accuracy(logits: &Tensor, labels: &Tensor) -> f64 {
    logits.argmax(-1, false).eq_tensor(labels).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}
