//! What was measured of the models: scores, seeds, size, latency.

use std::collections::BTreeSet;

use super::classes::folded;
use super::element::{Table, escape, figures, legend, paragraph};
use crate::recipe::{Recipe, Texts};
use crate::report::words::{
    NONE, fixed, is_correlation, measure_name, megabytes, parameters, percent, percent_interval, points,
    points_interval, score, score_interval,
};
use crate::report::{Report, plot};

/// The table of models, how it was made, and the verdict.
pub(super) fn models(report: &Report) -> String {
    let measure = &report.measure;
    let mut table = Table::new([
        "model",
        &format!("test {}", measure_name(measure)),
        "95% interval",
        "retention",
        "95% interval",
        "parameters",
        "file",
        "p50 latency",
        "peak memory",
        "texts cut",
    ]);
    for (index, model) in report.models.iter().enumerate() {
        let kept = model.retention;
        let cells = [
            model.name.clone(),
            score(measure, model.score.value),
            score_interval(measure, model.score),
            kept.map_or(NONE.to_owned(), |kept| percent(kept.value)),
            kept.map_or(NONE.to_owned(), percent_interval),
            parameters(model.parameters),
            megabytes(model.file_bytes),
            fixed(model.latency_p50_ms, 2, " ms"),
            model.peak_memory_mb.map_or(NONE.to_owned(), |mb| fixed(mb, 0, " MB")),
            model.truncated.to_string(),
        ];
        if index + 1 == report.models.len() { table.strong(cells) } else { table.row(cells) }
    }
    let verdict = format!("<p class=\"note\">{}</p>\n", escape(&report.comparison.verdict));
    let int8 = format!("{} A point is a hundredth of the measure.", report.quantization.in_words());
    [table.html(), paragraph(&how_measured(report)), verdict, paragraph(&int8)].concat()
}

/// How a text is read that is longer than the model takes, where it is not cut.
const IN_WINDOWS: &str = ", in windows where the model takes fewer";

/// What the columns of the table mean.
fn how_measured(report: &Report) -> String {
    let mut text = String::from("All through the sdk, as it ships. ");
    text += match report.seeds.len() {
        0 | 1 => "Intervals: bootstrap over test examples. ",
        _ => {
            "Control and fp32 student: the mean of all seeds, with a bootstrap over examples and Student's t over seeds; \
             teacher and the student in fewer bits: of the one model that is in the file, over examples. "
        }
    };
    if report.models.iter().any(|model| model.retention.is_some()) {
        let several = report.models.iter().any(|model| model.name.starts_with("teacher-"));
        let whose = if several { "first teacher's, whose layers are learned" } else { "teacher's" };
        text += &format!("Retention: score as a share of the {whose}. ");
    }
    if let Some(model) = report.models.first() {
        let (read, windows) = match report.task.as_str() {
            "pair-classification" => ("the pair of test texts", ""),
            "question-answering" => ("the test question that, with its text, is", IN_WINDOWS),
            "token-classification" => ("the test text", IN_WINDOWS),
            _ => ("the test text", ""),
        };
        text += &format!(
            "Latency: {read} of median length ({} tokens{windows}), text in to answer out, one thread, median of 200 calls \
             in each of three fresh processes. ",
            model.latency_tokens
        );
    }
    text + "Memory: what the model adds to such a process (ONNX Runtime, the mapped bundle, all they allocate). Texts cut: \
            those longer than the model takes."
}

/// Student and control by seed.
pub(super) fn seeds(report: &Report, recipe: &Recipe) -> String {
    if report.seeds.is_empty() {
        return String::new();
    }
    let gain = report.comparison.gain;
    let mut rows = report.seed_rows().into_iter();
    let mut table = Table::new(rows.next().unwrap_or_default());
    for row in rows {
        if row.first().is_some_and(|name| name == "mean") { table.strong(row) } else { table.row(row) }
    }
    let text = format!(
        "{}, from the same start, {}; the control learns from the labels alone. Student less control: {} points, 95% \
         interval {}, p = {}.",
        match recipe.quantize() {
            None => "Both in fp32".to_owned(),
            Some(_) => format!(
                "The student in {}, which it was trained for, the control in fp32",
                report.quantization.element()
            ),
        },
        match recipe.stages.iter().any(|stage| stage.on != Texts::Train) {
            false => "on the same texts",
            true => "the student also on texts that the control does not see",
        },
        points(gain.value),
        points_interval(gain),
        fixed(report.comparison.p_value, 3, "")
    );
    ["<h2>Student and control by seed</h2>\n".to_owned(), table.html(), paragraph(&text)].concat()
}

/// The colours of the models in drawings.
fn names(report: &Report) -> String {
    legend(report.models.iter().enumerate().map(|(index, model)| (index, model.name.as_str())))
}

/// Score against size and latency.
pub(super) fn trade_off(report: &Report) -> String {
    let drawn = figures([plot::score_by_size(report), plot::score_by_latency(report)]);
    if drawn.is_empty() {
        return drawn;
    }
    let title = format!("<h2>Size, latency and {}</h2>\n", escape(&measure_name(&report.measure)));
    [title, names(report), drawn].concat()
}

