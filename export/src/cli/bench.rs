use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Args;
use limbeck_export::measure::{BenchOptions, BenchResult, bench};

use super::adb::Device;
use super::engines::Engine;

/// Measure a bundle's cold start, latency and memory on this machine
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck bench sentiment.limbeck\n  \
    limbeck bench sentiment.limbeck --lengths 16,32,64,128 --threads 2 --json > bench.json\n  \
    limbeck bench sentiment.limbeck --text \"crisp screen, awful battery\" --runs 1000\n  \
    limbeck bench reader.limbeck --text \"Who rang?\" --pair \"Ada rang at noon.\"\n  \
    limbeck bench lm.limbeck --lengths 16,128 --contexts 64,512\n  \
    limbeck bench sentiment.limbeck --adb R5CT10 --program arm64/limbeck-bench \\\n      \
        --device-runtime arm64/libonnxruntime.so --cpus 4-7\n\n\
    Texts are made up to the length in tokens; times are text in to label out. Of a bundle that writes text\n\
    two things are measured: the time to the first token by --lengths of the prompt, and tokens a second by\n\
    --contexts, the tokens that are in the context by then. With --adb the\n\
    device measures with limbeck-bench, and --json is its result (docs/limbeck-bench.md); this\n\
    was tried with a stand-in for adb and not on a phone.")]
pub(super) struct Bench {
    /// Bundle
    bundle: PathBuf,
    /// Lengths in tokens, special tokens included
    #[arg(long, value_delimiter = ',', default_value = "8,16,32,64,128")]
    lengths: Vec<usize>,
    /// Tokens in the context, for bundles that write text [default: 64,256,900, and none with --text]
    #[arg(long, value_delimiter = ',', value_name = "LIST", conflicts_with = "adb")]
    contexts: Option<Vec<usize>>,
    /// Texts a call
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Threads inside an operator
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Calls before the clock starts, for each length
    #[arg(long, default_value_t = 30)]
    warm_up: usize,
    /// Calls that count, for each length, and tokens for each context
    #[arg(long, default_value_t = 200)]
    runs: usize,
    /// Measure this text instead of made-up ones
    #[arg(long, allow_hyphen_values = true)]
    text: Option<String>,
    /// The second text, which is read together with --text: of a pair, or the one that a question is about
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, requires = "text", conflicts_with = "adb")]
    pair: Option<String>,
    /// Source revision to name in the result
    #[arg(long, value_name = "REVISION")]
    commit: Option<String>,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    /// Measure on the Android device with this serial number
    #[arg(long, value_name = "SERIAL", requires_all = ["program", "device_runtime"])]
    adb: Option<String>,
    /// limbeck-bench, built for the device
    #[arg(long, value_name = "FILE", requires = "adb")]
    program: Option<PathBuf>,
    /// ONNX Runtime, built for the device
    #[arg(long, value_name = "FILE", requires = "adb")]
    device_runtime: Option<PathBuf>,
    /// Processors of the device to run on: 4-7
    #[arg(long, value_name = "LIST", requires = "adb")]
    cpus: Option<String>,
    #[command(flatten)]
    engine: Engine,
}

impl Bench {
    pub(super) fn run(self) -> Result<ExitCode> {
        ensure!(
            self.runs > 0 && self.batch > 0 && self.threads > 0,
            "--runs, --batch and --threads must be at least 1"
        );
        if let (Some(serial), Some(program), Some(runtime)) = (&self.adb, &self.program, &self.device_runtime) {
            let device = Device { serial: serial.clone(), program: program.clone(), runtime: runtime.clone() };
            return self.on(&device);
        }
        let options = BenchOptions {
            lengths: self.lengths,
            contexts: self.contexts,
            batch: self.batch,
            threads: self.threads,
            warm_up: self.warm_up,
            runs: self.runs,
            text: self.text,
            pair: self.pair,
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

impl Bench {
    fn on(&self, device: &Device) -> Result<ExitCode> {
        let lengths: Vec<String> = self.lengths.iter().map(ToString::to_string).collect();
        let mut options = vec![
            ("--lengths", lengths.join(",")),
            ("--batch", self.batch.to_string()),
            ("--threads", self.threads.to_string()),
            ("--warm-up", self.warm_up.to_string()),
            ("--runs", self.runs.to_string()),
        ];
        options.extend(self.text.clone().map(|text| ("--text", text)));
        options.extend(self.cpus.clone().map(|cpus| ("--cpus", cpus)));
        let options: Vec<String> = options.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
        let measured = device.measure(&self.bundle, &options)?;
        match self.json {
            true => super::print_json(&measured.json)?,
            false => super::print(&measured.table)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn table(result: &BenchResult) -> String {
    let memory = |mb: Option<f64>| mb.map_or("unknown".to_owned(), |mb| format!("{mb:.1} MB"));
    let mut text = format!(
        "{} ({:.1} MB), ONNX Runtime {}, {} thread(s), {}\nopen {:.1} ms, first call {:.2} ms; resident {} before, {} after opening, {} at most\n",
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
    );
    if !result.prompts.is_empty() {
        text += &format!(
            "\nto the first token\n{:>7} {:>6} {:>9} {:>9} {:>9}\n",
            "prompt", "batch", "min ms", "p50 ms", "p90 ms"
        );
    }
    for case in &result.prompts {
        text += &format!(
            "{:>7} {:>6} {:>9.3} {:>9.3} {:>9.3}\n",
            case.tokens, case.batch, case.min_ms, case.p50_ms, case.p90_ms
        );
    }
    if !result.contexts.is_empty() {
        text += &format!(
            "\nfrom token to token\n{:>7} {:>6} {:>9} {:>9} {:>9} {:>12} {:>9} {:>11}\n",
            "context", "batch", "min ms", "p50 ms", "p90 ms", "tokens/s", "cache MB", "resident MB"
        );
    }
    for case in &result.contexts {
        let resident = case.resident_mb.map_or("-".to_owned(), |mb| format!("{mb:.1}"));
        text += &format!(
            "{:>7} {:>6} {:>9.3} {:>9.3} {:>9.3} {:>12.1} {:>9.2} {:>11}\n",
            case.context,
            case.batch,
            case.min_ms,
            case.p50_ms,
            case.p90_ms,
            case.tokens_per_second,
            case.cache_bytes as f64 / 1e6,
            resident
        );
    }
    if result.cases.is_empty() {
        return text;
    }
    text += &format!(
        "\n{:>7} {:>6} {:>9} {:>9} {:>9} {:>9} {:>12}\n",
        "tokens", "batch", "min ms", "p50 ms", "p90 ms", "p99 ms", "tokens/s"
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
