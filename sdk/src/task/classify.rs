//! Text classification.

use std::time::{Duration, Instant};

use super::rows::{self, Row};
use crate::bundle::Task;
use crate::post::{aggregate, softmax};
use crate::runtime::limits::Limits;
use crate::text::window;
use crate::{Cancel, Error, Model, Result};

/// What to do with a text of more tokens than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Return [`Error::TooLong`](crate::Error::TooLong).
    Error,
    /// Use the first tokens and report how many were dropped.
    #[default]
    Truncate,
    /// Read the whole text in overlapping windows and average their logits,
    /// each weighted by the number of its tokens.
    Window {
        /// How many tokens two neighbouring windows share.
        stride: usize,
    },
}

/// Options of a classification call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClassifyOptions {
    /// What to do with a text that is too long.
    pub overflow: Overflow,
    /// Return only this many labels, the best ones; all when `None`.
    pub top_k: Option<usize>,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl ClassifyOptions {
    /// The defaults: truncate, all labels, no cancel token, no deadline.
    pub fn new() -> ClassifyOptions {
        ClassifyOptions::default()
    }
    /// Sets what to do with a text that is too long.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
    /// Returns only the best `k` labels.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = Some(k);
        self
    }
    /// Lets `cancel` end the call.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }
    /// Ends the call at `deadline`.
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
    /// Ends the call `timeout` after now, where now is the moment these
    /// options are built.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Instant::now().checked_add(timeout);
        self
    }
}

/// The answer for one text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Classification {
    /// Labels, the one with the highest score first.
    pub labels: Vec<Scored>,
    /// What was read and how long it took.
    pub usage: Usage,
}

/// A label with its score.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Scored {
    /// The label's name.
    pub label: String,
    /// Its place in the model's list of labels.
    pub index: usize,
    /// Its probability, by the activation in the manifest; the logit itself if
    /// the model has none.
    pub probability: f32,
    /// The model's raw score.
    pub logit: f32,
}

/// What was read of a text, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the text that the model read, special tokens included. Those
    /// that two windows share count once.
    pub tokens_used: usize,
    /// Tokens of the text that it did not read.
    pub tokens_dropped: usize,
    /// How many windows the text was read in; 1 unless it was too long.
    pub windows: usize,
    /// Time by stage.
    pub timings: Timings,
}

/// Wall-clock time by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Text to token ids.
    pub tokenize: Duration,
    /// Waiting for a session and running the model. Texts that ran together
    /// each have the time of the whole run.
    pub inference: Duration,
    /// Logits to sorted probabilities.
    pub post: Duration,
}

/// Classifies texts; answers come in the order of the texts.
pub(crate) fn run(model: &Model, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Classification>> {
    let manifest = model.bundle().manifest();
    if !matches!(manifest.task, Task::TextClassification) {
        return Err(Error::WrongTask {
            model: manifest.id.clone(),
            have: manifest.task.name().to_owned(),
            want: "text-classification",
        });
    }
    let limits = Limits { cancel: options.cancel.clone(), deadline: options.deadline };
    limits.check()?;

    let mut rows = Vec::new();
    let mut usages = Vec::with_capacity(texts.len());
    for (text, content) in texts.iter().enumerate() {
        limits.check()?;
        usages.push(tokenize(model, text, content, options.overflow, &limits, &mut rows)?);
    }
    let outcomes = rows::run(model, &rows, &limits)?;

    // Rows of one text follow each other, and texts are in order.
    let mut done = rows.iter().zip(outcomes).peekable();
    let mut answers = Vec::with_capacity(texts.len());
    for (text, mut usage) in usages.into_iter().enumerate() {
        let (mut logits, mut weights) = (Vec::new(), Vec::new());
        while let Some((row, outcome)) = done.next_if(|(row, _)| row.text == text) {
            usage.timings.inference += outcome.time;
            weights.push(row.content);
            logits.push(outcome.logits);
        }
        let start = Instant::now();
        let windows: Vec<&[f32]> = logits.iter().map(Vec::as_slice).collect();
        let logits = aggregate::weighted_mean(&windows, &weights);
        let labels = score(model, &logits, options.top_k);
        usage.timings.post = start.elapsed();
        answers.push(Classification { labels, usage });
    }
    Ok(answers)
}

/// Adds the rows of one text.
fn tokenize(
    model: &Model,
    text: usize,
    content: &str,
    overflow: Overflow,
    limits: &Limits,
    rows: &mut Vec<Row>,
) -> Result<Usage> {
    let start = Instant::now();
    let frame = model.tokenizer().frame();
    let ids = model.tokenizer().ids(content, limits)?;
    // `Model` has checked that there is room for at least one token.
    let room = model.bundle().manifest().max_tokens.saturating_sub(frame.len());
    let plan = window::plan(ids.len(), room, frame.len(), overflow)?;
    if ids.is_empty() && frame.len() == 0 {
        return Err(Error::InvalidArgument(
            "the text has no tokens, and this model's tokenizer adds none: there is nothing to classify".to_owned(),
        ));
    }
    let windows = plan.windows.len();
    for window in plan.windows {
        let tokens = ids.get(window).unwrap_or_default();
        rows.push(Row {
            text,
            content: tokens.len(),
            ids: frame.ids(tokens).map(|id| id as i32).collect(),
            types: frame.types(tokens.len()).map(|id| id as i32).collect(),
        });
    }
    Ok(Usage {
        tokens_used: ids.len() - plan.dropped + frame.len(),
        tokens_dropped: plan.dropped,
        windows,
        timings: Timings { tokenize: start.elapsed(), ..Timings::default() },
    })
}

fn score(model: &Model, logits: &[f32], top_k: Option<usize>) -> Vec<Scored> {
    let probabilities = softmax::activate(model.bundle().manifest().activation, logits);
    // By logit, which orders labels as the probability does and still tells
    // them apart where probabilities have become equal.
    softmax::descending(logits)
        .into_iter()
        .take(top_k.unwrap_or(usize::MAX))
        .filter_map(|index| {
            Some(Scored {
                label: model.bundle().labels().get(index)?.clone(),
                index,
                probability: *probabilities.get(index)?,
                logit: *logits.get(index)?,
            })
        })
        .collect()
}
