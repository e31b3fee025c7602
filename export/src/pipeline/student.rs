//! Students: where their first weights come from, and the trainings that a run gives them.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tch::Tensor;

use super::run::{Run, Trained, Training};
use super::teacher::{Teacher, second_moment};
use super::variant::Variant;
use crate::arch::{Head, ModelConfig, Params, new_head, parameter_layout};
use crate::checkpoint::{self, Directions, HeadInfo};
use crate::data::Encoder;
use crate::files;
use crate::recipe::{StageRecipe, Start, TeacherSource, Texts};

/// Training texts whose hidden states show which directions matter.
const STATES_OF: usize = 1024;

/// The encoder whose weights and tokenizer a student takes.
#[derive(Clone, Copy)]
pub(super) struct Ancestor<'a> {
    /// The first teacher, or one made of the folder that was named for the student.
    pub model: &'a Teacher,
    /// Where it came from.
    pub folder: &'a Path,
    /// Whether it is one of the run's teachers.
    pub is_teacher: bool,
}

/// An ancestor and the shape that a student of it gets.
pub(super) struct Origin<'a> {
    run: Run<'a>,
    from: &'a Teacher,
    is_teacher: bool,
    tokenizer: PathBuf,
    pub config: ModelConfig,
    pub layer_map: Vec<usize>,
    info: HeadInfo,
    directions: OnceCell<Directions>,
    /// The encoder that the student reads texts with.
    encoder: Encoder,
}

impl<'a> Origin<'a> {
    pub(super) fn new(run: Run<'a>, ancestor: Ancestor<'a>) -> Result<Self> {
        let recipe = run.recipe;
        let Ancestor { model: from, folder, is_teacher } = ancestor;
        let config = recipe.student.config(&from.config)?;
        let layer_map = match &recipe.student.layer_map {
            Some(map) => map.clone(),
            None => checkpoint::evenly_spaced_layers(from.config.blocks().len(), config.blocks().len()),
        };
        let tokenizer = checkpoint::tokenizer_path(folder)?;
        let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
        let info = from.info.clone();
        info.head.check(&config)?;
        Ok(Self { run, from, is_teacher, tokenizer, config, layer_map, info, directions: OnceCell::new(), encoder })
    }

    /// Whether the ancestor came with a trained head; that of another encoder is as new as any.
    fn is_finished(&self) -> bool {
        self.is_teacher && self.run.recipe.teacher.source == TeacherSource::Finished
    }

    fn weights(&self, start: Start) -> Result<&Params> {
        match start {
            Start::Pretrained if self.is_finished() => Ok(&self.from.params),
            Start::Pretrained => {
                self.from.pretrained.as_ref().context("there are no weights from before the teacher was fine-tuned")
            }
            _ => Ok(&self.from.params),
        }
    }

    /// The teacher's directions that a narrower student keeps; all where it is as wide.
    fn directions(&self, start: Start) -> Result<&Directions> {
        if let Some(found) = self.directions.get() {
            return Ok(found);
        }
        let found = if self.config.hidden_size == self.from.config.hidden_size {
            Directions::all(self.config.hidden_size)
        } else {
            let all = self.run.sets.unlabelled.is_some();
            let tokens = self.run.encode(if all { Texts::Unlabelled } else { Texts::Train }, &self.encoder)?;
            let examples = &tokens.train[..tokens.train.len().min(STATES_OF)];
            let moment =
                second_moment(self.weights(start)?, self.from, examples, self.run.options.device, self.run.reporter)?;
            let directions = Directions::principal(&moment, self.config.hidden_size)?;
            self.run.reporter.note(&format!(
                "Student: {} of {} directions of the encoder's hidden states, which hold {:.1}% of their energy",
                self.config.hidden_size,
                self.from.config.hidden_size,
                directions.kept * 100.0
            ));
            directions
        };
        Ok(self.directions.get_or_init(|| found))
    }

    /// A student's first weights; `seed` decides those that are new, a head that was never trained among them.
    pub(super) fn first_weights(&self, start: Start, seed: u64) -> Result<Params> {
        tch::manual_seed(seed as i64);
        let (config, head) = (&self.config, self.info.head);
        if start == Start::Random {
            return Ok(Params::initialise(&parameter_layout(config, head), self.run.options.device));
        }
        let weights = self.weights(start)?;
        let directions = self.directions(start)?;
        let params =
            checkpoint::student_from_teacher(weights, &self.from.config, config, &self.layer_map, head, directions)?;
        if start == Start::Teacher || self.is_finished() {
            return Ok(params);
        }
        Ok(params.with(new_head(config, head, self.run.options.device)))
    }

    /// The masked-LM head that a student has in stages that look at its guesses: the encoder's, or a new one.
    fn masked_lm(&self, start: Start) -> Result<BTreeMap<String, Tensor>> {
        match &self.from.masked_lm {
            Some(own) if start != Start::Random => {
                let directions = self.directions(start)?;
                checkpoint::head_from_teacher(own, &self.from.config, &self.config, Head::MaskedLm, directions)
            }
            _ => Ok(new_head(&self.config, Head::MaskedLm, self.run.options.device).into_iter().collect()),
        }
    }

    /// Trains a student one way from one seed.
    ///
    /// # Errors
    /// Those of its stages.
    pub(super) fn train(&self, variant: &Variant, teachers: &[Teacher], seed: u64) -> Result<Trained> {
        let recipe = self.run.recipe;
        let folder = Variant::folder_of(&variant.folder, seed, &recipe.seeds);
        // Its directions are found by texts without labels, where there are some.
        let narrower = variant.start != Start::Random && self.config.hidden_size != self.from.config.hidden_size;
        let seen = self.run.sets.unlabelled.as_ref().filter(|_| narrower).map(|all| &all.sha256);
        let identity = files::sha256_hex(&serde_json::to_vec(&(
            &self.from.identity,
            self.run.task_identity()?,
            &self.config,
            &self.layer_map,
            variant.start,
            seen,
        ))?);
        let params = self.first_weights(variant.start, seed)?;
        let guesses = variant.stages.iter().any(StageRecipe::guesses);
        let masked_lm = if guesses { self.masked_lm(variant.start)? } else { BTreeMap::new() };
        let directions = if narrower { Some(self.directions(variant.start)?) } else { None };
        ensure!(
            variant.stages.last().is_some_and(StageRecipe::trains_head),
            "{folder}: no loss is left that trains the head"
        );
        self.run.train(Training {
            name: &folder,
            folder: self.run.options.out.join(&folder),
            identity: &identity,
            config: &self.config,
            info: &self.info,
            pooling: self.from.pooling,
            params,
            masked_lm,
            directions,
            tokenizer: &self.tokenizer,
            encoder: &self.encoder,
            stages: &variant.stages,
            teachers,
            seed,
        })
    }
}
