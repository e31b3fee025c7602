use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck_export::check::{CheckOptions, check};
use limbeck_export::device::training_device;
use limbeck_export::progress::{Output, Reporter};

use super::distillation::Distillation;
use super::engines::Engine;

/// Look for what would waste a training run: broken data, leaks, lost tokens, a teacher that does not fit
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck check --recipe recipe.toml --teacher all-minilm-l6-v2 --data data\n  \
    limbeck check --recipe recipe.toml --teacher nli-base --teacher nli-large --student all-minilm-l6-v2 --data data\n  \
    limbeck check --recipe auto --latency 3ms --teacher my-bert --data data\n\n\
    Exit status 1 when something would stop or spoil the run.")]
pub(super) struct Check {
    #[command(flatten)]
    what: Distillation,
    /// Where a finished teacher is tried and steps are timed: auto, cpu or cuda
    #[arg(long, default_value = "auto")]
    device: String,
    /// The findings as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        let recipe = self.what.recipe()?;
        let options = CheckOptions {
            latency: self.what.latency(),
            teachers: self.what.teacher,
            student: self.what.student,
            masked_lm: self.what.masked_lm,
            data: self.what.data,
            device: training_device(&self.device)?,
        };
        // With --json, standard output holds the findings alone.
        let reporter = Reporter::new(if self.json { Output::Silent } else { Output::Human });
        let mut findings = check(&recipe, &options, &reporter)?;
        if let Err(error) = self.engine.load() {
            findings.problems.push(format!("distill measures through ONNX Runtime: {error:#}"));
        }
        if self.json {
            super::print_json(&findings)?;
        } else {
            for fact in &findings.facts {
                super::print(&format!("  {fact}\n"))?;
            }
            for warning in &findings.warnings {
                super::print(&format!("warning: {warning}\n"))?;
            }
            for problem in &findings.problems {
                super::print(&format!("PROBLEM: {problem}\n"))?;
            }
            if findings.problems.is_empty() {
                super::print("Ready. Next: limbeck distill with the same options and --out\n")?;
            }
        }
        Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
