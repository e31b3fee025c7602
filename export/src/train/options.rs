//! What a recipe says of a training stage.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::{OptimizerKind, OptimizerOptions, Precision, Schedule};

/// Settings of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Passes over the training set.
    pub epochs: usize,
    /// So many steps, in as many passes as they take; [`Self::epochs`] then says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Examples a micro-batch, and so a step where [`Self::accumulate`] is 1.
    pub batch_size: usize,
    /// Micro-batches of as many examples as fit, so that rows times the longest of them stay within this many tokens
    /// (of both texts, where two are read apart); [`Self::batch_size`] then says nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_tokens: Option<usize>,
    /// Micro-batches a step. Loss and gradient are the means of theirs by rows: for losses that are means over rows
    /// those of one large batch, which need not fit in memory.
    pub accumulate: usize,
    /// Leaves out the step of an epoch that is left with fewer rows (which rows these are differs from epoch to epoch), as
    /// TinyBERT's code does.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drop_last: bool,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Share of all steps that warm up.
    pub warmup: f64,
    /// The learning rate after warming up.
    pub schedule: Schedule,
    /// Where `cosine` ends, as a share of the peak.
    pub min_factor: f64,
    /// The learning rate of each layer as a share of that of the layer above it; 1 is the same for all. See
    /// [`layer_factors`](super::layer_factors).
    pub layer_decay: f64,
    /// Gradual unfreezing: the head learns at once, the layers begin one after the other from the last to the first, and the embeddings
    /// when this share of all steps is behind; 0 is all at once. Before that a parameter has no gradient and stays as it is
    /// (Howard 2018, "ULMFiT", section 3.3).
    #[serde(skip_serializing_if = "is_zero")]
    pub unfreeze: f64,
    /// Which weights a stage ends with.
    pub keep: Keep,
    /// Share of the average that a step keeps, with `keep = "ema"`.
    pub ema_decay: f64,
    /// What the forward pass of training computes in.
    pub precision: Precision,
    /// Dev is scored every so many steps and after the last; after every epoch when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_every: Option<u64>,
    /// The optimizer.
    pub optimizer: OptimizerOptions,
}

