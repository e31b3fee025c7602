use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use limbeck::Manifest;
use limbeck::bundle::Task;
use limbeck_export::checkpoint::trained_for;
use limbeck_export::data::{Goal, Rows, read_plain};
use limbeck_export::graph::{KeepFloat, WeightMode};
use limbeck_export::pack::{PackOptions, draft};
use limbeck_export::pipeline::FULL_PRECISION;
use limbeck_export::quantize::{
    Bits, Blocks, CALIBRATION_SAMPLES, Dev, FakeQuantization, Line, Observer, Proof, Quantizer, calibrate,
};
use serde_json::json;

use super::Columns;
use super::engines::Engine;
use super::pack::Identity;

/// Of the observer `percentile`.
const PERCENTILE: f64 = 99.99;

/// Pack a Hugging Face model folder into a bundle of fewer bits, within a budget of lost quality
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --max-drop 0.5\n  \
    limbeck quantize ner -o ner.limbeck --data dev.conll\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --keep-float 0,table\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --table int4\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --mode int4-weights --block-size 64\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --mode int8-static --calibration-data train.jsonl\n  \
    limbeck quantize gpt2 -o lm.limbeck --data held-out.txt --mode int8-weights --max-drop 0.5\n  \
    limbeck quantize out/student -o student.limbeck --data dev.jsonl --mode ternary --max-drop 2\n  \
    limbeck quantize out/student -o student.limbeck --unproven\n\n\
    All layers and the token table are quantized if that is inside the budget; else the most sensitive of them are\n\
    stored in more bits (fp32, or int8 beside int4 and ternary), as few as can be. The table that is printed says what each costs\n\
    alone, what it is stored in, and why.\n\
    Exit status 2: no choice keeps to --max-drop; nothing is written.")]
