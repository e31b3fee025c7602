//! The command line: one file a verb.

mod adb;
mod augment;
mod bench;
mod calibrate;
mod check;
mod corpus;
mod distill;
mod distillation;
mod engines;
mod eval;
mod export;
mod finetune;
mod head;
mod inspect;
mod keygen;
mod keys;
mod pack;
mod parallel;
mod params;
mod pretrain;
mod quantize;
mod run;
mod shrink;
mod sign;
mod tokenizer;
mod trim;
mod tune;
mod verify;
mod writing;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use limbeck::bundle::{Manifest, Task};
use limbeck_export::data::{Example, Format, Goal, Rows, Schema};
use limbeck_export::progress::{Output, Reporter};

#[derive(Parser)]
#[command(
    name = "limbeck",
    version,
    about = "From a teacher to a small bundle that runs anywhere: distil, quantize, pack, measure, run",
    after_help = "Examples:\n  \
        limbeck distill --recipe recipe.toml --teacher MODEL_DIR --data DATA_DIR --out out\n  \
        limbeck run out/sentiment.limbeck \"crisp screen, awful battery\"\n  \
        limbeck bench out/sentiment.limbeck --lengths 16,64,128\n\n\
        `limbeck VERB --help` shows each verb's options and examples."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Check(check::Check),
    Augment(augment::Augment),
    Corpus(corpus::Corpus),
    Tokenizer(tokenizer::TokenizerVerb),
    Pretrain(pretrain::Pretrain),
    Distill(distill::Distill),
    Finetune(finetune::Finetune),
    Eval(eval::Eval),
    Calibrate(calibrate::Calibrate),
    Quantize(quantize::Quantize),
    Trim(trim::Trim),
    Shrink(shrink::Shrink),
    Pack(pack::Pack),
    Export(export::Export),
    Inspect(inspect::Inspect),
    Verify(verify::Verify),
    Keygen(keygen::Keygen),
    Sign(sign::Sign),
    Run(run::Run),
    Bench(bench::Bench),
    Params(params::Params),
}

/// Columns of labelled data, shared by the verbs that read some.
#[derive(Args)]
struct Columns {
    /// Column or key of the text
    #[arg(long, default_value = "text")]
    text_column: String,
    /// Column or key of the second text, where two are read together
    #[arg(long)]
    pair_column: Option<String>,
    /// Column or key of the label
    #[arg(long, default_value = "label")]
    label_column: String,
    /// File format, when the name's ending does not tell: jsonl, json, csv or tsv
    #[arg(long)]
    format: Option<String>,
    /// New name for a label of the file, as OLD=NEW; may be repeated
    #[arg(long, value_name = "OLD=NEW")]
    rename: Vec<String>,
    /// Leave out rows without a label
    #[arg(long)]
    skip_unlabelled: bool,
}

impl Columns {
    /// The schema of data for a task and what is learned there.
    fn schema_for(&self, goal: Goal, task: &Task) -> Result<Schema> {
        let two = matches!(task, Task::PairClassification | Task::SentenceEmbedding | Task::Order);
        ensure!(self.pair_column.is_some() || !two, "{} needs two texts a row: give --pair-column", task.name());
        ensure!(self.pair_column.is_none() || two, "--pair-column: {} reads no second text", task.name());
        Ok(Schema { several_labels: goal == Goal::Labels, ..self.schema()? })
    }

    /// What labelled data teaches a bundle with that manifest, and how its columns are read.
    fn goal_of(&self, manifest: &Manifest) -> Result<(Goal, Schema)> {
        let goal = Goal::of_bundle(manifest)
            .with_context(|| format!("there is no labelled data for {}", manifest.task.name()))?;
        Ok((goal, self.schema_for(goal, &manifest.task)?))
    }

    fn schema(&self) -> Result<Schema> {
        let format = match self.format.as_deref() {
            None => None,
            Some(name) => Some(
                Format::of(format!("x.{name}").as_ref())
                    .map_err(|_| anyhow::anyhow!("--format {name}: unknown format; use jsonl, json, csv or tsv"))?,
            ),
        };
        let rename = self
            .rename
            .iter()
            .map(|pair| {
                pair.split_once('=')
                    .map(|(old, new)| (old.to_owned(), new.to_owned()))
                    .ok_or_else(|| anyhow::anyhow!("--rename {pair}: write OLD=NEW"))
            })
            .collect::<Result<_>>()?;
        Ok(Schema {
            text: self.text_column.clone(),
            pair: self.pair_column.clone(),
            label: self.label_column.clone(),
            format,
            rename,
            several_labels: false,
            skip_unlabelled: self.skip_unlabelled,
        })
    }
}

/// The rows of a file whose labels do not matter, which need not have any; of a `.txt` file its lines.
fn texts_of(path: &Path, goal: Goal, schema: &Schema) -> Result<Vec<Example>> {
    match Rows::read_unlabelled(path, goal, schema)? {
        Rows::Texts(rows) => Ok(rows),
        _ => anyhow::bail!("{}: texts are needed", path.display()),
    }
}

/// An error and its causes, leaving out a cause that the words before it already tell.
fn message(error: &anyhow::Error) -> String {
    // libtorch adds its own stack to what it says.
    let said = |cause: &(dyn std::error::Error + 'static)| {
        let text = cause.to_string();
        text.split("\nException raised from").next().unwrap_or_default().to_owned()
    };
    error.chain().map(said).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

fn reporter(json: bool) -> Reporter {
    Reporter::new(if json { Output::JsonLines } else { Output::Human })
}

/// Prints a value as indented JSON, the way of every `--json`.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<()> {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

pub fn run() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Check(verb) => verb.run(),
        Verb::Augment(verb) => verb.run(),
        Verb::Corpus(verb) => verb.run(),
        Verb::Tokenizer(verb) => verb.run(),
        Verb::Pretrain(verb) => verb.run(),
        Verb::Distill(verb) => verb.run(),
        Verb::Finetune(verb) => verb.run(),
        Verb::Eval(verb) => verb.run(),
        Verb::Calibrate(verb) => verb.run(),
        Verb::Quantize(verb) => verb.run(),
        Verb::Trim(verb) => verb.run(),
        Verb::Shrink(verb) => verb.run(),
        Verb::Pack(verb) => verb.run(),
        Verb::Export(verb) => verb.run(),
        Verb::Inspect(verb) => verb.run(),
        Verb::Verify(verb) => verb.run(),
        Verb::Keygen(verb) => verb.run(),
        Verb::Sign(verb) => verb.run(),
        Verb::Run(verb) => verb.run(),
        Verb::Bench(verb) => verb.run(),
        Verb::Params(verb) => verb.run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = writeln!(std::io::stderr().lock(), "limbeck: {}", message(&error));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_cause_is_told_once() {
        let error = anyhow::anyhow!("disk full").context("cannot write x: disk full").context("packing");
        assert_eq!(message(&error), "packing: cannot write x: disk full");
        let error = anyhow::anyhow!("bad shape\nException raised from f at g.cpp:3\nframe #0: x").context("training");
        assert_eq!(message(&error), "training: bad shape");
    }
}
