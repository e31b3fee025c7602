//! What a training stage is given, and what it gives.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Group, TrainOptions};
use crate::arch::Params;
use crate::data::EncodedExample;

/// A loss and what it is made of.
pub struct Loss {
    /// The scalar that is minimised, fp32.
    pub total: Tensor,
    /// Unweighted scalars by name, for the log.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// One scoring on dev: of each epoch, or as often as asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// The epoch that is finished or under way, from 1.
    pub epoch: usize,
    /// Optimizer steps done.
    #[serde(default)]
    pub step: u64,
    /// Mean training loss since the last scoring.
    pub loss: f64,
    /// Score on dev, higher is better.
    pub dev: f64,
}

/// How a stage went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Score of the weights that were kept.
    pub best_dev: f64,
    /// Their epoch, from 1.
    pub best_epoch: usize,
    /// Optimizer steps.
    pub steps: u64,
    /// All scorings.
    pub history: Vec<EpochRecord>,
    /// Tokens of text (without padding) a second, of this process's share.
    pub tokens_per_second: f64,
    /// The step from which this process went on, 0 for a fresh run.
    pub resumed_at: u64,
}

/// What is trained, on what.
pub struct Stage<'a> {
    /// Name for messages: `teacher`, `student`, `control`.
    pub name: &'a str,
    /// Where `resume.safetensors` and `best.safetensors` live while the stage runs.
    pub folder: &'a Path,
    /// Weights, updated in place.
    pub params: &'a Params,
    /// Training set.
    pub examples: &'a [EncodedExample],
    /// Padding token.
    pub pad_id: usize,
    /// Settings.
    pub options: &'a TrainOptions,
    /// Seed of order and dropout.
    pub seed: u64,
    /// Anything else that decides the result (data hash, teacher hash, loss settings): part of the
    /// fingerprint by which a checkpoint is recognised.
    pub identity: &'a str,
    /// At most this long between checkpoints.
    pub checkpoint_every: Duration,
    /// For tests of resuming: give up, as if killed, before this step.
    pub stop_before: Option<u64>,
    /// The processes that train together; [`Alone`](super::Alone) for one. Files are written, and dev is scored, by
    /// process 0.
    pub group: &'a dyn Group,
}

/// One step, for the progress bar and the JSON log.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TrainStep {
    pub loss: f64,
    pub parts: std::collections::BTreeMap<&'static str, f64>,
    pub learning_rate: f64,
    pub gradient_norm: f64,
    pub tokens_per_second: f64,
}
