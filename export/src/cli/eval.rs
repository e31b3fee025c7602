use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use limbeck::bundle::Task;
use limbeck::{ChooseOptions, Model, Scoring};
use limbeck_export::data::{Goal, Rows, read_completions, read_plain};
use limbeck_export::measure::{ShotOptions, share_out_of_scope, shot_quality, task_quality, text_quality};

use super::Columns;
use super::engines::Engine;

/// Measure a bundle's quality on labelled data
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck eval sentiment.limbeck test.csv --label-column class --rename 0=negative --rename 1=positive\n  \
    limbeck eval intents.limbeck test.tsv --out-of-scope other.tsv --json\n  \
    limbeck eval nli.limbeck rte.tsv --pair-column hypothesis\n  \
    limbeck eval entities.limbeck test.conll\n  \
    limbeck eval reader.limbeck squad.json\n  \
    limbeck eval order.limbeck pairs.tsv --pair-column second\n  \
    limbeck eval lm.limbeck test.txt\n  \
    limbeck eval lm.limbeck two_digit_addition.jsonl --shots 0,1,8 --examples train.jsonl --newlines 0\n\n\
    Of a model that writes text the perplexity of a text file, or of .jsonl with a text a line, is measured; with --shots, how\n\
    many prompts are completed right: rows {\"context\": ..., \"completion\": ...}, and as one likes \"choices\" and \"task\". For all others the data are in the format that `limbeck finetune` reads for the bundle's task;\n\
    for order, pairs with the labels in-order and swapped.")]
pub(super) struct Eval {
    /// Bundle
    bundle: PathBuf,
    /// Labelled data, or text for a model that writes it
    data: PathBuf,
    /// Texts that are none of the bundle's business: how many does it say so of?
    #[arg(long, value_name = "FILE")]
    out_of_scope: Option<PathBuf>,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    prompts: Prompts,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

/// Prompts with examples.
#[derive(Args)]
#[command(next_help_heading = "Models that write text")]
struct Prompts {
    /// Complete prompts with so many examples: 0 for zero-shot, 1 for one-shot
    #[arg(long, value_name = "N,N,...", value_delimiter = ',')]
    shots: Vec<usize>,
    /// Prompts with their completions, to draw examples from
    #[arg(long, value_name = "FILE", requires = "shots")]
    examples: Option<PathBuf>,
    /// Text that stands first in every prompt
    #[arg(long, value_name = "TEXT", requires = "shots", default_value = "")]
    instruction: String,
    /// Line ends between instruction, examples and query
    #[arg(long, value_name = "N", requires = "shots", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=8))]
    newlines: u8,
    /// How choices are compared
    #[arg(long, value_enum, requires = "shots", default_value_t = Rule::PerToken)]
    scoring: Rule,
    /// Chooses the examples
    #[arg(long, requires = "shots", default_value_t = 0)]
    seed: u64,
}

/// How completions are compared.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Rule {
    /// By log probability
    Sum,
    /// By log probability a token
    PerToken,
    /// By log probability a byte
    PerByte,
}