/// Which weights a stage ends with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The best by dev, the earliest of equals.
    #[default]
    Best,
    /// The last.
    Last,
    /// The best by dev of the exponential moving averages of the weights.
    Ema,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            epochs: 3,
            steps: None,
            batch_size: 32,
            batch_tokens: None,
            accumulate: 1,
            drop_last: false,
            learning_rate: 5e-5,
            warmup: 0.1,
            schedule: Schedule::Linear,
            min_factor: 0.0,
            layer_decay: 1.0,
            unfreeze: 0.0,
            keep: Keep::Best,
            ema_decay: 0.999,
            precision: Precision::Fp32,
            score_every: None,
            optimizer: OptimizerOptions::default(),
        }
    }
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl TrainOptions {
    /// Refuses settings that cannot train.
    pub fn check(&self, stage: &str) -> Result<()> {
        let counts = [("epochs", self.epochs), ("batch_size", self.batch_size), ("accumulate", self.accumulate)];
        for (name, count) in counts {
            ensure!(count > 0, "{stage}: {name} must be at least 1");
        }
        ensure!(self.batch_tokens != Some(0), "{stage}: batch_tokens must be at least 1; leave it out for batch_size");
        ensure!(
            !(self.drop_last && self.batch_tokens.is_some()),
            "{stage}: drop_last is for batches of batch_size rows; by batch_tokens each has as many rows as fit"
        );
        ensure!(self.steps != Some(0), "{stage}: steps must be at least 1; leave it out for epochs");
        ensure!(self.score_every != Some(0), "{stage}: score_every must be at least 1; leave it out for every epoch");
        ensure!(
            self.learning_rate > 0.0 && self.learning_rate.is_finite() && (0.0..1.0).contains(&self.warmup),
            "{stage}: learning_rate must be above 0 and warmup from 0 to below 1"
        );
        ensure!((0.0..=1.0).contains(&self.min_factor), "{stage}: min_factor must be from 0 to 1");
        ensure!(self.layer_decay > 0.0 && self.layer_decay <= 1.0, "{stage}: layer_decay must be above 0, at most 1");
        ensure!((0.0..1.0).contains(&self.unfreeze), "{stage}: unfreeze must be from 0 to below 1");
        ensure!((0.0..1.0).contains(&self.ema_decay), "{stage}: ema_decay must be from 0 to below 1");
        self.optimizer.check(stage)
    }

    /// Steps that warm up, of `total`.
    pub fn warmup_steps(&self, total: u64) -> u64 {
        (total as f64 * self.warmup).round() as u64
    }

    /// The step, of `total`, at which the last parameters begin to learn.
    pub(super) fn unfrozen_at(&self, total: u64) -> u64 {
        (total as f64 * self.unfreeze).round() as u64
    }

    /// How many times as long as the learning rate says the longest of `total` steps may be. Without bias correction AdamW
    /// divides by the root of a second moment that is still far too small, (1 - beta1^t) / sqrt(1 - beta2^t) at step t, which only
    /// a warm-up of more than 1 / (1 - beta2) steps hides. 1 with correction, and of LAMB, whose steps have a length of their own.
    pub fn longest_step(&self, total: u64) -> f64 {
        let OptimizerOptions { kind, beta1, beta2, bias_correction, .. } = self.optimizer;
        if bias_correction || kind == OptimizerKind::Lamb {
            return 1.0;
        }
        let warmup = self.warmup_steps(total);
        let looks_back = (10.0 / (1.0 - beta2)).min(1e6) as u64;
        let times = (1..=total.min(looks_back)).map(|step| {
            let moments = (1.0 - beta1.powf(step as f64)) / (1.0 - beta2.powf(step as f64)).sqrt();
            self.schedule.factor(step - 1, warmup, total, self.min_factor) * moments
        });
        times.fold(1.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_train_is_refused_by_name() {
        TrainOptions::default().check("s").unwrap();
        for (line, expected) in [
            ("epochs = 0", "epochs"),
            ("steps = 0", "steps"),
            ("batch_size = 0", "batch_size"),
            ("accumulate = 0", "accumulate"),
            ("batch_tokens = 0", "batch_tokens"),
            ("score_every = 0", "score_every"),
            ("drop_last = true\nbatch_tokens = 9", "drop_last"),
            ("learning_rate = nan", "learning_rate"),
            ("warmup = 1.0", "warmup"),
            ("min_factor = -0.1", "min_factor"),
            ("layer_decay = 0.0", "layer_decay"),
            ("layer_decay = 1.1", "layer_decay"),
            ("unfreeze = 1.0", "unfreeze"),
            ("unfreeze = nan", "unfreeze"),
            ("ema_decay = 1.0", "ema_decay"),
            ("optimizer.beta1 = 1.0", "optimizer.beta1"),
            ("optimizer.beta2 = -0.1", "optimizer.beta2"),
            ("optimizer.epsilon = 0.0", "optimizer.epsilon"),
            ("optimizer.weight_decay = -1.0", "optimizer.weight_decay"),
            ("optimizer.clip_norm = nan", "optimizer.clip_norm"),
        ] {
            let error = toml::from_str::<TrainOptions>(line).unwrap().check("student").unwrap_err().to_string();
            assert!(error.starts_with("student: ") && error.contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn short_warm_ups_without_correction_make_long_steps() {
        let bert = OptimizerOptions { bias_correction: false, ..Default::default() };
        let short = TrainOptions { warmup: 0.05, optimizer: bert, ..Default::default() };
        // At step 61 of 1200, when the warm-up is over: 0.998 / sqrt(1 - 0.999^61).
        assert!((short.longest_step(1200) - 4.11).abs() < 0.01, "{}", short.longest_step(1200));
        // As BERT was trained.
        assert!((TrainOptions { warmup: 0.01, ..short.clone() }.longest_step(1_000_000) - 1.0).abs() < 0.01);
        let corrected = OptimizerOptions { bias_correction: true, ..bert };
        let lamb = OptimizerOptions { kind: OptimizerKind::Lamb, ..bert };
        for optimizer in [corrected, lamb] {
            assert_eq!(TrainOptions { optimizer, ..short.clone() }.longest_step(1200), 1.0);
        }
    }

    #[test]
    fn what_a_recipe_says_is_read_and_written() {
        let text = "batch_tokens = 4096\nschedule = \"cosine\"\nkeep = \"ema\"\nprecision = \"bf16\"\n\
                    score_every = 50\n[optimizer]\nkind = \"lamb\"\nbias_correction = false\n";
        let options: TrainOptions = toml::from_str(text).unwrap();
        assert_eq!((options.batch_tokens, options.keep), (Some(4096), Keep::Ema));
        let written = toml::to_string(&options).unwrap();
        assert_eq!(toml::from_str::<TrainOptions>(&written).unwrap(), options);
        assert!(text.lines().all(|line| written.contains(line)), "{written}");
        assert!(toml::from_str::<TrainOptions>("keep = \"first\"").is_err());
    }
}
