//! How training went, and what was found by leaving something out.

use super::element::{Table, figures, legend, paragraph, wide_figure};
use crate::measure::Interval;
use crate::report::words::{fixed, measure_name, points, points_interval, score, score_interval};
use crate::report::{Report, StageReport, plot};

/// Curves and a table of the stages.
pub(super) fn training(report: &Report) -> String {
    if report.stages.is_empty() {
        return String::new();
    }
    let of = |scored: bool| {
        let stages = report.stages.iter().enumerate().filter(move |(_, stage)| stage.scored == scored);
        legend(stages.map(|(index, stage)| (index, stage.name.as_str())))
    };
    let mut html = String::from("<h2>Training</h2>\n");
    let drawn = figures([plot::training_loss(report), plot::dev_score(report)]);
    if !drawn.is_empty() {
        html += &[of(true), drawn].concat();
    }
    let drawn = figures([plot::layer_losses(report)]);
    if !drawn.is_empty() {
        let text = "Stages that do not train the head have no score yet: their loss in training and, dashed, on dev, by \
                    which the epoch is chosen.";
        html += &[paragraph(text), of(false), drawn].concat();
    }
    html += &table(report);
    let first = if report.seeds.len() > 1 { " Of several seeds these are the first one's." } else { "" };
    let text =
        "Dev chose the epoch of each stage, where it keeps the best. Losses of different stages are not comparable.";
    let windows = match report.measure.as_str() {
        "f1" => " On dev, F1 is of the model's tokens, window by window; on test of the words of whole answers.",
        _ => "",
    };
    html + &paragraph(&format!("{text}{windows}{first}"))
}

fn table(report: &Report) -> String {
    let mut table = Table::new([
        "stage",
        "steps",
        "best epoch",
        &format!("dev {}", measure_name(&report.measure)),
        "dev loss",
        "tokens a second",
    ]);
    for StageReport { name, scored, layer_map, outcome } in &report.stages {
        let best = outcome.best_dev;
        table.row([
            layer_map.as_ref().map_or_else(|| name.clone(), |map| format!("{name} (layer map found: {map})")),
            outcome.steps.to_string(),
            format!("{} of {}", outcome.best_epoch, plot::epochs(outcome)),
            if *scored { score(&report.measure, best) } else { String::new() },
            if *scored { String::new() } else { fixed(-best, 4, "") },
            fixed(outcome.tokens_per_second, 0, ""),
        ]);
    }
    table.html()
}

/// What was left of the student, and what training it again gave back.
pub(super) fn trims(report: &Report) -> String {
    if report.trims.is_empty() {
        return String::new();
    }
    let dev = |what: &str| format!("{} on dev, {what}", measure_name(&report.measure));
    let columns = ["whole", "trimmed", "trained again"].map(dev);
    let mut table = Table::new(["trim", "before", "after"].map(str::to_owned).into_iter().chain(columns));
    for trim in &report.trims {
        let scores = match trim.dev {
            Some(dev) => dev.map(|dev| score(&report.measure, dev)),
            None => [const { String::new() }; 3],
        };
        let sizes = [trim.name.clone(), trim.before.to_string(), trim.after.to_string()];
        table.row(sizes.into_iter().chain(scores));
    }
    let text = "Scores of this table are of the weights that training leaves, rounded where the recipe trains for fewer bits. \
                Those with fewer units, heads or layers were trained again as in the recipe's last stage, by its losses on answers; a smaller vocabulary changes no weights. Test scores, sizes and \
                latency stand in the first table.";
    ["<h2>Trims of the student</h2>\n".to_owned(), table.html(), paragraph(text)].concat()
}

/// Students that lack something, against the whole recipe.
pub(super) fn ablation(report: &Report) -> String {
    if report.ablation.is_empty() {
        return String::new();
    }
    let measure = &report.measure;
    let test = format!("test {}", measure_name(measure));
    let mut table =
        Table::new(["ablation", &test, "95% interval", "difference, points", "95% interval", "p", "by seed"]);
    let Interval { value, low, high } = report.comparison.gain;
    let without_teacher = Interval { value: -value, low: -high, high: -low };
    const CONTROL: &str = "labels alone (control)";
    let mut drawn: Vec<(&str, Interval)> = vec![(CONTROL, without_teacher)];
    let each =
        |scores: &mut dyn Iterator<Item = f64>| scores.map(|one| score(measure, one)).collect::<Vec<_>>().join(", ");
    if let Some(control) = report.models.iter().find(|model| model.name == "control") {
        table.row([
            CONTROL.to_owned(),
            score(measure, control.score.value),
            score_interval(measure, control.score),
            points(without_teacher.value),
            points_interval(without_teacher),
            fixed(report.comparison.p_value, 3, ""),
            each(&mut report.seeds.iter().map(|seed| seed.control)),
        ]);
    }
    for row in &report.ablation {
        drawn.push((&row.name, row.difference));
        table.row([
            row.name.clone(),
            score(measure, row.score.value),
            score_interval(measure, row.score),
            points(row.difference.value),
            points_interval(row.difference),
            fixed(row.p_value, 3, ""),
            each(&mut row.seeds.iter().copied()),
        ]);
    }
    let text = "The same student and seeds, each in the weights that its last stage was trained in, with one thing left out; \
                left of 0 is worse than the whole recipe. p: two-sided chance of such a difference or a larger one of the other \
                sign; with many rows some are small by chance.";
    let title = "<h2>Ablation</h2>\n".to_owned();
    let drawn = wide_figure(plot::ablation(report, &drawn));
    [title, drawn, table.html(), paragraph(text)].concat()
}
