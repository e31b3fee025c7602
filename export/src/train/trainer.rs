//! One training stage, from first step to the weights that dev chose.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::checkpoint::{Progress, StageFiles, fingerprint};
use super::optimizer::{AdamW, AdamWOptions};
use super::schedule::linear_warmup_decay;
use crate::arch::Params;
use crate::data::{Batch, EncodedExample, epoch_batches};
use crate::progress::Reporter;

/// Settings of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Passes over the training set.
    pub epochs: usize,
    /// Examples a step.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of all steps that warm up.
    pub warmup: f64,
    /// The optimizer.
    pub optimizer: AdamWOptions,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { epochs: 3, batch_size: 32, learning_rate: 5e-5, warmup: 0.1, optimizer: AdamWOptions::default() }
    }
}

impl TrainOptions {
    /// Refuses settings that cannot train.
    pub fn check(&self, stage: &str) -> Result<()> {
        if self.epochs == 0 || self.batch_size == 0 {
            bail!("{stage}: epochs and batch_size must be at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite() && (0.0..1.0).contains(&self.warmup)) {
            bail!("{stage}: learning_rate must be above 0 and warmup from 0 to below 1");
        }
        Ok(())
    }
}

/// A loss and what it is made of.
pub struct Loss {
    /// The scalar that is minimised.
    pub total: Tensor,
    /// Unweighted scalars by name, for the log.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// One finished epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Mean training loss.
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
    /// All epochs.
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
}

/// Runs a stage. `loss` maps a batch to a loss in training mode; `score` rates the current weights on dev.
/// On return `params` hold the best weights by dev (the earliest of equals); the checkpoint stays until
/// [`discard_checkpoint`], so that a kill between the last step and saving the result loses little.
///
/// Every random number of a step comes from the seed and the step's number, so a run that is killed at any
/// moment and started again ends with the same bits on a CPU.
///
/// # Errors
/// A loss that is not finite (naming step and examples), an unusable checkpoint, a full disk.
pub fn train(
    stage: &Stage,
    reporter: &Reporter,
    loss: &dyn Fn(&Batch, f64) -> Result<Loss>,
    score: &dyn Fn() -> Result<f64>,
) -> Result<Outcome> {
    let options = stage.options;
    options.check(stage.name)?;
    let lengths: Vec<usize> = stage.examples.iter().map(|e| e.ids.len()).collect();
    let per_epoch = lengths.len().div_ceil(options.batch_size) as u64;
    let total = per_epoch * options.epochs as u64;
    let warmup = (total as f64 * options.warmup).round() as u64;
    let files = StageFiles::new(stage.folder);
    let own = fingerprint(&(stage.name, options, stage.seed, stage.identity, &lengths))?;
    let mut optimizer = AdamW::new(stage.params, options.optimizer);
    stage.params.set_requires_grad(true);
    let inputs: Vec<Tensor> = stage.params.iter().map(|(_, t)| t.shallow_clone()).collect();
    let mut progress = files
        .load(&own, stage.params, &mut optimizer)?
        .unwrap_or_else(|| Progress { fingerprint: own, ..Progress::default() });
    let resumed_at = progress.step;
    if resumed_at > 0 {
        reporter.note(&format!("{}: going on from step {resumed_at} of {total}", stage.name));
    }
    let bar = reporter.bar(stage.name, total, resumed_at);
    let (started, mut tokens, mut last_saved) = (Instant::now(), 0usize, Instant::now());
    while progress.step < total {
        let epoch = (progress.step / per_epoch) as usize;
        let batches = epoch_batches(&lengths, options.batch_size, stage.seed, epoch);
        for indices in batches.into_iter().skip((progress.step % per_epoch) as usize) {
            if stage.stop_before.is_some_and(|stop| progress.step >= stop) {
                bail!("{}: stopped before step {}", stage.name, progress.step);
            }
            let batch = Batch::new(stage.examples, indices, stage.pad_id, stage.params.device());
            tch::manual_seed(step_seed(stage.seed, progress.step));
            let loss = loss(&batch, progress.step as f64 / total as f64)?;
            let value = loss.total.double_value(&[]);
            if !value.is_finite() {
                bail!(
                    "{}: the loss is {value} at step {} (examples {:?}); lower learning_rate, or look at these examples",
                    stage.name,
                    progress.step,
                    batch.indices
                );
            }
            let gradients = Tensor::f_run_backward(&[&loss.total], &inputs, false, false)
                .with_context(|| format!("{}: backward pass of step {}", stage.name, progress.step))?;
            let rate = options.learning_rate * linear_warmup_decay(progress.step, warmup, total);
            let norm = optimizer.step(stage.params, &gradients, rate)?;
            progress.step += 1;
            progress.running.0 += value;
            progress.running.1 += 1;
            tokens += batch.tokens;
            let speed = tokens as f64 / started.elapsed().as_secs_f64();
            let parts = loss.parts.iter().map(|(name, t)| (*name, t.double_value(&[]))).collect();
            bar.step(
                progress.step,
                &TrainStep { loss: value, parts, learning_rate: rate, gradient_norm: norm, tokens_per_second: speed },
            );
            if progress.step.is_multiple_of(per_epoch) {
                finish_epoch(&mut progress, epoch + 1, score, stage.params, &files, reporter, stage.name)?;
            }
            if progress.step < total && last_saved.elapsed() >= stage.checkpoint_every {
                files.save(&progress, stage.params, &optimizer)?;
                last_saved = Instant::now();
            }
        }
    }
    bar.finish();
    stage.params.set_requires_grad(false);
    files.load_best(stage.params)?;
    let (best_dev, best_epoch) = progress.best.context("no epoch was finished")?;
    let elapsed = started.elapsed().as_secs_f64().max(1e-9);
    Ok(Outcome {
        best_dev,
        best_epoch,
        steps: progress.step,
        history: progress.history,
        tokens_per_second: tokens as f64 / elapsed,
        resumed_at,
    })
}

/// Removes a stage's checkpoint, once its result is saved.
pub fn discard_checkpoint(folder: &Path) {
    StageFiles::new(folder).remove();
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

fn step_seed(seed: u64, step: u64) -> i64 {
    (seed.wrapping_mul(0x2545_F491_4F6C_DD1D) ^ step.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as i64 & i64::MAX
}

fn finish_epoch(
    progress: &mut Progress,
    epoch: usize,
    score: &dyn Fn() -> Result<f64>,
    params: &Params,
    files: &StageFiles,
    reporter: &Reporter,
    stage: &str,
) -> Result<()> {
    let dev = tch::no_grad(score)?;
    let (sum, count) = std::mem::take(&mut progress.running);
    let record = EpochRecord { epoch, loss: sum / count.max(1) as f64, dev };
    reporter.epoch(stage, &record);
    progress.history.push(record);
    if progress.best.is_none_or(|(best, _)| dev > best) {
        progress.best = Some((dev, epoch));
        files.save_best(params)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
