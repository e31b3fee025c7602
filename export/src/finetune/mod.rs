//! Fine-tuning of an encoder on labelled data, for every task: the way to a teacher, and to a small model of its
//! layers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::arch::{Head, Model, ModelConfig, Params, Pooling, new_head};
use crate::checkpoint::{self, Directions, HeadInfo, Problem, SentencePooling};
use crate::data::{Encoder, Goal, Rows, Schema, some_labels};
use crate::files;
use crate::measure::{Machine, machine, today};
use crate::objective::Pupil;
use crate::pack::{self, TaskName};
use crate::progress::Reporter;
use crate::train::{Alone, Group, Loss, Outcome, Stage, TrainOptions, discard_checkpoint, train};

/// What `limbeck finetune` is told.
#[derive(Clone, Debug)]
pub struct FinetuneOptions {
    /// What the model will be for.
    pub task: TaskName,
    /// What it learns to give.
    pub goal: Goal,
    /// Hugging Face folder of the encoder.
    pub model: PathBuf,
    /// Layers to keep of it, evenly spaced; all when `None`.
    pub layers: Option<usize>,
    /// Labelled data.
    pub train: Vec<PathBuf>,
    /// Data that chooses; a tenth of `train` when `None`.
    pub dev: Option<PathBuf>,
    /// Columns and labels of the data.
    pub schema: Schema,
    /// Longest text in tokens, special tokens included; 128, or as many as the model has, when `None`.
    pub max_tokens: Option<usize>,
    /// Overlap of windows of long texts, in tokens, for questions.
    pub stride: usize,
    /// Training settings.
    pub options: TrainOptions,
    /// Seed of every random choice.
    pub seed: u64,
    /// Folder of the result.
    pub out: PathBuf,
    /// Where training runs.
    pub device: Device,
    /// At most this long between training checkpoints.
    pub checkpoint_every: Duration,
}

/// `finetune.json`: what was done. Written last, so that its presence means that the folder is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finetuned {
    /// Version of this schema.
    pub schema: u32,
    /// Hash of everything that decides the result.
    pub identity: String,
    /// What the model is for.
    pub task: String,
    /// What it learned to give.
    pub goal: Goal,
    /// Name of the folder that it started from.
    pub model: String,
    /// Its layers that were kept.
    pub layers: Vec<usize>,
    /// Labels in the order of the logits.
    pub labels: Vec<String>,
    /// Rows trained on.
    pub train_rows: usize,
    /// Rows that chose.
    pub dev_rows: usize,
    /// Rows of `train` that were left out because dev has their text.
    pub dropped: usize,
    /// The measure of `outcome`'s dev scores.
    pub measure: String,
    /// Longest text in tokens.
    pub max_tokens: usize,
    /// Seed.
    pub seed: u64,
    /// Training settings.
    pub options: TrainOptions,
    /// How training went.
    pub outcome: Outcome,
    /// Day.
    pub date: String,
    /// Where.
    pub machine: Machine,
    /// How long it took.
    pub wall_seconds: f64,
}

const DEV_SHARE: f64 = 0.1;
const RESULT: &str = "finetune.json";

/// Trains and writes a model folder. A run that was stopped goes on where it was; one that is done is not done again.
///
/// # Errors
/// Files, data or settings that cannot be used, by name; a loss that is not finite.
pub fn finetune(options: &FinetuneOptions, reporter: &Reporter) -> Result<Finetuned> {
    finetune_together(options, &Alone, reporter)
}

