//! Distillation: what a student learns from its teacher besides the labels.

mod losses;
mod teacher;

pub use losses::{DistilWeights, hidden_cosine, soft_target};
pub use teacher::TeacherOutputs;
