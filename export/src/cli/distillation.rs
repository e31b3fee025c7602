//! What is distilled, for the verbs that distil and that check before.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use limbeck_export::pack::TaskName;
use limbeck_export::pipeline::LatencyBudget;
use limbeck_export::recipe::Recipe;

/// Recipe, models and data.
#[derive(Args)]
pub(super) struct Distillation {
    /// Recipe (TOML), or `auto`: train, dev and test files of the data folder, a student that --latency decides
    #[arg(long)]
    recipe: PathBuf,
    /// What the student of `--recipe auto` is for; default: text-classification
    #[arg(long)]
    task: Option<TaskName>,
    /// Longest time of a call, as 3ms: searches the largest students that keep it, tries them, and distils the best
    #[arg(long, value_name = "TIME", value_parser = milliseconds)]
    latency: Option<f64>,
    /// Threads that --latency may use
    #[arg(long, default_value_t = 1, requires = "latency", value_parser = clap::value_parser!(u16).range(1..=64))]
    cores: u16,
    /// Hugging Face folder of the encoder that becomes the teacher (or of a finished teacher, as the recipe says); may be
    /// repeated: students learn the layers of the first and the mean answers of all
    #[arg(long, required = true)]
    pub teacher: Vec<PathBuf>,
    /// Hugging Face folder of the encoder that the student is made from, with a tokenizer of its own; default: the first
    /// teacher
    #[arg(long)]
    pub student: Option<PathBuf>,
    /// Hugging Face folder of a masked language model, for recipes that augment their rows
    #[arg(long)]
    pub masked_lm: Option<PathBuf>,
    /// Folder that the recipe's file names are relative to
    #[arg(long, default_value = ".")]
    pub data: PathBuf,
}

/// A time in milliseconds: `3ms`, `0.8 ms`, `3`, `900us`.
fn milliseconds(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let (number, factor) = match (text.strip_suffix("us").or(text.strip_suffix("µs")), text.strip_suffix("ms")) {
        (Some(number), _) => (number, 1e-3),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value * factor),
        _ => Err("a time above 0, as 3ms or 800us".to_owned()),
    }
}

impl Distillation {
    pub(super) fn recipe(&self) -> Result<Recipe> {
        // A file of that name is meant if there is one.
        if self.recipe != Path::new("auto") || self.recipe.is_file() {
            ensure!(self.task.is_none(), "--task goes with --recipe auto; a recipe of your own says `task = ...`");
            return Recipe::read(&self.recipe);
        }
        if self.latency.is_none() {
            bail!("--recipe auto finds the student for a time: give --latency, as --latency 3ms");
        }
        Recipe::auto(self.task.unwrap_or(TaskName::TextClassification), &self.data)
    }

    /// The time that the student may take, where its shape is searched.
    pub(super) fn latency(&self) -> Option<LatencyBudget> {
        self.latency.map(|ms| LatencyBudget { ms, threads: usize::from(self.cores) })
    }
}
