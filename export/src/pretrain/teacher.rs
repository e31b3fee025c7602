//! A frozen causal language model that a smaller one learns from (DistilGPT2; Sanh 2019, section 2).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use super::model::Start;
use super::recipe::{ModelRecipe, PretrainRecipe};
use crate::arch::{Capture, Head, Model, ModelConfig, ModelOutput, Params};
use crate::checkpoint::{self, Directions, evenly_spaced_layers, student_from_teacher};
use crate::data::{Batch, Encoder};
use crate::distill::{LayerMap, hidden_cosine, kept_rows, soft_targets};

/// The teacher, and how much of it is learned. The weights are those of DistilBERT's README, its masked-LM loss being that of
/// the next token here; the released code trains DistilGPT2 by the same loop (`distiller.py`), by a command that was not
/// published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherRecipe {
    /// Hugging Face folder of a causal language model, relative to the data folder.
    pub model: String,
    /// Without `model.preset` and `model.start`: the teacher layers, from 0, whose weights the student's layers start with;
    /// evenly spaced from the first to the last when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_map: Option<Vec<usize>>,
    /// Weight of `T^2 KL(teacher || student)` of the next token.
    #[serde(default = "five")]
    pub soft_targets: f64,
    /// T.
    #[serde(default = "two")]
    pub temperature: f64,
    /// Weight of the cross-entropy of the next token.
    #[serde(default = "two")]
    pub next_token: f64,
    /// Weight of `1 - cos` of the last hidden states.
    #[serde(default = "one")]
    pub hidden_cosine: f64,
    /// Whether the same student is trained without the teacher too, to compare.
    #[serde(default = "yes")]
    pub control: bool,
}

fn five() -> f64 {
    5.0
}

fn two() -> f64 {
    2.0
}

fn one() -> f64 {
    1.0
}

fn yes() -> bool {
    true
}

impl TeacherRecipe {
    /// A teacher with the defaults.
    pub fn new(model: &str) -> Self {
        Self {
            model: model.to_owned(),
            layer_map: None,
            soft_targets: five(),
            temperature: two(),
            next_token: two(),
            hidden_cosine: one(),
            control: yes(),
        }
    }

    /// The same student, start and training, on the text alone.
    pub(super) fn of_control(&self) -> Self {
        Self { soft_targets: 0.0, next_token: 1.0, hidden_cosine: 0.0, control: false, ..self.clone() }
    }

    /// Whether the teacher is asked while the student trains.
    pub(super) fn teaches(&self) -> bool {
        self.soft_targets > 0.0 || self.hidden_cosine > 0.0
    }

    pub(super) fn check(&self, model: &ModelRecipe) -> Result<()> {
        let weights = [
            ("soft_targets", self.soft_targets),
            ("next_token", self.next_token),
            ("hidden_cosine", self.hidden_cosine),
        ];
        for (name, weight) in weights {
            ensure!(weight >= 0.0 && weight.is_finite(), "teacher: {name} must be at least 0; 0 leaves it out");
        }
        ensure!(weights.iter().any(|(_, weight)| *weight > 0.0), "teacher: all weights are 0: nothing is learned");
        ensure!(
            self.temperature > 0.0 && self.temperature.is_finite(),
            "teacher: temperature must be above 0, as 2 is"
        );
        ensure!(
            self.teaches() || !self.control,
            "teacher: soft_targets and hidden_cosine are 0, so the student is its own control; set control = false"
        );
        if model.preset.is_some() || model.start.is_some() {
            ensure!(
                self.layer_map.is_none(),
                "teacher: layer_map is for a student that starts from the teacher's layers; leave it out, or leave \
                 model.preset and model.start out"
            );
            return Ok(());
        }
        let widths = ModelRecipe { layers: model.layers, dropout: model.dropout, ..ModelRecipe::default() };
        ensure!(
            *model == widths,
            "model: a student that starts from the teacher's layers has its sizes: give `layers` and `dropout` at most, or \
             `preset` for another shape with new weights"
        );
        Ok(())
    }

