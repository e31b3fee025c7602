//! The teachers: fine-tuned here, ready-made, or only their answers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};

use super::masked::masked_lm_of;
use super::run::{Run, Training, on_labels};
use crate::arch::{Capture, Head, Model, ModelConfig, Params};
use crate::checkpoint::{self, HeadInfo, SentencePooling};
use crate::data::{Batch, EncodedExample, Encoder, Goal, Rows};
use crate::files;
use crate::finetune::{head_for, load_for};
use crate::objective::Pupil;
use crate::progress::Reporter;
use crate::recipe::{StageRecipe, TeacherSource, TeacherState, Texts};
use crate::train::{Outcome, Precision};

/// A teacher whose weights are here.
pub(super) struct Teacher {
    /// `teacher`, `teacher-2`: its folder below the run's.
    pub name: String,
    pub config: ModelConfig,
    pub info: HeadInfo,
    pub pooling: Option<SentencePooling>,
    pub params: Params,
    /// The encoder before it was fine-tuned, with a head that was never trained.
    pub pretrained: Option<Params>,
    /// The masked language model that the encoder came as, where a stage looks at its guesses.
    pub masked_lm: Option<Params>,
    /// How its fine-tuning went.
    pub outcome: Option<Outcome>,
    /// Hash of the folders that it came from and is kept in.
    pub identity: String,
    /// Hash of the folder that holds it as a teacher of the task, and of that which it came in.
    pub folders_sha256: [String; 2],
    pub encoder: Encoder,
    /// What it answers in where students learn from it.
    pub precision: Precision,
}

impl Teacher {
    /// Whether it reads token types.
    pub(super) fn types(&self) -> bool {
        self.config.token_types > 1
    }

    pub(super) fn model(&self, state: TeacherState) -> Result<Model> {
        let params = match state {
            TeacherState::Task => &self.params,
            TeacherState::Pretrained => {
                self.pretrained.as_ref().context("there are no weights from before the teacher was fine-tuned")?
            }
        };
        Ok(Model::new(params, &self.config, self.info.head))
    }

    /// Hash of what decides its outputs for given tokens: the weights that it has, not what they were made by, since
    /// another number of threads or another device makes others.
    pub(super) fn sha256(&self, state: TeacherState) -> String {
        let folder = &self.folders_sha256[usize::from(state == TeacherState::Pretrained)];
        files::sha256_hex(self.as_answered(format!("{folder} {}", self.info.head.name())).as_bytes())
    }

    /// Hash of all that a student can have of it.
    pub(super) fn taught_identity(&self) -> String {
        self.as_answered(self.identity.clone())
    }

    /// A hash of the model, and what it answers in.
    fn as_answered(&self, model: String) -> String {
        match self.precision {
            Precision::Fp32 => model,
            Precision::Bf16 => format!("{model} in bf16"),
        }
    }

