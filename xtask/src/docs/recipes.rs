//! What the committed recipes reached: every report below `examples/recipes`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::report::{Model, REPORT_SCHEMA, Report};

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
            let mut report: Report = super::read_schema(&path, REPORT_SCHEMA)?;
            report.folder = folder.strip_prefix(root).unwrap_or(folder).to_string_lossy().into_owned();
            found.push(report);
        }
    }
    Ok(())
}

/// In percent.
pub(super) fn percent(value: f64) -> String {
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

/// The student as its training left it: in fp32, or in what it was trained for.
fn compared(report: &Report) -> Option<&Model> {
    let named = |name: &str| report.models.iter().find(|model| model.name == name);
    named("student ternary").or(named("student fp32"))
}

/// What students of one shape kept of their teachers, for shapes that several sets have a folder for: `SET/SHAPE`.
fn shapes(reports: &[Report]) -> BTreeMap<&str, Vec<f64>> {
    let mut shapes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for report in reports {
        let kept = compared(report).and_then(|model| model.retention.as_ref());
        if let (Some((_, shape)), Some(kept)) = (report.folder.rsplit_once('/'), kept) {
            shapes.entry(shape).or_default().push(kept.value);
        }
    }
    shapes.retain(|_, kept| kept.len() > 1);
    shapes
}

/// A row a recipe, and the means of shapes.
pub(super) fn results_table(reports: &[Report]) -> String {
    let mut text = "| recipe | measure | test examples | teacher | control | student | retention | gain (p) | int8 | int8 file |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for report in reports {
        let model = |name: &str| report.models.iter().find(|model| model.name == name);
        let score = |name: &str| model(name).map_or("-".to_owned(), |model| percent(model.score.value));
        // The last model is the student that ships, in int8 or in what it was trained for.
        let shipped =
            report.models.iter().rfind(|model| model.name.starts_with("student") && model.name != "student fp32");
        let retention = compared(report).and_then(|model| model.retention.as_ref());
        text += &format!(
            "| [{}](../examples/recipes/{}) | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
            report.title,
            report.folder,
            report.measure(),
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
            shipped.map_or("-".to_owned(), |model| percent(model.score.value)),
            shipped.map_or("-".to_owned(), |model| format!("{:.1} MB", model.file_bytes as f64 / 1e6)),
        );
    }
    for (shape, kept) in shapes(reports) {
        text += &format!(
            "| **{shape}, mean of {} sets** | | | | | | **{}%** | | | |\n",
            kept.len(),
            percent(kept.iter().sum::<f64>() / kept.len() as f64)
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
            report.measure()
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
        let model = |name: &str, [value, low, high]: [f64; 3], file_bytes: u64| {
            serde_json::json!({
                "name": name, "score": {"value": value, "low": low, "high": high}, "file_bytes": file_bytes,
                "examples": 300, "parameters": 1, "latency_p50_ms": 1.0,
            })
        };
        let mut student = model("student fp32", [0.91, 0.9, 0.92], 1);
        student["retention"] = serde_json::json!({"value": 0.989, "low": 0.98, "high": 0.999});
        let json = serde_json::json!({
            "title": "banking", "date": "2026-11-26", "measure": "accuracy", "commit": "c",
            "machine": {"cpu": "x", "cores": 2, "os": "o"}, "versions": {"limbeck": "1"},
            "models": [
                model("teacher", [0.92, 0.91, 0.93], 1), student,
                model("student int8", [0.909, 0.9, 0.92], 15_000_000)
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
        assert!(!table.contains("mean of"), "one set is no mean: {table}");
        let mut other = report();
        other.folder = "clinc/3".to_owned();
        other.models[1].retention.as_mut().unwrap().value = 0.969;
        let table = results_table(&[report(), other]);
        assert!(table.contains("| **3, mean of 2 sets** | | | | | | **97.9%** |"), "{table}");
        let table = ablations(&[report()]);
        assert!(table.contains("| soft-targets | 88.0 | -3.0 (-4.0 to -2.0) | 0.001 |"), "{table}");
    }
}
