//! The weights of a task's distillation.

use serde::{Deserialize, Serialize};

/// Weights of the DistilBERT-type loss for a task: soft targets, hidden-state cosine, hard labels.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistilWeights {
    /// Softens both distributions; the soft loss is multiplied by its square.
    pub temperature: f64,
    /// Weight of [`soft_targets`](super::soft_targets).
    pub soft: f64,
    /// Weight of [`hidden_cosine`](super::hidden_cosine).
    pub cosine: f64,
    /// Weight of cross-entropy with the labels.
    pub hard: f64,
}

impl Default for DistilWeights {
    /// Temperature 2 and the ratios of DistilBERT's README command (5, 1 and 2, its hard loss being MLM).
    fn default() -> Self {
        Self { temperature: 2.0, soft: 5.0, cosine: 1.0, hard: 2.0 }
    }
}