    /// The shape of a student that starts from the teacher's layers: the teacher's, with half of them where nothing is said.
    ///
    /// # Errors
    /// A folder that cannot be read or that is no causal language model.
    pub(super) fn student_shape(&self, model: &ModelRecipe, folder: &Path) -> Result<ModelConfig> {
        let teacher = read_causal(&folder.join(&self.model))?;
        let rate = |rate: f64| model.dropout.unwrap_or(rate);
        Ok(ModelConfig {
            layers: model.layers.or(self.layer_map.as_ref().map(Vec::len)).unwrap_or(teacher.layers.div_ceil(2)),
            embedding_dropout: rate(teacher.embedding_dropout),
            hidden_dropout: rate(teacher.hidden_dropout),
            attention_dropout: rate(teacher.attention_dropout),
            ..teacher
        })
    }

    /// The layers of `teacher` that a student of the shape `student` starts with.
    ///
    /// # Errors
    /// More layers than the teacher has, without a list; a list of another length, or beyond the teacher; layers whose
    /// attention would see other positions.
    fn layers_of(&self, teacher: &ModelConfig, student: &ModelConfig) -> Result<Vec<usize>> {
        let (depth, layers) = (teacher.layers, student.layers);
        let map = match &self.layer_map {
            Some(map) => LayerMap::Explicit(map.clone()).attention(depth, layers).context("teacher.layer_map")?,
            None => {
                ensure!(
                    layers <= depth,
                    "model: {layers} layers are more than the teacher's {depth}; give fewer, or list the teacher layer of \
                     each as teacher.layer_map"
                );
                evenly_spaced_layers(depth, layers)
            }
        };
        let pattern = teacher.attention_pattern;
        ensure!(
            map.iter().enumerate().all(|(own, &other)| pattern.band(own) == pattern.band(other)),
            "teacher: layers that see a band of positions would start from layers that see all, or the reverse; list the \
             teacher layer of each as teacher.layer_map"
        );
        Ok(map)
    }
}

/// The shape of a causal language model.
fn read_causal(folder: &Path) -> Result<ModelConfig> {
    let (config, info) = checkpoint::read_shape(folder)?;
    let head = info.map_or(Head::None, |info| info.head);
    ensure!(
        head == Head::CausalLm,
        "teacher: {} has a {} head; next tokens are taught by a causal language model, such as GPT-2",
        folder.display(),
        head.name()
    );
    Ok(config)
}

/// The teacher's weights, with which of its answers are learned.
pub(super) struct Teacher {
    recipe: TeacherRecipe,
    pub config: ModelConfig,
    params: Params,
    model: Model,
}

impl Teacher {
    /// Whether the teacher of a recipe, if it names one, can teach a student of the shape `student` that reads texts by
    /// `encoder`; before anything is trained.
    ///
    /// # Errors
    /// A folder that cannot be read or that is no causal language model; one that numbers tokens otherwise, sees fewer tokens
    /// or, where hidden states are compared, has another width; layers that it does not have.
    pub(super) fn check(
        recipe: &PretrainRecipe,
        folder: &Path,
        student: &ModelConfig,
        encoder: &Encoder,
    ) -> Result<()> {
        let Some(own) = &recipe.teacher else { return Ok(()) };
        let folder = folder.join(&own.model);
        let name = folder.display();
        let config = read_causal(&folder)?;
        let tokenizer = checkpoint::tokenizer_path(&folder)?;
        ensure!(
            Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?.same_vocabulary(encoder),
            "teacher: {name} numbers tokens otherwise than the student's tokenizer, so that it would teach other tokens; \
             leave `tokenizer` out to take the teacher's"
        );
        ensure!(
            config.vocab_size == student.vocab_size,
            "teacher: {name} has a vocabulary of {} rows, the student one of {}; leave model.preset out for a student of the \
             teacher's shape",
            config.vocab_size,
            student.vocab_size
        );
        ensure!(
            recipe.max_tokens <= config.max_positions(),
            "max_tokens {} is more than the {} positions of the teacher {name}",
            recipe.max_tokens,
            config.max_positions()
        );
        ensure!(
            own.hidden_cosine == 0.0 || config.hidden_size == student.hidden_size,
            "teacher: hidden_cosine compares states of one width, and {name} has {}, the student {}; give the student \
             hidden_size = {}, or set hidden_cosine = 0",
            config.hidden_size,
            student.hidden_size,
            config.hidden_size
        );
        if recipe.model.preset.is_none() && recipe.model.start.is_none() {
            own.layers_of(&config, student)?;
        }
        Ok(())
    }

