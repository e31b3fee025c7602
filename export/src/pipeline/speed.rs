//! A stage of `limbeck distill` with its steps timed: for the benchmark of training (`export/benches/train.rs`), which
//! compares it with PyTorch on the same models, texts and batches. No part of the interface.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tch::Device;

use super::DistillOptions;
use super::data::{TextSets, prepare};
use super::lesson::Lesson;
use super::lessons::{Lessons, Set, Source};
use super::needs::Needs;
use super::run::Run;
use super::teacher::Teacher;
use crate::arch::{Model, Params};
use crate::checkpoint;
use crate::data::Encoder;
use crate::objective::Pupil;
use crate::progress::{Output, Reporter};
use crate::recipe::Recipe;
use crate::train::{Alone, Stage, train};

/// What is trained.
pub struct Setting {
    /// Its first stage is run.
    pub recipe: Recipe,
    /// The folder of its data.
    pub data: PathBuf,
    /// Folders of finished models; the student's may hold `distill.safetensors`, the maps to the teacher's width.
    pub teacher: PathBuf,
    /// As `teacher`.
    pub student: PathBuf,
    /// Where the teacher's outputs are kept; without it the teacher runs in every step.
    pub cache: Option<PathBuf>,
    /// Scratch.
    pub out: PathBuf,
    /// Where it trains.
    pub device: Device,
    /// The student's dropout in place of its own.
    pub dropout: Option<f64>,
}

/// How it went.
#[derive(Debug, Default, Serialize)]
pub struct Timed {
    /// Computing the cache and writing it, or verifying what is there.
    pub cache_seconds: Option<f64>,
    /// Its size.
    pub cache_bytes: Option<u64>,
    /// Every step.
    pub steps: Vec<TimedStep>,
}

/// A training step.
#[derive(Debug, Serialize)]
pub struct TimedStep {
    /// Its examples, from 0, in the order of the file.
    pub indices: Vec<usize>,
    /// Tokens of text.
    pub tokens: usize,
    /// Tokens with padding.
    pub padded: usize,
    /// The loss.
    pub loss: f64,
    /// From its loss to the next step's, or to the end of the epoch: the forward passes, the backward pass, the
    /// optimizer, and the making of a batch. On a GPU what is still queued counts to a later step, until all is awaited
    /// before the first of the measured steps and after the last.
    pub seconds: f64,
}

