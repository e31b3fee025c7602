//! Tables for the terminal.

use super::Report;

/// A measure's name for people: `entity F1`.
pub(super) fn measure_name(measure: &str) -> String {
    measure.replace('_', " ").replace("f1", "F1").replace("spearman", "Spearman correlation")
}

/// Rows with aligned columns, the first to the left.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            text += &if column == 0 { format!("{cell}{pad}") } else { format!("  {pad}{cell}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

impl Report {
    /// The table that ends `limbeck distill`.
    pub fn table(&self) -> String {
        let score = format!("test {}", measure_name(&self.measure));
        let header = ["", &score, "95% interval", "retention", "parameters", "file", "p50 latency", "peak memory"];
        let mut rows: Vec<Vec<String>> = vec![header.iter().map(|&h| h.to_owned()).collect()];
        for model in &self.models {
            rows.push(vec![
                model.name.clone(),
                format!("{:.1}%", model.score.value * 100.0),
                format!("{:.1} to {:.1}%", model.score.low * 100.0, model.score.high * 100.0),
                model.retention.map_or("-".to_owned(), |kept| format!("{:.1}%", kept.value * 100.0)),
                format!("{:.1} M", model.parameters as f64 / 1e6),
                format!("{:.1} MB", model.file_bytes as f64 / 1e6),
                format!("{:.2} ms", model.latency_p50_ms),
                model.peak_memory_mb.map_or("-".to_owned(), |mb| format!("{mb:.0} MB")),
            ]);
        }
        let mut text = aligned(&rows);
        if !self.ablation.is_empty() {
            let header = ["ablation", score.as_str(), "against the recipe", "p"];
            let mut rows: Vec<Vec<String>> = vec![header.iter().map(|&h| h.to_owned()).collect()];
            for row in &self.ablation {
                rows.push(vec![
                    row.name.clone(),
                    format!("{:.1}%", row.score.value * 100.0),
                    format!("{:+.1}", row.difference.value * 100.0),
                    format!("{:.3}", row.p_value),
                ]);
            }
            text.push('\n');
            text += &aligned(&rows);
        }
        text
    }
}
