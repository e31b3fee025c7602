//! The plots of a report, as SVG.

mod chart;
mod forest;
mod scale;

use super::words::{fixed, is_correlation, measure_name, percent, score, score_interval};
use super::{ModelReport, Report, StageReport};
use crate::measure::Interval;
use crate::train::{EpochRecord, Outcome};
pub(super) use chart::colour;
use chart::{Chart, Point, Series};
use scale::Scale;

/// Losses that differ by more than this factor are drawn in powers.
const WIDE: f64 = 20.0;

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
        Series { colour, points: vec![point], joined: false, dashed: false }
    });
    let y = Scale { title: score_title("test", measure), ..Scale::default() };
    let chart = Chart {
        title: format!("{} against {title}", y.title),
        x: Scale { title: title.to_owned(), from_zero: true, ..Scale::default() },
        y,
        series: series.collect(),
    };
    chart.svg()
}

/// Score against the size of the file.
pub(super) fn score_by_size(report: &Report) -> Option<String> {
    scores_by(report, "file size, MB", |model| model.file_bytes as f64 / 1e6)
}

/// Score against latency.
pub(super) fn score_by_latency(report: &Report) -> Option<String> {
    scores_by(report, "p50 latency, ms", |model| model.latency_p50_ms)
}

/// Latency against length, both in powers, a line a model.
pub(super) fn latency_by_length(report: &Report) -> Option<String> {
    let series = report.models.iter().enumerate().map(|(colour, model)| {
        let points = model.latency_by_length.iter().map(|case| Point {
            x: case.tokens as f64,
            y: case.p50_ms,
            interval: None,
            hint: format!("{}, {} tokens: {}", model.name, case.tokens, fixed(case.p50_ms, 2, " ms")),
        });
        Series { colour, points: points.collect(), joined: true, dashed: false }
    });
    let chart = Chart {
        title: "p50 latency by length".to_owned(),
        x: Scale { title: "tokens".to_owned(), log: true, ticks: lengths(report), ..Scale::default() },
        y: Scale { title: "p50 latency, ms".to_owned(), log: true, ..Scale::default() },
        series: series.collect(),
    };
    chart.svg()
}

/// The lengths that any model was timed at.
fn lengths(report: &Report) -> Vec<f64> {
    let cases = report.models.iter().flat_map(|model| &model.latency_by_length);
    let lengths: std::collections::BTreeSet<usize> = cases.map(|case| case.tokens).collect();
    lengths.into_iter().map(|tokens| tokens as f64).collect()
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
        step => step as f64 * epochs(outcome) as f64 / outcome.steps.max(1) as f64,
    }
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
        Series { colour, points: points.collect(), joined: true, dashed }
    };
    stages.map(line).collect()
}

fn training_chart(report: &Report, title: String, series: Vec<Series>, losses: bool) -> Option<String> {
    let longest = report.stages.iter().map(|stage| epochs(&stage.outcome)).max().unwrap_or(0);
    let values = || series.iter().flat_map(|series| &series.points).map(|point| point.y).filter(|y| y.is_finite());
    let (low, high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    let chart = Chart {
        x: Scale { title: "epochs".to_owned(), ticks: (0..=longest).map(|e| e as f64).collect(), ..Scale::default() },
        y: Scale { title: title.clone(), log: losses && high > low * WIDE, ..Scale::default() },
        title,
        series,
    };
    chart.svg()
}

fn stages(report: &Report, scored: bool) -> impl Iterator<Item = (usize, &StageReport)> {
    report.stages.iter().enumerate().filter(move |(_, stage)| stage.scored == scored)
}

/// Training loss of the stages that train the head.
pub(super) fn training_loss(report: &Report) -> Option<String> {
    let series = by_epoch(stages(report, true), false, &|e| e.loss, &|loss| fixed(loss, 4, ""));
    training_chart(report, "training loss".to_owned(), series, true)
}

/// Their score on dev.
pub(super) fn dev_score(report: &Report) -> Option<String> {
    let measure = &report.measure;
    let say = |value: f64| if is_correlation(measure) { fixed(value, 3, "") } else { percent(value / 100.0) };
    let series = by_epoch(stages(report, true), false, &|e| shown(measure, e.dev), &say);
    training_chart(report, score_title("dev", measure), series, false)
}

/// Of the stages on layers alone, the loss in training and, dashed, on dev.
pub(super) fn layer_losses(report: &Report) -> Option<String> {
    let say = |loss: f64| fixed(loss, 4, "");
    let mut series = by_epoch(stages(report, false), false, &|e| e.loss, &say);
    series.extend(by_epoch(stages(report, false), true, &|e| -e.dev, &|loss| format!("{} on dev", say(loss))));
    training_chart(report, "loss on layers".to_owned(), series, true)
}

/// What each ablation costs, around 0.
pub(super) fn ablation(report: &Report, rows: &[(&str, Interval)]) -> Option<String> {
    forest::forest(&format!("test {} against the recipe, points", measure_name(&report.measure)), rows)
}
