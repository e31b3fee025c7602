use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use limbeck_export::pipeline::{DistillOptions, distill_together};
use limbeck_export::progress::{Output, Reporter};
use limbeck_export::recipe::Recipe;
use limbeck_export::report::Requirement;

use super::engines::Engine;
use super::parallel::Parallel;

/// Fine-tune a teacher for any task, distil students, train their controls, and make a measured bundle
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck distill --recipe examples/recipes/sentiment/recipe.toml --teacher all-minilm-l6-v2 --data data --out out\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --require retention=97 --require size=20\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --seeds 1,2,3 --ablate\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --json | tee log.jsonl\n\n\
    A run that was stopped goes on where it was when started again with the same options.")]
pub(super) struct Distill {
    /// Recipe (TOML)
    #[arg(long)]
    recipe: PathBuf,
    /// Hugging Face folder of the encoder that becomes the teacher (or of a finished teacher, as the recipe says); may be
    /// repeated: students learn the layers of the first and the mean answers of all
    #[arg(long, required = true)]
    teacher: Vec<PathBuf>,
    /// Hugging Face folder of the encoder that the student is made from, with a tokenizer of its own; default: the first
    /// teacher
    #[arg(long)]
    student: Option<PathBuf>,
    /// Hugging Face folder of a masked language model, for recipes that augment their rows
    #[arg(long)]
    masked_lm: Option<PathBuf>,
    /// Folder that the recipe's file names are relative to
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// Folder for results
    #[arg(long)]
    out: PathBuf,
    /// Folder for the teachers' outputs, which several runs may share; default: OUT/cache
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Seeds in place of the recipe's
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Train the recipe without each of its losses and stages too, and from new weights
    #[arg(long)]
    ablate: bool,
    /// A limit that the shipped student must keep, else exit status 3: retention=97 (percent of the teacher), score=90,
    /// gain=0.5 (points over the control), drop=0.5 (points lost by int8), latency=3 (ms), size=15 (MB); may be repeated
    #[arg(long, value_name = "NAME=NUMBER")]
    require: Vec<Requirement>,
    #[command(flatten)]
    parallel: Parallel,
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
        limbeck_export::memory::keep_freed_memory();
        let mut recipe = Recipe::read(&self.recipe)?;
        if !self.seeds.is_empty() {
            recipe = recipe.with_seeds(self.seeds)?;
        }
        let processes = self.parallel.join()?;
        let options = DistillOptions {
            teachers: self.teacher,
            student: self.student,
            data: self.data,
            cache: self.cache.unwrap_or_else(|| self.out.join("cache")),
            out: self.out,
            masked_lm: self.masked_lm,
            ablate: self.ablate,
            device: processes.device,
            runtime: self.engine.path(),
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            commit: self.commit,
        };
        let leads = processes.group.group().rank() == 0;
        let reporter = if leads { super::reporter(self.json) } else { Reporter::new(Output::Silent) };
        let report = distill_together(&recipe, &options, processes.group.group(), &reporter)?;
        processes.group.finish();
        let Some(report) = report else { return Ok(ExitCode::SUCCESS) };
        if self.json {
            reporter.event("report", &report);
        } else {
            let out = options.out.display();
            super::print(&format!(
                "\n{}\n{}\n{}\nReport: {out}/report.html and {out}/report.json\nBundle: {out}/{}.limbeck\n",
                report.table(),
                report.comparison.verdict,
                report.quantization.in_words(),
                recipe.id
            ))?;
        }
        let broken: Vec<String> = self.require.iter().filter_map(|limit| limit.broken_by(&report)).collect();
        for message in &broken {
            eprintln!("limbeck: {message}");
        }
        Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(3) })
    }
}
