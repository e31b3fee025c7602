//! What the tables read of a distillation's report.

use serde::Deserialize;

use super::tables::{Machine, Versions};

/// The schema of reports that is read.
pub(super) const REPORT_SCHEMA: u32 = 2;

#[derive(Deserialize)]
pub(super) struct Report {
    pub title: String,
    pub measure: String,
    pub date: String,
    pub commit: String,
    pub machine: Machine,
    pub versions: Versions,
    pub models: Vec<Model>,
    pub seeds: Vec<Seed>,
    pub comparison: Option<Comparison>,
    #[serde(default)]
    pub ablation: Vec<Ablation>,
    /// Where it lies, below the folder that was searched.
    #[serde(skip)]
    pub folder: String,
}

#[derive(Deserialize)]
pub(super) struct Model {
    pub name: String,
    pub score: Interval,
    pub retention: Option<Interval>,
    pub examples: usize,
    pub parameters: u64,
    pub file_bytes: u64,
    pub latency_p50_ms: f64,
    pub latency_tokens: Option<usize>,
    pub peak_memory_mb: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

#[derive(Deserialize)]
pub(super) struct Seed {
    pub student: f64,
    pub control: f64,
}

#[derive(Deserialize)]
pub(super) struct Comparison {
    pub gain: Interval,
    pub p_value: f64,
    pub verdict: String,
}

#[derive(Deserialize)]
pub(super) struct Ablation {
    pub name: String,
    pub score: Interval,
    pub difference: Interval,
    pub p_value: f64,
}

impl Report {
    /// The measure in words.
    pub fn measure(&self) -> String {
        self.measure.replace('_', " ").replace("f1", "F1")
    }
}
