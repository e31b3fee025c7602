//! The plots of a report, as SVG.

mod chart;

use super::words::{fixed, is_correlation, measure_name, percent, points, points_interval, score, score_interval};
use super::{ModelReport, Report, SearchReport, ShapeReport, StageReport};
use crate::measure::Interval;
use crate::train::{EpochRecord, Outcome};
pub(super) use chart::colour;
use chart::{Chart, Point, Series};

/// A score as axes have it: in percent, a correlation as it is.
fn shown(measure: &str, value: f64) -> f64 {
    if is_correlation(measure) { value } else { value * 100.0 }
}

fn score_title(set: &str, measure: &str) -> String {
    let unit = if is_correlation(measure) { "" } else { ", %" };
    format!("{set} {}{unit}", measure_name(measure))
}

/// Score of each model against something else, with its interval.
fn scores_by(report: &Report, title: &str, of: fn(&ModelReport) -> f64) -> Option<String> {
    let measure = &report.measure;
    let series = report.models.iter().enumerate().map(|(colour, model)| {
        let Interval { value, low, high } = model.score;
        let hint = format!("{}: {} ({})", model.name, score(measure, value), score_interval(measure, model.score));
        let point = Point {
            x: of(model),
            y: shown(measure, value),
            interval: Some((shown(measure, low), shown(measure, high))),
            hint,
        };
        Series { colour, points: vec![point], dashed: false }
    });
    let (x, y) = (title.to_owned(), score_title("test", measure));
    Chart { x, y, zero: true, series: series.collect(), ..Chart::default() }.svg()
}

/// Score against the size of the file.
pub(super) fn score_by_size(report: &Report) -> Option<String> {
    scores_by(report, "file size, MB", |model| model.file_bytes as f64 / 1e6)
}

/// Score against latency.
pub(super) fn score_by_latency(report: &Report) -> Option<String> {
    scores_by(report, "p50 latency, ms", |model| model.latency_p50_ms)
}

/// Latency against length, a line a model.
pub(super) fn latency_by_length(report: &Report) -> Option<String> {
    let series = report.models.iter().enumerate().map(|(colour, model)| {
        let points = model.latency_by_length.iter().map(|case| Point {
            x: case.tokens as f64,
            y: case.p50_ms,
            interval: None,
            hint: format!("{}, {} tokens: {}", model.name, case.tokens, fixed(case.p50_ms, 2, " ms")),
        });
        Series { colour, points: points.collect(), dashed: false }
    });
    let (x, y) = ("tokens".to_owned(), "p50 latency, ms".to_owned());
    Chart { x, y, joined: true, log: true, series: series.collect(), ..Chart::default() }.svg()
}

/// Epochs of a stage.
pub(super) fn epochs(outcome: &Outcome) -> usize {
    outcome.history.last().map_or(0, |record| record.epoch)
}

/// The epochs behind a record, a fraction where dev was scored within one.
fn when(record: &EpochRecord, outcome: &Outcome) -> f64 {
    match record.step {
        // A report from before steps were written.
        0 => record.epoch as f64,
        step => epochs_behind(step, outcome),
    }
}

fn epochs_behind(step: u64, outcome: &Outcome) -> f64 {
    step as f64 * epochs(outcome) as f64 / outcome.steps.max(1) as f64
}

/// A line of the training loss a stage, by its curve; by its scorings in a report from before there were curves.
fn losses<'a>(stages: impl Iterator<Item = (usize, &'a StageReport)>) -> Vec<Series> {
    let say = |loss: f64| fixed(loss, 4, "");
    let line = |(colour, stage): (usize, &'a StageReport)| {
        let outcome = &stage.outcome;
        if outcome.curve.is_empty() {
            return by_epoch(std::iter::once((colour, stage)), false, &|e| e.loss, &say);
        }
        let points = outcome.curve.iter().map(|point| Point {
            x: epochs_behind(point.step, outcome),
            y: point.loss,
            interval: None,
            hint: format!("{}, step {}: {}", stage.name, point.step, say(point.loss)),
        });
        vec![Series { colour, points: points.collect(), dashed: false }]
    };
    stages.flat_map(line).collect()
}

type OfEpoch<'a> = &'a dyn Fn(&EpochRecord) -> f64;

/// A line a stage by epoch, with the colours of the stages' places.
fn by_epoch<'a>(
    stages: impl Iterator<Item = (usize, &'a StageReport)>,
    dashed: bool,
    value: OfEpoch,
    say: &dyn Fn(f64) -> String,
) -> Vec<Series> {
    let line = |(colour, stage): (usize, &StageReport)| {
        let points = stage.outcome.history.iter().map(|record| Point {
            x: when(record, &stage.outcome),
            y: value(record),
            interval: None,
            hint: format!("{}, epoch {}: {}", stage.name, record.epoch, say(value(record))),
        });
        Series { colour, points: points.collect(), dashed }
    };
    stages.map(line).collect()
}

