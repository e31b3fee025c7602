//! Classification of one text or of two.

use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_one, read_pair, require};
use super::rows::{self, Outcome, Row};
use crate::bundle::{Activation, Task};
use crate::post::{aggregate, softmax};
use crate::runtime::limits::Limits;
use crate::text::window::Keep;
use crate::{Cancel, Error, Model, Overflow, Result};

/// Options of a classification call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClassifyOptions {
    /// What to do with a text that is too long. Default: truncate, and report it. Windows are put together by
    /// the mean of their logits, each weighted by the number of its tokens.
    pub overflow: Overflow,
    /// Return only this many labels, the best ones; all when `None`.
    pub top_k: Option<usize>,
    /// The lowest probability at which a label holds, for all labels, in place of the bundle's own; only for
    /// models whose labels are independent of each other.
    pub threshold: Option<f32>,
    /// The probability of the best label below which the text is out of scope, in place of the bundle's own.
    pub out_of_scope: Option<f32>,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

call_options!(ClassifyOptions);

impl ClassifyOptions {
    /// Returns only the best `k` labels.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = Some(k);
        self
    }
    /// Lets labels hold from this probability on.
    pub fn threshold(mut self, threshold: f32) -> Self {
        self.threshold = Some(threshold);
        self
    }
    /// Calls a text out of scope below this probability of its best label.
    pub fn out_of_scope(mut self, threshold: f32) -> Self {
        self.out_of_scope = Some(threshold);
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [("threshold", self.threshold), ("out_of_scope", self.out_of_scope)] {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                return Err(Error::InvalidArgument(format!("{name} is {value} and must be from 0 to 1")));
            }
        }
        Ok(())
    }
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Classification {
    /// Labels, the one with the highest score first.
    pub labels: Vec<Scored>,
    /// Whether the best label is sure enough for the text to be the model's business at all. Always true if
    /// neither the bundle nor the call sets a threshold.
    pub in_scope: bool,
    /// What was read and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// A label with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Scored {
    /// The label's name.
    pub label: String,
    /// Its place in the model's list of labels.
    pub index: usize,
    /// Its probability, by the activation in the manifest and the bundle's
    /// calibration; the logit itself if the model has none (regression).
    pub probability: f32,
    /// The model's raw score.
    pub logit: f32,
    /// Whether the label holds: the best one, where just one can; those at or above their threshold, where
    /// several can; none if the text is out of scope.
    pub holds: bool,
}

impl Model {
    /// Classifies one text with the default options: a text longer than the
    /// model takes is truncated, which the answer's
    /// [`Usage`](crate::Usage) reports.
    ///
    /// # Errors
    /// Those of [`classify_with`](Model::classify_with) that need no options.
    pub fn classify(&self, text: &str) -> Result<Classification> {
        self.classify_with(text, &ClassifyOptions::default())
    }

    /// Classifies one text.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model is no classifier; [`Error::TooLong`]
    /// if the text is and the options say so; [`Error::InvalidArgument`] for
    /// options that make no sense; [`Error::Cancelled`] and
    /// [`Error::DeadlineExceeded`]; [`Error::Tokenizer`] and
    /// [`Error::Inference`] if those engines fail.
    pub fn classify_with(&self, text: &str, options: &ClassifyOptions) -> Result<Classification> {
        super::only(self.classify_batch(&[text], options)?)
    }

