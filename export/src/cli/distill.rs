use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use limbeck_export::device::training_device;
use limbeck_export::pipeline::{DistillOptions, distill};
use limbeck_export::recipe::Recipe;

use super::engines::Engine;

/// Fine-tune a teacher, distil a student, train its control, and make a measured bundle
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck distill --recipe examples/recipes/sentiment/recipe.toml --teacher all-minilm-l6-v2 --data data --out out\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --json | tee log.jsonl\n\n\
    A run that was stopped goes on where it was when started again with the same options.")]
pub(super) struct Distill {
    /// Recipe (TOML)
    #[arg(long)]
    recipe: PathBuf,
    /// Hugging Face folder of the encoder that becomes the teacher
    #[arg(long)]
    teacher: PathBuf,
    /// Folder that the recipe's file names are relative to
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// Folder for results
    #[arg(long)]
    out: PathBuf,
    /// Where to train: auto, cpu or cuda
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads for training; default: all cores
    #[arg(long)]
    threads: Option<i32>,
    /// Seconds between training checkpoints, at most
    #[arg(long, default_value_t = 30)]
    checkpoint_seconds: u64,
    /// Source revision to name in the report
    #[arg(long, value_name = "REVISION")]
    commit: Option<String>,
    /// JSON lines of progress on standard output, the report last
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Distill {
    pub(super) fn run(self) -> Result<ExitCode> {
        let recipe = Recipe::read(&self.recipe)?;
        if let Some(threads) = self.threads {
            anyhow::ensure!(threads > 0, "--threads must be at least 1");
            tch::set_num_threads(threads);
        }
        let options = DistillOptions {
            teacher: self.teacher,
            data: self.data,
            out: self.out,
            device: training_device(&self.device)?,
            runtime: self.engine.path(),
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            commit: self.commit,
        };
        let reporter = super::reporter(self.json);
        let report = distill(&recipe, &options, &reporter)?;
        if self.json {
            reporter.event("report", &report);
        } else {
            let out = options.out.display();
            super::print(&format!(
                "\n{}\n{}\nint8 against fp32: {:+.2} points on test, {:+.2} on dev (allowed: {:.1} lost).\n\
                 Report: {out}/report.html and {out}/report.json\nBundle: {out}/{}.limbeck\n",
                report.table(),
                report.comparison.verdict,
                -report.quantization.test_drop_points,
                -report.quantization.dev_drop_points,
                report.quantization.max_drop_points,
                recipe.id
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
