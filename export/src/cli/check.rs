use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use limbeck_export::check::check;
use limbeck_export::recipe::Recipe;

/// Look for what would waste a training run: broken data, leaks, lost tokens, a teacher that does not fit
#[derive(Args)]
#[command(
    after_help = "Example:\n  limbeck check --recipe recipe.toml --teacher all-minilm-l6-v2 --data data\n\nExit status 1 when something would stop or spoil the run."
)]
pub(super) struct Check {
    /// Recipe (TOML)
    #[arg(long)]
    recipe: PathBuf,
    /// Hugging Face folder of the teacher
    #[arg(long)]
    teacher: PathBuf,
    /// Folder that the recipe's file names are relative to
    #[arg(long, default_value = ".")]
    data: PathBuf,
    /// The findings as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> Result<ExitCode> {
        let recipe = Recipe::read(&self.recipe)?;
        let findings = check(&recipe, &self.teacher, &self.data)?;
        if self.json {
            super::print_json(&findings)?;
        } else {
            for fact in &findings.facts {
                super::print(&format!("  {fact}\n"))?;
            }
            for warning in &findings.warnings {
                super::print(&format!("warning: {warning}\n"))?;
            }
            for problem in &findings.problems {
                super::print(&format!("PROBLEM: {problem}\n"))?;
            }
            if findings.problems.is_empty() {
                super::print("Ready. Next: limbeck distill with the same options and --out\n")?;
            }
        }
        Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
