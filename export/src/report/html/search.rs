//! How the student's shape was found.

use super::element::{Table, figures, legend, paragraph};
use crate::report::{Report, plot};

/// The shapes that were timed and tried, and two drawings: time by depth, and what a trial reached by time.
pub(super) fn search(report: &Report) -> String {
    let Some(search) = &report.search else { return String::new() };
    let mut rows = search.rows(&report.measure).into_iter();
    let mut table = Table::new(rows.next().unwrap_or_default());
    for row in rows {
        if row.last().is_some_and(|mark| !mark.is_empty()) { table.strong(row) } else { table.row(row) }
    }
    let text = format!(
        "{} Shapes were timed with new weights in int8, which take as long as trained ones; of each width the depths up to \
         the first that is too slow. {}",
        search.in_words(),
        if search.shapes.iter().any(|shape| shape.trial_dev.is_some()) {
            "The largest inside the budget were distilled for a third of the recipe's epochs, and the best on dev to the end."
        } else {
            "One alone was inside the budget, and was distilled to the end."
        }
    );
    let widths = plot::search_widths(search);
    let names: Vec<String> = widths.iter().map(|width| format!("{width} wide")).collect();
    let names = legend(names.iter().enumerate().map(|(index, name)| (index, name.as_str())));
    let drawn = figures([plot::search_latency(search), plot::search_trials(report, search)]);
    ["<h2>Search for the shape</h2>\n".to_owned(), paragraph(&text), table.html(), names, drawn].concat()
}
