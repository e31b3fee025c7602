//! Charts by plotters, as SVG for the page.

use std::io;
use std::ops::Range;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::data::{fitting_range, float::pretty_print_float};
use plotters::prelude::*;
use plotters::style::full_palette as palette;

use crate::report::html::escape;

/// Readable on white and on black.
const COLOURS: [RGBColor; 6] =
    [palette::PURPLE_300, palette::ORANGE_700, palette::BLUE, palette::TEAL, palette::PINK, palette::BROWN_400];
/// Numbers that differ by more than this factor are drawn in powers where that is allowed.
const WIDE: f64 = 10.0;

/// A series' colour as CSS has it.
pub(in crate::report) fn colour(series: usize) -> String {
    let RGBColor(red, green, blue) = COLOURS[series % COLOURS.len()];
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// What is drawn at one place.
pub(super) struct Point {
    pub x: f64,
    pub y: f64,
    pub interval: Option<(f64, f64)>,
    /// What a pointer that rests on it is told.
    pub hint: String,
}

/// Points of one colour.
pub(super) struct Series {
    pub colour: usize,
    pub points: Vec<Point>,
    pub dashed: bool,
}

/// Points or, joined, lines.
#[derive(Default)]
pub(super) struct Chart {
    /// Titles of the axes.
    pub x: String,
    pub y: String,
    pub joined: bool,
    /// x has 0 in it.
    pub zero: bool,
    /// y is in powers where its numbers are above 0 and differ much.
    pub log: bool,
    /// Names of rows where y counts them: 0, -1, -2. Intervals are then in x.
    pub rows: Vec<String>,
    pub series: Vec<Series>,
}

/// Whether a number has a place in a drawing.
fn drawable(value: f64) -> bool {
    value.abs() < 1e100
}

/// From lowest to highest with a margin, which one number has too.
fn padded(values: &[f64]) -> Range<f64> {
    let Range { start, end } = fitting_range(values);
    let (spread, largest) = (end - start, start.abs().max(end.abs()));
    let margin = if spread > 1e-6 * largest { 0.06 * spread } else { (0.05 * largest).max(1e-3) };
    start - margin..end + margin
}

fn number(value: &f64) -> String {
    pretty_print_float(*value, true)
}

impl Chart {
    /// The drawing; `None` where no point has two numbers. Such points are left out.
    pub(super) fn svg(mut self) -> Option<String> {
        for series in &mut self.series {
            series.points.retain(|point| drawable(point.x) && drawable(point.y));
            for point in &mut series.points {
                point.interval = point.interval.filter(|(low, high)| drawable(*low) && drawable(*high));
            }
        }
        let points = || self.series.iter().flat_map(|series| &series.points);
        points().next()?;
        let ends = || points().filter_map(|point| point.interval).flat_map(|(low, high)| [low, high]);
        let mut x: Vec<f64> = points().map(|point| point.x).chain(self.zero.then_some(0.0)).collect();
        let mut y: Vec<f64> = points().map(|point| point.y).collect();
        if self.rows.is_empty() {
            y.extend(ends())
        } else {
            x.extend(ends())
        }
        let Range { start, end } = fitting_range(&y);
        let (mut svg, x, count) = (String::new(), padded(&x), self.rows.len());
        let name = |y: &f64| self.rows.iter().zip(0..).find(|(_, row)| -f64::from(*row) == y.round());
        let drawn = if count > 0 {
            let text = |y: &f64| name(y).map_or(String::new(), |(name, _)| name.clone());
            self.draw(&mut svg, x, -(count as f64)..1.0, count + 2, &text)
        } else if self.log && start > 1e-30 && end / start > WIDE {
            // plotters writes nothing below the first power of ten: that shall not be far.
            let power = 10f64.powf(start.log10().floor());
            let y = (if start < 3.0 * power { 0.99 * power } else { 0.9 * start }..end * 1.1).log_scale();
            let round = |text: &String| text.trim_start_matches(['0', '.']).starts_with(['1', '2', '5']);
            self.draw(&mut svg, x, y, 20, &|y| Some(number(y)).filter(round).unwrap_or_default())
        } else {
            self.draw(&mut svg, x, padded(&y), 8, &number)
        };
        // Only files can fail to be written.
        drawn.ok()?;
        // The page needs no name space, which looks like an address.
        let title = if count > 0 { self.x.clone() } else { format!("{} against {}", self.y, self.x) };
        let label = format!(" role=\"img\" aria-label=\"{}\"", escape(&title));
        let svg = svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", &label, 1);
        // A circle a point, in order: plotters has no titles.
        let mut parts = svg.split("<circle ");
        let mut titled = parts.next()?.to_owned();
        for (part, point) in parts.zip(points()) {
            let (circle, rest) = part.split_once("/>")?;
            titled += &format!("<circle {circle}><title>{}</title></circle>{rest}", escape(&point.hint));
        }
        Some(titled)
    }

    /// In units of half a pixel, for plotters knows whole ones only; the page gives text its colour.
    fn draw<Y>(
        &self,
        svg: &mut String,
        x: Range<f64>,
        y: Y,
        labels: usize,
        text: &dyn Fn(&f64) -> String,
    ) -> Result<(), DrawingAreaErrorKind<io::Error>>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let count = self.rows.len();
        let longest = self.rows.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let size = if count > 0 { (1520, 50 * count as u32 + 160) } else { (960, 600) };
        let root = SVGBackend::with_string(svg, size).into_drawing_area();
        let mut builder = ChartBuilder::on(&root);
        builder.margin(16).x_label_area_size(84).y_label_area_size((13 * longest as u32 + 24).max(100));
        let beside = (x.end - x.start) / 50.0;
        let mut chart = builder.build_cartesian_2d(x, y)?;
        let mut mesh = chart.configure_mesh();
        mesh.axis_style(palette::GREY).bold_line_style(palette::GREY.mix(0.4)).light_line_style(TRANSPARENT);
        mesh.label_style(("system-ui,sans-serif", 29)).set_all_tick_mark_size(6).x_labels(9);
        mesh.y_labels(labels).x_label_formatter(&number).y_label_formatter(text);
        mesh.x_desc(&self.x).y_desc(&self.y).draw()?;
        if count > 0 {
            let zero = [(0.0, 1.0), (0.0, -(count as f64))];
            chart.draw_series([PathElement::new(zero, palette::GREY.stroke_width(3))])?;
        }
        // Points of different series in one place stand side by side.
        let mut taken: Vec<f64> = Vec::new();
        for Series { colour, points, dashed } in &self.series {
            let style = COLOURS[colour % COLOURS.len()].filled().stroke_width(4);
            let line = points.iter().map(|point| (point.x, point.y));
            // On a line of many points circles would hide it.
            let radius = if !self.joined {
                10
            } else if points.len() <= 30 {
                6
            } else {
                3
            };
            match (self.joined, dashed) {
                (true, true) => chart.draw_series(DashedLineSeries::new(line, 10, 8, style)).map(|_| ())?,
                (true, false) => chart.draw_series(LineSeries::new(line, style)).map(|_| ())?,
                _ => {}
            }
            for &Point { mut x, y, interval, .. } in points {
                while !self.joined && count == 0 && taken.iter().any(|other| (other - x).abs() < beside * 0.99) {
                    x += beside;
                }
                taken.push(x);
                match interval {
                    Some((a, b)) if count > 0 => chart.draw_series([ErrorBar::new_horizontal(y, a, x, b, style, 20)]),
                    Some((a, b)) => chart.draw_series([ErrorBar::new_vertical(x, a, y, b, style, 20)]),
                    None => chart.draw_series([Circle::new((x, y), radius, style)]),
                }?;
            }
        }
        root.present()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers_or_names() {
        let texts = |values: [f64; 2], log: bool, rows: &[&str]| {
            let place = |(i, x)| Point {
                x,
                y: if rows.is_empty() { x } else { -(i as f64) },
                interval: None,
                hint: String::new(),
            };
            let points = values.into_iter().enumerate().map(place).collect();
            let series = vec![Series { colour: 0, points, dashed: false }];
            let rows = rows.iter().map(|row| row.to_string()).collect();
            let svg = Chart { log, rows, series, ..Chart::default() }.svg().unwrap();
            let axis = svg.split("text-anchor=\"end\"").skip(1).map(|text| text.lines().nth(1).unwrap().to_owned());
            axis.filter(|text| !text.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(texts([86.1, 93.5], false, &[]), ["86", "87", "88", "89", "90", "91", "92", "93"]);
        assert_eq!(texts([0.81, 17.4], true, &[]), ["1", "2", "5", "10", "10"]);
        assert_eq!(texts([0.2, 9.0], true, &[]), ["0.1", "0.2", "0.5", "1", "1", "2", "5"]);
        // Not wide enough for powers.
        assert_eq!(texts([0.2, 1.0], true, &[]), texts([0.2, 1.0], false, &[]));
        assert_eq!(texts([-3.0, 2.0], false, &["first", "second"]), ["second", "first"]);
    }

    #[test]
    fn any_numbers_are_drawn_or_left_out() {
        let odd =
            [0.0, 0.9, -7.0, 1e-300, 1e-12, 0.9 + 1e-15, 1e12, 1e99, f64::MAX, -f64::MAX, f64::NAN, f64::INFINITY];
        for (rows, joined) in [(0, false), (1, false), (0, true)] {
            for (a, b) in odd.into_iter().flat_map(|a| odd.map(|b| (a, b))) {
                let interval = (!joined).then_some((a - 1.0, a + 1.0));
                let point = |x: f64| Point { x, y: if rows > 0 { 0.0 } else { x }, interval, hint: "<>".to_owned() };
                let one = |dashed| Series { colour: 9, points: [a, b].map(point).into(), dashed };
                let (series, rows) = (vec![one(false), one(true)], vec!["row".to_owned(); rows]);
                let drawn = Chart { joined, log: joined, rows, series, ..Chart::default() }.svg();
                let count = [a, b].into_iter().filter(|value| drawable(*value)).count();
                assert_eq!(drawn.is_some(), count > 0, "{a} {b}");
                let drawn = drawn.unwrap_or_default();
                assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{a} {b}: {drawn}");
                assert_eq!(drawn.matches("<title>&lt;&gt;</title></circle>").count(), 2 * count, "{a} {b}");
            }
        }
    }
}
