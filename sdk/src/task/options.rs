//! What the calls of all tasks have in common: their limits, and what they report.

use std::time::Duration;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

/// What to do with a text of more tokens than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Overflow {
    /// Return [`Error::TooLong`](crate::Error::TooLong).
    Error,
    /// Use the first tokens and report how many were dropped. Of two texts the longer one is cut until both fit.
    #[default]
    Truncate,
    /// Read the whole text in overlapping windows; each task says how it puts their answers together. Of two
    /// texts the shorter one stands in every window.
    Window {
        /// How many tokens two neighbouring windows share.
        stride: usize,
    },
    /// As [`Overflow::Window`], with a stride of 128 tokens or, where that is less, of half a window.
    AutoWindow,
}

/// What was read of a text, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
    #[serde(flatten)]
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
    /// Logits to the answer.
    pub post: Duration,
}

impl Serialize for Timings {
    /// As milliseconds: `tokenize_ms`, `inference_ms`, `post_ms`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Timings", 3)?;
        for (name, time) in [("tokenize_ms", self.tokenize), ("inference_ms", self.inference), ("post_ms", self.post)] {
            fields.serialize_field(name, &(time.as_secs_f64() * 1e3))?;
        }
        fields.end()
    }
}

/// The part of an options type that is the same for every task. The type has the fields `overflow`, `cancel` and
/// `deadline`.
macro_rules! call_options {
    ($options:ty) => {
        $crate::task::options::call_limits!($options);
        impl $options {
            /// Sets what to do with a text that is too long.
            pub fn overflow(mut self, overflow: $crate::Overflow) -> Self {
                self.overflow = overflow;
                self
            }
        }
    };
}
pub(crate) use call_options;

/// The part of [`call_options`] that has nothing to do with the length of a text.
macro_rules! call_limits {
    ($options:ty) => {
        impl $options {
            /// The defaults; every field says what its is.
            pub fn new() -> Self {
                Self::default()
            }
            /// Lets `cancel` end the call.
            pub fn cancel(mut self, cancel: $crate::Cancel) -> Self {
                self.cancel = Some(cancel);
                self
            }
            /// Ends the call at `deadline`.
            pub fn deadline(mut self, deadline: std::time::Instant) -> Self {
                self.deadline = Some(deadline);
                self
            }
            /// Ends the call `timeout` after now, where now is the moment these
            /// options are built.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.deadline = std::time::Instant::now().checked_add(timeout);
                self
            }
            pub(crate) fn limits(&self) -> $crate::runtime::limits::Limits {
                $crate::runtime::limits::Limits { cancel: self.cancel.clone(), deadline: self.deadline }
            }
        }
    };
}
pub(crate) use call_limits;
