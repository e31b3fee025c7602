//! The report as one HTML file without scripts or outside references.

use std::fmt::Write;

use anyhow::Result;

use super::{Report, plot};
use crate::recipe::Recipe;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:980px;margin:2rem auto;padding:0 1rem;color:#222}\
table{border-collapse:collapse;margin:1rem 0}td,th{border-bottom:1px solid #ddd;padding:.35rem .8rem;text-align:right}\
td:first-child,th:first-child{text-align:left}pre{background:#f6f6f6;padding:1rem;overflow:auto}svg{max-width:100%}\
.note{background:#fff7e0;padding:.6rem 1rem;border-left:4px solid #e0b000}";

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Renders the report.
pub fn html(report: &Report, recipe: &Recipe) -> Result<String> {
    let mut page = String::new();
    let title = escape(&report.title);
    write!(page, "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>limbeck: {title}</title>")?;
    write!(page, "<style>{STYLE}</style><h1>{title}</h1>")?;
    let machine = &report.machine;
    write!(
        page,
        "<p>{}, limbeck {} ({}), ONNX Runtime {}, {} with {} cores ({}).</p>",
        report.date,
        escape(&report.versions.limbeck),
        escape(&report.commit),
        escape(report.versions.onnxruntime.as_deref().unwrap_or("unknown")),
        escape(&machine.cpu),
        machine.cores,
        escape(&machine.os)
    )?;
    models(&mut page, report)?;
    write!(page, "<p class=\"note\">{}</p>", escape(&report.comparison.verdict))?;
    let q = &report.quantization;
    write!(
        page,
        "<p>int8 against fp32: {:+.2} points on test, {:+.2} on dev (allowed: {:.1} lost).</p>",
        -q.test_drop_points, -q.dev_drop_points, q.max_drop_points
    )?;
    write!(page, "<h2>Size, latency and accuracy</h2>{}", plot::size_and_latency(report)?)?;
    write!(page, "<h2>Training</h2>{}", plot::training(report)?)?;
    stages(&mut page, report)?;
    confusion(&mut page, report)?;
    let d = &report.data;
    write!(
        page,
        "<h2>Data</h2><p>{} training, {} dev and {} test examples; {} duplicates and {} contradicting rows were \
         dropped. The largest class of dev alone would score {:.1}%. Dev chose the epochs; test was only reported.</p>",
        d.train,
        d.dev,
        d.test,
        d.duplicates_dropped,
        d.contradictions_dropped,
        report.chance_on_dev * 100.0
    )?;
    writeln!(page, "<h2>Recipe</h2><pre>{}</pre></html>", escape(&recipe.to_toml()?))?;
    Ok(page)
}

fn models(page: &mut String, report: &Report) -> Result<()> {
    page.push_str(
        "<table><tr><th>model<th>test accuracy<th>95% interval<th>parameters<th>file<th>p50 latency<th>peak memory</tr>",
    );
    for model in &report.models {
        let a = &model.score;
        write!(
            page,
            "<tr><td>{}<td>{:.1}%<td>{:.1} to {:.1}%<td>{:.1} M<td>{:.1} MB<td>{:.2} ms<td>{}</tr>",
            escape(&model.name),
            a.value * 100.0,
            a.low * 100.0,
            a.high * 100.0,
            model.parameters as f64 / 1e6,
            model.file_bytes as f64 / 1e6,
            model.latency_p50_ms,
            model.peak_memory_mb.map_or("-".to_owned(), |mb| format!("{mb:.0} MB"))
        )?;
    }
    let tokens = report.models.first().map_or(0, |m| m.latency_tokens);
    write!(
        page,
        "</table><p>Latency: one sentence of {tokens} tokens, text in to label out, one thread, median of 200 calls \
         in each of three fresh processes. Memory: what the model adds to the largest \
         resident size of such a process (ONNX Runtime, the mapped bundle, all they allocate).</p>"
    )?;
    Ok(())
}

fn stages(page: &mut String, report: &Report) -> Result<()> {
    page.push_str("<table><tr><th>stage<th>steps<th>best epoch<th>dev accuracy<th>tokens a second</tr>");
    for stage in &report.stages {
        let o = &stage.outcome;
        write!(
            page,
            "<tr><td>{}<td>{}<td>{}<td>{:.1}%<td>{:.0}</tr>",
            escape(&stage.name),
            o.steps,
            o.best_epoch,
            o.best_dev * 100.0,
            o.tokens_per_second
        )?;
    }
    page.push_str("</table>");
    Ok(())
}

fn confusion(page: &mut String, report: &Report) -> Result<()> {
    let Some(shipped) = report.models.last() else { return Ok(()) };
    let Some(classes) = &shipped.classes else { return Ok(()) };
    write!(page, "<h2>Confusion of the {}</h2><table><tr><th>true \\ predicted", escape(&shipped.name))?;
    for label in &classes.labels {
        write!(page, "<th>{}", escape(label))?;
    }
    page.push_str("</tr>");
    for (label, row) in classes.labels.iter().zip(&classes.confusion) {
        write!(page, "<tr><td>{}", escape(label))?;
        for count in row {
            write!(page, "<td>{count}")?;
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
    Ok(())
}
