use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use limbeck_export::arch::{Head, ModelConfig, count_parameters, flops};
use limbeck_export::checkpoint::read_config;
use serde_json::json;

/// Count a model's parameters and arithmetic, exactly
#[derive(Args)]
#[command(after_help = "Examples:\n  limbeck params all-minilm-l6-v2\n  limbeck params all-minilm-l6-v2 --total\n\n\
    Only config.json is read. `encoder` is the figure papers print: encoder with pooler, without a head.")]
pub(super) struct Params {
    /// Hugging Face model folder
    model: PathBuf,
    /// Print only the encoder's count
    #[arg(long)]
    total: bool,
    /// Length in tokens for the FLOPs
    #[arg(long, default_value_t = 128)]
    length: usize,
    /// The counts as JSON
    #[arg(long)]
    json: bool,
}

impl Params {
    pub(super) fn run(self) -> Result<ExitCode> {
        let raw = read_config(&self.model)?;
        let config = ModelConfig::from_hf(&raw).with_context(|| format!("in {}", self.model.display()))?;
        let head = match ModelConfig::labels_from_hf(&raw)? {
            Some(labels) => Head::Classification { labels: labels.len() },
            None => Head::None,
        };
        let count = count_parameters(&config, head);
        let operations = flops(&config, self.length);
        if self.json {
            super::print_json(&json!({"parameters": count, "length": self.length, "flops": operations}))?;
        } else if self.total {
            super::print(&format!("{}\n", count.encoder))?;
        } else {
            super::print(&format!(
                "embeddings {:>13}\nlayers     {:>13}  ({} layers)\npooler     {:>13}\nencoder    {:>13}\nhead       {:>13}\n\
                 total      {:>13}\n{:.3} GFLOP for {} tokens (matrix products)\n",
                count.embeddings,
                count.layers,
                config.layers,
                count.pooler,
                count.encoder,
                count.head,
                count.total,
                operations as f64 / 1e9,
                self.length
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