    /// The teacher of a recipe, if it names one.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub(super) fn load(recipe: &PretrainRecipe, folder: &Path, device: Device) -> Result<Option<Self>> {
        let Some(own) = &recipe.teacher else { return Ok(None) };
        let checkpoint::Checkpoint { config, params, .. } =
            checkpoint::load(&folder.join(&own.model), Head::CausalLm, device)?;
        let model = Model::new(&params, &config, Head::CausalLm);
        Ok(Some(Self { recipe: own.clone(), config, params, model }))
    }

    /// Whether it is asked while the student trains.
    pub(super) fn teaches(&self) -> bool {
        self.recipe.teaches()
    }

    /// Weight of the cross-entropy of the next token beside what the teacher gives.
    pub(super) fn next_token_weight(&self) -> f64 {
        self.recipe.next_token
    }

    /// The teacher as a model to be scored.
    pub(super) fn as_start(&self) -> Start {
        let params = Params::handles(self.params.iter(), self.params.device());
        Start::alone(self.config.clone(), Head::CausalLm, params)
    }

    /// Which of its layers a student of the shape `student` starts with.
    ///
    /// # Errors
    /// As in [`Self::check`].
    pub(super) fn layer_map(&self, student: &ModelConfig) -> Result<Vec<usize>> {
        self.recipe.layers_of(&self.config, student)
    }

    /// The first weights of a student of the shape `student`: the teacher's, to the bit.
    ///
    /// # Errors
    /// As [`Self::layer_map`].
    pub(super) fn first_weights(&self, student: &ModelConfig) -> Result<Params> {
        let map = self.layer_map(student)?;
        let all = Directions::all(student.hidden_size);
        student_from_teacher(&self.params, &self.config, student, &map, Head::CausalLm, &all)
            .context("the student's first weights")
    }

    /// The losses on what the teacher gives for a batch, by name and with their weights, over all tokens that are not padding
    /// (`distiller.py`); none where it is not asked. It runs without dropout and without gradients.
    ///
    /// # Errors
    /// Outputs of different shapes.
    pub(super) fn losses(&self, student: &ModelOutput, batch: &Batch) -> Result<Vec<(&'static str, Tensor, f64)>> {
        let recipe = &self.recipe;
        let mut losses = Vec::new();
        if !recipe.teaches() {
            return Ok(losses);
        }
        let given = tch::no_grad(|| self.model.forward(&batch.ids, &batch.mask, None, &Capture::default(), false));
        if recipe.soft_targets > 0.0 {
            let (own, other) = (kept_rows(&student.logits, &batch.mask)?, kept_rows(&given.logits, &batch.mask)?);
            losses.push(("soft-targets", soft_targets(&own, &other, recipe.temperature)?, recipe.soft_targets));
        }
        if recipe.hidden_cosine > 0.0 {
            let (own, other) = (&student.encoded.last_hidden, &given.encoded.last_hidden);
            losses.push(("hidden-cosine", hidden_cosine(own, other, &batch.mask)?, recipe.hidden_cosine));
        }
        Ok(losses)
    }
}
