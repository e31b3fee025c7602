//! One training stage, from first step to the weights that are kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tch::Tensor;

use super::average::Average;
use super::checkpoint::{Progress, StageFiles, fingerprint};
use super::gradient::{Gradient, Numbers, Seen, gradient};
use super::optimizer::{Optimizer, scalar};
use super::parallel::{broadcast_bytes, broadcast_number};
use super::plan::Plan;
use super::{EpochRecord, Keep, Loss, Outcome, Stage, TrainOptions, TrainStep};
use crate::data::{Batch, EncodedExample};
use crate::progress::Reporter;

/// Runs a stage. `loss` maps a batch to a loss in training mode; `score` rates the current weights on dev.
/// On return `params` hold the weights that [`Keep`] says; the checkpoint stays until [`discard_checkpoint`], so that
/// a kill between the last step and saving the result loses little.
///
/// Every random number of a step comes from the seed and the step's number, so a run that is killed at any
/// moment and started again ends with the same bits on a CPU.
///
/// With `precision = "bf16"`, `loss` must run the model in it
/// ([`Model::in_precision`](crate::arch::Model::in_precision)).
///
/// # Errors
/// A loss or a gradient that is not finite (naming step and examples, the weights untouched), an unusable
/// checkpoint, a full disk.
pub fn train(
    stage: &Stage,
    reporter: &Reporter,
    loss: &dyn Fn(&Batch, f64) -> Result<Loss>,
    score: &dyn Fn() -> Result<f64>,
) -> Result<Outcome> {
    let options = stage.options;
    options.check(stage.name)?;
    // A device that does not have it is refused here, not in the middle.
    drop(options.precision.enter(stage.params.device())?);
    let plan = Plan::new(stage.name, stage.examples, options, stage.seed, stage.group.size())?;
    let total = plan.total();
    let warmup = options.warmup_steps(total);
    let mut run = Run::start(stage, &plan)?;
    stage.params.set_requires_grad(true);
    let weights: Vec<Tensor> = stage.params.iter().map(|(_, t)| t.shallow_clone()).collect();
    let resumed_at = run.progress.step;
    if resumed_at > 0 {
        reporter.note(&format!("{}: going on from step {resumed_at} of {total}", stage.name));
    }
    let bar = reporter.bar(stage.name, total, resumed_at);
    let (started, mut last_saved) = (Instant::now(), Instant::now());
    let mut tokens = 0usize;
    // A step's numbers are looked at when the next one is under way, so that a GPU need not wait. Until then it is the GPU itself
    // that keeps the weights from a gradient which is not finite, and from all after it.
    let mut stopped = scalar(0.0, stage.params.device());
    let ahead = stage.group.size() == 1 && run.optimizer.can_be_stopped();
    let mut see = |run: &mut Run, taken: Option<Taken>| -> Result<()> {
        let Some(taken) = taken else { return Ok(()) };
        let Seen { loss, parts, norm } = taken.numbers.see(stage)?;
        run.progress.count(loss, total);
        tokens += taken.tokens;
        bar.step(
            run.progress.step,
            &TrainStep {
                loss,
                parts,
                learning_rate: taken.learning_rate,
                gradient_norm: norm,
                tokens_per_second: tokens as f64 / started.elapsed().as_secs_f64(),
            },
        );
        Ok(())
    };
    while run.progress.step < total {
        let (epoch, position) = plan.position(run.progress.step);
        let mut last: Option<Taken> = None;
        for micro_batches in plan.steps(epoch).into_iter().skip(position) {
            let step = run.progress.step + u64::from(last.is_some());
            if step >= total {
                break;
            }
            if stage.stop_before.is_some_and(|stop| step >= stop) {
                bail!("{}: stopped before step {step}", stage.name);
            }
            let Gradient { tensors, norm, unusable, numbers, tokens } =
                gradient(stage, &weights, &run.optimizer.learning(), (step, total), &micro_batches, loss)?;
            stopped = stopped.f_maximum(&unusable.f_to_device(stopped.device())?)?;
            let learning_rate =
                options.learning_rate * options.schedule.factor(step, warmup, total, options.min_factor);
            let mut newest = Some(Taken { numbers, learning_rate, tokens });
            if !ahead {
                see(&mut run, newest.take())?;
            }
            run.optimizer.update(stage.params, &tensors, &norm, &stopped, learning_rate)?;
            let done = step + 1;
            if let Some(average) = &mut run.average {
                average.update(stage.params, done)?;
            }
            see(&mut run, std::mem::replace(&mut last, newest))?;
            let due = match options.score_every {
                Some(every) => done.is_multiple_of(every) || done == total,
                None => plan.is_end(done) || done == total,
            };
            let save = done < total && last_saved.elapsed() >= stage.checkpoint_every;
            if due || save {
                see(&mut run, last.take())?;
            }
            if due {
                run.score(epoch + 1, score, reporter)?;
            }
            if save {
                run.save()?;
                last_saved = Instant::now();
            }
        }
        see(&mut run, last)?;
    }
    bar.finish();
    stage.params.set_requires_grad(false);
    run.take_kept_weights()?;
    let progress = run.progress;
    let best = progress.best.context("dev was never scored")?;
    let elapsed = started.elapsed().as_secs_f64().max(1e-9);
    Ok(Outcome {
        best_dev: best.dev,
        best_epoch: best.epoch,
        steps: progress.step,
        history: progress.history,
        curve: progress.curve,
        tokens_per_second: tokens as f64 / elapsed,
        resumed_at,
    })
}

