//! Distillation: what a student learns from its teacher besides the labels.

mod cache;
mod labels_file;
mod losses;
mod teacher;

pub use cache::{CacheKey, Extent, Field, Outputs, TeacherCache, rows_sha256};
pub use labels_file::{TeacherFile, read_teacher_file};
pub use losses::{DistilWeights, hidden_cosine, soft_target};
pub use teacher::TeacherOutputs;
