use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use limbeck_export::pipeline::{Ablate, DistillOptions, Trim, distill_together};
use limbeck_export::recipe::TeacherSource;
use limbeck_export::report::Requirement;

use super::distillation::Distillation;
use super::engines::Engine;
use super::parallel::Parallel;

/// Fine-tune a teacher for any task, distil students, train their controls, and make a measured bundle
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck distill --recipe examples/recipes/sentiment/recipe.toml --teacher all-minilm-l6-v2 --data data --out out\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --require retention=97 --require size=20\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --seeds 1,2,3 --ablate\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --seeds 1,2,3 --ablate=soft-targets\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --trim ffn=768 --trim vocabulary\n  \
    limbeck distill --recipe my.toml --teacher my-bert --data . --out out --json | tee log.jsonl\n  \
    limbeck distill --recipe auto --latency 3ms --cores 1 --teacher my-bert --data data --out out\n\n\
    A run that was stopped goes on where it was when started again with the same options.")]
pub(super) struct Distill {
    #[command(flatten)]
    what: Distillation,
    /// Folder for results
    #[arg(long)]
    out: PathBuf,
    /// Folder for the teachers' outputs, which several runs may share; default: OUT/cache
    #[arg(long)]
    cache: Option<PathBuf>,
    /// Seeds in place of the recipe's
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Of the recipe's seeds, train this one's student and control, and stop before anything is measured; may be repeated. So
    /// several machines, or several processes on one GPU, share the work: a run without it takes what they made from OUT
    #[arg(long, value_name = "SEED", conflicts_with_all = ["trim", "require", "ablate"])]
    only_seed: Vec<u64>,
    /// Train the recipe without each of its losses and stages too, and from new weights; with =PART only without this part,
    /// by the report's name for it, as --ablate=soft-targets or --ablate="the stage general"; may be repeated
    #[arg(long, value_name = "PART", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    ablate: Vec<String>,
    /// Make a smaller model of the student too, train it again as in the recipe's last stage, and measure it beside the
    /// others: ffn=768 (units a block), heads=8 (a layer), layers=2, vocabulary=1 (tokens that training texts have so often,
    /// not trained again); may be repeated
    #[arg(long, value_name = "PART=NUMBER")]
    trim: Vec<Trim>,
    /// A limit that the shipped student must keep, else exit status 3: retention=97 (percent of the teacher), score=90,
    /// gain=0.5 (points over the control, mean over seeds), drop=0.5 (points lost by int8), latency=3 (ms), size=15 (MB); may
    /// be repeated
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
        let mut recipe = self.what.recipe()?;
        if !self.seeds.is_empty() {
            recipe = recipe.with_seeds(self.seeds)?;
        }
        ensure!(
            recipe.teacher.source != TeacherSource::Answers || !self.require.iter().any(Requirement::needs_teacher),
            "--require retention needs the teacher's own score, and this recipe's teacher is a file of answers; require a \
             score or a gain"
        );
        let processes = self.parallel.join()?;
        let options = DistillOptions {
            latency: self.what.latency(),
            teachers: self.what.teacher,
            student: self.what.student,
            data: self.what.data,
            cache: self.cache.unwrap_or_else(|| self.out.join("cache")),
            out: self.out,
            masked_lm: self.what.masked_lm,
            ablate: ablate(self.ablate),
            trims: self.trim,
            device: processes.device,
            runtime: self.engine.path(),
            checkpoint_every: Duration::from_secs(self.checkpoint_seconds),
            only_seeds: self.only_seed,
            commit: self.commit,
        };
        let reporter = processes.reporter(self.json);
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

/// What `--ablate` asks for, where no name (an empty one) is all of them.
fn ablate(parts: Vec<String>) -> Ablate {
    match parts.as_slice() {
        [] => Ablate::Nothing,
        parts if parts.iter().any(String::is_empty) => Ablate::Each,
        _ => Ablate::Only(parts),
    }
}
