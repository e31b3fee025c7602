use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use limbeck::Bundle;
use limbeck_export::shrink::{OPERATORS_NAME, ORT_NAME, shrink};
use serde_json::json;

use super::engines::Engine;

/// Write what a small build of ONNX Runtime needs to run a bundle
#[derive(Args)]
#[command(after_help = "Examples:\n  limbeck shrink student.limbeck --out small\n  \
    cd onnxruntime && sh ../small/build-android.sh ../small/required_operators.config\n\n\
    Writes required_operators.config (every operator of the graph, before and after ONNX Runtime's own fusions),\n\
    build-linux.sh, build-android.sh and build-ios.sh with the size that is expected of each build, and model.ort, the\n\
    graph in ONNX Runtime's own format. See docs/shrinking.md.")]
pub(super) struct Shrink {
    /// Bundle
    bundle: PathBuf,
    /// Folder to write to
    #[arg(long)]
    out: PathBuf,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Shrink {
    pub(super) fn run(self) -> Result<ExitCode> {
        self.engine.load()?;
        let bundle = Bundle::open(&self.bundle)?;
        let bytes =
            std::fs::metadata(&self.bundle).with_context(|| format!("cannot read {}", self.bundle.display()))?;
        let report = shrink(&bundle, bytes.len(), &self.out)?;
        if self.json {
            super::print_json(&json!({"out": self.out, "report": report}))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let ort = match (report.ort_bytes, &report.ort_refused) {
            (Some(bytes), _) => format!("{ORT_NAME}: {}", mb(bytes)),
            (None, refused) => format!("{ORT_NAME} was not written: {}", refused.as_deref().unwrap_or_default()),
        };
        let expected = match report.expected.is_empty() {
            true => "unknown, because that of the library with all operators is".to_owned(),
            false => {
                let each = report.expected.iter().map(|size| format!("{} {}", size.platform.name(), size.words()));
                each.collect::<Vec<_>>().join(", ")
            }
        };
        super::print(&format!(
            "{}: {} operators\n{ort}\nThe bundle has {}, ONNX Runtime {} with all operators {}\nExpected size with \
             these alone: {expected}: an estimate from the size with all, not a measured build (docs/shrinking.md)\n\
             Next: sh {}/build-linux.sh {}/{OPERATORS_NAME}, in the sources of \
             ONNX Runtime {}\n",
            self.out.join(OPERATORS_NAME).display(),
            report.operators.count(),
            mb(report.bundle_bytes),
            report.runtime,
            report.full_library_bytes.map_or("an unknown size".to_owned(), mb),
            self.out.display(),
            self.out.display(),
            report.runtime,
        ))?;
        Ok(ExitCode::SUCCESS)
    }
}
