//! What a training stage is given, and what it gives.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Group, TrainOptions};
use crate::arch::Params;
use crate::data::{EncodedExample, Encoder};

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

/// The training loss over some steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The last of them, counted from 1.
    pub step: u64,
    /// Their mean loss.
    pub loss: f64,
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
    /// The training loss in about a hundred points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curve: Vec<CurvePoint>,
    /// Tokens of text (without padding) a second, of this process's share.
    pub tokens_per_second: f64,
    /// The step from which this process went on, 0 for a fresh run.
    pub resumed_at: u64,
}

/// What is trained, on what.
pub struct Stage<'a> {
    /// Name for messages: `teacher`, `student`, `control`.
    pub name: &'a str,
    /// Where `resume.safetensors` and `best-STEP.safetensors` live while the stage runs.
    pub folder: &'a Path,
    /// Weights, updated in place.
    pub params: &'a Params,
    /// Training set.
    pub examples: &'a [EncodedExample],
    /// By which messages say what an example reads like; they give its number alone without.
    pub encoder: Option<&'a Encoder>,
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

impl Stage<'_> {
    /// Examples of a batch for a message: their numbers, and how the first of them begin.
    pub(super) fn told(&self, indices: &[usize]) -> String {
        const TEXTS: usize = 3;
        const CHARACTERS: usize = 60;
        let begins = |&index: &usize| {
            let ids: Vec<u32> = self
                .examples
                .get(index)?
                .ids
                .iter()
                .filter_map(|&id| u32::try_from(id).ok())
                .take(CHARACTERS)
                .collect();
            let text = self.encoder?.tokenizer().decode(&ids, true).ok()?;
            let cut: String = text.chars().take(CHARACTERS).collect();
            Some(if cut.len() < text.len() { format!("{cut:?}...") } else { format!("{cut:?}") })
        };
        let texts: Vec<String> = indices.iter().take(TEXTS).filter_map(begins).collect();
        let more = indices.len().saturating_sub(texts.len());
        match (texts.is_empty(), more) {
            (true, _) => format!("examples {indices:?}"),
            (false, 0) => format!("examples {indices:?}: {}", texts.join(", ")),
            (false, _) => format!("examples {indices:?}: {}, and {more} more", texts.join(", ")),
        }
    }
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
