use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use limbeck_export::measure::{BenchOptions, BenchResult, bench};

use super::engines::Engine;

/// Measure a bundle's cold start, latency and memory on this machine
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck bench sentiment.limbeck\n  \
    limbeck bench sentiment.limbeck --lengths 16,32,64,128 --threads 2 --json > bench.json\n  \
    limbeck bench sentiment.limbeck --text \"crisp screen, awful battery\" --runs 1000\n\n\
    Texts are made up to the length in tokens; times are text in to label out.")]
pub(super) struct Bench {
    /// Bundle
    bundle: PathBuf,
    /// Lengths in tokens, special tokens included
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,64,128")]
    lengths: Vec<usize>,
    /// Texts a call
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Threads inside an operator
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Calls before the clock starts, for each length
    #[arg(long, default_value_t = 30)]
    warm_up: usize,
    /// Calls that count, for each length
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Measure this text instead of made-up ones
    #[arg(long)]
    text: Option<String>,
    /// Source revision to name in the result
    #[arg(long, value_name = "REVISION")]
    commit: Option<String>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Bench {
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.runs > 0 && self.batch > 0 && self.threads > 0,
            "--runs, --batch and --threads must be at least 1"
        );
        let options = BenchOptions {
            lengths: self.lengths,
            batch: self.batch,
            threads: self.threads,
            warm_up: self.warm_up,
            runs: self.runs,
            text: self.text,
            runtime: self.engine.path(),
            commit: self.commit,
        };
        let result = bench(&self.bundle, &options)?;
        if self.json {
            super::print_json(&result)?
        } else {
            super::print(&table(&result))?
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(result: &BenchResult) -> String {
    let memory = |mb: Option<f64>| mb.map_or("unknown".to_owned(), |mb| format!("{mb:.1} MB"));
    let mut text = format!(
        "{} ({:.1} MB), ONNX Runtime {}, {} thread(s), {}\nopen {:.1} ms, first call {:.2} ms; resident {} before, {} after opening, {} at most\n\n\
         {:>7} {:>6} {:>9} {:>9} {:>9} {:>9} {:>12}\n",
        result.bundle,
        result.file_bytes as f64 / 1e6,
        result.versions.onnxruntime.as_deref().unwrap_or("?"),
        result.threads,
        result.machine.cpu,
        result.open_ms,
        result.first_call_ms,
        memory(result.resident_before_open_mb),
        memory(result.resident_after_open_mb),
        memory(result.peak_memory_mb),
        "tokens",
        "batch",
        "min ms",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "tokens/s"
    );
    for case in &result.cases {
        let p99 = case.p99_ms.map_or("-".to_owned(), |ms| format!("{ms:.3}"));
        text += &format!(
            "{:>7} {:>6} {:>9.3} {:>9.3} {:>9.3} {:>9} {:>12.0}\n",
            case.tokens, case.batch, case.min_ms, case.p50_ms, case.p90_ms, p99, case.tokens_per_second
        );
    }
    text += "(p99 needs --runs 1000 or more)\n";
    text
}