/// A step that was taken, and whose numbers nobody has seen yet.
struct Taken {
    numbers: Numbers,
    learning_rate: f64,
    tokens: usize,
}

/// Refuses a folder with the checkpoint of another run, which [`train`] would write over.
///
/// # Errors
/// Such a checkpoint, by its file; settings that cannot train.
pub fn refuse_another_run(stage: &Stage) -> Result<()> {
    stage.options.check(stage.name)?;
    let plan = Plan::new(stage.name, stage.examples, stage.options, stage.seed, stage.group.size())?;
    StageFiles::new(stage.folder).refuse_another(&of_run(stage, &plan)?)
}

/// The fingerprint of a run.
fn of_run(stage: &Stage, plan: &Plan) -> Result<String> {
    fingerprint(&(stage.name, stage.options, stage.seed, stage.identity, plan.lengths(), stage.group.size()))
}

/// How many examples of each length, in tokens, a run of these settings sees in all.
///
/// # Errors
/// As [`train`] for settings that cannot train.
pub fn seen_lengths(
    stage: &str,
    examples: &[EncodedExample],
    options: &TrainOptions,
    seed: u64,
    processes: usize,
) -> Result<BTreeMap<usize, u64>> {
    options.check(stage)?;
    Ok(Plan::new(stage, examples, options, seed, processes)?.seen())
}

/// Removes a stage's checkpoint, once its result is saved.
pub fn discard_checkpoint(folder: &Path) {
    StageFiles::new(folder).remove();
}

/// All that changes while a stage runs, but its weights: what a checkpoint holds besides them.
struct Run<'a> {
    stage: &'a Stage<'a>,
    files: StageFiles,
    optimizer: Optimizer,
    average: Option<Average>,
    progress: Progress,
    /// The step of the best weights that the last checkpoint names.
    saved_best: Option<u64>,
}