/// [`finetune`] in several processes that share `options.out` and the work of each step; the first one writes.
///
/// # Errors
/// As [`finetune`]. A process that fails must end, so that those who wait for it are ended.
pub fn finetune_together(options: &FinetuneOptions, group: &dyn Group, reporter: &Reporter) -> Result<Finetuned> {
    let leads = group.rank() == 0;
    let started = Instant::now();
    options.options.check("finetune")?;
    let (config, own) = checkpoint::read_shape(&options.model)?;
    let max_tokens = pack::fitting_tokens(options.max_tokens, &config)?;
    let Data { train: rows, dev, dropped, sha256 } = read(options)?;
    let labels = labels_for(&rows, options.goal, own.ok().as_ref())?;
    let (info, pooling) = head_for(options.goal, &labels, &options.schema.label, &options.model)?;
    let layers = match options.layers {
        None => (0..config.layers).collect(),
        Some(count) if (1..=config.layers).contains(&count) => checkpoint::evenly_spaced_layers(config.layers, count),
        Some(count) => bail!("--layers {count}: {} has {} layers", options.model.display(), config.layers),
    };
    let identity = identity(options, max_tokens, &sha256, &labels, &layers)?;
    let _lock = leads.then(|| files::lock_folder(&options.out)).transpose()?;
    let result = options.out.join(RESULT);
    if result.is_file() {
        let done: Finetuned = files::read_json(&result)?;
        ensure!(
            done.identity == identity,
            "{} holds another model, made with other data or settings; give another --out, or remove it",
            options.out.display()
        );
        reporter.note(&format!("Done before: {}", options.out.display()));
        return Ok(done);
    }
    if leads {
        reporter.log_to(&options.out.join("train.log"))?;
    }
    let names = if labels.is_empty() { String::new() } else { format!("; labels: {}", some_labels(&labels)) };
    reporter.note(&format!("Data: {} rows to train on, {} dev, {dropped} dropped{names}", rows.len(), dev.len()));

    tch::manual_seed(options.seed as i64);
    let tokenizer = checkpoint::tokenizer_path(&options.model)?;
    let encoder = Encoder::new(&tokenizer, max_tokens, config.vocab_size)?;
    let encode = |rows: &Rows| rows.encode(options.goal, &encoder, &labels, options.stride);
    let (train_set, dev_set) = (encode(&rows)?, encode(&dev)?);
    if train_set.truncated > 0 {
        reporter.note(&format!(
            "Note: {} training texts are longer than {} tokens and were cut ({} tokens lost)",
            train_set.truncated, max_tokens, train_set.tokens_dropped
        ));
    }
    let (config, params) = start(options, config, &info, &layers)?;
    let model = Model::new(&params, &config, info.head).in_precision(options.options.precision);
    let pupil = Pupil { model: &model, goal: options.goal, labels: &labels, types: config.token_types > 1 };
    let stage = Stage {
        name: "finetune",
        folder: &options.out,
        params: &params,
        examples: &train_set.examples,
        encoder: Some(&encoder),
        pad_id: config.pad_id,
        options: &options.options,
        seed: options.seed,
        identity: &identity,
        checkpoint_every: options.checkpoint_every,
        stop_before: None,
        group,
    };
    let loss = |batch: &_, _| Ok(Loss { total: pupil.loss(batch), parts: vec![] });
    let outcome =
        train(&stage, reporter, &loss, &|| Ok(pupil.score(&dev_set.examples, config.pad_id, options.device)))?;
    if leads {
        if let Some(pooling) = pooling {
            checkpoint::write_pooling(&options.out, pooling, config.hidden_size)?;
        }
        checkpoint::save(&options.out, &config, &info, &params, &tokenizer)?;
    }
    let done = Finetuned {
        schema: 1,
        identity,
        task: options.task.task().name().to_owned(),
        goal: options.goal,
        model: options.model.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned()),
        layers,
        labels,
        train_rows: rows.len(),
        dev_rows: dev.len(),
        dropped,
        measure: options.goal.measure().to_owned(),
        max_tokens,
        seed: options.seed,
        options: options.options.clone(),
        outcome,
        date: today(),
        machine: machine(),
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    if leads {
        files::write_json(&result, &done)?;
        discard_checkpoint(&options.out);
    }
    group.barrier()?;
    Ok(done)
}

struct Data {
    train: Rows,
    dev: Rows,
    dropped: usize,
    sha256: String,
}