impl Eval {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.engine.load()?;
        let model = Model::open(&self.bundle)?;
        let manifest = model.bundle().manifest();
        if manifest.task == Task::Generation {
            ensure!(self.out_of_scope.is_none(), "--out-of-scope is for classifiers");
            return if self.prompts.shots.is_empty() { self.perplexity(&model) } else { self.completions(&model) };
        }
        ensure!(
            self.prompts.shots.is_empty(),
            "--shots is for models that write text, and this one is for {}",
            manifest.task.name()
        );
        let (goal, schema) = self.columns.goal_of(manifest)?;
        let rows = Rows::read(&self.data, goal, &schema)?;
        let mut result = task_quality(&model, &rows, &super::reporter(false))?;
        if let Some(path) = &self.out_of_scope {
            ensure!(goal == Goal::Class || goal == Goal::Labels, "--out-of-scope is for classifiers");
            let Rows::Texts(inside) = &rows else { anyhow::bail!("--out-of-scope is for texts") };
            let rejected = share_out_of_scope(&model, &super::texts_of(path, goal, &schema)?)?;
            result.metrics.insert("out_of_scope_found".to_owned(), rejected);
            result.metrics.insert("in_scope_kept".to_owned(), 1.0 - share_out_of_scope(&model, inside)?);
        }
        if self.json {
            super::print_json(&result)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!("{}, {} examples\n", result.task, result.examples);
        for (name, value) in &result.metrics {
            text += &format!("  {:<24} {value:.4}\n", name.replace('_', " "));
        }
        if result.truncated > 0 {
            text +=
                &format!("{} texts were too long; {} tokens were not read\n", result.truncated, result.tokens_dropped);
        }
        if result.windowed > 0 {
            text += &format!("{} texts were read in several windows\n", result.windowed);
        }
        text += &result.by_label_in_words();
        if let Some(classes) = result.classes.filter(|classes| classes.labels.len() <= 20) {
            for (index, (label, row)) in classes.labels.iter().zip(&classes.confusion).enumerate() {
                text += &format!("  {label}: {} of {} right\n", row[index], row.iter().sum::<usize>());
            }
        }
        super::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// How surprised a model that writes text is by a file.
    fn perplexity(&self, model: &Model) -> Result<ExitCode> {
        let path = self.data.display();
        let texts = read_plain(&self.data, &self.columns.text_column, self.columns.schema()?.format)?;
        let reporter = super::reporter(false);
        let found = text_quality(model, &texts, &reporter).with_context(|| format!("cannot score {path}"))?;
        if self.json {
            super::print_json(&found)?;
            return Ok(ExitCode::SUCCESS);
        }
        super::print(&format!(
            "generation, {} tokens of {path} scored in {} windows of {}\n  perplexity   {:>10.4}\n  bits by byte {:>10.4}\n",
            found.tokens,
            found.windows,
            model.bundle().manifest().max_tokens,
            found.perplexity,
            found.bits_per_byte
        ))?;
        Ok(ExitCode::SUCCESS)
    }

    /// How many prompts a model completes right, by the number of examples in them.
    fn completions(&self, model: &Model) -> Result<ExitCode> {
        let Prompts { shots, examples, instruction, newlines, scoring, seed } = &self.prompts;
        let rows = read_completions(&self.data)?;
        ensure!(
            examples.is_some() || shots.iter().all(|&shots| shots == 0),
            "--shots above 0 need --examples: a file of prompts with their completions"
        );
        let examples = examples.as_deref().map(read_completions).transpose()?.unwrap_or_default();
        let choosing = ChooseOptions::default().scoring(match scoring {
            Rule::Sum => Scoring::Sum,
            Rule::PerToken => Scoring::PerToken,
            Rule::PerByte => Scoring::PerByte,
        });
        let options = ShotOptions {
            shots: shots.clone(),
            instruction: instruction.clone(),
            separator: "\n".repeat(usize::from(*newlines)),
            choosing,
            seed: *seed,
        };
        let found = shot_quality(model, &rows, &examples, &options, &super::reporter(false))
            .with_context(|| format!("cannot complete {}", self.data.display()))?;
        if self.json {
            super::print_json(&found)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!("{} prompts, completed right\n  {:<24}", rows.len(), "examples");
        shots.iter().for_each(|shots| text += &format!(" {shots:>8}"));
        let named = found.tasks.iter().filter(|(name, _)| found.tasks.len() > 1 || !name.is_empty());
        let all = "all".to_owned();
        for (name, scores) in named.chain([(&all, &found.all)]) {
            text += &format!("\n  {name:<24}");
            scores.iter().for_each(|score| text += &format!(" {:>7.1}%", 100.0 * score.accuracy));
        }
        let dropped: usize = found.all.iter().map(|score| score.examples_dropped).sum();
        if dropped > 0 {
            text += &format!(
                "\n{dropped} examples did not fit into prompts of {} tokens",
                model.bundle().manifest().max_tokens
            );
        }
        super::print(&(text + "\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}
