//! Right and wrong by label, of the student that ships.

use super::element::{Table, escape, paragraph};
use crate::measure::Classes;
use crate::report::Report;
use crate::report::words::percent;

/// A larger matrix cannot be read.
const DRAWN: usize = 25;
/// Pairs of labels that are listed instead.
const LISTED: usize = 20;
/// A longer table is folded.
const UNFOLDED: usize = 40;

/// A table with a row for each of so many labels, or kinds.
pub(super) fn folded(table: String, count: usize, label: &str) -> String {
    match count > UNFOLDED {
        true => format!("<details><summary>{count} {label}s</summary>\n{table}</details>\n"),
        false => table,
    }
}

/// The table of labels and the confusion matrix, where each example has one label.
pub(super) fn classes(report: &Report) -> String {
    let Some((shipped, classes)) = report.models.last().and_then(|model| Some((model, model.classes.as_ref()?))) else {
        return String::new();
    };
    let table = folded(by_label(classes), classes.labels.len(), "label");
    let confusion = if classes.labels.len() > DRAWN { confused_pairs(classes) } else { matrix(classes) };
    let title = |text: &str| format!("<h2>{text} of the {}</h2>\n", escape(&shipped.name));
    [title("Labels"), table, title("Confusion"), confusion].concat()
}

/// How often one label was taken for another.
fn count(classes: &Classes, truth: usize, predicted: usize) -> usize {
    classes.confusion.get(truth).and_then(|row| row.get(predicted)).copied().unwrap_or(0)
}

/// Examples that have a label.
fn examples(classes: &Classes, truth: usize) -> usize {
    classes.confusion.get(truth).map_or(0, |row| row.iter().sum())
}

/// A share of something that there may be none of.
fn share(part: usize, of: usize) -> f64 {
    if of == 0 { f64::NAN } else { part as f64 / of as f64 }
}

fn by_label(classes: &Classes) -> String {
    let mut table = Table::new(["label", "test examples", "predicted", "precision", "recall", "F1"]);
    for (index, label) in classes.labels.iter().enumerate() {
        let right = count(classes, index, index);
        let there = examples(classes, index);
        let guessed: usize = (0..classes.labels.len()).map(|truth| count(classes, truth, index)).sum();
        table.row([
            label.clone(),
            there.to_string(),
            guessed.to_string(),
            percent(share(right, guessed)),
            percent(share(right, there)),
            percent(share(2 * right, guessed + there)),
        ]);
    }
    table.html()
}

/// Cells are the darker the larger their share of the true label's examples.
fn matrix(classes: &Classes) -> String {
    let mut html =
        String::from("<div class=\"wide\"><table class=\"matrix\"><thead><tr><th class=\"left\">true, predicted</th>");
    for label in &classes.labels {
        html += &format!("<th>{}</th>", escape(label));
    }
    html += "</tr></thead><tbody>";
    for (truth, label) in classes.labels.iter().enumerate() {
        html += &format!("<tr><th class=\"left\">{}</th>", escape(label));
        for predicted in 0..classes.labels.len() {
            let found = count(classes, truth, predicted);
            let part = share(found, examples(classes, truth));
            let class = match found {
                0 => "none",
                _ if truth == predicted => "right",
                _ => "wrong",
            };
            let shade = if part > 0.0 { format!(" style=\"--share:{part:.2}\"") } else { String::new() };
            html += &format!("<td class=\"{class}\"{shade}>{found}</td>");
        }
        html += "</tr>\n";
    }
    html + "</tbody></table></div>\n"
}

fn confused_pairs(classes: &Classes) -> String {
    let labels = classes.labels.len();
    let mut pairs: Vec<(usize, usize, usize)> = (0..labels)
        .flat_map(|truth| (0..labels).map(move |predicted| (truth, predicted)))
        .filter(|(truth, predicted)| truth != predicted)
        .map(|(truth, predicted)| (count(classes, truth, predicted), truth, predicted))
        .filter(|(found, ..)| *found > 0)
        .collect();
    let (kinds, wrong) = (pairs.len(), pairs.iter().map(|(found, ..)| found).sum::<usize>());
    pairs.sort_by_key(|&(found, truth, predicted)| (std::cmp::Reverse(found), truth, predicted));
    pairs.truncate(LISTED);
    if pairs.is_empty() {
        return paragraph("No label was taken for another.");
    }
    let mut table = Table::new(["true label", "predicted", "times", "of the true label"]).left(2);
    for &(found, truth, predicted) in &pairs {
        table.row([
            classes.labels[truth].clone(),
            classes.labels[predicted].clone(),
            found.to_string(),
            percent(share(found, examples(classes, truth))),
        ]);
    }
    let text = format!(
        "The {} most frequent of {kinds} confusions of two labels; {wrong} test examples were given a wrong label.",
        pairs.len()
    );
    [paragraph(&text), table.html()].concat()
}
