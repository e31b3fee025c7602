//! Accuracy, latency and memory, all through the sdk: what is measured is what ships.

mod accuracy;
mod latency;
mod machine;
mod memory;

pub use accuracy::{Evaluation, evaluate, wilson_interval};
pub use latency::{BenchCase, BenchOptions, BenchResult, bench, text_of_tokens};
pub use machine::{Machine, Versions, machine, today, versions};
pub use memory::{peak_memory_mb, resident_memory_mb};