/// Latency by length.
pub(super) fn latency(report: &Report) -> String {
    let cases = || report.models.iter().flat_map(|model| &model.latency_by_length);
    let lengths: BTreeSet<usize> = cases().map(|case| case.tokens).collect();
    if lengths.is_empty() {
        return String::new();
    }
    let header = lengths.iter().map(|tokens| format!("{tokens} tokens"));
    let mut table = Table::new(std::iter::once("model".to_owned()).chain(header));
    for model in &report.models {
        let cell = |tokens: &usize| {
            let case = model.latency_by_length.iter().find(|case| case.tokens == *tokens);
            case.map_or(NONE.to_owned(), |case| {
                format!("{} / {}", fixed(case.p50_ms, 2, ""), fixed(case.p90_ms, 2, ""))
            })
        };
        table.row(std::iter::once(model.name.clone()).chain(lengths.iter().map(cell)));
    }
    let runs = cases().map(|case| case.runs).min().unwrap_or(0);
    let text = format!("Milliseconds a call, p50 / p90 of {runs} calls, one text a call, one thread.");
    let title = "<h2>Latency by length</h2>\n".to_owned();
    let drawn = figures([plot::latency_by_length(report)]);
    [title, table.html(), paragraph(&text), names(report), drawn].concat()
}

/// How well the student that ships finds each label where an example may have several, or each kind of entities.
pub(super) fn labels(report: &Report) -> String {
    let Some(shipped) = report.models.last().filter(|model| !model.by_label.is_empty()) else {
        return String::new();
    };
    let (title, label, there) = match report.measure.as_str() {
        "entity_f1" => ("Kinds of entities", "kind", "test entities"),
        _ => ("Labels", "label", "test examples"),
    };
    let mut table = Table::new([label, there, "predicted", "precision", "recall", "F1"]);
    for label in &shipped.by_label {
        // Of none there is no share.
        let share = |share: f64, of: usize| if of == 0 { NONE.to_owned() } else { percent(share) };
        table.row([
            label.label.clone(),
            label.support.to_string(),
            label.predicted.to_string(),
            share(label.precision, label.predicted),
            share(label.recall, label.support),
            share(label.f1, label.predicted + label.support),
        ]);
    }
    let table = folded(table.html(), shipped.by_label.len(), label);
    format!("<h2>{title} of the {}</h2>\n{table}", escape(&shipped.name))
}

/// Everything that was measured of the models' answers.
pub(super) fn metrics(report: &Report) -> String {
    let names: BTreeSet<&String> = report.models.iter().flat_map(|model| model.metrics.keys()).collect();
    if names.is_empty() {
        return String::new();
    }
    let models = report.models.iter().map(|model| model.name.clone());
    let mut table = Table::new(std::iter::once("measure, on test".to_owned()).chain(models));
    for name in names {
        let cell = |metrics: &crate::measure::metrics::Metrics| {
            metrics.get(name).map_or(NONE.to_owned(), |value| fixed(*value, 4, ""))
        };
        let shown = if is_correlation(name) { format!("{name} correlation") } else { name.replace('_', " ") };
        table.row(std::iter::once(shown).chain(report.models.iter().map(|model| cell(&model.metrics))));
    }
    let several = if report.seeds.len() > 1 { " Of several seeds: the models that are in the files." } else { "" };
    let text =
        format!("As they are: shares and correlations, 1 for all right; errors in the unit of the labels.{several}");
    ["<h2>All measures</h2>\n".to_owned(), table.html(), paragraph(&text)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::LabelQuality;
    use crate::report::tests::report;

    fn quality(label: &str, predicted: usize, precision: f64) -> LabelQuality {
        let label = label.to_owned();
        LabelQuality { label, right: 3, predicted, support: 6, precision, recall: 0.5, f1: 0.6 }
    }

    #[test]
    fn each_of_several_labels_has_its_row() {
        let mut several = report("text-classification", "micro_f1");
        assert_eq!(labels(&several), "");
        let shipped = several.models.last_mut().unwrap();
        shipped.by_label = vec![quality("<good>", 4, 0.75), quality("film", 0, 0.0)];
        let html = labels(&several);
        for part in [
            "<h2>Labels of the student int8</h2>",
            "&lt;good&gt;</td><td>6</td><td>4</td><td>75.0%</td><td>50.0%</td><td>60.0%</td>",
            "film</td><td>6</td><td>0</td><td>-</td><td>50.0%</td>",
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        let mut kinds = report("token-classification", "entity_f1");
        kinds.models.last_mut().unwrap().by_label = (0..41).map(|kind| quality(&kind.to_string(), 4, 0.75)).collect();
        let html = labels(&kinds);
        assert!(html.contains("Kinds of entities of the") && html.contains("<summary>41 kinds</summary>"), "{html}");
        // Reports of before say nothing of labels.
        let text = serde_json::to_string(&report("token-classification", "entity_f1")).unwrap();
        assert!(!text.contains("by_label") && serde_json::from_str::<Report>(&text).is_ok());
    }

    #[test]
    fn what_was_timed_is_said() {
        for (task, said) in [
            ("text-classification", "the test text of median length (17 tokens), text in"),
            ("pair-classification", "the pair of test texts of median length (17 tokens), text in"),
            ("question-answering", "with its text, is of median length (17 tokens, in windows"),
            ("token-classification", "the test text of median length (17 tokens, in windows"),
        ] {
            let html = models(&report(task, "accuracy"));
            assert!(html.contains(said), "{said} in {html}");
        }
    }
}
