use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck::Model;
use limbeck_export::data::read_examples;
use limbeck_export::measure::evaluate;

use super::Columns;
use super::engines::Engine;

/// Measure a bundle's accuracy on labelled data
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck eval sentiment.limbeck test.csv --label-column class --rename 0=negative --rename 1=positive\n  \
    limbeck eval sentiment.limbeck test.jsonl --json")]
pub(super) struct Eval {
    /// Bundle
    bundle: PathBuf,
    /// Labelled data (jsonl, json, csv or tsv)
    data: PathBuf,
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
        let examples = read_examples(&self.data, &self.columns.schema()?)?;
        self.engine.load()?;
        let model = Model::open(&self.bundle)?;
        let result = evaluate(&model, &examples, &super::reporter(false), "eval")?;
        if self.json {
            super::print_json(&result)?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut text = format!(
            "accuracy {:.2}% (95% interval {:.2} to {:.2}%) on {} texts; the largest class alone {:.2}%\n",
            result.value * 100.0,
            result.low * 100.0,
            result.high * 100.0,
            result.examples,
            result.majority * 100.0
        );
        if result.truncated > 0 {
            text +=
                &format!("{} texts were too long; {} tokens were not read\n", result.truncated, result.tokens_dropped);
        }
        for (label, row) in result.labels.iter().zip(&result.confusion) {
            let (all, right) =
                (row.iter().sum::<usize>(), row[result.labels.iter().position(|l| l == label).unwrap_or(0)]);
            text += &format!("  {label}: {right} of {all} right\n");
        }
        super::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
