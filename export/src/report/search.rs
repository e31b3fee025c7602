//! How a student's shape was found.

use serde::{Deserialize, Serialize};

use super::words::{NONE, fixed, measure_name, parameters, score};

/// A search for the best student that is fast enough.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchReport {
    /// Milliseconds that a call may take.
    pub budget_ms: f64,
    /// Threads inside an operator.
    pub threads: usize,
    /// Tokens of the text that was timed; nine tenths of the dev texts are no longer.
    pub tokens: usize,
    /// Median of the bundle that ships, on that text.
    pub finished_ms: Option<f64>,
    /// Every shape that was timed, by width and depth.
    pub shapes: Vec<ShapeReport>,
}

/// A shape that was timed, with new weights in int8.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShapeReport {
    /// Transformer layers.
    pub layers: usize,
    /// Hidden size.
    pub hidden_size: usize,
    /// Of the whole network.
    pub parameters: u64,
    /// Median, text in to answer out.
    pub p50_ms: f64,
    /// Score on dev after a third of the recipe's epochs, of the largest shapes inside the budget.
    pub trial_dev: Option<f64>,
    /// Whether it was distilled to the end.
    pub chosen: bool,
}

impl ShapeReport {
    /// Layers by hidden size: `4x312`.
    pub fn name(&self) -> String {
        format!("{}x{}", self.layers, self.hidden_size)
    }
}

impl SearchReport {
    /// A header and a row for each shape: what was tried to the end first, then by latency from the slowest inside the
    /// budget.
    pub(super) fn rows(&self, measure: &str) -> Vec<Vec<String>> {
        let dev = format!("dev {} of a trial", measure_name(measure));
        let header = ["shape", "p50 latency", "within", "parameters", &dev, ""];
        let mut rows = vec![header.iter().map(|&cell| cell.to_owned()).collect()];
        let mut shapes: Vec<&ShapeReport> = self.shapes.iter().collect();
        shapes.sort_by(|a, b| b.trial_dev.is_some().cmp(&a.trial_dev.is_some()).then(b.p50_ms.total_cmp(&a.p50_ms)));
        rows.extend(shapes.into_iter().map(|shape| {
            vec![
                shape.name(),
                fixed(shape.p50_ms, 2, " ms"),
                if shape.p50_ms <= self.budget_ms { "yes" } else { "no" }.to_owned(),
                parameters(shape.parameters),
                shape.trial_dev.map_or(NONE.to_owned(), |dev| score(measure, dev)),
                if shape.chosen { "chosen" } else { "" }.to_owned(),
            ]
        }));
        rows
    }

    /// What was asked and what came of it.
    pub fn in_words(&self) -> String {
        let finished = self.finished_ms.map_or(String::new(), |ms| {
            let verdict = if ms <= self.budget_ms { "inside" } else { "OUTSIDE" };
            format!(" The bundle that ships takes {}, {verdict} the budget.", fixed(ms, 2, " ms"))
        });
        format!(
            "Searched for at most {} on {} thread{}, for a text of {} tokens (nine tenths of dev are no longer).{finished}",
            fixed(self.budget_ms, 2, " ms"),
            self.threads,
            if self.threads == 1 { "" } else { "s" },
            self.tokens
        )
    }
}
