//! The training loop: optimizer, schedule, checkpoints that resume to the bit, choice on dev.

mod checkpoint;
mod optimizer;
mod schedule;
mod shim;
mod trainer;

pub use optimizer::{AdamW, AdamWOptions, global_norm};
pub use schedule::linear_warmup_decay;
pub(crate) use trainer::TrainStep;
pub use trainer::{EpochRecord, Loss, Outcome, Stage, TrainOptions, discard_checkpoint, train};