pub(super) struct Quantize {
    /// Folder with config.json, model.safetensors and tokenizer.json
    model: PathBuf,
    /// Bundle to write
    #[arg(short, long)]
    output: PathBuf,
    /// Labelled data on which the drop is measured (dev, not test); for a model that writes text, held-out text: a file,
    /// or .jsonl with a text a line
    #[arg(long, required_unless_present = "unproven")]
    data: Option<PathBuf>,
    /// Largest drop against fp32 of accuracy, or of what stands for it in other tasks (F1, Spearman correlation), in
    /// points of 100; for a model that writes text, percent by which perplexity may be higher
    #[arg(long, default_value_t = 1.0)]
    max_drop: f64,
    /// What weights become; see docs/quantization.md. Default: what they were rounded to while they were trained, else int8
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// The fp32 model that the drop of one trained for fewer bits is measured against. Default: the folder `fp32` that
    /// `limbeck distill` puts into it
    #[arg(long, value_name = "FOLDER", conflicts_with = "unproven")]
    against: Option<PathBuf>,
    /// Weights that share a scale, with int8-weights, int4-weights and an int4 table: 32, 64 or 128
    #[arg(long, default_value_t = 32)]
    block_size: usize,
    /// Give each block of int8-weights or int4-weights a zero point too
    #[arg(long)]
    zero_points: bool,
    /// What the token table becomes, if not what the mode makes of it
    #[arg(long, value_enum)]
    table: Option<TableMode>,
    /// Data on which int8-static finds its scales, in the format of --data; labels are not looked at
    #[arg(long, value_name = "FILE", required_if_eq("mode", "int8-static"))]
    calibration_data: Option<PathBuf>,
    /// How scales are found
    #[arg(long, value_enum, default_value = "percentile", requires = "calibration_data")]
    observer: ObserverName,
    /// Part of the activations that scales are for, in percent, by the observer `percentile`; default: 99.99
    #[arg(long, requires = "calibration_data")]
    percentile: Option<f64>,
    /// Texts of --calibration-data that are read, drawn at random, the same each time
    #[arg(long, default_value_t = CALIBRATION_SAMPLES, requires = "calibration_data")]
    samples: usize,
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

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    /// int8 weights and activations with a scale for each token; int8-dynamic for models without such layers
    Int8,
    /// int8 weights, activations with one scale for a whole text
    Int8Dynamic,
    /// int8 weights, activations with scales found on --calibration-data
    Int8Static,
    /// int8 weights with a scale for each block, fp32 activations
    Int8Weights,
    /// int4 weights with a scale for each block, fp32 activations
    Int4Weights,
    /// Weights -1, 0 and 1 times a scale for each output, activations as int8: for models that were trained so
    Ternary,
    /// fp16 weights, computed with in fp32: half the file, and no less memory
    Fp16,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum ObserverName {
    /// All values that were seen
    MinMax,
    /// Nearly all of them: --percentile
    Percentile,
    /// The least KL divergence
    Entropy,
    /// The least mean squared error
    Mse,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum TableMode {
    /// As it is
    Fp32,
    /// Half of that
    Fp16,
    /// A scale for each row
    Int8,
    /// A scale for each block
    Int4,
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
    /// How weights are stored, and the token table if otherwise.
    fn weights(&self, trained_for: Option<FakeQuantization>) -> Result<(WeightMode, Option<WeightMode>)> {
        let blocks = |bits, zero_points| Blocks::new(bits, self.block_size, zero_points).map(WeightMode::Blocks);
        let weights = match self.mode {
            None => trained_for.map_or(WeightMode::Int8Layers, FakeQuantization::weights),
            Some(mode) => match mode {
                Mode::Int8 => WeightMode::Int8Layers,
                Mode::Ternary => WeightMode::Ternary,
                Mode::Int8Dynamic => WeightMode::DynamicInt8,
                Mode::Int8Static => WeightMode::StaticInt8,
                Mode::Int8Weights => blocks(Bits::Eight, self.zero_points)?,
                Mode::Int4Weights => blocks(Bits::Four, self.zero_points)?,
                Mode::Fp16 => WeightMode::Half,
            },
        };
        ensure!(
            !self.zero_points || weights.blocks().is_some(),
            "--zero-points: only --mode int8-weights and int4-weights have any"
        );
        let table = match self.table {
            None => None,
            Some(TableMode::Fp32) => Some(WeightMode::Float),
            Some(TableMode::Fp16) => Some(WeightMode::Half),
            Some(TableMode::Int8) => Some(WeightMode::Int8Layers),
            Some(TableMode::Int4) => Some(blocks(Bits::Four, false)?),
        };
        Ok((weights, table))
    }

    /// The fp32 model that the drop is measured against, if it is not the folder itself.
    fn against(&self, trained_for: Option<FakeQuantization>, weights: WeightMode) -> Result<Option<PathBuf>> {
        let trained_so = trained_for.is_some_and(|trained| trained.weights() == weights);
        if self.against.is_some() {
            ensure!(trained_so, "--against: only for a folder that was trained for these weights");
            return Ok(self.against.clone());
        }
        let beside = self.model.join(FULL_PRECISION);
        if trained_so && beside.is_dir() {
            return Ok(Some(beside));
        }
        ensure!(
            self.unproven || !trained_so || weights != WeightMode::Ternary,
            "{} was trained with ternary weights, and there is no fp32 model in it to measure their drop against: name \
             its folder with --against, or leave measuring out with --unproven",
            self.model.display()
        );
        Ok(None)
    }

    /// Data for a model of that manifest.
    fn rows(&self, data: &Path, manifest: &Manifest) -> Result<Rows> {
        let (goal, schema) = self.columns.goal_of(manifest)?;
        Rows::read(data, goal, &schema)
    }

    /// With what calibration found, where the mode needs it.
    fn calibrated(&self, options: PackOptions) -> Result<PackOptions> {
        let Some(file) = &self.calibration_data else { return Ok(options) };
        ensure!(options.weights == WeightMode::StaticInt8, "--calibration-data: only --mode int8-static reads it");
        let plain = PackOptions {
            weights: WeightMode::Float,
            table: None,
            keep_float: KeepFloat::default(),
            ..options.clone()
        };
        let plain = draft(&self.model, &plain)?.open()?;
        let (goal, schema) = self.columns.goal_of(plain.bundle().manifest())?;
        let rows = match goal {
            Goal::Answers => Rows::read(file, goal, &schema)?,
            // Labels are not looked at.
            _ => Rows::read_unlabelled(file, goal, &schema)?,
        };
        ensure!(
            self.percentile.is_none() || matches!(self.observer, ObserverName::Percentile),
            "--percentile: only --observer percentile reads it"
        );
        let observer = match self.observer {
            ObserverName::MinMax => Observer::MinMax,
            ObserverName::Percentile => Observer::Percentile(self.percentile.unwrap_or(PERCENTILE)),
            ObserverName::Entropy => Observer::Entropy,
            ObserverName::Mse => Observer::Mse,
        };
        let reporter = super::reporter(false);
        let activations = calibrate(&self.model, &plain, &rows, self.samples, observer, &reporter)?;
        Ok(PackOptions { activations, ..options })
    }

    /// What the drop of a model of that manifest is measured on.
    fn dev(&self, data: &Path, manifest: &Manifest) -> Result<Dev> {
        match manifest.task {
            Task::Generation => {
                Ok(Dev::Texts(read_plain(data, &self.columns.text_column, self.columns.schema()?.format)?))
            }
            _ => self.rows(data, manifest).map(Dev::Labelled),
        }
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        let layers = |part: &Part| if let Part::Layer(layer) = part { Some(*layer) } else { None };
        let keep_float = KeepFloat {
            layers: self.keep_float.iter().filter_map(layers).collect::<BTreeSet<_>>(),
            table: self.keep_float.contains(&Part::Table),
        };
        let trained_for = trained_for(&self.model)?;
        let (weights, table) = self.weights(trained_for)?;
        let against = self.against(trained_for, weights)?;
        let options = self.identity.options(&self.output, weights)?;
        let options = PackOptions { keep_float, table, ..options };
        self.engine.load()?;
        let options = self.calibrated(options)?;
        let quantizer = Quantizer::new(&self.model, against.as_deref(), options)?;
        let contract = match &self.data {
            None => quantizer.unproven()?,
            Some(data) => {
                let dev = self.dev(data, quantizer.manifest())?;
                quantizer.prove(&dev, self.max_drop, &super::reporter(false))?
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
                "unit": proof.map(|proof| proof.unit),
                "drop_points": proof.filter(|proof| proof.unit == "points").map(|proof| proof.drop),
                "drop_percent": proof.filter(|proof| proof.unit == "percent").map(|proof| proof.drop),
                "max_drop": proof.map(|_| self.max_drop),
                "rows": proof.map(|proof| proof.rows),
                "sample": proof.map(|proof| proof.sample),
                "units": lines,
            }))?;
        } else {
            super::print(&lines_of(lines, proof))?;
        }
        let Some((bytes, manifest)) = written else {
            if let (Some(proof), Some(data)) = (proof, &self.data) {
                let fp32 = against.as_deref().unwrap_or(&self.model).display();
                let searched = self.keep_float.is_empty() && against.is_none();
                eprintln!(
                    "limbeck: {stored} costs {:.2} {} of {} on {}, more than --max-drop {}{}; nothing was written. \
                     `limbeck pack {fp32}` makes the fp32 bundle.",
                    proof.drop,
                    proof.unit,
                    proof.measure,
                    data.display(),
                    self.max_drop,
                    if searched { ", and is the best that was reached" } else { "" },
                );
            }
            return Ok(ExitCode::from(2));
        };
        if !self.json {
            let lost = |proof: &Proof| format!("{:+.2} {} of {} lost", proof.drop, proof.unit, proof.measure);
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
fn lines_of(lines: &[Line], proof: Option<&Proof>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let width = lines.iter().map(|line| line.unit.chars().count()).max().unwrap_or(0);
    let wide = lines.iter().map(|line| line.mode.len()).max().unwrap_or(0).max("mode".len());
    let mut text = format!("{:width$}  {:wide$}  lowest SQNR  output error   alone  why\n", "part", "mode");
    for Line { unit, mode, noise, sensitivity, why, .. } in lines {
        let [error, alone] = match sensitivity {
            Some(found) => [format!("{:.2e}", found.output_error), format!("{:+.2}", found.lost_alone)],
            None => ["-".to_owned(), "-".to_owned()],
        };
        let _ =
            writeln!(text, "{unit:width$}  {mode:wide$}  {:>8.1} dB  {error:>12}  {alone:>6}  {why}", noise.sqnr_db);
    }
    if let Some(proof) = proof {
        let _ = writeln!(
            text,
            "Output error (mean squared) and loss ({}) are those of the part alone, on {} of {} {}; the budget is for all.",
            proof.unit,
            proof.sample,
            proof.rows,
            if proof.unit == "points" { "rows" } else { "texts" }
        );
    }
    text
}
