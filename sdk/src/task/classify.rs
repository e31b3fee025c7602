//! Text classification.

use std::time::{Duration, Instant};

use crate::Cancel;

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
    /// Labels, most probable first.
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
    /// Its probability, by the manifest's activation.
    pub probability: f32,
    /// The model's raw score.
    pub logit: f32,
}

/// What was read of a text, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens of the text that the model read, special tokens included.
    pub tokens_used: usize,
    /// Tokens of the text that it did not read.
    pub tokens_dropped: usize,
    /// How many windows the text was read in; 1 unless it was too long.
    pub windows: usize,
    /// Time by stage.
    pub timings: Timings,
}

/// Time by stage, as wall-clock time. Texts run in one batch share the
/// inference time of that batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// Text to token ids.
    pub tokenize: Duration,
    /// Waiting for a session and running the model.
    pub inference: Duration,
    /// Logits to sorted probabilities.
    pub post: Duration,
}
