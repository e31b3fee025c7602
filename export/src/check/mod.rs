//! What can be known before an hour of training is lost.

mod agreement;
mod answers;
mod cost;
mod data;
mod duplicates;
mod labels;
mod lengths;
mod models;
mod near;
mod recipe;
mod teacher;
#[cfg(test)]
pub(crate) mod tests;
mod texts;
mod tokenizer;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tch::Device;

use crate::data::Rows;
use crate::pipeline::{LatencyBudget, PreparedData, Unlabelled};
use crate::progress::{Bar, Reporter};
use crate::recipe::{Recipe, TeacherSource};

/// The result of [`check`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What will be trained on what.
    pub facts: Vec<String>,
    /// What may cost quality.
    pub warnings: Vec<String>,
    /// What stops a run or spoils its result.
    pub problems: Vec<String>,
}

impl Findings {
    fn fact(&mut self, text: impl Into<String>) {
        self.facts.push(text.into());
    }

    fn warning(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Several parts of a recipe may stumble over the same thing; it is said once.
    fn problem(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }

    /// A warning from `from` of `total` on, a fact below, nothing for none.
    fn weigh(&mut self, count: usize, total: usize, from: f64, text: impl FnOnce() -> String) {
        if count == 0 {
            return;
        }
        let list = if count as f64 >= total as f64 * from { &mut self.warnings } else { &mut self.facts };
        list.push(text());
    }
}

/// What `limbeck check` is told besides the recipe; as [`crate::pipeline::DistillOptions`].
#[derive(Clone, Debug)]
pub struct CheckOptions {
    /// Hugging Face folders of the teachers, or of the encoders that become them.
    pub teachers: Vec<PathBuf>,
    /// Hugging Face folder of the encoder that the student is made from; the first teacher's when `None`.
    pub student: Option<PathBuf>,
    /// Folder that the recipe's file names are relative to.
    pub data: PathBuf,
    /// Hugging Face folder of a masked language model, for augmentation.
    pub masked_lm: Option<PathBuf>,
    /// Whether the student's shape is searched, for a time, in place of the recipe's.
    pub latency: Option<LatencyBudget>,
    /// Where teachers are tried and steps are timed.
    pub device: Device,
}

/// Looks at recipe, data and models without training. Each finding names the thing and the fix.
///
/// # Errors
/// Only what keeps the check itself from going on; a broken teacher or data file is a finding.
pub fn check(recipe: &Recipe, options: &CheckOptions, reporter: &Reporter) -> Result<Findings> {
    let goal = recipe.goal()?;
    let mut findings = Findings::default();
    let data = data::check(
        recipe,
        goal,
        (&options.data, options.teachers.first().map(PathBuf::as_path)),
        reporter,
        &mut findings,
    );
    let finished = recipe.teacher.source == TeacherSource::Finished;
    let models = models::open(recipe, options, data.prepared.as_ref(), &mut findings);
    if let Some(others) = data.prepared.as_ref().and_then(PreparedData::without_rows) {
        findings.warning(others);
    }
    let texts = match &data.prepared {
        Some(prepared) => {
            let unlabelled = data.unlabelled.as_ref().map(Unlabelled::fresh_rows);
            texts::measure(recipe, prepared, unlabelled.as_ref(), &models, reporter, &mut findings)
        }
        None => Vec::new(),
    };
    if let Some(prepared) = &data.prepared {
        lengths::check(recipe, &models, &texts, &mut findings);
        tokenizer::check(recipe, prepared, &models, &texts, data.by_case, &mut findings);
        match recipe.teacher.source {
            TeacherSource::Answers => {
                let rows = data.unlabelled.as_ref().map_or(&prepared.split.train, |all| &all.rows);
                answers::check(recipe, prepared, rows, &options.data, &mut findings);
            }
            _ => {
                for opened in &models.teachers {
                    teacher::check(recipe, prepared, opened, finished, options.device, reporter, &mut findings);
                }
            }
        }
    }
    let planned = recipe::check(recipe, goal, options, &models, &mut findings);
    if let Some(prepared) = &data.prepared {
        cost::check(recipe, prepared, &models, &texts, planned, options.device, &mut findings);
    }
    Ok(findings)
}

/// A bar that appears only where there is something to wait for.
struct Late<'a> {
    reporter: &'a Reporter,
    name: &'static str,
    total: usize,
    started: Instant,
    bar: OnceCell<Bar>,
}

/// How long work goes on without a bar.
const PATIENCE: Duration = Duration::from_secs(2);

impl<'a> Late<'a> {
    fn new(reporter: &'a Reporter, name: &'static str, total: usize) -> Self {
        Self { reporter, name, total, started: Instant::now(), bar: OnceCell::new() }
    }

    fn advance(&self, done: usize) {
        if self.started.elapsed() >= PATIENCE {
            let bar = self.bar.get_or_init(|| self.reporter.bar(self.name, self.total as u64, done as u64));
            bar.advance(done as u64, "");
        }
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.get() {
            bar.finish();
        }
    }
}

/// At most `count` of the rows, evenly spaced.
fn some_rows(rows: &Rows, count: usize) -> Rows {
    fn pick<T: Clone>(rows: &[T], count: usize) -> Vec<T> {
        let count = count.min(rows.len());
        (0..count).map(|index| rows[index * rows.len() / count].clone()).collect()
    }
    match rows {
        Rows::Texts(rows) => Rows::Texts(pick(rows, count)),
        Rows::Tagged(rows) => Rows::Tagged(pick(rows, count)),
        Rows::Questions(rows) => Rows::Questions(pick(rows, count)),
    }
}

/// The beginning of a text, in quotes.
fn shown(text: &str) -> String {
    const SHOWN: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let start: String = line.chars().take(SHOWN).collect();
    if start.len() < line.len() { format!("\"{start}...\"") } else { format!("\"{start}\"") }
}

/// `part` of `total` in percent.
fn percent(part: usize, total: usize) -> String {
    let share = part as f64 * 100.0 / total.max(1) as f64;
    if part > 0 && share < 0.05 { "<0.1%".to_owned() } else { format!("{share:.1}%") }
}

/// A number with what is counted, which takes an s.
fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
