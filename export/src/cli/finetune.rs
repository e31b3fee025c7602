use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use limbeck_export::data::{Goal, LabelKind};
use limbeck_export::finetune::{FinetuneOptions, Finetuned, finetune_together};
use limbeck_export::pack::TaskName;
use limbeck_export::train::{OptimizerOptions, Precision, TrainOptions};

use super::Columns;
use super::parallel::Parallel;

/// Fine-tune an encoder, or some of its layers, on labelled data of any task
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck finetune --task text-classification --model all-minilm-l6-v2 --train train.csv --label-column category --out intents\n  \
    limbeck finetune --task pair-classification --model all-minilm-l6-v2 --train rte.tsv --pair-column hypothesis --out nli\n  \
    limbeck finetune --task token-classification --model all-minilm-l6-v2 --train train.conll --dev dev.conll --layers 3 --out ner\n  \
    limbeck finetune --task question-answering --model all-minilm-l6-v2 --train squad.json --max-tokens 384 --out reader\n\n\
    Texts and pairs come as jsonl, json, csv or tsv; tagged words as CoNLL (word, tab, tag; an empty line between texts);\n\
    questions in the shape of SQuAD. Dev chooses the best epoch; without --dev a tenth of the training data does.\n\
    A run that was stopped goes on where it was when started again with the same options.")]
pub(super) struct Finetune {
    /// What the model will be for
    #[arg(long, value_enum)]
    task: TaskName,
    /// Labels are numbers (regression)
    #[arg(long, conflicts_with = "several_labels")]
    numbers: bool,
    /// Rows may have several labels or none: a JSON array, or `|` between them
    #[arg(long)]
    several_labels: bool,
    /// Hugging Face folder of the encoder
    #[arg(long)]
    model: PathBuf,
    /// Keep so many of its layers, evenly spaced; default: all
    #[arg(long)]
    layers: Option<usize>,
    /// Labelled data; may be repeated
    #[arg(long, required = true)]
    train: Vec<PathBuf>,
    /// Labelled data that chooses the best epoch
    #[arg(long)]
    dev: Option<PathBuf>,
    /// Folder for the result
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    columns: Columns,
    /// For sentence embeddings: the label of texts that mean the same (those that have nothing in common have 0)
    #[arg(long, default_value_t = 5.0)]
    highest: f64,
    /// Longest text in tokens, special tokens included; default: 128, or what the model has if that is less
    #[arg(long)]
    max_tokens: Option<usize>,
    /// Overlap of the windows of a long text, in tokens, for questions
    #[arg(long, default_value_t = 64)]
    stride: usize,
    /// Passes over the training data
    #[arg(long, default_value_t = 3)]
    epochs: usize,
    /// Examples a step
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Peak learning rate
    #[arg(long, default_value_t = 5e-5)]
    learning_rate: f64,
    /// Share of the steps that warm up
    #[arg(long, default_value_t = 0.1)]
    warmup: f64,
    /// Decay of weights
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f64,
    /// What products of matrices are computed in: fp32, or bf16, which is faster on processors and GPUs that have it
    #[arg(long, default_value = "fp32")]
    precision: Precision,
    /// Seed of every random choice
    #[arg(long, default_value_t = 7)]
    seed: u64,
    #[command(flatten)]
    parallel: Parallel,
    /// Seconds between training checkpoints, at most
    #[arg(long, default_value_t = 30)]
    checkpoint_seconds: u64,
    /// JSON lines of progress on standard output, the result last
    #[arg(long)]
    json: bool,
}

impl Finetune {
    fn goal(&self) -> Result<Goal> {
        let labels = match (self.numbers, self.several_labels) {
            (true, _) => LabelKind::Number,
            (_, true) => LabelKind::Several,
            _ => LabelKind::One,
        };
        Goal::of_task(self.task, labels, self.highest)
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        limbeck_export::memory::keep_freed_memory();
        let goal = self.goal()?;
        let processes = self.parallel.join()?;
        let schema = self.columns.schema_for(goal, &self.task.task())?;
        let optimizer = OptimizerOptions { weight_decay: self.weight_decay, ..OptimizerOptions::default() };
        let options = FinetuneOptions {
            task: self.task,
            goal,
            model: self.model,
            layers: self.layers,
            train: self.train,
            dev: self.dev,
            schema,
            max_tokens: self.max_tokens,
            stride: self.stride,
            options: TrainOptions {
                epochs: self.epochs,
                batch_size: self.batch_size,
                learning_rate: self.learning_rate,
                warmup: self.warmup,
                precision: self.precision,
                optimizer,
                ..TrainOptions::default()
            },
            seed: self.seed,
            out: self.out,
            device: processes.device,
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
        };
        let (leads, reporter) = (processes.leads(), processes.reporter(self.json));
        let done = finetune_together(&options, processes.group.group(), &reporter)?;
        processes.group.finish();
        if !leads {
            return Ok(ExitCode::SUCCESS);
        }
        if self.json {
            reporter.event("finetuned", &done);
        } else {
            let out = options.out.display();
            let Finetuned { measure, outcome, .. } = &done;
            super::print(&format!(
                "{out}: {measure} {:.4} on dev (epoch {} of {})\n\
                 Next: limbeck pack {out} -o {out}.limbeck --task {} --max-tokens {}\n",
                outcome.best_dev, outcome.best_epoch, done.options.epochs, done.task, done.max_tokens
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
