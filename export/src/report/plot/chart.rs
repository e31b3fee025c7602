//! A chart of lines or points as SVG. Colours come from the page: series `i` has the class `cI` of [`colour`].

use super::scale::{Fitted, Scale};
use crate::report::html::escape;

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// Colours that the page has.
const COLOURS: usize = 8;

/// The class of a series' colour.
pub(in crate::report) fn colour(series: usize) -> String {
    format!("c{}", series % COLOURS)
}

/// What is drawn at one place.
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    /// Ends of an interval in y.
    pub interval: Option<(f64, f64)>,
    /// What a pointer that rests on it is told.
    pub hint: String,
}

/// Points of one colour.
pub(super) struct Series {
    pub colour: usize,
    pub points: Vec<Point>,
    /// Whether they are joined.
    pub joined: bool,
    pub dashed: bool,
}

pub(super) struct Chart {
    /// For those who do not see it.
    pub title: String,
    pub x: Scale,
    pub y: Scale,
    pub series: Vec<Series>,
}

fn finite(point: &Point) -> bool {
    point.x.is_finite() && point.y.is_finite()
}

/// A coordinate, to a tenth of a unit.
pub(super) fn at(coordinate: f64) -> String {
    format!("{coordinate:.1}").trim_end_matches(".0").to_owned()
}

impl Chart {
    /// The drawing; `None` where no point has two finite coordinates. Such points are left out.
    pub(super) fn svg(&self) -> Option<String> {
        let points = || self.series.iter().flat_map(|series| &series.points).filter(|point| finite(point));
        let ends = points().filter_map(|point| point.interval).flat_map(|(low, high)| [low, high]);
        let x = self.x.fit(points().map(|point| point.x))?;
        let y = self.y.fit(points().map(|point| point.y).chain(ends))?;
        let place = |point: &Point| {
            (
                LEFT + x.share(point.x) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y.share(point.y) * (HEIGHT - TOP - BOTTOM),
            )
        };
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(&self.title));
        svg += &self.frame(&x, &y);
        // Points of different series in one place stand side by side.
        let mut taken: Vec<f64> = Vec::new();
        for series in &self.series {
            let mut places: Vec<(f64, f64, &Point)> = Vec::new();
            for point in series.points.iter().filter(|point| finite(point)) {
                let (mut across, down) = place(point);
                if point.interval.is_some() {
                    while taken.iter().any(|other| (other - across).abs() < 8.0) {
                        across += 8.0;
                    }
                    taken.push(across);
                }
                places.push((across, down, point));
            }
            svg += &format!("<g class=\"{}\">", colour(series.colour));
            if series.joined && places.len() > 1 {
                let corners: Vec<String> = places.iter().map(|(x, y, _)| format!("{},{}", at(*x), at(*y))).collect();
                let dash = if series.dashed { " stroke-dasharray=\"5 4\"" } else { "" };
                svg += &format!("<polyline class=\"line\"{dash} points=\"{}\"/>", corners.join(" "));
            }
            for (across, down, point) in places {
                svg += &format!("<g><title>{}</title>", escape(&point.hint));
                if let Some((low, high)) = point.interval.filter(|(low, high)| low.is_finite() && high.is_finite()) {
                    let end = |value| at(place(&Point { x: point.x, y: value, interval: None, hint: String::new() }).1);
                    svg += &format!("<path class=\"line\" d=\"M{0} {1}V{2}\"/>", at(across), end(low), end(high));
                }
                let radius = if series.joined { 3 } else { 5 };
                svg += &format!("<circle cx=\"{}\" cy=\"{}\" r=\"{radius}\"/></g>", at(across), at(down));
            }
            svg += "</g>";
        }
        Some(svg + "</svg>")
    }

    /// Grid, numbers and names of the axes.
    fn frame(&self, x: &Fitted, y: &Fitted) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut svg = "<g class=\"frame\">".to_owned();
        for (value, text) in x.ticks() {
            let across = at(LEFT + x.share(value) * (right - LEFT));
            svg += &format!("<path d=\"M{across} {TOP}V{bottom}\"/>");
            svg += &format!("<text x=\"{across}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", bottom + 17.0);
        }
        for (value, text) in y.ticks() {
            let down = bottom - y.share(value) * (bottom - TOP);
            svg += &format!("<path d=\"M{LEFT} {0}H{right}\"/>", at(down));
            svg += &format!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{text}</text>", LEFT - 7.0, at(down + 4.0));
        }
        svg += &format!("<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>");
        let middle = ((LEFT + right) / 2.0, (TOP + bottom) / 2.0);
        svg += &format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            at(middle.0),
            HEIGHT - 8.0,
            escape(&self.x.title)
        );
        svg += &format!(
            "<text transform=\"translate(13 {}) rotate(-90)\" text-anchor=\"middle\">{}</text></g>",
            at(middle.1),
            escape(&self.y.title)
        );
        svg
    }
}
