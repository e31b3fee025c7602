//! Differences with their intervals, a row each, as SVG.

use super::chart::{at, colour};
use super::scale::Scale;
use crate::measure::Interval;
use crate::report::html::escape;
use crate::report::words::{points, points_interval};

const WIDTH: f64 = 760.0;
const ROW: f64 = 26.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 44.0;
/// Of a letter, about.
const LETTER: f64 = 6.4;
const LONGEST: usize = 46;

/// Differences in points around 0; `None` where none is finite.
pub(super) fn forest(title: &str, rows: &[(&str, Interval)]) -> Option<String> {
    let scale = Scale { title: title.to_owned(), ..Scale::default() };
    let hundredths = |value: f64| value * 100.0;
    let ends = rows.iter().flat_map(|(_, Interval { value, low, high })| [*value, *low, *high].map(hundredths));
    rows.iter().find(|(_, interval)| interval.value.is_finite())?;
    let axis = scale.fit(ends.chain([0.0]))?;
    let longest = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(LONGEST);
    let left = longest as f64 * LETTER + 16.0;
    let (right, bottom) = (WIDTH - 14.0, TOP + rows.len() as f64 * ROW);
    let across = |value: f64| at(left + axis.share(value) * (right - left));
    let height = bottom + BOTTOM;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">", escape(title));
    svg += "<g class=\"frame\">";
    for (value, text) in axis.ticks() {
        svg += &format!("<path d=\"M{} {TOP}V{bottom}\"/>", across(value));
        svg += &format!("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", across(value), bottom + 17.0);
    }
    svg += &format!("<path class=\"axis\" d=\"M{} {TOP}V{bottom}\"/>", across(0.0));
    let middle = at((left + right) / 2.0);
    svg += &format!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text></g>", height - 6.0, escape(title));
    for (index, (name, interval)) in rows.iter().enumerate() {
        let middle = TOP + (index as f64 + 0.5) * ROW;
        let shown: String = match name.chars().count() > LONGEST {
            true => name.chars().take(LONGEST - 1).chain(['\u{2026}']).collect(),
            false => (*name).to_owned(),
        };
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            left - 10.0,
            middle + 4.0,
            escape(&shown)
        );
        let Interval { value, low, high } = *interval;
        if !value.is_finite() {
            continue;
        }
        let hint = format!("{name}: {} ({})", points(value), points_interval(*interval));
        svg += &format!("<g class=\"{}\"><title>{}</title>", colour(0), escape(&hint));
        if low.is_finite() && high.is_finite() {
            svg += &format!(
                "<path class=\"line\" d=\"M{} {middle}H{}\"/>",
                across(hundredths(low)),
                across(hundredths(high))
            );
        }
        svg += &format!("<circle cx=\"{}\" cy=\"{middle}\" r=\"5\"/></g>", across(hundredths(value)));
    }
    Some(svg + "</svg>")
}
