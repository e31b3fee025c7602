use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck::{Bundle, Model};
use serde_json::json;

use super::engines::Engine;

/// Check every hash of a bundle and that ONNX Runtime can run it
#[derive(Args)]
#[command(
    after_help = "Examples:\n  limbeck verify sentiment.limbeck\n  limbeck verify sentiment.limbeck --structure-only\n\nExit status 1 when the bundle is not sound."
)]
pub(super) struct Verify {
    /// Bundle
    bundle: PathBuf,
    /// Only structure and hashes; needs no ONNX Runtime
    #[arg(long)]
    structure_only: bool,
    /// The result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    engine: Engine,
}

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode> {
        let result = self.check();
        if self.json {
            match &result {
                Ok(sections) => {
                    super::print_json(&json!({"ok": true, "sections": sections, "ran": !self.structure_only}))?
                }
                Err(error) => {
                    super::print_json(
                        &json!({"ok": false, "code": error.code().name(), "message": error.to_string()}),
                    )?;
                }
            }
            return Ok(if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        let sections = result?;
        let ran = if self.structure_only { "not run" } else { "ran once" };
        super::print(&format!("{}: sound ({sections} sections, all hashes equal; {ran})\n", self.bundle.display()))?;
        Ok(ExitCode::SUCCESS)
    }

    fn check(&self) -> limbeck::Result<usize> {
        let bundle = Bundle::open(&self.bundle)?;
        let sections = bundle.sections().len();
        if !self.structure_only {
            limbeck::runtime::load(self.engine.path().as_deref())?;
            Model::builder().open_bundle(bundle)?.warm_up()?;
        }
        Ok(sections)
    }
}
