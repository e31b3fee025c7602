//! What the committed recipes reached: every report below `examples/recipes`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

/// What a report says that the tables need.
#[derive(Deserialize)]
pub(super) struct Report {
    title: String,
    date: String,
    measure: String,
    models: Vec<Model>,
    seeds: Vec<Seed>,
    comparison: Option<Comparison>,
    #[serde(default)]
    ablation: Vec<Ablation>,
    #[serde(skip)]
    folder: String,
}

#[derive(Deserialize)]
struct Model {
    name: String,
    score: Interval,
    retention: Option<Interval>,
    file_bytes: u64,
    examples: usize,
}

#[derive(Deserialize)]
struct Interval {
    value: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct Seed {
    student: f64,
    control: f64,
}

#[derive(Deserialize)]
struct Comparison {
    gain: Interval,
    p_value: f64,
}

#[derive(Deserialize)]
struct Ablation {
    name: String,
    score: Interval,
    difference: Interval,
    p_value: f64,
}

/// Every report of schema 2 below a folder, by folder.
pub(super) fn reports(root: &Path) -> Result<Vec<Report>> {
    let mut found = Vec::new();
    collect(root, root, &mut found)?;
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Report>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths: Vec<PathBuf> = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    for path in paths {
        if path.is_dir() {
            collect(root, &path, found)?;
        } else if path.ends_with("report.json") {
            let mut report: Report = super::read_schema(&path, &[2])?;
            report.folder = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
            found.push(report);
        }
    }
    Ok(())
}

fn percent(value: f64) -> String {
    format!("{:.1}", value * 100.0)
}

/// Mean, and in brackets the standard deviation where there are several.
fn mean(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if values.len() < 2 {
        return percent(mean);
    }
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64;
    format!("{} ± {:.1}", percent(mean), variance.sqrt() * 100.0)
}

/// A row a recipe.
pub(super) fn results_table(reports: &[Report]) -> String {
    let mut text = "| recipe | measure | test examples | teacher | control | student | retention | gain (p) | int8 | int8 file |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for report in reports {
        let model = |name: &str| report.models.iter().find(|model| model.name == name);
        let score = |name: &str| model(name).map_or("-".to_owned(), |model| percent(model.score.value));
        let retention = model("student fp32").and_then(|model| model.retention.as_ref());
        text += &format!(
            "| [{}](../examples/recipes/{}) | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            report.title,
            report.folder,
            report.measure.replace('_', " "),
            report.models.first().map_or(0, |model| model.examples),
            score("teacher"),
            mean(report.seeds.iter().map(|seed| seed.control)),
            mean(report.seeds.iter().map(|seed| seed.student)),
            retention.map_or("-".to_owned(), |kept| format!(
                "{}% ({} to {})",
                percent(kept.value),
                percent(kept.low),
                percent(kept.high)
            )),
            report.comparison.as_ref().map_or("-".to_owned(), |comparison| format!(
                "{:+.1} ({:.3})",
                comparison.gain.value * 100.0,
                comparison.p_value
            )),
            score("student int8"),
            model("student int8").map_or("-".to_owned(), |model| format!("{:.1} MB", model.file_bytes as f64 / 1e6)),
        );
    }
    let dates: Vec<&str> = reports.iter().map(|report| report.date.as_str()).collect();
    let (first, last) = (dates.iter().min().unwrap_or(&""), dates.iter().max().unwrap_or(&""));
    text + &format!(
        "\nPercent of the measure on test; ± is the standard deviation over seeds; int8 is of the student that ships. \
         {first} to {last}.\n"
    )
}

/// A table for each recipe that was run without each of its parts.
pub(super) fn ablations(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports.iter().filter(|report| !report.ablation.is_empty()) {
        text += &format!(
            "\n[{}](../examples/recipes/{}), {} seeds, {} as it is:\n\n| without | {} | against the recipe | p |\n|---|---|---|---|\n",
            report.title,
            report.folder,
            report.seeds.len(),
            mean(report.seeds.iter().map(|seed| seed.student)),
            report.measure.replace('_', " ")
        );
        for row in &report.ablation {
            text += &format!(
                "| {} | {} | {:+.1} ({:+.1} to {:+.1}) | {:.3} |\n",
                row.name.strip_prefix("without ").unwrap_or(&row.name),
                percent(row.score.value),
                row.difference.value * 100.0,
                row.difference.low * 100.0,
                row.difference.high * 100.0,
                row.p_value
            );
        }
    }
    text.trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let json = serde_json::json!({
            "title": "banking", "date": "2026-11-26", "measure": "accuracy",
            "models": [
                {"name": "teacher", "score": {"value": 0.92, "low": 0.91, "high": 0.93}, "file_bytes": 1, "examples": 300},
                {"name": "student fp32", "score": {"value": 0.91, "low": 0.9, "high": 0.92}, "file_bytes": 1, "examples": 300,
                 "retention": {"value": 0.989, "low": 0.98, "high": 0.999}},
                {"name": "student int8", "score": {"value": 0.909, "low": 0.9, "high": 0.92}, "file_bytes": 15_000_000,
                 "examples": 300}
            ],
            "seeds": [{"seed": 1, "student": 0.90, "control": 0.88}, {"seed": 2, "student": 0.92, "control": 0.88}],
            "comparison": {"gain": {"value": 0.03, "low": 0.0, "high": 0.1}, "p_value": 0.01, "verdict": ""},
            "ablation": [{"name": "without soft-targets", "score": {"value": 0.88, "low": 0.8, "high": 0.9},
                          "difference": {"value": -0.03, "low": -0.04, "high": -0.02}, "p_value": 0.001}]
        });
        Report { folder: "banking/3".to_owned(), ..serde_json::from_value(json).unwrap() }
    }

    #[test]
    fn a_row_says_what_was_reached() {
        let table = results_table(&[report()]);
        let row = "| [banking](../examples/recipes/banking/3) | accuracy | 300 | 92.0 | 88.0 ± 0.0 | 91.0 ± 1.4 | 98.9% (98.0 to 99.9) \
                   | +3.0 (0.010) | 90.9 | 15.0 MB |";
        assert!(table.lines().any(|line| line == row), "{table}");
        let table = ablations(&[report()]);
        assert!(table.contains("| soft-targets | 88.0 | -3.0 (-4.0 to -2.0) | 0.001 |"), "{table}");
    }
}
