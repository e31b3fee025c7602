//! limbeck's trainer and exporter: from a teacher and data to a measured bundle.
//!
//! The flow is one way: [`checkpoint`] and [`data`] feed [`train`] (with the losses of [`objective`]
//! and [`distill`]).

pub mod arch;
pub mod checkpoint;
pub mod data;
pub mod distill;
pub mod files;
pub mod objective;
pub mod progress;
pub mod train;

/// The version of HF `tokenizers` that this program is built with.
pub const TOKENIZERS_VERSION: &str = "0.22.2";
