//! Ordering texts by how well they fit a query.

use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, read_pair, require};
use super::rows;
use crate::bundle::{Activation, Task};
use crate::post::softmax::{calibrated, descending};
use crate::text::window::Keep;
use crate::{Cancel, Error, Model, Overflow, Result};

/// Options of a reranking call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RerankOptions {
    /// The label whose score counts. Not needed if the model has one label, or if its manifest names the label
    /// for entailment.
    pub label: Option<String>,
    /// Return only this many texts, the best ones; all when `None`.
    pub top_k: Option<usize>,
    /// What to do with a text that is too long beside the query, which is never cut. Default: windows, of which
    /// the best one counts (MaxP of Dai and Callan 2019).
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for RerankOptions {
    fn default() -> Self {
        RerankOptions { label: None, top_k: None, overflow: Overflow::AutoWindow, cancel: None, deadline: None }
    }
}

call_options!(RerankOptions);

impl RerankOptions {
    /// Sets the label whose score counts.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }
    /// Returns only the best `k` texts.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = Some(k);
        self
    }
}

/// A text with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Ranked {
    /// Its place in the list given.
    pub index: usize,
    /// Probability of the label; the model's own value if it was trained for regression.
    pub score: f32,
    /// What was read of query and text, and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

impl Model {
    /// Orders texts by how well they fit a query, the best first.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model does not take pairs; [`Error::InvalidArgument`] if it is not clear which
    /// label counts; else those of [`classify_with`](Model::classify_with).
    pub fn rerank(&self, query: &str, texts: &[&str], options: &RerankOptions) -> Result<Vec<Ranked>> {
        require(self, &[Task::PairClassification], "pair-classification")?;
        let label = self.rank_label(options)?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = texts
            .iter()
            .map(|text| {
                let details = [Detail::Ids; 2];
                read_pair(self, [query, text], details, Keep::First, options.overflow, &limits, &mut rows)
            })
            .collect::<Result<Vec<_>>>()?;
        let (activation, temperature) = (self.bundle().manifest().activation, self.bundle().calibration().temperature);
        let outcomes = rows::run(self, &rows, &limits, |_, output| {
            // A sigmoid of one label, or a softmax over all.
            let logits = output.values(0);
            let scores = match activation {
                Activation::Softmax => calibrated(activation, logits, temperature),
                _ => calibrated(activation, logits.get(label..=label).unwrap_or_default(), temperature),
            };
            let place = if activation == Activation::Softmax { label } else { 0 };
            scores.get(place).copied().ok_or_else(|| Error::Internal("no score for a text".to_owned()))
        })?;
        let mut usages: Vec<Usage> = readings.iter().map(|reading| reading.usage).collect();
        let scores: Vec<f32> = readings
            .iter()
            .zip(&mut usages)
            .map(|(reading, usage)| {
                let windows = outcomes.get(reading.rows.clone()).unwrap_or_default();
                usage.timings.inference = rows::time_of(windows);
                windows.iter().map(|outcome| outcome.value).fold(f32::NEG_INFINITY, f32::max)
            })
            .collect();
        let ranked = |index: usize| Some(Ranked { index, score: *scores.get(index)?, usage: *usages.get(index)? });
        Ok(descending(&scores).into_iter().take(options.top_k.unwrap_or(usize::MAX)).filter_map(ranked).collect())
    }

    fn rank_label(&self, options: &RerankOptions) -> Result<usize> {
        let labels = self.bundle().labels();
        match (&options.label, &self.bundle().manifest().entailment) {
            (Some(name), _) => labels.iter().position(|label| label == name).ok_or_else(|| {
                Error::InvalidArgument(format!("the model has no label `{name}`; it has {}", labels.join(", ")))
            }),
            (None, _) if labels.len() == 1 => Ok(0),
            (None, Some(spec)) => Ok(spec.entailment),
            (None, None) => Err(Error::InvalidArgument(format!(
                "the model has the labels {}: say which one counts",
                labels.join(", ")
            ))),
        }
    }
}
