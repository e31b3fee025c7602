use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use limbeck::Model;
use limbeck::bundle::Task;
use limbeck_export::data::{Goal, Rows, read_examples, read_plain};
use limbeck_export::measure::{share_out_of_scope, task_quality, text_quality};

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
    limbeck eval lm.limbeck test.txt\n\n\
    Of a model that writes text the perplexity of a text file, or of .jsonl with a text a line, is measured. For all others the data are in the format that `limbeck finetune` reads for the bundle's task;\n\
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
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Eval {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.engine.load()?;
        let model = Model::open(&self.bundle)?;
        let manifest = model.bundle().manifest();
        if manifest.task == Task::Generation {
            return self.perplexity(&model);
        }
        let (goal, schema) = self.columns.goal_of(manifest)?;
        let rows = Rows::read(&self.data, goal, &schema)?;
        let mut result = task_quality(&model, &rows, &super::reporter(false))?;
        if let Some(path) = &self.out_of_scope {
            ensure!(goal == Goal::Class || goal == Goal::Labels, "--out-of-scope is for classifiers");
            let Rows::Texts(inside) = &rows else { anyhow::bail!("--out-of-scope is for texts") };
            let rejected = share_out_of_scope(&model, &read_examples(path, &schema)?)?;
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
        ensure!(self.out_of_scope.is_none(), "--out-of-scope is for classifiers");
        let path = self.data.display();
        let texts = read_plain(&self.data, &self.columns.text_column)?;
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
}
