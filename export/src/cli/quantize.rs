use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use limbeck::bundle::Task;
use limbeck_export::data::{Goal, Rows};
use limbeck_export::graph::{KeepFloat, WeightMode};
use limbeck_export::pack::PackOptions;
use limbeck_export::quantize::{Line, Proof, Quantizer};
use serde_json::json;

use super::Columns;
use super::engines::Engine;
use super::pack::Identity;

/// Pack a Hugging Face model folder into an int8 bundle, within a budget of lost quality
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --max-drop 0.5\n  \
    limbeck quantize ner -o ner.limbeck --data dev.conll\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --keep-float 0,table\n  \
    limbeck quantize out/student -o student.limbeck --unproven\n\n\
    All layers and the token table become int8 if that is inside the budget; else the most sensitive of them stay fp32,\n\
    as few as can be. The table that is printed says what each costs alone, what it is stored in, and why.\n\
    Exit status 2: no choice keeps to --max-drop; nothing is written.")]
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
    /// Layers (from 0, with commas between) that stay fp32, and `table` for the token table, in place of those that a
    /// search finds; layers that share their weights stay too
    #[arg(long, value_name = "LAYERS", value_delimiter = ',', value_parser = part)]
    keep_float: Vec<Part>,
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

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Layer(usize),
    Table,
}

fn part(text: &str) -> Result<Part, String> {
    match text.trim() {
        "table" => Ok(Part::Table),
        number => number.parse().map(Part::Layer).map_err(|_| "give numbers of layers, from 0, or `table`".to_owned()),
    }
}

impl Quantize {
    pub(super) fn run(self) -> Result<ExitCode> {
        let layers = |part: &Part| if let Part::Layer(layer) = part { Some(*layer) } else { None };
        let keep_float = KeepFloat {
            layers: self.keep_float.iter().filter_map(layers).collect::<BTreeSet<_>>(),
            table: self.keep_float.contains(&Part::Table),
        };
        let options = self.identity.options(&self.output, WeightMode::Int8Layers)?;
        let quantizer = Quantizer::new(&self.model, PackOptions { keep_float, ..options })?;
        self.engine.load()?;
        let contract = match &self.data {
            None => quantizer.unproven()?,
            Some(data) => {
                let manifest = quantizer.manifest();
                let goal = Goal::of_bundle(manifest)
                    .with_context(|| format!("there is no labelled data for {}", manifest.task.name()))?;
                let rows = Rows::read(data, goal, &self.columns.schema_for(goal, &manifest.task)?)?;
                quantizer.prove(&rows, self.max_drop, &super::reporter(false))?
            }
        };
        let (stored, lines, proof) = (&contract.stored, &contract.lines, contract.proof.as_ref());
        let written = match &contract.bundle {
            Some(bundle) => Some((bundle.write(&self.output)?, &bundle.manifest)),
            None => None,
        };
        let contract = written.and_then(|(_, manifest)| manifest.quantization.as_ref());
        if self.json {
            super::print_json(&json!({
                "bundle": written.map(|_| &self.output),
                "bytes": written.map(|(bytes, _)| bytes),
                "mode": contract.map(|contract| &contract.mode),
                "measure": proof.map(|proof| &proof.measure),
                "drop_points": proof.map(|proof| proof.drop_points),
                "max_drop": proof.map(|_| self.max_drop),
                "rows": proof.map(|proof| proof.rows),
                "sample": proof.map(|proof| proof.sample),
                "units": lines,
            }))?;
        } else {
            super::print(&table(lines, proof))?;
        }
        let Some((bytes, manifest)) = written else {
            if let (Some(proof), Some(data)) = (proof, &self.data) {
                eprintln!(
                    "limbeck: {stored} costs {:.2} points of {} on {}, more than --max-drop {}{}; nothing was written. \
                     `limbeck pack` makes the fp32 bundle.",
                    proof.drop_points,
                    proof.measure,
                    data.display(),
                    self.max_drop,
                    if self.keep_float.is_empty() { ", and is the best that was reached" } else { "" },
                );
            }
            return Ok(ExitCode::from(2));
        };
        if !self.json {
            let lost = |proof: &Proof| format!("{:+.2} points of {} lost", proof.drop_points, proof.measure);
            let output = self.output.display();
            let next = match manifest.task {
                Task::Generation => format!("limbeck eval {output} test.txt"),
                _ => format!("limbeck bench {output}"),
            };
            super::print(&format!(
                "{output}: {:.1} MB, {stored} ({})\nNext: {next}\n",
                bytes as f64 / 1e6,
                proof.map_or("not measured".to_owned(), lost),
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Each unit in a line.
fn table(lines: &[Line], proof: Option<&Proof>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let width = lines.iter().map(|line| line.unit.chars().count()).max().unwrap_or(0);
    let mut text = format!("{:width$}  mode  lowest SQNR  output error   alone  why\n", "part");
    for Line { unit, mode, noise, sensitivity, why, .. } in lines {
        let [error, alone] = match sensitivity {
            Some(found) => [format!("{:.2e}", found.output_error), format!("{:+.2}", found.points_alone)],
            None => ["-".to_owned(), "-".to_owned()],
        };
        let _ = writeln!(text, "{unit:width$}  {mode}  {:>8.1} dB  {error:>12}  {alone:>6}  {why}", noise.sqnr_db);
    }
    if let Some(proof) = proof {
        let _ = writeln!(
            text,
            "Output error (mean squared) and loss are those of the part alone, on {} of {} rows; the budget is for all.",
            proof.sample, proof.rows
        );
    }
    text
}
