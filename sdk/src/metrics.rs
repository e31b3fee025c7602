//! What a model has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Counts of a [`Model`](crate::Model) since it was opened. All only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Calls that reached the model: one for a text, one for a batch.
    pub calls: u64,
    /// Calls that failed while running; those cancelled or out of time among them.
    pub failures: u64,
    /// Runs of the graph.
    pub runs: u64,
    /// Windows that were run: one for a text, more for a long one.
    pub rows: u64,
    /// Tokens of those windows.
    pub tokens: u64,
    /// Tokens of padding beside them.
    pub padding: u64,
    /// Microseconds that runs took, waiting for a session included; runs side by side each count.
    pub run_micros: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    runs: AtomicU64,
    rows: AtomicU64,
    tokens: AtomicU64,
    padding: AtomicU64,
    run_micros: AtomicU64,
}

fn add(counter: &AtomicU64, value: usize) {
    counter.fetch_add(value as u64, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn call(&self, failed: bool) {
        add(&self.calls, 1);
        add(&self.failures, usize::from(failed));
    }

    /// A run of `rows` rows that were padded from `tokens` to `padded` tokens.
    pub(crate) fn run(&self, rows: usize, tokens: usize, padded: usize, time: Duration) {
        add(&self.runs, 1);
        add(&self.rows, rows);
        add(&self.tokens, tokens);
        add(&self.padding, padded - tokens);
        add(&self.run_micros, time.as_micros() as usize);
    }

    pub(crate) fn snapshot(&self) -> Metrics {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            calls: get(&self.calls),
            failures: get(&self.failures),
            runs: get(&self.runs),
            rows: get(&self.rows),
            tokens: get(&self.tokens),
            padding: get(&self.padding),
            run_micros: get(&self.run_micros),
        }
    }
}
