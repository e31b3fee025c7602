//! A stage of a distillation: which losses, on which layers, for how long.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::loss::LossTerm;
use crate::data::Masking;
use crate::distill::LayerMap;
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
    /// The probability with which a layer of the student takes the place of its layers of the teacher in a step (Xu 2020,
    /// BERT-of-Theseus, section 3): teacher and student are one model, of which the student's layers alone learn. The student
    /// gets the teacher's embeddings and head. None is replaced when absent: the student learns by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacing: Option<Scheduled>,
    /// How its texts are masked, for student and teacher alike; as DistilBERT's where a loss looks at what masked language
    /// models say, else not at all when absent.
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
    /// The texts of `data.unlabelled` and of the training rows, without labels.
    Unlabelled,
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
#[serde(untagged, expecting = "a number, or a line from one to another: { from = 1.0, to = 0.0 }")]
pub enum Scheduled {
    /// The same throughout.
    Constant(f64),
    /// In a straight line from the first step to the last.
    Linear(Line),
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// At the first step.
    pub from: f64,
    /// After the last step.
    pub to: f64,
}

impl Scheduled {
    /// The value when `done` of the stage, 0 to 1, is behind.
    pub fn at(self, done: f64) -> f64 {
        match self {
            Scheduled::Constant(value) => value,
            Scheduled::Linear(Line { from, to }) => from + (to - from) * done,
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

/// The last stage that trains the head before those that round weights to fewer bits, if there is one: what fewer bits lose
/// is measured against its student.
pub fn full_precision_stage(stages: &[StageRecipe]) -> Option<usize> {
    let first = stages.iter().position(|stage| stage.quantize.is_some())?;
    stages[..first].iter().rposition(StageRecipe::trains_head)
}

impl StageRecipe {
    /// Whether student and teacher read masked text.
    pub fn masks(&self) -> bool {
        self.masking.is_some() || self.guesses()
    }

    /// Whether a loss with a weight looks at what the head gives.
    pub fn trains_head(&self) -> bool {
        self.losses.iter().any(|term| term.reads_head() && term.weight().largest() > 0.0)
    }

    /// Whether a loss looks at what the masked-LM heads of both say of it.
    pub fn guesses(&self) -> bool {
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
                ensure!(
                    self.on != Texts::Unlabelled || !matches!(term, LossTerm::Labels { .. }),
                    "stage {name}: labels are what on = \"unlabelled\" does not have; leave the loss to a stage on = \"train\""
                );
            }
        }
        ensure!(some, "stage {name}: all weights are 0");
        if let Some(rate) = &self.replacing {
            let within = rate.ends().iter().all(|rate| (0.0..=1.0).contains(rate)) && rate.largest() > 0.0;
            ensure!(within, "stage {name}: replacing is a probability, above 0 and at most 1");
            let other = self.losses.iter().find(|term| !term.reads_head());
            ensure!(
                other.is_none(),
                "stage {name}: with replacing, student and teacher are one model, whose head alone has a loss; leave {} out",
                other.map_or("", LossTerm::name)
            );
            ensure!(self.quantize.is_none(), "stage {name}: replacing and quantize are for stages of their own");
        }
        if self.train.as_ref().is_some_and(|train| train.unfreeze > 0.0) {
            ensure!(
                self.trains_head() && self.replacing.is_none(),
                "stage {name}: unfreeze begins with the head alone, which does not learn here; give the stage a `train` without it"
            );
        }
        if let Some(masking) = &self.masking {
            ensure!(
                self.on == Texts::Corpus && self.from == TeacherState::Pretrained,
                "stage {name}: masking is for plain text and the encoder as it came: on = \"corpus\" and from = \"pretrained\""
            );
            masking.check(&format!("stage {name}"))?;
        }
        ensure!(
            !last || self.trains_head(),
            "the last stage, {name}, does not train the head; give it labels, soft-targets or soft-cross-entropy, with a weight \
             above 0"
        );
        self.train.as_ref().map_or(Ok(()), |train| train.check(&format!("stage {name}")))
    }
}
