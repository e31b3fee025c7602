//! Distillation: what a student learns from its teacher besides the labels.

mod cache;
mod labels_file;
mod layer_map;
mod losses;

pub use cache::{CacheKey, Extent, Field, Outputs, TeacherCache, rows_sha256};
pub use labels_file::{AskedRow, TeacherFile, declared_labels, read_teacher_file};
pub use layer_map::LayerMap;
pub use losses::{
    Averaging, Padding, attention_distributions, attention_scores, hidden_cosine, hidden_states, kept_rows, patience,
    relations, soft_cross_entropy, soft_labels, soft_spans, soft_targets, state_similarities,
};
