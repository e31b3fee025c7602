use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use limbeck::{ClassifyOptions, Model, Overflow};
use serde_json::json;

use super::engines::Engine;

/// Run a bundle on texts
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    limbeck run sentiment.limbeck \"crisp screen, awful battery\"\n  \
    limbeck run sentiment.limbeck --json < sentences.txt")]
pub(super) struct Run {
    /// Bundle
    bundle: PathBuf,
    /// Texts; without any, one text a line from standard input
    texts: Vec<String>,
    /// How many labels to show
    #[arg(long, default_value_t = 3)]
    top_k: usize,
    /// What to do with a text that is too long: error, truncate or window
    #[arg(long, default_value = "truncate")]
    overflow: String,
    /// One JSON object a text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.engine.load()?;
        let model = Model::open(&self.bundle)?;
        let overflow = match self.overflow.as_str() {
            "error" => Overflow::Error,
            "truncate" => Overflow::Truncate,
            "window" => Overflow::Window { stride: model.bundle().manifest().max_tokens / 4 },
            other => bail!("--overflow {other}: use error, truncate or window"),
        };
        let options = ClassifyOptions::new().top_k(self.top_k).overflow(overflow);
        let from_input = self.texts.is_empty();
        let texts: Box<dyn Iterator<Item = std::io::Result<String>>> =
            if from_input { Box::new(std::io::stdin().lines()) } else { Box::new(self.texts.into_iter().map(Ok)) };
        for (index, text) in texts.enumerate() {
            let text =
                text.map_err(|e| anyhow::anyhow!("standard input, line {}: {e}; it must be UTF-8 text", index + 1))?;
            let answer = model.classify_with(&text, &options)?;
            let usage = &answer.usage;
            if self.json {
                let labels: Vec<_> = answer
                    .labels
                    .iter()
                    .map(|l| json!({"label": l.label, "probability": l.probability, "logit": l.logit}))
                    .collect();
                let timings = &usage.timings;
                super::print(&format!(
                    "{}\n",
                    json!({"text": text, "labels": labels, "tokens_used": usage.tokens_used,
                           "tokens_dropped": usage.tokens_dropped, "windows": usage.windows,
                           "tokenize_ms": timings.tokenize.as_secs_f64() * 1e3,
                           "inference_ms": timings.inference.as_secs_f64() * 1e3})
                ))?;
            } else {
                let labels: Vec<String> =
                    answer.labels.iter().map(|l| format!("{} {:.1}%", l.label, l.probability * 100.0)).collect();
                let dropped = match usage.tokens_dropped {
                    0 => String::new(),
                    n => format!("  ({n} tokens were not read; see --overflow)"),
                };
                super::print(&format!("{}\n  {}{dropped}\n", text, labels.join("  ")))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