    /// Classifies many texts; answers come in the order of the texts.
    ///
    /// Where the model allows it, texts of like length run together. An answer
    /// does not depend on the other texts, beyond rounding in the last digits
    /// (1e-5 in a logit).
    ///
    /// # Errors
    /// Those of [`classify_with`](Model::classify_with); the first error ends
    /// the whole call.
    pub fn classify_batch(&self, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Classification>> {
        require(self, &[Task::TextClassification], "text-classification")?;
        options.check()?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = texts
            .iter()
            .map(|text| read_one(self, text, Detail::Ids, options.overflow, &limits, &mut rows))
            .collect::<Result<Vec<_>>>()?;
        classify(self, readings, &rows, &limits, options)
    }

    /// Classifies a pair of texts with the default options: whether the second follows from the first, how alike
    /// they are, whatever the model was trained for.
    ///
    /// # Errors
    /// Those of [`classify_pair_with`](Model::classify_pair_with) that need no options.
    pub fn classify_pair(&self, first: &str, second: &str) -> Result<Classification> {
        self.classify_pair_with(first, second, &ClassifyOptions::default())
    }

    /// Classifies a pair of texts. If it is too long, the longer text is truncated, or read in windows of which
    /// each holds the whole of the shorter one.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model does not take pairs; else those of
    /// [`classify_with`](Model::classify_with).
    pub fn classify_pair_with(&self, first: &str, second: &str, options: &ClassifyOptions) -> Result<Classification> {
        super::only(self.classify_pairs(&[(first, second)], options)?)
    }

    /// Classifies many pairs of texts; answers come in the order of the pairs.
    ///
    /// # Errors
    /// Those of [`classify_pair_with`](Model::classify_pair_with); the first error ends the whole call.
    pub fn classify_pairs(&self, pairs: &[(&str, &str)], options: &ClassifyOptions) -> Result<Vec<Classification>> {
        require(self, &[Task::PairClassification], "pair-classification")?;
        options.check()?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = pairs
            .iter()
            .map(|&(first, second)| {
                let details = [Detail::Ids; 2];
                read_pair(self, [first, second], details, Keep::Shorter, options.overflow, &limits, &mut rows)
            })
            .collect::<Result<Vec<_>>>()?;
        classify(self, readings, &rows, &limits, options)
    }
}

fn classify(
    model: &Model,
    readings: Vec<Reading>,
    rows: &[Row],
    limits: &Limits,
    options: &ClassifyOptions,
) -> Result<Vec<Classification>> {
    let outcomes = rows::run(model, rows, limits, |_, output| Ok(output.values(0).to_vec()))?;
    Ok(readings
        .into_iter()
        .map(|reading| {
            let (logits, mut usage) = mean(&reading, &outcomes);
            let start = Instant::now();
            let (labels, in_scope) = score(model, &logits, options);
            usage.timings.post = start.elapsed();
            Classification { labels, in_scope, usage }
        })
        .collect())
}

/// The values of a text's windows put together, each weighted by the number of its tokens.
pub(super) fn mean(reading: &Reading, outcomes: &[Outcome<Vec<f32>>]) -> (Vec<f32>, Usage) {
    let mut usage = reading.usage;
    let outcomes = outcomes.get(reading.rows.clone()).unwrap_or_default();
    usage.timings.inference = rows::time_of(outcomes);
    let windows: Vec<&[f32]> = outcomes.iter().map(|outcome| outcome.value.as_slice()).collect();
    (aggregate::weighted_mean(&windows, &reading.weights()), usage)
}

/// The labels by their scores, and whether the text is in scope.
fn score(model: &Model, logits: &[f32], options: &ClassifyOptions) -> (Vec<Scored>, bool) {
    let (manifest, calibration) = (model.bundle().manifest(), model.bundle().calibration());
    let probabilities = softmax::calibrated(manifest.activation, logits, calibration.temperature);
    let best = probabilities.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let in_scope = match options.out_of_scope.or(calibration.out_of_scope) {
        Some(threshold) if manifest.activation != Activation::None => best >= threshold,
        _ => true,
    };
    // By logit, which orders labels as the probability does and still tells
    // them apart where probabilities have become equal.
    let labels = softmax::descending(logits)
        .into_iter()
        .enumerate()
        .take(options.top_k.unwrap_or(usize::MAX))
        .filter_map(|(place, index)| {
            let probability = *probabilities.get(index)?;
            let holds = match manifest.activation {
                Activation::Softmax => place == 0,
                Activation::Sigmoid => probability >= options.threshold.unwrap_or_else(|| calibration.threshold(index)),
                Activation::None => true,
            };
            Some(Scored {
                label: model.bundle().labels().get(index)?.clone(),
                index,
                probability,
                logit: *logits.get(index)?,
                holds: holds && in_scope,
            })
        })
        .collect();
    (labels, in_scope)
}
