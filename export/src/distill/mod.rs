//! Distillation: what a student learns from its teacher besides the labels.

mod layer_map;
mod losses;
mod teacher;
mod weights;

pub use layer_map::LayerMap;
pub use losses::{
    Averaging, Padding, attention_distributions, attention_scores, hidden_cosine, hidden_states, kept_rows, relations,
    soft_cross_entropy, soft_labels, soft_spans, soft_targets,
};
pub use teacher::TeacherOutputs;
pub use weights::DistilWeights;
