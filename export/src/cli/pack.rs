use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck_export::graph::WeightMode;
use limbeck_export::pack::{PackOptions, draft};
use serde_json::json;

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
    /// Longest text in tokens, special tokens included
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
}

impl Identity {
    pub(super) fn options(&self, output: &std::path::Path, weights: WeightMode) -> PackOptions {
        let stem = || output.file_stem().map_or("model".into(), |s| s.to_string_lossy().into_owned());
        PackOptions {
            id: self.id.clone().unwrap_or_else(stem),
            version: self.model_version.clone(),
            build: self.build,
            languages: self.language.clone(),
            max_tokens: self.max_tokens,
            weights,
            provenance: None,
        }
    }
}

/// Pack a Hugging Face classifier folder into an fp32 bundle
#[derive(Args)]
#[command(
    after_help = "Example:\n  limbeck pack out/student -o student.limbeck --language en\n\nFor int8 see `limbeck quantize`."
)]
pub(super) struct Pack {
    /// Folder with config.json, model.safetensors and tokenizer.json
    model: PathBuf,
    /// Bundle to write
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    identity: Identity,
    /// The result as JSON
    #[arg(long)]
    json: bool,
}

impl Pack {
    pub(super) fn run(self) -> Result<ExitCode> {
        let options = self.identity.options(&self.output, WeightMode::Float);
        let bytes = draft(&self.model, &options)?.write(&self.output)?;
        if self.json {
            super::print_json(&json!({"bundle": self.output, "bytes": bytes, "mode": "none"}))?;
        } else {
            super::print(&format!(
                "{}: {:.1} MB, fp32\nNext: limbeck run {} \"some text\"\n",
                self.output.display(),
                bytes as f64 / 1e6,
                self.output.display()
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
