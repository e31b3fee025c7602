//! The report of a distillation: JSON for programs, one HTML file for people.

mod html;
mod plot;
mod require;
mod search;
mod table;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

use crate::data::SplitReport;
use crate::distill::LayerMap;
use crate::measure::{BenchCase, Classes, Interval, LabelQuality, Machine, Versions, metrics::Metrics};
use crate::train::Outcome;

pub use html::html;
pub use require::Requirement;
pub use search::{SearchReport, ShapeReport};

/// Everything that was measured, schema 2. Scores are shares from 0 to 1; each is of the test set, through the sdk.
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
    /// Hash of the pretrained weights of the first teacher.
    pub teacher_sha256: String,
    /// Hashes of the weights of all other folders that it was made from: `teacher 2`, `student`, `masked language model`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others_sha256: Vec<(String, String)>,
    /// Hashes over the files that it read: `data`, `unlabelled`, `corpus`, `answers`, and of all that decides `augmentation`;
    /// reports of before have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs_sha256: Vec<(String, String)>,
    /// Where it was trained; reports of before have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingPlace>,
    /// What the models are for.
    pub task: String,
    /// What scores are: `accuracy`, `entity_f1`.
    pub measure: String,
    /// Which teacher layer each student layer started from.
    pub layer_map: Vec<usize>,
    /// Sizes of the sets and what was dropped.
    pub data: SplitReport,
    /// Texts without labels that were learned from, if there were some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<UnlabelledReport>,
    /// What needs no model scores on dev: the largest class; 0 where there is no such thing.
    pub chance_on_dev: f64,
    /// Teachers (if their weights are here), control, student fp32, trimmed students, student int8 (or ternary), which ships;
    /// of the seed that dev chose.
    pub models: Vec<ModelReport>,
    /// Student and control for each seed.
    pub seeds: Vec<SeedReport>,
    /// Student against control.
    pub comparison: Comparison,
    /// Fewer bits against fp32.
    pub quantization: QuantizationReport,
    /// Training.
    pub stages: Vec<StageReport>,
    /// Students that lack something, `limbeck distill --ablate`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ablation: Vec<AblationReport>,
    /// Smaller models of the student, `limbeck distill --trim`, which have their rows in `models`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trims: Vec<TrimReport>,
    /// How the student's shape was found, `limbeck distill --latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchReport>,
    /// Of the whole command, this time.
    pub wall_seconds: f64,
}

/// Texts without labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnlabelledReport {
    /// How many were used.
    pub texts: usize,
    /// How many were left out: they are in train, dev or test, or came before.
    pub dropped: usize,
}

/// What decides, beside the recipe, how sums are rounded in training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingPlace {
    /// `cpu` or `cuda`.
    pub device: String,
    /// Threads of each process.
    pub threads: usize,
    /// Processes, each with its share of every batch.
    pub processes: usize,
}

/// One measured model.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelReport {
    /// `teacher` (`teacher-2` a further one), `control`, `student fp32`, `student int8, ffn=768` (trimmed), `student int8` or
    /// `student ternary`.
    pub name: String,
    /// Bundle file.
    pub file: String,
    /// Score with its 95% bootstrap interval over test examples; of the control and the fp32 student the mean over seeds,
    /// whose spread counts too.
    pub score: Interval,
    /// Score as a share of the first teacher's, with its interval; absent without a teacher.
    pub retention: Option<Interval>,
    /// Test examples.
    pub examples: usize,
    /// All measures of the model that this file holds.
    pub metrics: Metrics,
    /// Which label was taken for which, where each example has one.
    pub classes: Option<Classes>,
    /// How well each label was found where an example may have several, and each kind of entities; reports of before have none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_label: Vec<LabelQuality>,
    /// Test texts that were longer than the model takes and were cut.
    pub truncated: usize,
    /// Of the whole network.
    pub parameters: u64,
    /// Of the bundle.
    pub file_bytes: u64,
    /// Median of one test row, both of its texts where the model reads two, text in to answer out, one thread, milliseconds.
    pub latency_p50_ms: f64,
    /// Tokens of that row.
    pub latency_tokens: usize,
    /// Latency by length, one thread.
    pub latency_by_length: Vec<BenchCase>,
    /// Largest resident memory that the model added to a process that does only this, MB: ONNX Runtime,
    /// the mapped bundle and all they allocate.
    pub peak_memory_mb: Option<f64>,
}

