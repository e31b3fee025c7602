//! Training a model through its stages, each of whose results is kept, so that a stopped run goes on where it was.

mod map_search;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::DistillOptions;
use super::data::{PreparedData, TextSets, Tokens};
use super::lesson::Lesson;
use super::lessons::{Lessons, Set, Source};
use super::masked::{MaskedText, student_names};
use super::needs::Needs;
use super::replacing::Replacing;
use super::teacher::Teacher;
use crate::arch::{Model, ModelConfig, Params};
use crate::checkpoint::{self, Directions, HeadInfo, SentencePooling};
use crate::data::{Batch, Encoder, in_order_batches};
use crate::distill::LayerMap;
use crate::files;
use crate::objective::Pupil;
use crate::progress::Reporter;
use crate::recipe::{Data, LossTerm, Recipe, StageRecipe, TeacherState, Texts, full_precision_stage};
use crate::train::{Group, Outcome, Stage, TrainOptions, discard_checkpoint, train};

/// What all trainings of a run share.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub recipe: &'a Recipe,
    pub options: &'a DistillOptions,
    pub data: &'a PreparedData,
    pub sets: &'a TextSets,
    pub reporter: &'a Reporter,
    /// Who trains together.
    pub group: &'a dyn Group,
}

/// A model to be trained.
pub(super) struct Training<'a> {
    /// For messages: `teacher`, `student`, `control`.
    pub name: &'a str,
    /// Its folder.
    pub folder: PathBuf,
    /// Hash of all that decides it but its stages and seed.
    pub identity: &'a str,
    pub config: &'a ModelConfig,
    pub info: &'a HeadInfo,
    pub pooling: Option<SentencePooling>,
    /// First weights, trained in place.
    pub params: Params,
    /// Its masked-LM head for stages that look at its guesses, by names of such a head; empty without such stages.
    pub masked_lm: BTreeMap<String, Tensor>,
    /// How its hidden states lie in the teacher's, where they are narrower and that is known.
    pub directions: Option<&'a Directions>,
    pub tokenizer: &'a Path,
    pub encoder: &'a Encoder,
    pub stages: &'a [StageRecipe],
    pub teachers: &'a [Teacher],
    pub seed: u64,
}

/// A model that was trained.
pub(super) struct Trained {
    pub folder: PathBuf,
    /// The same student before the stages that round its weights, if there is one.
    fp32: Option<PathBuf>,
    /// How its stages went, by name.
    pub stages: Vec<(String, Outcome)>,
    /// Layer maps that were searched, by stage.
    pub layer_maps: BTreeMap<String, LayerMap>,
}

impl Trained {
    /// The student that fewer bits are measured against: before its weights were rounded in training, if they were.
    pub(super) fn fp32(&self) -> &Path {
        self.fp32.as_deref().unwrap_or(&self.folder)
    }

    /// Its score on dev.
    pub(super) fn dev(&self) -> f64 {
        self.stages.last().map_or(0.0, |(_, outcome)| outcome.best_dev)
    }
}

/// How the stages of a model went, by name.
type Outcomes = Vec<(String, Outcome)>;

/// `stage.json`: written last, so that its presence means that what lies beside it is whole.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Finished {
    identity: String,
    stages: Outcomes,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    layer_maps: BTreeMap<String, LayerMap>,
}

const MARKER: &str = "stage.json";
const WEIGHTS: &str = "weights.safetensors";
/// The folder, in that of a student trained for fewer bits, of the same student before.
pub const FULL_PRECISION: &str = "fp32";
const EVALUATION_BATCH: usize = 64;

/// One stage on labels alone: how teachers and controls are trained.
pub(super) fn on_labels(options: &TrainOptions) -> Vec<StageRecipe> {
    vec![StageRecipe {
        name: "labels".to_owned(),
        on: Texts::Train,
        from: TeacherState::Task,
        layer_map: Default::default(),
        masking: None,
        quantize: None,
        replacing: None,
        losses: vec![LossTerm::Labels { weight: crate::recipe::Scheduled::Constant(1.0) }],
        train: Some(options.clone()),
    }]
}

