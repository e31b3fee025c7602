//! Accuracy, latency and memory, all through the sdk: what is measured is what ships.

mod accuracy;
mod bootstrap;
mod calibration;
mod gpu;
mod latency;
mod machine;
mod memory;
pub mod metrics;
mod perplexity;
mod quality;
mod shots;
mod writing;

pub use accuracy::{Evaluation, classify, evaluate, wilson_interval};
pub use bootstrap::{Interval, Outcomes, difference, interval, ratio};
pub use calibration::{Calibrated, Observation, calibrate, calibration_error};
pub use gpu::Gpu;
pub use latency::{BenchCase, BenchOptions, BenchResult, bench, text_of_tokens};
pub(crate) use latency::{call, milliseconds, one_session, quantile};
pub use machine::{Machine, Versions, machine, today, versions};
pub use memory::{peak_memory_mb, resident_memory_mb};
pub use perplexity::{TextQuality, text_quality};
pub use quality::{Classes, LabelQuality, TaskQuality, share_out_of_scope, task_quality};
pub use shots::{ShotOptions, ShotQuality, ShotScore, shot_quality};
pub use writing::{ContextCase, PromptCase};
