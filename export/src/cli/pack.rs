use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;
use limbeck::bundle::Calibration;
use limbeck_export::files;
use limbeck_export::graph::WeightMode;
use limbeck_export::pack::{PackOptions, TaskName, draft};
use serde_json::json;

use super::tune::Tune;

/// What a bundle says of itself, shared by `pack` and `quantize`
#[derive(Args)]
pub(super) struct Identity {
    /// Bundle id; default: the output file's name
    #[arg(long)]
    id: Option<String>,
    /// Version of the model
    #[arg(long, default_value = "0.1.0")]
    model_version: String,
    /// Build number, to be counted up with each release
    #[arg(long, default_value_t = 1)]
    build: u64,
    /// Language (BCP 47 tag); may be repeated
    #[arg(long)]
    language: Vec<String>,
    /// Longest text in tokens, special tokens included; default: 128, or what the model has if that is less
    #[arg(long)]
    max_tokens: Option<usize>,
    /// What the model is for; default: what its head says. A sequence classifier may also be for pairs of texts, a
    /// language model that learned sentence order for order, and any encoder for sentence embeddings
    #[arg(long, value_enum)]
    task: Option<TaskName>,
    /// JSON file with `temperature`, `thresholds` (one a label) and `out_of_scope`, as `limbeck calibrate` writes it
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
}

impl Identity {
    pub(super) fn options(&self, output: &std::path::Path, weights: WeightMode) -> Result<PackOptions> {
        let stem = || output.file_stem().map_or("model".into(), |s| s.to_string_lossy().into_owned());
        Ok(PackOptions {
            id: self.id.clone().unwrap_or_else(stem),
            version: self.model_version.clone(),
            build: self.build,
            languages: self.language.clone(),
            max_tokens: self.max_tokens,
            weights,
            task: self.task,
            calibration: self.calibration.as_deref().map(calibration).transpose()?,
            ..PackOptions::default()
        })
    }
}

/// A file of [`Calibration`]; one with other keys holds something else, and would say nothing.
fn calibration(path: &Path) -> Result<Calibration> {
    let value: serde_json::Value = files::read_json(path)?;
    let known = ["temperature", "thresholds", "out_of_scope"];
    let keys: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    ensure!(
        !keys.is_empty() && keys.iter().all(|key| known.contains(key)),
        "--calibration {}: a calibration has {}, and this has {}; `limbeck calibrate -o FILE.json` writes one",
        path.display(),
        known.join(", "),
        if keys.is_empty() { "none of them".to_owned() } else { keys.join(", ") }
    );
    serde_json::from_value(value).with_context(|| format!("--calibration {}", path.display()))
}

/// Pack a Hugging Face model folder into an fp32 bundle
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck pack out/student -o student.limbeck --language en\n  \
    limbeck pack out/nli -o nli.limbeck --task pair-classification\n  \
    limbeck pack all-MiniLM-L6-v2 -o minilm.limbeck --max-tokens 256\n  \
    limbeck pack out/electra -o replaced.limbeck\n  \
    limbeck pack out/albert -o order.limbeck --task order\n  \
    limbeck pack out/student -o student.limbeck --tune --tune-lengths 16,32\n\nFor int8 see `limbeck quantize`.")]
pub(super) struct Pack {
    /// Folder with config.json, model.safetensors and tokenizer.json
    model: PathBuf,
    /// Bundle to write
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    identity: Identity,
    #[command(flatten)]
    tune: Tune,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Pack {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut options = self.identity.options(&self.output, WeightMode::Float)?;
        let tuning = self.tune.run(&self.model, &mut options)?;
        let bytes = draft(&self.model, &options)?.write(&self.output)?;
        if self.json {
            super::print_json(&json!({"bundle": self.output, "bytes": bytes, "mode": "none", "tuning": tuning}))?;
        } else {
            super::print(&format!(
                "{}{}: {:.1} MB, fp32\nNext: limbeck run {} \"some text\"\n",
                tuning.map(|tuning| tuning.table()).unwrap_or_default(),
                self.output.display(),
                bytes as f64 / 1e6,
                self.output.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
