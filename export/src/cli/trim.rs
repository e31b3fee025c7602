use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand};
use limbeck_export::data::{Goal, Rows, read_text};
use limbeck_export::pack::{PackOptions, TaskName, draft};
use limbeck_export::progress::Reporter;
use limbeck_export::trim::{StructureReport, trim_ffn, trim_heads, trim_layers, trim_vocabulary};
use serde_json::json;

use super::Columns;

/// Make a model smaller: fewer tokens, feed-forward units, attention heads or layers
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck trim vocabulary out/student --corpus train.jsonl --out out/small\n  \
    limbeck trim vocabulary out/student --corpus forum.txt --corpus train.jsonl --min-count 3 --out out/small\n  \
    limbeck trim ffn out/student --size 768 --data dev.jsonl --out out/small\n  \
    limbeck trim heads out/student --count 8 --data dev.jsonl --out out/small\n  \
    limbeck trim layers out/student --count 3 --data dev.jsonl --out out/small")]
pub(super) struct Trim {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Vocabulary(Vocabulary),
    Ffn(Ffn),
    Heads(Heads),
    Layers(Layers),
}

/// Leave out the tokens that a corpus does not have
///
/// Special tokens, single characters and single continuations stay, so every text still has an encoding: a word whose
/// token was left out is read in pieces. Texts whose tokens are all kept give the same outputs as before.
#[derive(Args)]
struct Vocabulary {
    /// Hugging Face model folder
    model: PathBuf,
    /// Texts of the kind that the model is for: a .txt file with one a line, or data with a text column; may be
    /// repeated
    #[arg(long, required = true)]
    corpus: Vec<PathBuf>,
    /// Keep tokens that occur at least so often
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    min_count: u64,
    /// Folder for the smaller model
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    columns: Columns,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

/// Leave out the feed-forward units that change the loss on labelled data least (first-order Taylor)
///
/// The folder is to be trained again with `limbeck finetune` or as the student of `limbeck distill`.
#[derive(Args)]
struct Ffn {
    /// Units to be left in each block
    #[arg(long)]
    size: usize,
    #[command(flatten)]
    data: Measured,
}

/// Leave out the attention heads that change the loss on labelled data least (first-order Taylor)
///
/// The folder is to be trained again with `limbeck finetune` or as the student of `limbeck distill`. Its heads are as wide as
/// before, which config.json says under `limbeck`; transformers cannot load such a model.
#[derive(Args)]
struct Heads {
    /// Heads to be left in each layer
    #[arg(long)]
    count: usize,
    #[command(flatten)]
    data: Measured,
}

/// Leave out the layers whose absence costs the least loss on labelled data, one after the other
///
/// The folder is to be trained again with `limbeck finetune` or as the student of `limbeck distill`.
#[derive(Args)]
struct Layers {
    /// Layers to be left
    #[arg(long)]
    count: usize,
    #[command(flatten)]
    data: Measured,
}

/// A model, and data to measure it on.
#[derive(Args)]
struct Measured {
    /// Hugging Face model folder
    model: PathBuf,
    /// Labelled data (dev, not test)
    #[arg(long)]
    data: PathBuf,
    /// Folder for the smaller model
    #[arg(long)]
    out: PathBuf,
    /// What the model is for; default: what its head says
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    #[command(flatten)]
    columns: Columns,
    /// Of embeddings: the label of texts that mean the same
    #[arg(long, default_value_t = 5.0)]
    highest: f64,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Measured {
    fn run(
        &self,
        what: &str,
        trim: impl FnOnce(&Path, &Rows, Goal, &Path, &Reporter) -> Result<StructureReport>,
    ) -> Result<ExitCode> {
        let options = PackOptions { task: self.task, ..PackOptions::default() };
        let manifest = draft(&self.model, &options)?.manifest;
        let (goal, schema) = self.columns.goal_of(&manifest)?;
        let goal = match goal {
            Goal::Similarity { .. } => {
                ensure!(self.highest > 0.0 && self.highest.is_finite(), "--highest must be above 0");
                Goal::Similarity { highest: self.highest }
            }
            other => other,
        };
        let rows = Rows::read(&self.data, goal, &schema)?;
        let report = trim(&self.model, &rows, goal, &self.out, &super::reporter(false))?;
        if self.json {
            super::print_json(&json!({"model": self.out, "report": report}))?;
            return Ok(ExitCode::SUCCESS);
        }
        let layers: Vec<String> = report.layers.iter().map(ToString::to_string).collect();
        let which = if layers.is_empty() { String::new() } else { format!(" ({})", layers.join(", ")) };
        super::print(&format!(
            "{}: {} of {} {what}{which}, {:.1} of {:.1} million parameters\n{} {:.4} before, {:.4} now, on {} rows\n\
             Next: limbeck finetune --task {} --model {} --train train.jsonl --out trained\n",
            self.out.display(),
            report.after,
            report.before,
            report.parameters_after as f64 / 1e6,
            report.parameters_before as f64 / 1e6,
            report.measure,
            report.score_before,
            report.score_after,
            report.rows,
            manifest.task.name(),
            self.out.display()
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Trim {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.what {
            What::Vocabulary(vocabulary) => vocabulary.run(),
            What::Ffn(ffn) => ffn.data.run("units a block", |folder, rows, goal, out, reporter| {
                trim_ffn(folder, rows, goal, ffn.size, out, reporter)
            }),
            What::Heads(heads) => heads.data.run("heads a layer", |folder, rows, goal, out, reporter| {
                trim_heads(folder, rows, goal, heads.count, out, reporter)
            }),
            What::Layers(layers) => layers.data.run("layers", |folder, rows, goal, out, reporter| {
                trim_layers(folder, rows, goal, layers.count, out, reporter)
            }),
        }
    }
}

impl Vocabulary {
    fn run(self) -> Result<ExitCode> {
        let mut texts = Vec::new();
        for file in &self.corpus {
            if file.extension().is_some_and(|ending| ending == "txt") {
                let lines = read_text(file)?;
                texts.extend(lines.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
            } else {
                for example in super::texts_of(file, Goal::Class, &self.columns.schema()?)? {
                    texts.push(example.text);
                    texts.extend(example.pair);
                }
            }
        }
        let report = trim_vocabulary(&self.model, &texts, self.min_count, &self.out)?;
        if self.json {
            super::print_json(&json!({"model": self.out, "report": report}))?;
        } else {
            super::print(&format!(
                "{}: {} of {} tokens, {:.1} of {:.1} million parameters\n{} of {} texts of the corpus are read as before; \
                 {:.3} times as many tokens in all\nNext: limbeck quantize {} -o small.limbeck --data dev.jsonl\n",
                self.out.display(),
                report.tokens_after,
                report.tokens_before,
                report.parameters_after as f64 / 1e6,
                report.parameters_before as f64 / 1e6,
                report.texts_as_before,
                report.texts,
                report.corpus_tokens_after as f64 / report.corpus_tokens_before.max(1) as f64,
                self.out.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
