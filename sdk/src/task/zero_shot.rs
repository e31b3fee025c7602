//! Classification into labels that the model was never trained on, by a model that was trained to tell what
//! follows from a text (Yin et al. 2019).

use std::time::Instant;

use serde::Serialize;

use super::classify::mean;
use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_pair, require};
use super::rows::{self, Outcome};
use crate::bundle::{EntailmentSpec, Task};
use crate::post::softmax::{descending, softmax};
use crate::text::window::Keep;
use crate::{Cancel, Error, Model, Overflow, Result};

/// Where the label stands in a template.
const PLACE: &str = "{}";

/// Options of a zero-shot call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ZeroShotOptions {
    /// A sentence that says that a label holds, with `{}` in place of the label. Default: `This example is {}.`
    pub template: String,
    /// Whether several labels can hold, each with its own probability. Default: exactly one holds.
    pub multi_label: bool,
    /// What to do with a text that is too long beside a label's sentence, which is never cut. Default: truncate,
    /// and report it. Windows are put together by the mean of their logits, each weighted by its tokens.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for ZeroShotOptions {
    fn default() -> Self {
        ZeroShotOptions {
            template: "This example is {}.".to_owned(),
            multi_label: false,
            overflow: Overflow::default(),
            cancel: None,
            deadline: None,
        }
    }
}

call_options!(ZeroShotOptions);

impl ZeroShotOptions {
    /// Sets the sentence that says that a label holds, with `{}` in place of the label.
    pub fn template(mut self, template: impl Into<String>) -> Self {
        self.template = template.into();
        self
    }
    /// Lets several labels hold.
    pub fn multi_label(mut self, multi_label: bool) -> Self {
        self.multi_label = multi_label;
        self
    }
}

/// The labels of one text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ZeroShot {
    /// The labels that were asked about, the likeliest first.
    pub labels: Vec<ZeroShotLabel>,
    /// What was read, over all labels; times are sums.
    #[serde(flatten)]
    pub usage: Usage,
}

/// A label that was asked about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ZeroShotLabel {
    /// The label as given.
    pub label: String,
    /// Its place in the list given.
    pub index: usize,
    /// Its probability.
    pub probability: f32,
}

impl Model {
    /// Says which of some labels fits a text, with the default options.
    ///
    /// # Errors
    /// Those of [`zero_shot_with`](Model::zero_shot_with).
    pub fn zero_shot(&self, text: &str, labels: &[&str]) -> Result<ZeroShot> {
        self.zero_shot_with(text, labels, &ZeroShotOptions::default())
    }

    /// Says which of some labels fit a text. All labels are asked about in one batch.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model was not trained to tell what follows from a text (its manifest names no
    /// `entailment`); [`Error::InvalidArgument`] without labels, or for a template without `{}`; else those of
    /// [`classify_with`](Model::classify_with).
    pub fn zero_shot_with(&self, text: &str, labels: &[&str], options: &ZeroShotOptions) -> Result<ZeroShot> {
        super::only(self.zero_shot_batch(&[text], labels, options)?)
    }

    /// Says which of some labels fit each of many texts; answers come in the order of the texts.
    ///
    /// # Errors
    /// Those of [`zero_shot_with`](Model::zero_shot_with); the first error ends the whole call.
    pub fn zero_shot_batch(&self, texts: &[&str], labels: &[&str], options: &ZeroShotOptions) -> Result<Vec<ZeroShot>> {
        require(self, &[Task::PairClassification], "zero-shot classification")?;
        let Some(EntailmentSpec { entailment, contradiction }) = self.bundle().manifest().entailment else {
            return Err(Error::WrongTask {
                model: self.bundle().manifest().id.clone(),
                have: "pairs without a label for entailment".to_owned(),
                want: "zero-shot classification",
            });
        };
        if labels.is_empty() {
            return Err(Error::InvalidArgument("there are no labels to choose from".to_owned()));
        }
        if !options.template.contains(PLACE) {
            return Err(Error::InvalidArgument(format!(
                "the template `{}` has no {PLACE} where the label goes",
                options.template
            )));
        }
        let limits = options.limits();
        limits.check()?;
        let sentences: Vec<String> = labels.iter().map(|label| options.template.replace(PLACE, label)).collect();
        let mut rows = Vec::new();
        let mut readings = Vec::with_capacity(texts.len() * labels.len());
        for text in texts {
            for sentence in &sentences {
                let details = [Detail::Ids; 2];
                let texts = [*text, sentence.as_str()];
                readings.push(read_pair(self, texts, details, Keep::Second, options.overflow, &limits, &mut rows)?);
            }
        }
        let outcomes = rows::run(self, &rows, &limits, |_, output| Ok(output.values(0).to_vec()))?;
        let judge = |readings: &[Reading]| judge(readings, &outcomes, labels, [contradiction, entailment], options);
        Ok(readings.chunks(labels.len()).map(judge).collect())
    }
}

/// The answer for one text, of whose readings there is one a label. `pair` are the model's labels for contradiction
/// and entailment.
fn judge(
    readings: &[Reading],
    outcomes: &[Outcome<Vec<f32>>],
    labels: &[&str],
    pair: [usize; 2],
    options: &ZeroShotOptions,
) -> ZeroShot {
    let start = Instant::now();
    let mut usage = Usage::default();
    let rows = match (readings.first(), readings.last()) {
        (Some(first), Some(last)) => first.rows.start..last.rows.end,
        _ => 0..0,
    };
    usage.timings.inference = rows::time_of(outcomes.get(rows).unwrap_or_default());
    let logits: Vec<[f32; 2]> = readings
        .iter()
        .map(|reading| {
            let (logits, own) = mean(reading, outcomes);
            usage.tokens_used += own.tokens_used;
            usage.tokens_dropped += own.tokens_dropped;
            usage.windows += own.windows;
            usage.timings.tokenize += own.timings.tokenize;
            pair.map(|label| logits.get(label).copied().unwrap_or(f32::NEG_INFINITY))
        })
        .collect();
    // A single label competes with nothing but its own contradiction.
    let probabilities: Vec<f32> = if options.multi_label || labels.len() == 1 {
        logits.iter().map(|both| softmax(both).get(1).copied().unwrap_or(0.0)).collect()
    } else {
        softmax(&logits.iter().map(|both| both[1]).collect::<Vec<_>>())
    };
    let label = |index: usize| {
        Some(ZeroShotLabel { label: (*labels.get(index)?).to_owned(), index, probability: *probabilities.get(index)? })
    };
    let labels = descending(&probabilities).into_iter().filter_map(label).collect();
    usage.timings.post = start.elapsed();
    ZeroShot { labels, usage }
}
