//! Tables for the terminal.

use super::words::{
    NONE, fixed, mean_and_deviation, measure_name, megabytes, parameters, percent, points, points_interval, score,
    score_interval,
};
use super::{Report, SeedReport};

/// No line is longer.
const WIDTH: usize = 110;
const GAP: &str = "  ";

/// Rows with aligned columns, the first to the left and cut where the lines would be too long.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let mut widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let others: usize = widths.iter().skip(1).map(|width| width + GAP.len()).sum();
    if let Some(first) = widths.first_mut() {
        *first = (*first).min(WIDTH.saturating_sub(others));
    }
    let mut text = String::new();
    for row in rows {
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let cell = cut(cell, width);
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            text += &if column == 0 { format!("{cell}{pad}") } else { format!("{GAP}{pad}{cell}") };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(3)).collect();
    kept + "..."
}

fn owned(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

impl Report {
    /// The tables that end `limbeck distill`: models; seeds, if there are several; ablations and the search for a shape, if
    /// there were any.
    pub fn table(&self) -> String {
        let measure = &self.measure;
        let test = format!("test {}", measure_name(measure));
        let header = ["", &test, "95% interval", "retention", "parameters", "file", "p50 latency", "peak memory"];
        let mut rows = vec![owned(&header)];
        for model in &self.models {
            rows.push(vec![
                model.name.clone(),
                score(measure, model.score.value),
                score_interval(measure, model.score),
                model.retention.map_or(NONE.to_owned(), |kept| percent(kept.value)),
                parameters(model.parameters),
                megabytes(model.file_bytes),
                fixed(model.latency_p50_ms, 2, " ms"),
                model.peak_memory_mb.map_or(NONE.to_owned(), |mb| fixed(mb, 0, " MB")),
            ]);
        }
        let mut text = aligned(&rows);
        if self.seeds.len() > 1 {
            text.push('\n');
            text += &aligned(&self.seed_rows());
        }
        if !self.ablation.is_empty() {
            let mut rows = vec![owned(&["ablation", &test, "against the recipe", "95% interval", "p"])];
            for row in &self.ablation {
                rows.push(vec![
                    row.name.clone(),
                    score(measure, row.score.value),
                    points(row.difference.value),
                    points_interval(row.difference),
                    fixed(row.p_value, 3, ""),
                ]);
            }
            text.push('\n');
            text += &aligned(&rows);
        }
        if let Some(search) = &self.search {
            text += &format!("\n{}\n", search.in_words());
            text += &aligned(&search.rows(measure));
        }
        text
    }

    /// Student and control by seed, with a header; of several seeds, mean and sample standard deviation too.
    pub(super) fn seed_rows(&self) -> Vec<Vec<String>> {
        let student = format!("student, test {}", measure_name(&self.measure));
        let mut rows = vec![owned(&["seed", &student, "control", "difference", "student on dev", "control on dev"])];
        let show = |value: f64| score(&self.measure, value);
        let several = self.seeds.len() > 1;
        let shipped = self.shipped_seed().map(|seed| seed.seed).filter(|_| several);
        for seed in &self.seeds {
            let mark = if shipped == Some(seed.seed) { " (shipped)" } else { "" };
            rows.push(vec![
                format!("{}{mark}", seed.seed),
                show(seed.student),
                show(seed.control),
                points(seed.difference()),
                show(seed.student_dev),
                show(seed.control_dev),
            ]);
        }
        if several {
            let columns: [fn(&SeedReport) -> f64; 5] =
                [|s| s.student, |s| s.control, SeedReport::difference, |s| s.student_dev, |s| s.control_dev];
            let sums = columns.map(|of| mean_and_deviation(&self.seeds.iter().map(of).collect::<Vec<_>>()));
            let mean = |(index, &(mean, _)): (usize, &(f64, _))| if index == 2 { points(mean) } else { show(mean) };
            rows.push(std::iter::once("mean".to_owned()).chain(sums.iter().enumerate().map(mean)).collect());
            let spread = |&(_, deviation): &(f64, Option<f64>)| fixed(deviation.unwrap_or(f64::NAN) * 100.0, 1, "");
            rows.push(std::iter::once("deviation, points".to_owned()).chain(sums.iter().map(spread)).collect());
        }
        rows
    }
}