impl<'a> Run<'a> {
    /// From the checkpoint of this very run if there is one; all processes begin with what process 0 has.
    fn start(stage: &'a Stage<'a>, plan: &Plan) -> Result<Self> {
        let Stage { params, options, group, .. } = *stage;
        let size = group.size();
        let own = of_run(stage, plan)?;
        let until = options.unfrozen_at(plan.total());
        let mut run = Self {
            stage,
            files: StageFiles::new(stage.folder),
            optimizer: Optimizer::unfreezing(params, options.optimizer, options.layer_decay, until),
            average: (options.keep == Keep::Ema).then(|| Average::new(params, options.ema_decay)),
            progress: Progress { fingerprint: own.clone(), ..Progress::default() },
            saved_best: None,
        };
        if group.rank() == 0
            && let Some((progress, tensors)) = run.files.load(&own, options.keep != Keep::Last)?
        {
            let weights = tensors
                .iter()
                .filter_map(|(n, t)| Some((n.strip_prefix("weight.")?.to_owned(), t.shallow_clone())))
                .collect();
            params.copy_from(&weights)?;
            run.optimizer.restore(&tensors, progress.step)?;
            if let Some(average) = &mut run.average {
                average.restore(&tensors)?;
            }
            run.saved_best = progress.best.as_ref().map(|best| best.step);
            run.progress = progress;
        }
        if size > 1 {
            let bytes = broadcast_bytes(group, serde_json::to_vec(&run.progress)?, params.device())?;
            run.progress = serde_json::from_slice(&bytes).context("process 0 sent no progress of a run")?;
            let mine = run.progress.fingerprint == own;
            ensure!(mine, "{}: process {} was given other data or settings", stage.name, group.rank());
            let tensors: Vec<Tensor> = run.tensors().into_iter().map(|(_, tensor)| tensor).collect();
            group.broadcast(&tensors, 0)?;
            run.optimizer.set_steps(run.progress.step);
        }
        Ok(run)
    }

    /// Everything of a run that is a tensor, by name.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors: Vec<(String, Tensor)> =
            self.stage.params.iter().map(|(n, t)| (format!("weight.{n}"), t.detach())).collect();
        tensors.extend(self.optimizer.state());
        tensors.extend(self.average.iter().flat_map(Average::state));
        tensors
    }

    fn save(&mut self) -> Result<()> {
        if self.stage.group.rank() > 0 {
            return Ok(());
        }
        self.files.save(&self.progress, &self.tensors())?;
        self.saved_best = self.progress.best.as_ref().map(|best| best.step);
        self.files.keep_best(self.saved_best.as_slice());
        Ok(())
    }

    /// Rates the weights, or their averages, on dev, and keeps them if they are the best yet.
    fn score(&mut self, epoch: usize, score: &dyn Fn() -> Result<f64>, reporter: &Reporter) -> Result<()> {
        let Stage { name, params, options, group, .. } = *self.stage;
        let rated = || tch::no_grad(score);
        let own = match &self.average {
            _ if group.rank() > 0 => 0.0,
            Some(average) => average.in_place_of(params, rated)?,
            None => rated()?,
        };
        let dev = broadcast_number(group, own, params.device())?;
        let step = self.progress.step;
        ensure!(dev.is_finite(), "{name}: the score on dev is {dev} after step {step}; lower learning_rate");
        let (sum, count) = std::mem::take(&mut self.progress.running);
        let record = EpochRecord { epoch, step, loss: sum / count.max(1) as f64, dev };
        reporter.epoch(name, &record);
        self.progress.history.push(record.clone());
        let better = self.progress.best.as_ref().is_none_or(|best| dev > best.dev);
        if better && options.keep != Keep::Last && group.rank() == 0 {
            let weights = params.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
            let weights = self.average.as_ref().map_or_else(|| weights.collect(), Average::weights);
            self.files.save_best(&self.progress.fingerprint, step, &weights)?;
            self.files.keep_best(&[Some(step), self.saved_best].into_iter().flatten().collect::<Vec<_>>());
        }
        if better || options.keep == Keep::Last {
            self.progress.best = Some(record);
        }
        Ok(())
    }

    /// Fills the weights with those that the options say to keep.
    fn take_kept_weights(&self) -> Result<()> {
        let Stage { params, options, group, .. } = *self.stage;
        if options.keep == Keep::Last {
            return Ok(());
        }
        if let Some(best) = self.progress.best.as_ref().filter(|_| group.rank() == 0) {
            self.files.load_best(best.step, params)?;
        }
        let weights: Vec<Tensor> = params.iter().map(|(_, tensor)| tensor.detach()).collect();
        group.broadcast(&weights, 0)
    }
}

#[cfg(test)]
mod tests;