/// Student and control of one seed on test and on dev: in fp32, or a student that was trained for fewer bits in those.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedReport {
    /// The seed.
    pub seed: u64,
    /// Student on test.
    pub student: f64,
    /// Student on dev.
    pub student_dev: f64,
    /// Control on test.
    pub control: f64,
    /// Control on dev.
    pub control_dev: f64,
}

impl SeedReport {
    /// How much better the student is than the control, on test.
    pub fn difference(&self) -> f64 {
        self.student - self.control
    }
}

impl Report {
    /// The seed whose student is shipped: the best on dev, the first of equals.
    pub fn shipped_seed(&self) -> Option<&SeedReport> {
        self.seeds.iter().rev().max_by(|a, b| a.student_dev.total_cmp(&b.student_dev))
    }
}

/// A training stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageReport {
    /// `teacher`, `student, intermediate`.
    pub name: String,
    /// Whether the dev scores are the task's; else they are minus the loss on dev.
    pub scored: bool,
    /// The layer map that trials found, where the recipe has it searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_map: Option<LayerMap>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A student that lacks something.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AblationReport {
    /// What it lacks: `without soft-targets`.
    pub name: String,
    /// Its score on test, mean over the seeds.
    pub score: Interval,
    /// Against the whole recipe, with the same seeds.
    pub difference: Interval,
    /// Chance of such a difference or a larger one of the other sign (bootstrap).
    pub p_value: f64,
    /// By seed.
    pub seeds: Vec<f64>,
}

/// What trimming the student did; how good, large and fast the result is has a row among the models.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrimReport {
    /// As the option says it: `ffn=768`.
    pub name: String,
    /// Units, heads, layers or tokens that there were.
    pub before: usize,
    /// That are left.
    pub after: usize,
    /// Scores on dev in fp32: of the whole student, as it was trimmed, and trained again. Of a smaller vocabulary none: it
    /// changes no weights.
    pub dev: Option<[f64; 3]>,
}

/// Fewer bits against fp32, in points of 100 of the measure (positive: int8 is worse).
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

impl QuantizationReport {
    /// What the weights of the student that ships are, in a word.
    pub fn element(&self) -> &'static str {
        if self.mode.starts_with("ternary") { "ternary" } else { "int8" }
    }

    /// What fewer bits cost, and may cost.
    pub fn in_words(&self) -> String {
        format!(
            "{} against fp32: {} points on test, {} on dev (allowed: {} lost).",
            self.element(),
            words::signed(-self.test_drop_points, 2, ""),
            words::signed(-self.dev_drop_points, 2, ""),
            words::fixed(self.max_drop_points, 1, "")
        )
    }
}

/// The distilled student against the control, on the same test examples and seeds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Comparison {
    /// Difference of the mean scores, with its 95% bootstrap interval over examples and seeds.
    pub gain: Interval,
    /// Two-sided chance of such a difference or a larger one of the other sign, by the same bootstrap.
    pub p_value: f64,
    /// In words.
    pub verdict: String,
}

impl Comparison {
    /// Puts a difference into words.
    pub fn new(gain: Interval, p_value: f64, seeds: usize) -> Self {
        let strength = if p_value < 0.05 {
            "more than chance would explain"
        } else {
            "within what chance can do on a test set of this size"
        };
        let over = if seeds == 1 { String::new() } else { format!(", mean of {seeds} seeds") };
        let points = gain.value * 100.0;
        let verdict = if points.is_nan() {
            format!("The student and its control cannot be compared{over}: a score is not a number.")
        } else if points > 0.0 {
            format!(
                "The distilled student beats its control by {points:.1} points{over}; this is {strength} (p = {p_value:.3})."
            )
        } else if points == 0.0 {
            format!(
                "The distilled student and its control are equally good on test{over}: distillation gained nothing here."
            )
        } else {
            format!(
                "The distilled student does NOT beat its control: it is {:.1} points behind{over}, {strength} (p = {p_value:.3}). \
                 Likely causes: a teacher little better than the control, which has little to give, or student \
                 layers that already come from the fine-tuned teacher (student.start).",
                -points
            )
        };
        Self { gain, p_value, verdict }
    }
}
