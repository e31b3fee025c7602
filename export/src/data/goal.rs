//! What the labels of a data set are, and so what a model learns from it.

use limbeck::bundle::{Activation, Manifest, Task};
use serde::{Deserialize, Serialize};

/// What a model is trained to give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// One label a text or pair.
    Class,
    /// Any number of labels a text or pair.
    Labels,
    /// A number a text or pair.
    Value,
    /// A tag a word.
    Tags,
    /// The piece of a text that answers a question.
    Answers,
    /// Vectors whose angle says how alike two texts are.
    Similarity {
        /// The label of texts that mean the same.
        highest: f64,
    },
}

impl Goal {
    /// What a bundle gives; `None` for a task without labelled data.
    pub fn of_bundle(manifest: &Manifest) -> Option<Goal> {
        Some(match (&manifest.task, manifest.activation) {
            (Task::TextClassification | Task::PairClassification, Activation::Softmax) => Goal::Class,
            (Task::TextClassification | Task::PairClassification, Activation::Sigmoid) => Goal::Labels,
            (Task::TextClassification | Task::PairClassification, _) => Goal::Value,
            (Task::TokenClassification, _) => Goal::Tags,
            (Task::QuestionAnswering, _) => Goal::Answers,
            (Task::SentenceEmbedding, _) => Goal::Similarity { highest: 1.0 },
            _ => return None,
        })
    }

    /// The measure that dev chooses by.
    pub fn measure(self) -> &'static str {
        match self {
            Goal::Class => "accuracy",
            Goal::Labels => "micro F1",
            Goal::Value | Goal::Similarity { .. } => "Spearman correlation",
            Goal::Tags => "entity F1",
            Goal::Answers => "token F1 by window",
        }
    }
}
