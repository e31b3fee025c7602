use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use limbeck::Bundle;
use limbeck::bundle::Task;
use limbeck_export::files::hex;
use limbeck_export::graph::describe;
use serde_json::json;

/// Show what a bundle or an ONNX graph holds
#[derive(Args)]
#[command(
    after_help = "Examples:\n  limbeck inspect sentiment.limbeck\n  limbeck inspect sentiment.limbeck --json | jq .manifest.operators\n  \
    limbeck inspect onnx/model.onnx"
)]
pub(super) struct Inspect {
    /// Bundle, or ONNX file
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// Manifest, labels and sections (inputs, outputs and operators of a graph) as JSON
    #[arg(long)]
    json: bool,
    /// Inputs, outputs and operators of a graph as tables for a README
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
}

impl Inspect {
    fn graph(&self) -> Result<ExitCode> {
        let bytes = std::fs::read(&self.bundle).with_context(|| format!("cannot read {}", self.bundle.display()))?;
        let description = describe(&bytes).with_context(|| format!("in {}", self.bundle.display()))?;
        if self.json {
            super::print_json(&description)?;
        } else if self.markdown {
            super::print(&description.markdown())?;
        } else {
            super::print(&format!("{}\n{description}", description.name))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    pub(super) fn run(self) -> Result<ExitCode> {
        if self.bundle.extension().is_some_and(|ending| ending == "onnx") {
            return self.graph();
        }
        if self.markdown {
            bail!("--markdown is for ONNX graphs; {} is not called .onnx", self.bundle.display());
        }
        let bundle = Bundle::options().keep_encrypted().open(&self.bundle)?;
        let signers = bundle.signers()?;
        let manifest = bundle.manifest();
        if self.json {
            let sections: Vec<_> = bundle
                .sections()
                .iter()
                .map(|s| json!({"name": s.name, "kind": s.kind.name(), "offset": s.offset, "length": s.length, "sha256": hex(&s.sha256), "encrypted": s.encrypted}))
                .collect();
            super::print_json(
                &json!({"manifest": manifest, "labels": bundle.labels(), "sections": sections, "bytes": bundle.size(), "signed_by": signers}),
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        let a = &manifest.architecture;
        let mut text = format!(
            "{} {} (build {}): {}, {:.1} MB\n{}: {} layers, hidden size {}, {} attention heads, {:.1} M parameters\n\
             labels: {}\nat most {} tokens; batching: {}\n",
            manifest.id,
            manifest.version,
            manifest.build,
            manifest.task.name(),
            bundle.size() as f64 / 1e6,
            a.family,
            a.layers,
            a.hidden_size,
            a.attention_heads,
            a.parameters as f64 / 1e6,
            bundle.labels().join(", "),
            manifest.max_tokens,
            serde_json::to_value(manifest.batching)?.as_str().unwrap_or("?")
        );
        if let Some(q) = &manifest.quality {
            text += &format!(
                "{} {:.4} ({:.4} to {:.4}) on {} {} examples\n",
                q.metric, q.value, q.low, q.high, q.examples, q.split
            );
        }
        if let Some(q) = &manifest.quantization {
            let lost = |share: f64| match manifest.task {
                Task::Generation => format!("perplexity {:+.2}% on dev", share * 100.0),
                _ => format!("{:+.2} points lost on dev", share * 100.0),
            };
            let drop = q.measured_drop.map_or("not measured".to_owned(), lost);
            let table = q.table.as_ref().map(|table| format!(", token table {table}")).unwrap_or_default();
            let block = q.block_size.map(|size| format!(", blocks of {size}")).unwrap_or_default();
            text += &format!("quantization: {}{table}{block} ({drop})\n", q.mode);
            if let (Some(batches), Some(processors)) = (&q.batches, &q.processors) {
                text += &format!("same answers: across batches by {batches}, across processors by {processors}\n");
            }
        }
        if let Some(l) = &manifest.latency {
            text += &format!(
                "latency: {:.2} ms for {} tokens on {} thread(s), {}\n",
                l.p50_ms, l.tokens, l.threads, l.machine
            );
        }
        if !signers.is_empty() {
            text += &format!("signed by: {} (limbeck verify --key checks it)\n", signers.join(", "));
        }
        for (title, tensors) in [("inputs", &manifest.inputs), ("outputs", &manifest.outputs)] {
            let list: Vec<String> = tensors
                .iter()
                .map(|t| {
                    let element = serde_json::to_value(t.element).ok().and_then(|v| v.as_str().map(str::to_owned));
                    format!("{} {} [{}]", t.name, element.unwrap_or_default(), t.axes.join(", "))
                })
                .collect();
            text += &format!("{title}: {}\n", list.join("; "));
        }
        text += &format!(
            "needs: limbeck {} and ONNX Runtime API {} or newer\noperators: {}\nsections:\n",
            manifest.requires.sdk,
            manifest.requires.onnxruntime_api,
            manifest.operators.join(", ")
        );
        for s in bundle.sections() {
            text += &format!(
                "  {:<16} {:<10} {:>12} bytes at {:<10} sha256 {}{}\n",
                s.name,
                s.kind.name(),
                s.length,
                s.offset,
                hex(&s.sha256),
                if s.encrypted { " encrypted" } else { "" }
            );
        }
        super::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}