    /// Makes the teacher of one folder.
    ///
    /// # Errors
    /// A folder that cannot be used; a teacher that has nothing to give.
    pub(super) fn make(run: &Run, folder: &Path, index: usize) -> Result<Self> {
        let Run { recipe, data, options, reporter, .. } = *run;
        let name = if index == 0 { "teacher".to_owned() } else { format!("teacher-{}", index + 1) };
        let (config, _) = checkpoint::read_shape(folder)?;
        let number = &recipe.data.columns.label;
        let (info, pooling) = head_for(data.goal, &data.labels, number, folder)?;
        let model = checkpoint::model_sha256(folder)?;
        let tokenizer = checkpoint::tokenizer_path(folder)?;
        let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
        let precision = recipe.teacher.precision;
        // A device that has it not is told of now.
        drop(precision.enter(options.device)?);
        if recipe.teacher.source == TeacherSource::Finished {
            let params = checkpoint::load(folder, info.head, options.device)?.params;
            let teacher = Self {
                name,
                config,
                info,
                pooling,
                params,
                pretrained: None,
                masked_lm: None,
                outcome: None,
                identity: files::sha256_hex(format!("finished {model}").as_bytes()),
                folders_sha256: [model.clone(), model],
                encoder,
                precision,
            };
            teacher.check(run, teacher.dev_score(run)?)?;
            return Ok(teacher);
        }
        tch::manual_seed(recipe.seeds[0] as i64);
        // The teacher comes as an encoder: a head of another task or other labels is not ours to keep.
        let params = load_for(folder, &config, &info, options.device)?;
        let pretrained = params.deep_clone();
        // Layers and masked words are the first teacher's.
        let guesses = index == 0 && recipe.stages.iter().any(StageRecipe::guesses);
        let masked_lm = if guesses { masked_lm_of(folder, &pretrained, options.device)? } else { None };
        let identity = files::sha256_hex(&serde_json::to_vec(&(
            "finetune",
            &model,
            run.task_identity()?,
            &recipe.teacher.train,
            recipe.seeds[0],
        ))?);
        let mut teacher = Self {
            name,
            config,
            info,
            pooling,
            params,
            pretrained: Some(pretrained),
            masked_lm,
            outcome: None,
            identity: String::new(),
            folders_sha256: [String::new(), model.clone()],
            encoder,
            precision,
        };
        let kept = options.out.join(&teacher.name);
        let named = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        reporter.note(&format!("Teacher: fine-tuning {named} on the labels"));
        let trained = run.train(Training {
            name: &teacher.name,
            folder: kept.clone(),
            identity: &identity,
            config: &teacher.config,
            info: &teacher.info,
            pooling: teacher.pooling,
            params: teacher.params.with([]),
            masked_lm: BTreeMap::new(),
            directions: None,
            tokenizer: &tokenizer,
            encoder: &teacher.encoder,
            stages: &on_labels(&recipe.teacher.train),
            teachers: &[],
            seed: recipe.seeds[0],
        })?;
        teacher.check(run, trained.dev())?;
        let task = checkpoint::model_sha256(&kept)?;
        teacher.identity = files::sha256_hex(format!("finetuned {model} {task}").as_bytes());
        teacher.folders_sha256[0] = task;
        teacher.outcome = trained.stages.into_iter().next().map(|(_, outcome)| outcome);
        Ok(teacher)
    }

    /// An encoder that is no teacher: what a student starts from.
    ///
    /// # Errors
    /// A folder that cannot be used.
    pub(super) fn untrained(run: &Run, folder: &Path) -> Result<Self> {
        let Run { recipe, data, options, .. } = *run;
        let (config, _) = checkpoint::read_shape(folder)?;
        let (info, pooling) = head_for(data.goal, &data.labels, &recipe.data.columns.label, folder)?;
        let encoder = Encoder::new(&checkpoint::tokenizer_path(folder)?, recipe.max_tokens, config.vocab_size)?;
        tch::manual_seed(recipe.seeds[0] as i64);
        let params = load_for(folder, &config, &info, options.device)?;
        let model = checkpoint::model_sha256(folder)?;
        let pretrained = params.deep_clone();
        let guesses = recipe.stages.iter().any(StageRecipe::guesses);
        let masked_lm = if guesses { masked_lm_of(folder, &pretrained, options.device)? } else { None };
        Ok(Self {
            name: "encoder".to_owned(),
            config,
            info,
            pooling,
            params,
            pretrained: Some(pretrained),
            masked_lm,
            outcome: None,
            identity: files::sha256_hex(format!("encoder {model}").as_bytes()),
            folders_sha256: [model.clone(), model],
            encoder,
            precision: Precision::Fp32,
        })
    }

    fn dev_score(&self, run: &Run) -> Result<f64> {
        let model = self.model(TeacherState::Task)?;
        let tokens = run.encode(Texts::Train, &self.encoder)?;
        let pupil = Pupil { model: &model, goal: run.data.goal, labels: &run.data.labels, types: self.types() };
        Ok(tch::no_grad(|| pupil.score(&tokens.dev, self.config.pad_id, run.options.device)))
    }

