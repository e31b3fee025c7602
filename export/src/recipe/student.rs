//! The student: its shape and where its first weights come from.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::arch::{Family, ModelConfig, Sharing};
use crate::train::TrainOptions;

/// The student. Sizes that are not given are the teacher's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// Transformer layers.
    pub layers: usize,
    /// Hidden size H.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
    /// Attention heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_heads: Option<usize>,
    /// Width of the feed-forward block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// Width E of the embedding tables, where it is another than H (ALBERT's factorized embedding). Only for students
    /// that share layers, or whose teacher is of a family with a projection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
    /// Which layers share their weights; a student that shares is an ALBERT.
    #[serde(default = "not_shared")]
    pub sharing: Sharing,
    /// The classifier reads relu(pooled), without dropout, as in TinyBERT's released code. For BERT and ALBERT.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pooled_relu: bool,
    /// Which teacher layer each student layer starts from; evenly spaced when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_map: Option<Vec<usize>>,
    /// Where its first weights come from.
    #[serde(default)]
    pub start: Start,
    /// Training of the control, and of stages that say nothing else.
    #[serde(default)]
    pub train: TrainOptions,
}

fn not_shared() -> Sharing {
    Sharing::None
}

/// The weights that student and control start from. A student narrower than its teacher starts from the teacher's
/// weights seen along the principal directions of its hidden states; shared blocks from the mean of the layers that
/// they stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Layers of the pretrained encoder, before it was fine-tuned: the control then knows nothing of the
    /// teacher, as in the literature (DistilBERT, PKD).
    #[default]
    Pretrained,
    /// Layers and head of the fine-tuned teacher.
    Teacher,
    /// New weights.
    Random,
}

impl Student {
    /// The student's shape beside a teacher's.
    ///
    /// # Errors
    /// A shape that cannot be built.
    pub fn config(&self, teacher: &ModelConfig) -> Result<ModelConfig> {
        let shares = self.sharing != Sharing::None;
        let hidden_size = self.hidden_size.unwrap_or(teacher.hidden_size);
        let embedding_size = self.embedding_size.unwrap_or(match teacher.embedding_size == teacher.hidden_size {
            true => hidden_size,
            false => teacher.embedding_size,
        });
        let family = if shares { Family::Albert } else { teacher.family };
        ensure!(
            family == teacher.family || teacher.family == Family::Bert,
            "student.sharing: a student that shares layers is an ALBERT, and can be made from a BERT or ALBERT teacher; \
             this one is a {}",
            teacher.family.name()
        );
        ensure!(
            embedding_size == hidden_size || matches!(family, Family::Albert | Family::Electra),
            "student.embedding_size {embedding_size}: a {} has embeddings as wide as its hidden size {hidden_size}; leave \
             it out, or share layers (student.sharing)",
            family.name()
        );
        let config = ModelConfig {
            family,
            layers: self.layers,
            hidden_size,
            embedding_size,
            embedding_projection: family == Family::Albert || embedding_size != hidden_size,
            attention_heads: self.attention_heads.unwrap_or(teacher.attention_heads),
            // The teacher's heads in the teacher's width; else the width is shared out among the heads.
            own_head_size: match (self.hidden_size, self.attention_heads) {
                (None, None) => teacher.own_head_size,
                _ => None,
            },
            intermediate_size: self.intermediate_size.unwrap_or(match self.hidden_size {
                Some(_) => hidden_size * teacher.intermediate_size / teacher.hidden_size,
                None => teacher.intermediate_size,
            }),
            sharing: self.sharing,
            pooled_relu: self.pooled_relu || teacher.pooled_relu,
            head_dropout: if self.pooled_relu { 0.0 } else { teacher.head_dropout },
            ..teacher.clone()
        };
        config.check()?;
        Ok(config)
    }
}
