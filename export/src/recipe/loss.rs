//! The losses of a stage by name.

use serde::{Deserialize, Serialize};

use super::stage::Scheduled;
use crate::distill::{Averaging, Padding};

/// 1 throughout.
fn one() -> Scheduled {
    Scheduled::Constant(1.0)
}

fn two() -> Scheduled {
    Scheduled::Constant(2.0)
}

fn all_relations() -> Vec<Relation> {
    vec![Relation::Query, Relation::Key, Relation::Value]
}

/// Vectors of which a relation is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// Q-Q (MiniLMv2).
    Query,
    /// K-K (MiniLMv2).
    Key,
    /// V-V (MiniLM and MiniLMv2).
    Value,
}

/// Whether layers have their own map from the student's width to the teacher's, or one for all (the released TinyBERT
/// code's `fit_dense`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Projection {
    /// One for the hidden states and one for the embeddings (the paper's `W_h` and `W_e`).
    #[default]
    Separate,
    /// One for all.
    Shared,
}

/// Whose attention distributions are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attending {
    /// The last layers' (MiniLM).
    #[default]
    Last,
    /// All mapped layers'; their sum (MobileBERT's attention transfer, Sun 2020, section 3.4).
    Mapped,
}

impl Attending {
    /// Whether the last layers alone are meant, which recipes of before do not say.
    fn is_last(&self) -> bool {
        *self == Self::Last
    }
}

/// A named loss with its weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loss", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossTerm {
    /// The labels, by the task's own loss.
    Labels {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
    },
    /// `T^2 KL(teacher || student)` of what the heads give (Hinton 2015): of texts, of all tokens that are not padding,
    /// of start and end of an answer, of independent labels. For numbers the squared difference, for embeddings that
    /// of the cosines between all texts of a batch.
    SoftTargets {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// T.
        #[serde(default = "two")]
        temperature: Scheduled,
    },
    /// TinyBERT's prediction loss, `CE(teacher / t, student / t)`.
    SoftCrossEntropy {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// t.
        #[serde(default = "one")]
        temperature: Scheduled,
        /// Over rows, as in the paper, or over rows and classes, as in its code.
        #[serde(default)]
        averaging: Averaging,
    },
    /// Cross-entropy at the masked tokens of a corpus, by a masked-LM head that the student has while it is needed
    /// (Devlin 2019; DistilBERT's `L_mlm`).
    MaskedLm {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
    },
    /// `T^2 KL(teacher || student)` over the vocabulary, of the tokens of a masked corpus that are not padding
    /// (DistilBERT's `L_ce`, Sanh 2019; `distiller.py`).
    MaskedLmSoftTargets {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// T.
        #[serde(default = "two")]
        temperature: Scheduled,
        /// Only at the masked tokens (`--restrict_ce_to_mask`).
        #[serde(default)]
        restrict_to_mask: bool,
    },
    /// `1 - cos` of the last hidden states (DistilBERT). Where the widths differ, through a learned map.
    HiddenCosine {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
    },
    /// Squared difference of the hidden states of mapped layers (TinyBERT's `L_hidn`), without the embeddings.
    HiddenStates {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// Of maps to the teacher's width.
        #[serde(default)]
        projection: Projection,
        /// Whether padded positions count.
        #[serde(default)]
        padding: Padding,
    },
    /// Squared difference of the embedding outputs (TinyBERT's `L_embd`).
    Embeddings {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// Of maps to the teacher's width.
        #[serde(default)]
        projection: Projection,
        /// Whether padded positions count.
        #[serde(default)]
        padding: Padding,
    },
    /// Squared difference of attention scores before softmax, of mapped layers (TinyBERT's `L_attn`).
    AttentionScores {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// Whether padded positions count.
        #[serde(default)]
        padding: Padding,
    },
    /// PKD's squared distance of the normalized states of the first token (`[CLS]`), of mapped layers but the student's last
    /// (Sun 2019, equation 7). Through a learned map where the widths differ.
    Patience {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
    },
    /// Squared difference of the products of a text's states among themselves, `H H^T / d`, of mapped layers (TextBrewer's
    /// `mmd` loss). For any widths.
    StateSimilarities {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
    },
    /// `KL` of attention distributions.
    AttentionDistributions {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// Of which layers.
        #[serde(default, skip_serializing_if = "Attending::is_last")]
        layers: Attending,
    },
    /// `KL` of the relations between the tokens' queries, keys or values, `softmax(X X^T / sqrt d)`, of the student's
    /// last layer and one of the teacher's (MiniLM's value relation, MiniLMv2).
    Relations {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
        /// Which relations; their mean.
        #[serde(default = "all_relations")]
        of: Vec<Relation>,
        /// Relation heads, any number that divides both hidden sizes; the teacher's attention heads when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heads: Option<usize>,
        /// Layer of the teacher, from 0; the last when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        teacher_layer: Option<usize>,
    },
}