    fn check(&self, run: &Run, dev: f64) -> Result<()> {
        above_chance(&self.name, run.data.goal, "dev", dev, run.data.chance_on_dev())
            .map_err(|error| anyhow::anyhow!("{error}; check the labels with `limbeck check`, or train longer"))
    }
}

/// By how many points of 100 a teacher must beat what needs no model: 2, or a quarter of what there is to gain where that is
/// less, as of labels that nearly all rows have.
pub(crate) fn margin(chance: f64) -> f64 {
    const MOST: f64 = 2.0;
    if chance < 1.0 { MOST.min((1.0 - chance) * 25.0) } else { MOST }
}

/// A teacher must beat what needs no model, or there is nothing to distil.
pub(crate) fn above_chance(name: &str, goal: Goal, on: &str, score: f64, chance: f64) -> Result<()> {
    let what = if goal == Goal::Class { "the largest class alone" } else { "chance" };
    ensure!(
        (score - chance) * 100.0 >= margin(chance) - 1e-9,
        "{name}: {} {:.1} on {on}, and {what} {:.1}: there is nothing to distil",
        goal.measure(),
        score * 100.0,
        chance * 100.0
    );
    Ok(())
}

/// The labels of the data; those of a finished teacher, in its order, where it has all of them and perhaps more: few rows do
/// not show every label.
///
/// # Errors
/// Rows without labels.
pub(crate) fn labels_of_finished(rows: &Rows, goal: Goal, own: Option<&HeadInfo>) -> Result<Vec<String>> {
    let labels = rows.labels(goal)?;
    let known = own.and_then(|own| own.labels.as_ref());
    Ok(known.filter(|known| labels.iter().all(|label| known.contains(label))).cloned().unwrap_or(labels))
}

/// Refuses a finished teacher with another head, other labels, or the labels in another order.
pub(crate) fn made_for(own: &HeadInfo, info: &HeadInfo, folder: &Path) -> Result<()> {
    ensure!(
        own.head == info.head && own.labels == info.labels || matches!(info.head, Head::Embedding { .. }),
        "{} was not made for this task: it has a {} head{}, the data need a {} head{}",
        folder.display(),
        own.head.name(),
        some(&own.labels),
        info.head.name(),
        some(&info.labels)
    );
    Ok(())
}

fn some(labels: &Option<Vec<String>>) -> String {
    labels.as_ref().map_or(String::new(), |labels| format!(" for {}", crate::data::some_labels(labels)))
}

/// The second moment of a teacher's hidden states, embeddings and all layers, over some texts: `[H, H]`, fp64.
pub(super) fn second_moment(
    params: &Params,
    teacher: &Teacher,
    examples: &[EncodedExample],
    device: Device,
    reporter: &Reporter,
) -> Result<Tensor> {
    let model = Model::new(params, &teacher.config, teacher.info.head);
    let width = teacher.config.hidden_size as i64;
    let mut sum = Tensor::zeros([width, width], (Kind::Double, Device::Cpu));
    let capture = Capture { hidden_states: true, ..Capture::default() };
    let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
    let bar = reporter.bar("directions", examples.len() as u64, 0);
    let _guard = tch::no_grad_guard();
    let mut done = 0;
    for indices in crate::data::in_order_batches(&lengths, 64) {
        let batch = Batch::new(examples, indices, teacher.config.pad_id, device);
        let types = batch.types.as_ref().filter(|_| teacher.types());
        let output = model.forward(&batch.ids, &batch.mask, types, &capture, false);
        let keep = batch.float_mask();
        for state in &output.encoded.hidden_states {
            let rows = (state * &keep).reshape([-1, width]);
            sum += rows.tr().matmul(&rows).to_device(Device::Cpu).to_kind(Kind::Double);
        }
        done += batch.indices.len() as u64;
        bar.advance(done, "teacher");
    }
    bar.finish();
    Ok(sum)
}