fn training_chart(y: String, series: Vec<Series>, log: bool) -> Option<String> {
    Chart { x: "epochs".to_owned(), y, joined: true, log, series, ..Chart::default() }.svg()
}

fn stages(report: &Report, scored: bool) -> impl Iterator<Item = (usize, &StageReport)> {
    report.stages.iter().enumerate().filter(move |(_, stage)| stage.scored == scored)
}

/// Training loss of the stages that train the head.
pub(super) fn training_loss(report: &Report) -> Option<String> {
    training_chart("training loss".to_owned(), losses(stages(report, true)), true)
}

/// Their score on dev.
pub(super) fn dev_score(report: &Report) -> Option<String> {
    let measure = &report.measure;
    let say = |value: f64| if is_correlation(measure) { fixed(value, 3, "") } else { percent(value / 100.0) };
    let series = by_epoch(stages(report, true), false, &|e| shown(measure, e.dev), &say);
    training_chart(score_title("dev", measure), series, false)
}

/// Of the stages on layers alone, the loss in training and, dashed, on dev.
pub(super) fn layer_losses(report: &Report) -> Option<String> {
    let say = |loss: f64| fixed(loss, 4, "");
    let mut series = losses(stages(report, false));
    series.extend(by_epoch(stages(report, false), true, &|e| -e.dev, &|loss| format!("{} on dev", say(loss))));
    training_chart("loss on layers".to_owned(), series, true)
}

/// Letters of a row's name that are drawn.
const LETTERS: usize = 46;

/// What each ablation costs in points, a row each, around 0.
pub(super) fn ablation(report: &Report, rows: &[(&str, Interval)]) -> Option<String> {
    let shown = rows
        .iter()
        .map(|(name, _)| match name.char_indices().nth(LETTERS) {
            Some(_) => name.chars().take(LETTERS - 1).chain(['\u{2026}']).collect(),
            None => (*name).to_owned(),
        })
        .collect();
    let points = rows.iter().enumerate().map(|(row, (name, interval))| Point {
        x: interval.value * 100.0,
        y: -(row as f64),
        interval: Some((interval.low * 100.0, interval.high * 100.0)),
        hint: format!("{name}: {} ({})", points(interval.value), points_interval(*interval)),
    });
    let x = format!("test {} against the recipe, points", measure_name(&report.measure));
    let series = vec![Series { colour: 0, points: points.collect(), dashed: false }];
    Chart { x, zero: true, rows: shown, series, ..Chart::default() }.svg()
}

/// The widths of a search, from the widest: the colours of its drawings.
pub(super) fn search_widths(search: &SearchReport) -> Vec<usize> {
    let widths: std::collections::BTreeSet<usize> = search.shapes.iter().map(|shape| shape.hidden_size).collect();
    widths.into_iter().rev().collect()
}

/// A series for each width.
fn by_width(search: &SearchReport, point: impl Fn(&ShapeReport) -> Option<Point>) -> Vec<Series> {
    let of = |(colour, width): (usize, usize)| {
        let shapes = search.shapes.iter().filter(|shape| shape.hidden_size == width);
        Series { colour, points: shapes.filter_map(&point).collect(), dashed: false }
    };
    search_widths(search).into_iter().enumerate().map(of).collect()
}

/// Latency of each shape by depth, a line a width, with the budget dashed.
pub(super) fn search_latency(search: &SearchReport) -> Option<String> {
    let mut series = by_width(search, |shape| {
        let hint = format!("{}: {}", shape.name(), fixed(shape.p50_ms, 2, " ms"));
        Some(Point { x: shape.layers as f64, y: shape.p50_ms, interval: None, hint })
    });
    let depths = search.shapes.iter().map(|shape| shape.layers as f64);
    let ends = [depths.clone().reduce(f64::min)?, depths.reduce(f64::max)?];
    let hint = format!("budget: {}", fixed(search.budget_ms, 2, " ms"));
    let budget = ends.map(|x| Point { x, y: search.budget_ms, interval: None, hint: hint.clone() });
    series.push(Series { colour: series.len(), points: budget.into(), dashed: true });
    let (x, y) = ("layers".to_owned(), "p50 latency, ms".to_owned());
    Chart { x, y, joined: true, series, ..Chart::default() }.svg()
}

/// What trials reached on dev by latency: what more time buys.
pub(super) fn search_trials(report: &Report, search: &SearchReport) -> Option<String> {
    let measure = &report.measure;
    let series = by_width(search, |shape| {
        let dev = shape.trial_dev?;
        let hint = format!("{}: {} in {}", shape.name(), score(measure, dev), fixed(shape.p50_ms, 2, " ms"));
        Some(Point { x: shape.p50_ms, y: shown(measure, dev), interval: None, hint })
    });
    let (x, y) = ("p50 latency, ms".to_owned(), score_title("dev", measure));
    Chart { x, y, series, ..Chart::default() }.svg()
}
