//! Plots as SVG text.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::Report;

/// Accuracy against size and against latency, side by side; intervals as bars.
pub(super) fn size_and_latency(report: &Report) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (960, 400)).into_drawing_area();
        let (left, right) = root.split_horizontally(480);
        let megabytes: Vec<f64> = report.models.iter().map(|m| m.file_bytes as f64 / 1e6).collect();
        let milliseconds: Vec<f64> = report.models.iter().map(|m| m.latency_p50_ms).collect();
        draw(&left, report, &megabytes, "file size, MB").map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
        draw(&right, report, &milliseconds, "p50 latency, ms").map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
        root.present().map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
    }
    Ok(svg)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

fn draw(area: &Area, report: &Report, x: &[f64], label: &str) -> Drawn {
    let fail = |e: DrawingAreaErrorKind<std::io::Error>| e.to_string();
    let percent = |v: f64| v * 100.0;
    let low = report.models.iter().map(|m| percent(m.score.low)).fold(f64::MAX, f64::min) - 1.0;
    let high = report.models.iter().map(|m| percent(m.score.high)).fold(f64::MIN, f64::max) + 1.0;
    let widest = x.iter().copied().fold(0.0, f64::max) * 1.25;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..widest, low..high)
        .map_err(fail)?;
    chart
        .configure_mesh()
        .x_desc(label)
        .y_desc("test accuracy, %")
        .light_line_style(WHITE)
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(fail)?;
    for (i, (model, &x)) in report.models.iter().zip(x).enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        let (low, value, high) = (percent(model.score.low), percent(model.score.value), percent(model.score.high));
        chart.draw_series([PathElement::new(vec![(x, low), (x, high)], colour.stroke_width(2))]).map_err(fail)?;
        chart.draw_series([Circle::new((x, value), 5, colour.filled())]).map_err(fail)?;
        let name = Text::new(model.name.clone(), (x + widest * 0.015, value), ("sans-serif", 13));
        chart.draw_series([name]).map_err(fail)?;
    }
    Ok(())
}

/// Training loss (solid, left scale of its own) and dev accuracy by epoch for every stage.
pub(super) fn training(report: &Report) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (960, 320)).into_drawing_area();
        let panes = root.split_evenly((1, 2));
        curves(&panes[0], report, "training loss", |e| e.loss).map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
        curves(&panes[1], report, "dev accuracy, %", |e| e.dev * 100.0)
            .map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
        root.present().map_err(|e| anyhow!("cannot draw the plot: {e}"))?;
    }
    Ok(svg)
}

fn curves(area: &Area, report: &Report, label: &str, value: fn(&crate::train::EpochRecord) -> f64) -> Drawn {
    let fail = |e: DrawingAreaErrorKind<std::io::Error>| e.to_string();
    let values = || report.stages.iter().flat_map(|s| s.outcome.history.iter().map(value));
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    let margin = ((high - low) * 0.08).max(1e-3);
    let epochs = report.stages.iter().map(|s| s.outcome.history.len()).max().unwrap_or(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.5..epochs + 0.5, low - margin..high + margin)
        .map_err(fail)?;
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc(label)
        .light_line_style(WHITE)
        .label_style(("sans-serif", 13))
        .draw()
        .map_err(fail)?;
    for (i, stage) in report.stages.iter().enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        let points: Vec<(f64, f64)> = stage.outcome.history.iter().map(|e| (e.epoch as f64, value(e))).collect();
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))
            .map_err(fail)?
            .label(stage.name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw().map_err(fail)?;
    Ok(())
}
