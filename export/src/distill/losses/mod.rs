//! Losses between a student and its teacher.
//!
//! Each takes the student's tensor, then the teacher's for the same tokens, and gives a scalar. The teacher is frozen:
//! no gradient flows to it. The loss is computed in fp64 where the student's tensor is fp64, else in fp32, so a
//! teacher's values may come in half precision. Each is an error where the shapes do not fit; a mean over nothing is 0.
//!
//! `mask` is `[batch, length]`, 1 (token) or 0 (pad). Where attention is compared it may instead be
//! `[batch, query, key]`, see [`visible_pairs`](crate::arch::visible_pairs).

mod attention;
mod hidden;
mod relation;
mod similarity;
mod soft;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

pub use attention::{attention_distributions, attention_scores};
pub use hidden::{hidden_cosine, hidden_states, patience};
pub use relation::relations;
pub use similarity::state_similarities;
pub use soft::{Averaging, kept_rows, soft_cross_entropy, soft_labels, soft_spans, soft_targets};

/// Whether padded positions count in a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// They do not: a text has the same loss whatever it is batched with.
    #[default]
    Excluded,
    /// They do, as in TinyBERT's released code (`MSELoss` over whole tensors), whose loss depends on the padding. In a stage
    /// both sides are 0 there, and not, as in that code, what the models give for padding.
    Counted,
}

/// What a loss on the student's tensor is computed in.
fn precision(student: &Tensor) -> Kind {
    if student.kind() == Kind::Double { Kind::Double } else { Kind::Float }
}

/// Both tensors in the loss's precision, the teacher's cut from any graph.
fn pair(student: &Tensor, teacher: &Tensor) -> (Tensor, Tensor) {
    let kind = precision(student);
    (student.to_kind(kind), teacher.detach().to_kind(kind))
}

/// `fix` says what makes the shapes equal.
fn same_shape(what: &str, student: &Tensor, teacher: &Tensor, fix: &str) -> Result<()> {
    let (own, other) = (student.size(), teacher.size());
    ensure!(own == other, "the student's {what} are {own:?}, the teacher's {other:?}: {fix}");
    Ok(())
}

/// `axes` names each dimension.
fn dimensions(whose: &str, what: &str, tensor: &Tensor, axes: &[&str]) -> Result<()> {
    ensure!(tensor.dim() == axes.len(), "the {whose}'s {what} are {:?}, expected [{}]", tensor.size(), axes.join(", "));
    Ok(())
}

fn shape(what: &str, tensor: &Tensor, expected: &[i64]) -> Result<()> {
    ensure!(tensor.size() == expected, "the {what} is {:?}, expected {expected:?}", tensor.size());
    Ok(())
}

/// The mean over tokens of one value a token, `[batch, length]`.
fn token_mean(values: &Tensor, mask: &Tensor) -> Tensor {
    let keep = mask.to_kind(values.kind());
    (values * &keep).sum(values.kind()) / keep.sum(values.kind()).clamp_min(1.0)
}

/// Log-softmax over the last dimension of fp32 or fp64 values among what `keep` (Bool, broadcast) keeps. Elsewhere it is 0, for which a KL
/// divergence has no term.
fn log_softmax_among(x: &Tensor, keep: &Tensor) -> Tensor {
    let dropped = keep.logical_not();
    let lowest = f64::from(f32::MIN);
    x.masked_fill(&dropped, lowest).log_softmax(-1, x.kind()).masked_fill(&dropped, 0.0)
}

/// `KL(teacher || student)` of log-probabilities, summed over everything.
fn divergence(student: &Tensor, teacher: &Tensor) -> Tensor {
    student.kl_div(teacher, Reduction::Sum, true)
}

/// Which query and key are compared, Bool `[batch, 1, query, key]`, from either form of mask.
fn query_key_pairs(mask: &Tensor, batch: i64, length: i64) -> Result<Tensor> {
    let keep = mask.ne(0);
    if mask.dim() == 3 {
        shape("mask", mask, &[batch, length, length])?;
        return Ok(keep.unsqueeze(1));
    }
    shape("mask", mask, &[batch, length])?;
    let keep = keep.unsqueeze(1);
    Ok(keep.unsqueeze(-1).logical_and(&keep.unsqueeze(-2)))
}

/// `KL(teacher || student)` of the softmax over keys of two `[batch, heads, query, key]` scores among `pairs`, the mean
/// over heads and over queries that have a key.
fn mean_divergence(student: &Tensor, teacher: &Tensor, pairs: &Tensor) -> Tensor {
    // Products of states are in half precision under autocast, which has no room for `lowest`.
    let (student, teacher) = pair(student, teacher);
    let queries = pairs.any_dim(-1, false).sum(student.kind()).clamp_min(1.0);
    let total = divergence(&log_softmax_among(&student, pairs), &log_softmax_among(&teacher, pairs));
    total / (queries * student.size()[1] as f64)
}

#[cfg(test)]
mod testing;
