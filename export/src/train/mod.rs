//! The training loop: optimizer, schedule, checkpoints that resume to the bit, choice on dev.

mod average;
mod checkpoint;
mod gradient;
mod lamb;
mod layers;
mod optimizer;
mod options;
mod parallel;
mod plan;
mod precision;
mod schedule;
mod stage;
mod trainer;

pub use layers::layer_factors;
pub use optimizer::{Optimizer, OptimizerKind, OptimizerOptions, global_norm};
pub use options::{Keep, TrainOptions};
#[cfg(feature = "mpi")]
pub use parallel::Mpi;
#[cfg(feature = "nccl")]
pub use parallel::Nccl;
#[cfg(test)]
pub(crate) use parallel::threads;
pub use parallel::{Alone, Group};
pub use precision::{Autocast, Precision};
pub use schedule::{Schedule, linear_warmup_decay};
pub(crate) use stage::TrainStep;
pub use stage::{CurvePoint, EpochRecord, Loss, Outcome, Stage};
pub use trainer::{discard_checkpoint, refuse_another_run, seen_lengths, train};
