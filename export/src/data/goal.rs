//! What the labels of a data set are, and so what a model learns from it.

use anyhow::{Result, bail, ensure};
use limbeck::bundle::{Activation, Manifest, Task};
use serde::{Deserialize, Serialize};

use crate::pack::TaskName;

/// What a label of a text or pair is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelKind {
    /// One name.
    #[default]
    One,
    /// Any number of names.
    Several,
    /// A number.
    Number,
}

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
    /// What a model for a task learns to give, from labels of a kind; `highest` is the label of texts that mean the
    /// same.
    ///
    /// # Errors
    /// A task without labelled data, or labels that it does not have.
    pub fn of_task(task: TaskName, labels: LabelKind, highest: f64) -> Result<Goal> {
        let classifier = matches!(task, TaskName::TextClassification | TaskName::PairClassification);
        ensure!(
            classifier || labels == LabelKind::One,
            "several labels and numbers are for classification of texts and pairs, not for {}",
            task.task().name()
        );
        Ok(match task {
            TaskName::TextClassification | TaskName::PairClassification => match labels {
                LabelKind::One => Goal::Class,
                LabelKind::Several => Goal::Labels,
                LabelKind::Number => Goal::Value,
            },
            TaskName::TokenClassification => Goal::Tags,
            TaskName::QuestionAnswering => Goal::Answers,
            TaskName::SentenceEmbedding => {
                ensure!(highest > 0.0 && highest.is_finite(), "the label of texts that mean the same must be above 0");
                Goal::Similarity { highest }
            }
            TaskName::FillMask => bail!("masked language models cannot be fine-tuned on labels"),
            TaskName::Order | TaskName::Replaced => {
                bail!("{} is learned from text alone: `limbeck pretrain`", task.task().name())
            }
            TaskName::Generation => bail!("causal language models cannot be fine-tuned on labels"),
        })
    }

    /// What a bundle gives; `None` for a task without labelled data.
    pub fn of_bundle(manifest: &Manifest) -> Option<Goal> {
        Some(match (&manifest.task, manifest.activation) {
            (Task::TextClassification | Task::PairClassification, Activation::Softmax) => Goal::Class,
            (Task::TextClassification | Task::PairClassification, Activation::Sigmoid) => Goal::Labels,
            (Task::TextClassification | Task::PairClassification, _) => Goal::Value,
            (Task::Order, _) => Goal::Class,
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
