//! The report of a distillation: JSON for programs, one HTML file for people.

mod html;
mod plot;

use serde::{Deserialize, Serialize};

use crate::data::SplitReport;
use crate::measure::{Evaluation, Machine, Versions};
use crate::train::Outcome;

pub use html::html;

/// Everything that was measured, schema 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Version of this schema.
    pub schema: u32,
    /// The recipe's id.
    pub title: String,
    /// `YYYY-MM-DD`, UTC.
    pub date: String,
    /// Source revision of limbeck.
    pub commit: String,
    /// Where it ran.
    pub machine: Machine,
    /// What it ran with.
    pub versions: Versions,
    /// Hash of the written-out recipe.
    pub recipe_sha256: String,
    /// Hash of the pretrained weights.
    pub teacher_sha256: String,
    /// Which teacher layer each student layer started from.
    pub layer_map: Vec<usize>,
    /// Sizes of the sets and what was dropped.
    pub data: SplitReport,
    /// Share of the largest class of dev.
    pub majority_on_dev: f64,
    /// Teacher, control, student fp32, student int8.
    pub models: Vec<ModelReport>,
    /// Student against control.
    pub comparison: Comparison,
    /// int8 against fp32.
    pub quantization: QuantizationReport,
    /// Training.
    pub stages: Vec<StageReport>,
    /// Of the whole command, this time.
    pub wall_seconds: f64,
}

/// One measured model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelReport {
    /// For people.
    pub name: String,
    /// Bundle file.
    pub file: String,
    /// On test, through the sdk.
    pub accuracy: Evaluation,
    /// Of the whole network.
    pub parameters: u64,
    /// Of the bundle.
    pub file_bytes: u64,
    /// Median of one sentence, text in to label out, one thread, milliseconds.
    pub latency_p50_ms: f64,
    /// Tokens of that sentence.
    pub latency_tokens: usize,
    /// Largest resident memory that the model added to a process that does only this, MB: ONNX Runtime,
    /// the mapped bundle and all they allocate.
    pub peak_memory_mb: Option<f64>,
}

/// A training stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageReport {
    /// `teacher`, `student`, `control`.
    pub name: String,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// int8 against fp32, in points of 100 of accuracy (positive: int8 is worse).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QuantizationReport {
    /// Mode.
    pub mode: String,
    /// What the recipe allows on dev.
    pub max_drop_points: f64,
    /// On dev.
    pub dev_drop_points: f64,
    /// On test.
    pub test_drop_points: f64,
}

/// The distilled student against the control, example by example on test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Difference in points of 100 of accuracy.
    pub gain_points: f64,
    /// Examples only the student gets right.
    pub only_student: usize,
    /// Examples only the control gets right.
    pub only_control: usize,
    /// Two-sided exact McNemar test: the chance of a difference this large if both were equally good.
    pub p_value: f64,
    /// In words.
    pub verdict: String,
}

impl Comparison {
    /// Compares two evaluations of the same examples.
    pub fn paired(student: &Evaluation, control: &Evaluation) -> Self {
        let pairs = || student.correct.iter().zip(&control.correct);
        let only_student = pairs().filter(|&(&s, &c)| s && !c).count();
        let only_control = pairs().filter(|&(&s, &c)| !s && c).count();
        let gain_points = (student.value - control.value) * 100.0;
        let p_value = mcnemar(only_student, only_control);
        let strength = if p_value < 0.05 {
            "more than chance would explain (p < 0.05)"
        } else {
            "within what chance can do on a test set of this size"
        };
        let verdict = if only_student > only_control {
            format!(
                "The distilled student beats its control by {gain_points:.1} points; this is {strength} (p = {p_value:.3})."
            )
        } else if only_student == only_control {
            "The distilled student and its control are equally good on test: distillation gained nothing here."
                .to_owned()
        } else {
            format!(
                "The distilled student does NOT beat its control: it is {:.1} points behind, {strength} (p = {p_value:.3}). \
                 Likely causes: a teacher little better than the control, which has little to give, or student \
                 layers that already come from the fine-tuned teacher (student.start).",
                -gain_points
            )
        };
        Self { gain_points, only_student, only_control, p_value, verdict }
    }
}

/// Two-sided exact McNemar test: a fair coin's chance of a split at least as uneven as `a` to `b`.
fn mcnemar(a: usize, b: usize) -> f64 {
    let n = a + b;
    let (mut term, mut sum) = (0.5f64.powi(n as i32), 0.0);
    for k in 0..=a.min(b) {
        sum += term;
        term *= (n - k) as f64 / (k + 1) as f64;
    }
    (2.0 * sum).min(1.0)
}

impl Report {
    /// The table that ends `limbeck distill`.
    pub fn table(&self) -> String {
        let header = ["", "test accuracy", "95% interval", "parameters", "file", "p50 latency", "peak memory"];
        let mut rows: Vec<Vec<String>> = vec![header.iter().map(|&h| h.to_owned()).collect()];
        for model in &self.models {
            let accuracy = &model.accuracy;
            rows.push(vec![
                model.name.clone(),
                format!("{:.1}%", accuracy.value * 100.0),
                format!("{:.1} to {:.1}%", accuracy.low * 100.0, accuracy.high * 100.0),
                format!("{:.1} M", model.parameters as f64 / 1e6),
                format!("{:.1} MB", model.file_bytes as f64 / 1e6),
                format!("{:.2} ms", model.latency_p50_ms),
                model.peak_memory_mb.map_or("-".to_owned(), |mb| format!("{mb:.0} MB")),
            ]);
        }
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let line = if column == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") };
                text.push_str(&line);
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::mcnemar;

    #[test]
    fn mcnemar_is_the_exact_binomial() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert!((mcnemar(0, 6) - 0.03125).abs() < 1e-12);
        assert!((mcnemar(10, 2) - 0.038574).abs() < 1e-6);
        assert!((mcnemar(2, 10) - mcnemar(10, 2)).abs() < 1e-15);
    }
}