/// Trains through `train` and `Lesson` as a run does; evaluation and saving are not counted. `started` is called before
/// the step of this number.
///
/// # Errors
/// Folders or data that do not fit.
pub fn measure(setting: &Setting, started: &dyn Fn(usize)) -> Result<Timed> {
    let Setting { recipe, device, out, .. } = setting;
    let reporter = Reporter::new(Output::Silent);
    let options = DistillOptions {
        teachers: vec![setting.teacher.clone()],
        student: None,
        data: setting.data.clone(),
        out: out.clone(),
        cache: setting.cache.clone().unwrap_or_else(|| out.join("cache")),
        masked_lm: None,
        device: *device,
        runtime: None,
        checkpoint_every: Duration::MAX,
        ablate: super::Ablate::Nothing,
        trims: Vec::new(),
        latency: None,
        only_seeds: Vec::new(),
        commit: None,
    };
    let data = prepare(recipe, &setting.data)?;
    let sets = TextSets::read(recipe, &data, &setting.data)?;
    let run = Run { recipe, options: &options, data: &data, sets: &sets, reporter: &reporter, group: &Alone };
    let stage = recipe.stages.first().context("the recipe has no stage")?;
    let teachers = [finished(&run, &setting.teacher)?];
    let mut student = finished(&run, &setting.student)?;
    if let Some(rate) = setting.dropout {
        let config = &mut student.config;
        (config.embedding_dropout, config.hidden_dropout, config.attention_dropout, config.head_dropout) =
            (rate, rate, rate, rate);
    }
    let params = with_maps(&student.params, &setting.student)?;
    let needs = Needs::of(stage, &student.config, Some(&teachers[0].config))?;
    for (name, shape) in needs.projections() {
        let found = params.get(name).map(tch::Tensor::size);
        ensure!(found.as_deref() == Some(&shape), "distill.safetensors has no `{name}` of {shape:?}, but {found:?}");
    }
    let tokens = run.encode(stage.on, &student.encoder)?;
    let before = Instant::now();
    let source = if setting.cache.is_some() { Source::Cache } else { Source::EachStep };
    let wanted = needs.teacher().context("the stage has no teacher")?;
    let lessons = Lessons::learn(&run, &teachers, stage.on, stage.from, wanted, (&tokens, &student.encoder), source)?;
    let cache_seconds = setting.cache.is_some().then(|| before.elapsed().as_secs_f64());
    let options = stage.train.as_ref().unwrap_or(&recipe.student.train);
    let model = Model::new(&params, &student.config, student.info.head).in_precision(options.precision);
    let pupil = Pupil { model: &model, goal: data.goal, labels: &data.labels, types: student.types() };
    let lesson = Lesson {
        pupil: &pupil,
        stage,
        needs: &needs,
        lessons: Some(&lessons),
        masked: None,
        replacing: None,
        params: &params,
    };
    let setting_of_stage = Stage {
        name: "speed",
        folder: out,
        params: &params,
        examples: &tokens.train,
        encoder: None,
        pad_id: student.config.pad_id,
        options,
        seed: recipe.seeds[0],
        identity: "speed",
        checkpoint_every: Duration::MAX,
        stop_before: None,
        group: &Alone,
    };
    let steps = RefCell::new(Vec::<(TimedStep, tch::Tensor, Instant)>::new());
    let end_of_step = || {
        if let Some((step, _, begun)) = steps.borrow_mut().last_mut()
            && step.seconds == 0.0
        {
            step.seconds = begun.elapsed().as_secs_f64();
        }
    };
    train(
        &setting_of_stage,
        &reporter,
        &|batch, done| {
            end_of_step();
            started(steps.borrow().len());
            let begun = Instant::now();
            let loss = lesson.loss(batch, Set::Train, done, true)?;
            let step = TimedStep {
                indices: batch.indices.clone(),
                tokens: batch.tokens,
                padded: batch.ids.numel(),
                loss: f64::NAN,
                seconds: 0.0,
            };
            // Its number is asked for at the end: on a GPU that would wait for all that is queued.
            steps.borrow_mut().push((step, loss.total.detach(), begun));
            Ok(loss)
        },
        &|| {
            wait_for(*device);
            end_of_step();
            Ok(0.0)
        },
    )?;
    crate::train::discard_checkpoint(out);
    let cache_bytes = setting.cache.is_some().then(|| lessons.bytes());
    let steps = steps.into_inner().into_iter();
    let steps = steps.map(|(step, loss, _)| TimedStep { loss: loss.double_value(&[]), ..step }).collect();
    Ok(Timed { cache_seconds, cache_bytes, steps })
}

/// Waits until a GPU has done all that it was given.
pub fn wait_for(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// A model that is ready for the task, without the demand that it be good at it: speed does not depend on that.
fn finished(run: &Run, folder: &Path) -> Result<Teacher> {
    let (config, info) = checkpoint::read_model_config(folder)?;
    let params = checkpoint::load(folder, info.head, run.options.device)?.params;
    let encoder = Encoder::new(&checkpoint::tokenizer_path(folder)?, run.recipe.max_tokens, config.vocab_size)?;
    let identity = checkpoint::model_sha256(folder)?;
    let name = folder.display().to_string();
    Ok(Teacher {
        name,
        config,
        info,
        pooling: None,
        params,
        pretrained: None,
        masked_lm: None,
        outcome: None,
        folders_sha256: [identity.clone(), identity.clone()],
        identity,
        encoder,
        precision: run.recipe.teacher.precision,
    })
}

fn with_maps(params: &Params, folder: &Path) -> Result<Params> {
    let maps = folder.join("distill.safetensors");
    Ok(params.with(if maps.is_file() { checkpoint::read_tensors(&maps)? } else { BTreeMap::new() }))
}
