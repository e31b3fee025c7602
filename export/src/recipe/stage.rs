//! A stage of a distillation: which losses, on which layers, for how long.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::data::Masking;
use crate::distill::{Averaging, LayerMap, Padding};
use crate::quantize::FakeQuantization;
use crate::train::TrainOptions;

/// One stage. A student goes through them in order; each starts from the weights that the one before kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecipe {
    /// For messages and folders: `intermediate`.
    pub name: String,
    /// What it reads.
    #[serde(default)]
    pub on: Texts,
    /// The teacher that it learns from.
    #[serde(default)]
    pub from: TeacherState,
    /// Which teacher layer each student layer learns from.
    #[serde(default)]
    pub layer_map: LayerMap,
    /// What is minimised: their weighted sum.
    pub losses: Vec<LossTerm>,
    /// How its texts are masked, for losses of masked language models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<Masking>,
    /// What the student's weights are rounded to in every forward pass, its activations to int8; the weights that are
    /// trained and kept stay fp32. Nothing is rounded when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<FakeQuantization>,
    /// How it trains; as `student.train` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<TrainOptions>,
}

/// What a stage reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Texts {
    /// The training rows.
    #[default]
    Train,
    /// The training rows and those that `[augment]` makes of them.
    Augmented,
    /// The plain texts of `data.corpus`.
    Corpus,
}

/// Which weights of the teacher a stage learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherState {
    /// The teacher of the task.
    #[default]
    Task,
    /// The encoder as it came, before it was fine-tuned (general distillation).
    Pretrained,
}

/// A number that may change over a stage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scheduled {
    /// The same throughout.
    Constant(f64),
    /// In a straight line from the first step to the last.
    Linear {
        /// At the first step.
        from: f64,
        /// After the last step.
        to: f64,
    },
}

impl Scheduled {
    /// The value when `done` of the stage, 0 to 1, is behind.
    pub fn at(self, done: f64) -> f64 {
        match self {
            Scheduled::Constant(value) => value,
            Scheduled::Linear { from, to } => from + (to - from) * done,
        }
    }

    /// The larger of its ends.
    pub fn largest(self) -> f64 {
        let [from, to] = self.ends();
        from.max(to)
    }

    fn ends(self) -> [f64; 2] {
        [self.at(0.0), self.at(1.0)]
    }
}

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
    /// `KL` of the last layer's attention distributions (MiniLM).
    AttentionDistributions {
        /// Its weight.
        #[serde(default = "one")]
        weight: Scheduled,
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
            | LossTerm::AttentionDistributions { weight }
            | LossTerm::Relations { weight, .. } => *weight,
        }
    }

    /// Whether it looks at what the head gives.
    pub fn reads_head(&self) -> bool {
        matches!(self, LossTerm::Labels { .. } | LossTerm::SoftTargets { .. } | LossTerm::SoftCrossEntropy { .. })
    }

    /// Whether it looks at mapped layers.
    pub fn reads_map(&self) -> bool {
        matches!(self, LossTerm::HiddenStates { .. } | LossTerm::AttentionScores { .. })
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

/// The last stage that trains the head before those that round weights to fewer bits, if there is one: what fewer bits lose
/// is measured against its student.
pub fn full_precision_stage(stages: &[StageRecipe]) -> Option<usize> {
    let first = stages.iter().position(|stage| stage.quantize.is_some())?;
    stages[..first].iter().rposition(|stage| stage.losses.iter().any(LossTerm::reads_head))
}

impl StageRecipe {
    /// Whether student and teacher read masked text.
    pub fn masks(&self) -> bool {
        self.losses.iter().any(LossTerm::reads_masked_lm)
    }

    /// Refuses stages that cannot train. `last` is the one whose weights are the student.
    pub fn check(&self, last: bool) -> Result<()> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(!name.is_empty() && name.chars().all(plain), "stage name \"{name}\" must be of a-z 0-9 -");
        ensure!(!self.losses.is_empty(), "stage {name} has no losses");
        let mut some = false;
        for (index, term) in self.losses.iter().enumerate() {
            let (loss, weights) = (term.name(), term.weight().ends());
            ensure!(
                weights.iter().all(|weight| *weight >= 0.0 && weight.is_finite()),
                "stage {name}: the weight of {loss} must be 0 or more"
            );
            some |= weights.iter().any(|weight| *weight > 0.0);
            ensure!(self.losses[..index].iter().all(|before| before.name() != loss), "stage {name} has {loss} twice");
            if let LossTerm::SoftTargets { temperature, .. }
            | LossTerm::SoftCrossEntropy { temperature, .. }
            | LossTerm::MaskedLmSoftTargets { temperature, .. } = term
            {
                ensure!(
                    temperature.ends().iter().all(|t| *t > 0.0 && t.is_finite()),
                    "stage {name}: the temperature of {loss} must be above 0"
                );
            }
            if let LossTerm::Relations { of, heads, .. } = term {
                ensure!(!of.is_empty(), "stage {name}: relations of what? `of` is empty");
                ensure!(*heads != Some(0), "stage {name}: relations need at least one head");
            }
            if term.reads_masked_lm() {
                ensure!(
                    self.on == Texts::Corpus && self.from == TeacherState::Pretrained,
                    "stage {name}: {loss} is for plain text and the teacher's own masked-LM head: on = \"corpus\" and \
                     from = \"pretrained\""
                );
            }
            if term.reads_head() {
                ensure!(
                    self.on != Texts::Corpus && self.from == TeacherState::Task,
                    "stage {name}: {loss} needs the teacher of the task and rows with labels, not {}",
                    if self.on == Texts::Corpus { "on = \"corpus\"" } else { "from = \"pretrained\"" }
                );
            }
        }
        ensure!(some, "stage {name}: all weights are 0");
        if let Some(masking) = &self.masking {
            ensure!(self.masks(), "stage {name} has `masking`, and no loss of a masked language model");
            masking.check(&format!("stage {name}"))?;
        }
        ensure!(
            !last || self.losses.iter().any(LossTerm::reads_head),
            "the last stage, {name}, does not train the head; give it labels, soft-targets or soft-cross-entropy"
        );
        self.train.as_ref().map_or(Ok(()), |train| train.check(&format!("stage {name}")))
    }
}
