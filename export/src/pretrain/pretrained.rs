//! What pretraining gave.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::teacher::Teacher;
use super::{Cost, HeldOut, Objective, PretrainRecipe};
use crate::arch::{Head, ModelConfig, count_parameters};
use crate::measure::Machine;
use crate::train::{Outcome, TrainOptions};

/// `pretrain.json`: what was done. Written last, so that its presence means that the folder is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pretrained {
    /// Version of this schema.
    pub schema: u32,
    /// Hash of everything that decides the result.
    pub identity: String,
    /// What is learned.
    pub objective: Objective,
    /// Parameters of the model with its head.
    pub parameters: u64,
    /// Those of the generator, the tables that it shares with the model included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator_parameters: Option<u64>,
    /// Documents trained on.
    pub documents: usize,
    /// Documents held out.
    pub held_out_documents: usize,
    /// Documents that were left out of training because they are held out too.
    pub dropped: usize,
    /// Examples an epoch.
    pub examples: usize,
    /// Tokens an epoch, special tokens included.
    pub tokens: u64,
    /// Tokens of all steps.
    pub tokens_seen: u64,
    /// Arithmetic of all steps.
    pub flops: Cost,
    /// The weights that were kept, on held-out text.
    pub held_out: HeldOut,
    /// The teacher and the control, where there is a teacher.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distilled: Option<Distilled>,
    /// Length of the examples in tokens.
    pub max_tokens: usize,
    /// Seed.
    pub seed: u64,
    /// Training settings.
    pub train: TrainOptions,
    /// How training went; its dev scores are losses on held-out text with their sign turned.
    pub outcome: Outcome,
    /// Day.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// How long it took.
    pub wall_seconds: f64,
}

/// A student beside its teacher and its control, on the same held-out text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distilled {
    /// The teacher.
    pub teacher: HeldOut,
    /// Its parameters.
    pub teacher_parameters: u64,
    /// The teacher layers, from 0, whose weights the student's layers started with; absent where they were others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_map: Option<Vec<usize>>,
    /// The student's perplexity as a share of the teacher's.
    pub ratio: f64,
    /// The same student, start and training without the teacher, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<HeldOut>,
    /// The control's perplexity as a share of the teacher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_ratio: Option<f64>,
}

impl Distilled {
    /// Of how the teacher, a student of the shape `student` and its control did on held-out text.
    ///
    /// # Errors
    /// Held-out text of which no token was scored.
    pub(super) fn new(
        recipe: &PretrainRecipe,
        teacher: &Teacher,
        student: &ModelConfig,
        (of_teacher, of_student, control): (HeldOut, &HeldOut, Option<Pretrained>),
    ) -> Result<Self> {
        let perplexity = |scored: &HeldOut| scored.perplexity.context("no token of the held-out text was scored");
        let least = perplexity(&of_teacher)?;
        let ratio = |scored: &HeldOut| -> Result<f64> { Ok(perplexity(scored)? / least) };
        let control = control.map(|control| control.held_out);
        let from_layers = recipe.model.preset.is_none() && recipe.model.start.is_none();
        Ok(Self {
            teacher: of_teacher,
            teacher_parameters: count_parameters(&teacher.config, Head::CausalLm).total,
            layer_map: from_layers.then(|| teacher.layer_map(student)).transpose()?,
            ratio: ratio(of_student)?,
            control_ratio: control.as_ref().map(ratio).transpose()?,
            control,
        })
    }

    /// Lines for people, each ended.
    pub fn told(&self) -> String {
        let mut text = format!("Teacher: {}\n", self.teacher.told());
        if let Some(control) = &self.control {
            text += &format!("Control: {}\n", control.told());
        }
        text += &format!("Perplexity of the student / the teacher: {:.3}", self.ratio);
        if let Some(ratio) = self.control_ratio {
            text += &format!(", of the control / the teacher: {ratio:.3}");
        }
        text + "\n"
    }
}
