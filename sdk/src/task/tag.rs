//! Token classification: entities with their places in the text.

use std::ops::Range;
use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_one, require};
use super::rows::{self, Outcome};
use crate::bundle::{TagScheme, Task};
use crate::post::entities;
use crate::post::softmax::softmax;
use crate::text::{TextSpan, locate, whole_clusters};
use crate::{Aggregation, Cancel, Model, Overflow, Result};

/// Options of a tagging call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TagOptions {
    /// How tokens become entities. Default: [`Aggregation::First`].
    pub aggregation: Aggregation,
    /// Leave out entities with a lower score. Default 0: none.
    pub threshold: f32,
    /// What to do with a text that is too long. Default: windows. Every word is read from the window that holds
    /// all of it and shows most of the text around it.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for TagOptions {
    fn default() -> Self {
        TagOptions {
            aggregation: Aggregation::default(),
            threshold: 0.0,
            overflow: Overflow::AutoWindow,
            cancel: None,
            deadline: None,
        }
    }
}

call_options!(TagOptions);

impl TagOptions {
    /// Sets how tokens become entities.
    pub fn aggregation(mut self, aggregation: Aggregation) -> Self {
        self.aggregation = aggregation;
        self
    }
    /// Leaves out entities with a lower score.
    pub fn threshold(mut self, threshold: f32) -> Self {
        self.threshold = threshold;
        self
    }
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tagging {
    /// The entities, in the order of the text.
    pub entities: Vec<Entity>,
    /// What was read and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// A piece of the text with a label.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entity {
    /// What it is: `PER`; with [`Aggregation::None`] the label as the model has it: `B-PER`.
    pub label: String,
    /// Mean probability of the labels of its words.
    pub score: f32,
    /// Where it stands. It never cuts through what a reader sees as one character.
    pub span: TextSpan,
    /// The piece itself.
    pub text: String,
}

impl Model {
    /// Finds the entities of one text with the default options.
    ///
    /// # Errors
    /// Those of [`tag_with`](Model::tag_with).
    pub fn tag(&self, text: &str) -> Result<Tagging> {
        self.tag_with(text, &TagOptions::default())
    }

    /// Finds the entities of one text.
    ///
    /// # Errors
    /// [`Error::WrongTask`](crate::Error::WrongTask) if the model is no token classifier; else those of
    /// [`classify_with`](Model::classify_with).
    pub fn tag_with(&self, text: &str, options: &TagOptions) -> Result<Tagging> {
        super::only(self.tag_batch(&[text], options)?)
    }

    /// Finds the entities of many texts; answers come in the order of the texts.
    ///
    /// # Errors
    /// Those of [`tag_with`](Model::tag_with); the first error ends the whole call.
    pub fn tag_batch(&self, texts: &[&str], options: &TagOptions) -> Result<Vec<Tagging>> {
        require(self, &[Task::TokenClassification], "token-classification")?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = texts
            .iter()
            .map(|text| read_one(self, text, Detail::Words, options.overflow, &limits, &mut rows))
            .collect::<Result<Vec<_>>>()?;
        let outcomes = rows::run(self, &rows, &limits, |_, output| Ok(output.values(0).to_vec()))?;
        readings.iter().zip(texts).map(|(reading, text)| self.entities(text, reading, &outcomes, options)).collect()
    }

    fn entities(
        &self,
        text: &str,
        reading: &Reading,
        outcomes: &[Outcome<Vec<f32>>],
        options: &TagOptions,
    ) -> Result<Tagging> {
        let (scheme, labels) = (self.bundle().manifest().tagging.unwrap_or(TagScheme::Bio), self.bundle().labels());
        let mut usage = reading.usage;
        let outcomes = outcomes.get(reading.rows.clone()).unwrap_or_default();
        usage.timings.inference = rows::time_of(outcomes);
        let start = Instant::now();

        let tokens = &reading.texts[0];
        let by_token = reading.by_token(self, outcomes, labels.len())?;
        let mut probabilities = Vec::with_capacity(by_token.len() * labels.len());
        by_token.iter().for_each(|logits| probabilities.extend(softmax(logits)));
        let words = tokens.words.get(..by_token.len()).unwrap_or_default();
        let found = entities::decode(&probabilities, words, labels, scheme, options.aggregation);
        let alone = options.aggregation == Aggregation::None;
        let (mut ranges, mut end): (Vec<Range<usize>>, usize) = (Vec::new(), 0);
        let mut found: Vec<_> = found.into_iter().filter(|found| found.score >= options.threshold).collect();
        found.retain(|found| {
            let bytes = tokens.bytes_of(found.tokens.clone());
            // What a reader sees as one character belongs to the entity that has its first part.
            let bytes = if alone { bytes } else { whole_clusters(text, bytes) };
            let bytes = if alone { bytes } else { bytes.start.max(end)..bytes.end };
            let some = alone || bytes.start < bytes.end;
            if some {
                end = bytes.end;
                ranges.push(bytes);
            }
            some
        });
        let entities = found
            .iter()
            .zip(locate(text, &ranges))
            .map(|(found, span)| Entity {
                label: found.label.to_owned(),
                score: found.score,
                text: span.of(text).to_owned(),
                span,
            })
            .collect();
        usage.timings.post = start.elapsed();
        Ok(Tagging { entities, usage })
    }
}
