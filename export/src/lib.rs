//! limbeck's trainer and exporter: from a teacher and data to a measured bundle.
//!
//! The flow is one way: [`checkpoint`] and [`data`] feed [`train`] (with the losses of [`objective`]
//! and [`distill`]).

pub mod arch;
pub mod check;
pub mod checkpoint;
pub mod corpus;
pub mod data;
pub mod device;
pub mod distill;
pub mod files;
pub mod finetune;
pub mod graph;
pub mod measure;
pub mod memory;
pub mod objective;
#[cfg(test)]
mod on_cuda;
pub mod pack;
pub mod pipeline;
pub mod pretrain;
pub mod progress;
pub mod quantize;
pub mod recipe;
pub mod report;
mod shim;
pub mod shrink;
pub mod train;
pub mod trim;
pub mod tune;
pub mod vocabulary;

/// The version of HF `tokenizers` that this program is built with.
pub const TOKENIZERS_VERSION: &str = "0.22.2";

/// libtorch's default generator belongs to the whole process: tests that draw from it take turns.
#[cfg(test)]
pub(crate) fn seeded(seed: i64) -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    tch::manual_seed(seed);
    turn
}
