use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use limbeck_export::data::{read_examples, read_text};
use limbeck_export::trim::trim_vocabulary;
use serde_json::json;

use super::Columns;

/// Make a model smaller without training it
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck trim vocabulary out/student --corpus train.jsonl --out out/small\n  \
    limbeck trim vocabulary out/student --corpus forum.txt --corpus train.jsonl --min-count 3 --out out/small")]
pub(super) struct Trim {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    Vocabulary(Vocabulary),
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

impl Trim {
    pub(super) fn run(self) -> Result<ExitCode> {
        match self.what {
            What::Vocabulary(vocabulary) => vocabulary.run(),
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
                for example in read_examples(file, &self.columns.schema()?)? {
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