impl Run<'_> {
    /// Whether this process writes what all have made.
    pub(super) fn leads(&self) -> bool {
        self.group.rank() == 0
    }

    /// What decides the task, whichever model learns it.
    pub(super) fn task_identity(&self) -> Result<String> {
        let Recipe { max_tokens, stride, .. } = self.recipe;
        // What only some stages read is hashed with them.
        let data = Data { unlabelled: Vec::new(), corpus: Vec::new(), corpus_filter: None, ..self.recipe.data.clone() };
        let parts = (&self.data.sha256, self.data.goal, &self.data.labels, max_tokens, stride, data);
        Ok(files::sha256_hex(&serde_json::to_vec(&parts)?))
    }

    /// A set of texts in tokens.
    pub(super) fn encode(&self, on: Texts, encoder: &Encoder) -> Result<Tokens> {
        self.sets.encode(on, self.data, encoder, self.recipe.stride)
    }

    /// Trains a model through its stages and saves it; what an earlier run finished is taken from there.
    ///
    /// # Errors
    /// Whatever a stage finds wrong. What was finished stays.
    pub(super) fn train(&self, training: Training) -> Result<Trained> {
        let Training { name, folder, config, info, stages, seed, .. } = &training;
        let mut identities = Vec::new();
        let mut identity = files::sha256_hex(format!("{} {seed}", training.identity).as_bytes());
        let inputs = |stage: &StageRecipe| -> Result<serde_json::Value> {
            let texts = match stage.on {
                Texts::Corpus => self.sets.corpus_sha256.as_ref(),
                Texts::Unlabelled => self.sets.unlabelled.as_ref().map(|all| &all.sha256),
                Texts::Train | Texts::Augmented => None,
            };
            let augmentation = self.sets.augmentation.as_ref().filter(|_| stage.on == Texts::Augmented);
            let taught = stage.losses.iter().any(|loss| !matches!(loss, LossTerm::Labels { .. }));
            let answers = self.sets.answers.as_ref().filter(|_| taught).map(|answers| &answers.sha256);
            let filter = self.recipe.data.corpus_filter.filter(|_| stage.on == Texts::Corpus);
            Ok(serde_json::to_value((stage, augmentation, texts, filter, answers))?)
        };
        for stage in *stages {
            let teachers: Vec<String> = training.teachers.iter().map(Teacher::taught_identity).collect();
            // What judges the maps that are tried.
            let judge = stages.last().filter(|_| searches(stage)).map(inputs).transpose()?;
            let parts = (&identity, inputs(stage)?, judge, teachers, &self.recipe.teacher.weights);
            identity = files::sha256_hex(&serde_json::to_vec(&parts)?);
            identities.push(identity.clone());
        }
        let before_rounding = full_precision_stage(stages);
        let fp32 = before_rounding.map(|_| folder.join(FULL_PRECISION));
        let last = identities.last().context("nothing to train: there are no stages")?;
        // What it is measured against is of the same stages, or is made again from what they left.
        let kept =
            before_rounding.is_none_or(|index| finished(&folder.join(FULL_PRECISION), &identities[index]).is_some());
        if let Some(done) = finished(folder, last).filter(|_| kept) {
            self.copy_saved(&training)?;
            if self.leads() {
                // Of a run that was stopped just after it was done.
                discard_checkpoint(folder);
            }
            let taken = folder.file_name().unwrap_or_default().to_string_lossy();
            self.reporter.note(&format!("  {name}: done before, taken from the folder {taken}"));
            return Ok(Trained { folder: folder.clone(), fp32, stages: done.stages, layer_maps: done.layer_maps });
        }
        let needs: Vec<Needs> = stages
            .iter()
            .map(|stage| Needs::of(stage, config, training.teachers.first().map(|teacher| &teacher.config)))
            .collect::<Result<_>>()?;
        let params = with_helpers(&training, &needs);
        let save = |own: &Path, params: &Params| {
            if let Some(pooling) = training.pooling {
                checkpoint::write_pooling(own, pooling, config.hidden_size)?;
            }
            checkpoint::save(own, config, info, params, training.tokenizer)
        };
        let mark = |own: &Path, index: usize, so_far: &Finished| {
            files::write_json(&own.join(MARKER), &Finished { identity: identities[index].clone(), ..so_far.clone() })
        };
        let save_before_rounding = |index: usize, params: &Params, so_far: &Finished| -> Result<()> {
            let Some(own) = fp32.as_ref().filter(|_| before_rounding == Some(index) && self.leads()) else {
                return Ok(());
            };
            save(own, params)?;
            mark(own, index, so_far)
        };
        let mut so_far = Finished::default();
        for (index, stage) in stages.iter().enumerate() {
            let is_last = index + 1 == stages.len();
            let own = if is_last { folder.clone() } else { folder.join("stages").join(&stage.name) };
            // Maps and heads of the stages before are dropped.
            let helps = |name: &str| needs[index..].iter().any(|needs| needs.trains(name));
            let kept = params.iter().filter(|(name, _)| !name.starts_with(HELPER) || helps(name));
            let params = Params::handles(kept, params.device());
            if let Some(done) = finished(&own, &identities[index]) {
                self.reporter.note(&format!("  {name}, {}: done before", stage.name));
                so_far = done;
                if is_last {
                    self.copy_saved(&training)?;
                } else {
                    params.copy_from(&checkpoint::read_tensors(&own.join(WEIGHTS))?)?;
                    save_before_rounding(index, &params, &so_far)?;
                }
                continue;
            }
            if self.leads() {
                // What lies here may be of other settings; it must not vouch for weights that are written now.
                files::remove_if_there(&own.join(MARKER))?;
            }
            let outcome = if searches(stage) {
                let found = self.search_map(&training, index, &identities[index], &params, &own)?;
                so_far.layer_maps.insert(stage.name.clone(), found.clone());
                let found = StageRecipe { layer_map: found, ..stage.clone() };
                let needs = Needs::of(&found, config, training.teachers.first().map(|teacher| &teacher.config))?;
                self.stage(&training, &found, &needs, &params, &own, &identities[index])?
            } else {
                self.stage(&training, stage, &needs[index], &params, &own, &identities[index])?
            };
            so_far.stages.push((stage.name.clone(), outcome));
            if !self.leads() {
                continue;
            }
            save_before_rounding(index, &params, &so_far)?;
            if is_last {
                save(&own, &params)?;
                if before_rounding.is_none() {
                    // Of a recipe that this one has taken the place of.
                    let _ = std::fs::remove_dir_all(folder.join(FULL_PRECISION));
                }
                if stage.quantize.is_some() {
                    checkpoint::mark_trained_for(&own, stage.quantize)?;
                }
            } else {
                let tensors: Vec<_> =
                    params.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect();
                checkpoint::write_tensors(&own.join(WEIGHTS), &tensors, &BTreeMap::new())?;
            }
            mark(&own, index, &so_far)?;
            discard_checkpoint(&own);
        }
        // Nobody looks for what the first process has not written yet.
        self.group.barrier()?;
        Ok(Trained { folder: folder.clone(), fp32, stages: so_far.stages, layer_maps: so_far.layer_maps })
    }

    /// The weights of a model that was saved.
    fn copy_saved(&self, training: &Training) -> Result<()> {
        let Training { folder, config, info, params, .. } = training;
        let arrays = checkpoint::read_params(folder, config, info.head)?;
        let tensors = arrays.iter().map(|(name, array)| (name.clone(), checkpoint::tensor_of(array))).collect();
        params.copy_from(&tensors).with_context(|| format!("in {}", folder.display()))
    }

    fn stage(
        &self,
        training: &Training,
        stage: &StageRecipe,
        needs: &Needs,
        params: &Params,
        folder: &Path,
        identity: &str,
    ) -> Result<Outcome> {
        let Training { config, info, encoder, seed, .. } = *training;
        let options = stage.train.as_ref().unwrap_or(&self.recipe.student.train);
        let device = self.options.device;
        let tokens = self.encode(stage.on, encoder)?;
        if let Some(count) = &tokens.count {
            self.reporter.note(&format!("  {}, corpus: {}", stage.name, self.sets.told(count)));
        }
        let masked = match stage.masks() {
            true => Some(MaskedText::new(
                training,
                stage,
                needs,
                &params.fake_quantized(stage.quantize),
                &tokens,
                options.precision,
            )?),
            false => None,
        };
        let lessons = match needs.teacher() {
            Some(wanted) if masked.is_none() => Some(Lessons::learn(
                self,
                training.teachers,
                stage.on,
                stage.from,
                wanted,
                (&tokens, encoder),
                Source::Cache,
            )?),
            _ => None,
        };
        let model =
            Model::new(&params.fake_quantized(stage.quantize), config, info.head).in_precision(options.precision);
        let pupil =
            Pupil { model: &model, goal: self.data.goal, labels: &self.data.labels, types: config.token_types > 1 };
        let replacing = match (stage.replacing, training.teachers.first()) {
            (Some(rate), Some(teacher)) => {
                let from = (&teacher.params, &teacher.config);
                Some(Replacing::new((params, config), from, info.head, rate, options.precision)?)
            }
            _ => None,
        };
        let lesson = Lesson {
            pupil: &pupil,
            stage,
            needs,
            lessons: lessons.as_ref(),
            masked: masked.as_ref(),
            replacing: replacing.as_ref(),
            params,
        };
        let title = if training.stages.len() == 1 {
            training.name.to_owned()
        } else {
            format!("{}, {}", training.name, stage.name)
        };
        let setting = Stage {
            name: &title,
            folder,
            params,
            examples: &tokens.train,
            encoder: Some(encoder),
            pad_id: config.pad_id,
            options,
            seed,
            identity,
            checkpoint_every: self.options.checkpoint_every,
            stop_before: None,
            group: self.group,
        };
        let by_head = stage.trains_head();
        let score = || {
            if by_head || masked.is_none() && !lessons.as_ref().is_some_and(Lessons::has_dev) {
                return Ok(pupil.score(&tokens.dev, config.pad_id, device));
            }
            // The head is not trained yet: how like the teacher the layers, or guesses of masked words, are on dev; higher
            // is better.
            let lengths: Vec<usize> = tokens.dev.iter().map(|example| example.ids.len()).collect();
            let (mut sum, mut count) = (0.0, 0.0);
            for indices in in_order_batches(&lengths, EVALUATION_BATCH) {
                let batch = Batch::new(&tokens.dev, indices, config.pad_id, device);
                let rows = batch.indices.len() as f64;
                sum += lesson.loss(&batch, Set::Dev, 1.0, false)?.total.double_value(&[]) * rows;
                count += rows;
            }
            Ok(-sum / f64::max(count, 1.0))
        };
        train(&setting, self.reporter, &|batch, done| lesson.loss(batch, Set::Train, done, true), &score)
    }
}

/// Whether a stage's layer map is found by trials.
fn searches(stage: &StageRecipe) -> bool {
    stage.layer_map == LayerMap::Search && stage.losses.iter().any(LossTerm::reads_map)
}

fn finished(folder: &Path, identity: &str) -> Option<Finished> {
    let marker: Finished = files::read_json(&folder.join(MARKER)).ok()?;
    (marker.identity == identity).then_some(marker)
}

/// What stands before the names of parameters that only help to train.
const HELPER: &str = "distill.";

/// The model's parameters, the maps from its width to the teacher's that its stages learn, and its masked-LM head.
fn with_helpers(training: &Training, needs: &[Needs]) -> Params {
    let mut names: Vec<(&str, [i64; 2])> = needs.iter().flat_map(Needs::projections).collect();
    names.sort_unstable();
    names.dedup();
    let maps = names.into_iter().map(|(name, shape)| {
        let start = match training.directions {
            Some(directions) if directions.matrix.size() == shape => directions.matrix.copy(),
            _ => Tensor::randn(shape, (Kind::Float, tch::Device::Cpu)) / (shape[1] as f64).sqrt(),
        };
        (name.to_owned(), start)
    });
    training.params.with(maps.chain(student_names(&training.masked_lm)))
}