impl LossTerm {
    /// The name in recipes, logs and tables.
    pub fn name(&self) -> &'static str {
        match self {
            LossTerm::Labels { .. } => "labels",
            LossTerm::SoftTargets { .. } => "soft-targets",
            LossTerm::SoftCrossEntropy { .. } => "soft-cross-entropy",
            LossTerm::MaskedLm { .. } => "masked-lm",
            LossTerm::MaskedLmSoftTargets { .. } => "masked-lm-soft-targets",
            LossTerm::HiddenCosine { .. } => "hidden-cosine",
            LossTerm::HiddenStates { .. } => "hidden-states",
            LossTerm::Embeddings { .. } => "embeddings",
            LossTerm::Patience { .. } => "patience",
            LossTerm::StateSimilarities { .. } => "state-similarities",
            LossTerm::AttentionScores { .. } => "attention-scores",
            LossTerm::AttentionDistributions { .. } => "attention-distributions",
            LossTerm::Relations { .. } => "relations",
        }
    }

    /// Its weight.
    pub fn weight(&self) -> Scheduled {
        match self {
            LossTerm::Labels { weight }
            | LossTerm::SoftTargets { weight, .. }
            | LossTerm::SoftCrossEntropy { weight, .. }
            | LossTerm::MaskedLm { weight }
            | LossTerm::MaskedLmSoftTargets { weight, .. }
            | LossTerm::HiddenCosine { weight }
            | LossTerm::HiddenStates { weight, .. }
            | LossTerm::Embeddings { weight, .. }
            | LossTerm::AttentionScores { weight, .. }
            | LossTerm::Patience { weight }
            | LossTerm::StateSimilarities { weight }
            | LossTerm::AttentionDistributions { weight, .. }
            | LossTerm::Relations { weight, .. } => *weight,
        }
    }

    /// Whether it looks at what the head gives.
    pub fn reads_head(&self) -> bool {
        matches!(self, LossTerm::Labels { .. } | LossTerm::SoftTargets { .. } | LossTerm::SoftCrossEntropy { .. })
    }

    /// Whether it looks at mapped layers.
    pub fn reads_map(&self) -> bool {
        matches!(
            self,
            LossTerm::HiddenStates { .. }
                | LossTerm::Patience { .. }
                | LossTerm::StateSimilarities { .. }
                | LossTerm::AttentionScores { .. }
                | LossTerm::AttentionDistributions { layers: Attending::Mapped, .. }
        )
    }

    /// Whether it looks at layers, so that student and teacher must see the same tokens.
    pub fn reads_layers(&self) -> bool {
        !self.reads_head()
    }

    /// Whether it looks at what masked-LM heads give for masked text.
    pub fn reads_masked_lm(&self) -> bool {
        matches!(self, LossTerm::MaskedLm { .. } | LossTerm::MaskedLmSoftTargets { .. })
    }
}
