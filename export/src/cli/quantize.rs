use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use limbeck::Model;
use limbeck_export::data::{Goal, Rows};
use limbeck_export::graph::WeightMode;
use limbeck_export::measure::task_quality;
use limbeck_export::pack::draft;
use serde_json::json;

use super::Columns;
use super::engines::Engine;
use super::pack::Identity;

/// Pack a Hugging Face model folder into an int8 bundle, within a budget of lost quality
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --max-drop 0.5\n  \
    limbeck quantize ner -o ner.limbeck --data dev.conll\n  \
    limbeck quantize out/student -o student.limbeck --unproven\n\n\
    Exit status 2: the drop is larger than --max-drop; nothing is written.")]
pub(super) struct Quantize {
    /// Folder with config.json, model.safetensors and tokenizer.json
    model: PathBuf,
    /// Bundle to write
    #[arg(short, long)]
    output: PathBuf,
    /// Labelled data on which the drop is measured (dev, not test)
    #[arg(long, required_unless_present = "unproven")]
    data: Option<PathBuf>,
    /// Largest drop against fp32 of accuracy, or of what stands for it in other tasks (F1, Spearman correlation), in
    /// points of 100
    #[arg(long, default_value_t = 1.0)]
    max_drop: f64,
    /// Write without measuring; the bundle then carries no measured drop
    #[arg(long, conflicts_with = "data")]
    unproven: bool,
    #[command(flatten)]
    columns: Columns,
    #[command(flatten)]
    identity: Identity,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Quantize {
    pub(super) fn run(self) -> Result<ExitCode> {
        let int8 = self.identity.options(&self.output, WeightMode::Int8Layers)?;
        let mut bundle = draft(&self.model, &int8)?;
        let mut drop_points = None;
        self.engine.load()?;
        bundle.record_self_test(&Model::builder().open_bytes(bundle.to_bytes()?)?)?;
        if let Some(data) = &self.data {
            let goal = Goal::of_bundle(&bundle.manifest)
                .with_context(|| format!("there is no labelled data for {}", bundle.manifest.task.name()))?;
            let rows = Rows::read(data, goal, &self.columns.schema_for(goal, &bundle.manifest.task)?)?;
            let fp32 = draft(&self.model, &self.identity.options(&self.output, WeightMode::Float)?)?;
            let reporter = super::reporter(false);
            let score = |bytes: Vec<u8>| -> Result<(String, f64)> {
                let quality = task_quality(&Model::builder().open_bytes(bytes)?, &rows, &reporter)?;
                let (name, value) = quality.headline();
                Ok((name.replace('_', " "), value))
            };
            let ((measure, before), (_, after)) = (score(fp32.to_bytes()?)?, score(bundle.to_bytes()?)?);
            let drop = before - after;
            drop_points = Some(drop * 100.0);
            if drop * 100.0 > self.max_drop {
                eprintln!(
                    "limbeck: int8 costs {:.2} points of {measure} on {}, more than --max-drop {}; nothing was written. \
                     `limbeck pack` makes the fp32 bundle.",
                    drop * 100.0,
                    data.display(),
                    self.max_drop
                );
                return Ok(ExitCode::from(2));
            }
            if let Some(contract) = &mut bundle.manifest.quantization {
                contract.measured_drop = Some(drop);
            }
        }
        let bytes = bundle.write(&self.output)?;
        let mode = bundle.manifest.quantization.as_ref().map(|contract| contract.mode.as_str());
        if self.json {
            super::print_json(
                &json!({"bundle": self.output, "bytes": bytes, "mode": mode, "drop_points": drop_points}),
            )?;
        } else {
            let drop = drop_points.map_or("not measured".to_owned(), |d| format!("{d:+.2} points lost"));
            super::print(&format!(
                "{}: {:.1} MB, int8 ({drop})\nNext: limbeck bench {}\n",
                self.output.display(),
                bytes as f64 / 1e6,
                self.output.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