fn read(options: &FinetuneOptions) -> Result<Data> {
    let mut hashes = String::new();
    let mut read = |role: &str, path: &Path| -> Result<Rows> {
        let rows = Rows::read(path, options.goal, &options.schema)?;
        hashes += &format!("{role} {}\n", files::sha256_file(path)?);
        Ok(rows)
    };
    let train = Rows::joined(options.train.iter().map(|path| read("train", path)))?;
    let train = train.context("no training data; give --train FILE")?;
    let (mut train, dev) = match &options.dev {
        Some(path) => (train, read("dev", path)?),
        None => train.hold_out_known(DEV_SHARE, options.goal),
    };
    let dropped = train.drop_seen_in(&dev);
    ensure!(
        !train.is_empty() && !dev.is_empty(),
        "nothing is left to train on or to choose by; give more rows or --dev"
    );
    Ok(Data { train, dev, dropped, sha256: files::sha256_hex(hashes.as_bytes()) })
}

/// The labels of the data, in the order of the model's head if that has the very same ones.
pub(crate) fn labels_for(rows: &Rows, goal: Goal, own: Option<&HeadInfo>) -> Result<Vec<String>> {
    let labels = rows.labels(goal)?;
    let same = |known: &&Vec<String>| known.len() == labels.len() && labels.iter().all(|label| known.contains(label));
    Ok(own.and_then(|own| own.labels.as_ref()).filter(same).cloned().unwrap_or(labels))
}

/// The head that gives what a goal asks for, and for embeddings the pooling: that of `model`, else the mean. `number` is
/// the name of a number.
pub(crate) fn head_for(
    goal: Goal,
    labels: &[String],
    number: &str,
    model: &Path,
) -> Result<(HeadInfo, Option<SentencePooling>)> {
    let info = |head, problem| HeadInfo { head, labels: Some(labels.to_vec()), problem };
    let count = labels.len();
    Ok(match goal {
        Goal::Class => (info(Head::Classification { labels: count }, Problem::SingleLabelClassification), None),
        Goal::Labels => (info(Head::Classification { labels: count }, Problem::MultiLabelClassification), None),
        Goal::Value => {
            let labels = Some(vec![number.to_owned()]);
            (HeadInfo { head: Head::Classification { labels: 1 }, labels, problem: Problem::Regression }, None)
        }
        Goal::Tags => (info(Head::TokenClassification { labels: count }, Problem::default()), None),
        Goal::Answers => (HeadInfo::new(Head::Span), None),
        Goal::Similarity { .. } => {
            let mean = SentencePooling { pooling: Pooling::Mean, normalize: true };
            let pooling = checkpoint::read_pooling(model)?.unwrap_or(mean);
            let head = Head::Embedding { pooling: pooling.pooling, normalize: false };
            (HeadInfo::new(head), Some(pooling))
        }
    })
}

fn identity(
    options: &FinetuneOptions,
    max_tokens: usize,
    data: &str,
    labels: &[String],
    layers: &[usize],
) -> Result<String> {
    let model = checkpoint::model_sha256(&options.model)?;
    let FinetuneOptions { task, goal, schema, stride, options, seed, .. } = options;
    let parts = (task.task(), goal, schema, max_tokens, stride, options, seed, data, labels, layers, model);
    Ok(files::sha256_hex(&serde_json::to_vec(&parts)?))
}

/// The first weights: the model's, or those of some of its layers. A head for other labels begins anew.
fn start(
    options: &FinetuneOptions,
    config: ModelConfig,
    info: &HeadInfo,
    layers: &[usize],
) -> Result<(ModelConfig, Params)> {
    let params = load_for(&options.model, &config, info, options.device)?;
    if layers.len() == config.layers {
        return Ok((config, params));
    }
    let short = ModelConfig { layers: layers.len(), ..config.clone() };
    let all = Directions::all(config.hidden_size);
    let params = checkpoint::student_from_teacher(&params, &config, &short, layers, info.head, &all)?;
    Ok((short, params))
}

/// A model's weights with a head for these labels, which begins anew if the model has another.
pub(crate) fn load_for(model: &Path, config: &ModelConfig, info: &HeadInfo, device: Device) -> Result<Params> {
    let loaded = checkpoint::load(model, info.head, device)?;
    if loaded.info.labels == info.labels {
        return Ok(loaded.params);
    }
    Ok(loaded.params.with(new_head(config, info.head, device)))
}
