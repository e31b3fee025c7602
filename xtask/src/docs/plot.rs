//! The plot of `cargo xtask bench peers`: how many times longer than limbeck int8, by tokens, one panel for each number of
//! threads and texts a call; both axes logarithmic.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::bench::peers::{Case, Results};

const PANEL: (f64, f64) = (380.0, 260.0);
/// Left, right, above and below what is drawn of a panel.
const MARGINS: [f64; 4] = [44.0, 10.0, 26.0, 30.0];
const LINE: f64 = 18.0;
/// One a peer, by Paul Tol's schemes for people who see colours differently.
const COLOURS: [&str; 9] =
    ["#000000", "#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#999933", "#bbbbbb"];
const TICKS: [f64; 6] = [0.5, 1.0, 2.0, 4.0, 8.0, 16.0];

/// The drawing as SVG.
///
/// # Errors
/// Nothing was measured, or more peers than there are colours.
pub(super) fn peers(results: &Results) -> Result<String> {
    ensure!(results.peers.len() <= COLOURS.len(), "{} peers, and {} colours", results.peers.len(), COLOURS.len());
    let reference = &results.peers.first().context("no peer was measured")?.name;
    let groups: BTreeSet<(usize, usize)> = results.cases.iter().map(|case| (case.threads, case.batch)).collect();
    let ratio = |case: &Case, peer: &str| {
        let median = |name: &str| case.times.iter().find(|times| times.peer == name).map(|times| times.median_ms);
        Some(median(peer)? / median(reference)?)
    };
    let tokens = results.cases.iter().map(|case| case.tokens as f64);
    let (least, most) = tokens.fold((f64::INFINITY, 0f64), |(least, most), t| (least.min(t), most.max(t)));
    ensure!(least.is_finite(), "no case was measured");
    let all = results.cases.iter().flat_map(|case| results.peers.iter().filter_map(|peer| ratio(case, &peer.name)));
    let (low, high) = all.fold((1f64, 1f64), |(low, high), r| (low.min(r), high.max(r)));
    // A hundredth, so that what is measured once has a place.
    let part = |value: f64, from: f64, to: f64| (value / from).ln() / (to / from).ln().max(0.01);
    let [left, right, above, below] = MARGINS;
    let (width, height) = (PANEL.0 - left - right, PANEL.1 - above - below);
    let rows = groups.len().div_ceil(2);
    let legend = results.peers.len().div_ceil(2) as f64 * LINE + 10.0;
    let size = (2.0 * PANEL.0, rows as f64 * PANEL.1 + legend);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        size.0, size.1
    );
    for (number, &(threads, batch)) in groups.iter().enumerate() {
        let origin = (number % 2) as f64 * PANEL.0 + left;
        let top = (number / 2) as f64 * PANEL.1 + above;
        let x = |tokens: f64| origin + width * part(tokens, least, most);
        let y = |ratio: f64| top + height * (1.0 - part(ratio, low, high));
        let title = format!("threads: {threads}, texts a call: {batch}");
        let _ = writeln!(svg, "<text x=\"{origin:.0}\" y=\"{:.0}\" font-weight=\"bold\">{title}</text>", top - 10.0);
        for tick in TICKS.into_iter().filter(|tick| (low..=high).contains(tick)) {
            let (at, end) = (y(tick), origin + width);
            let _ = writeln!(
                svg,
                "<path d=\"M{origin:.1} {at:.1}H{end:.1}\" stroke=\"#dddddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
                origin - 6.0,
                at + 4.0
            );
        }
        let mut cases: Vec<&Case> =
            results.cases.iter().filter(|case| (case.threads, case.batch) == (threads, batch)).collect();
        cases.sort_by_key(|case| case.tokens);
        for case in &cases {
            let (at, under) = (x(case.tokens as f64), top + height + 16.0);
            let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"{under:.1}\" text-anchor=\"middle\">{}</text>", case.tokens);
        }
        for (peer, colour) in results.peers.iter().zip(COLOURS) {
            let points = cases.iter().filter_map(|case| Some((case.tokens as f64, ratio(case, &peer.name)?)));
            let points: Vec<String> = points.map(|(tokens, r)| format!("{:.1},{:.1}", x(tokens), y(r))).collect();
            let points = points.join(" ");
            let _ =
                writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
        }
    }
    for (number, (peer, colour)) in results.peers.iter().zip(COLOURS).enumerate() {
        let at = (number % 2) as f64 * PANEL.0 + left;
        let down = rows as f64 * PANEL.1 + (number / 2) as f64 * LINE + 10.0;
        let name = format!("{}, {}", peer.title.replace('&', "&amp;").replace('<', "&lt;"), peer.precision);
        let _ = writeln!(
            svg,
            "<path d=\"M{at:.0} {:.0}h20\" stroke=\"{colour}\" stroke-width=\"2\"/><text x=\"{:.0}\" y=\"{down:.0}\">{name}</text>",
            down - 4.0,
            at + 26.0
        );
    }
    Ok(svg + "</svg>\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_goes_where_its_ratios_are() {
        let opening = json!({"import_ms": null, "open_ms": 1.0, "first_ms": 1.0, "resident_before_mb": null, "resident_mb": null, "private_mb": null});
        let peer = |name: &str| json!({"name": name, "title": "a <b>", "precision": "int8", "file_bytes": 1, "opening": opening});
        let times = |peer: &str, median_ms: f64| json!({"peer": peer, "calls": 30, "median_ms": median_ms, "p10_ms": 1.0, "cosine": null});
        let case = |tokens: usize, other: f64| json!({"threads": 1, "batch": 8, "tokens": tokens, "rounds": 3, "load": null, "times": [times("own", 2.0), times("other", other)]});
        let results = |cases: Vec<serde_json::Value>| -> Results {
            let results = json!({"schema": 1, "date": "", "commit": "", "machine": {}, "versions": {}, "model": "m",
                "peers": [peer("own"), peer("other")], "cases": cases});
            serde_json::from_value(results).unwrap()
        };
        let svg = peers(&results(vec![case(128, 8.0), case(8, 2.0), case(32, 4.0)])).unwrap();
        // From the left end to the right one; once as long at the bottom, four times as long at the top.
        assert!(
            svg.contains("<polyline points=\"44.0,230.0 207.0,230.0 370.0,230.0\" fill=\"none\" stroke=\"#000000\""),
            "{svg}"
        );
        assert!(
            svg.contains("<polyline points=\"44.0,230.0 207.0,128.0 370.0,26.0\" fill=\"none\" stroke=\"#4477aa\""),
            "{svg}"
        );
        assert!(svg.contains("threads: 1, texts a call: 8") && svg.contains(">a &lt;b>, int8</text>"), "{svg}");
        assert!(svg.contains(">128</text>") && svg.contains(">4</text>") && !svg.contains(">8.0<"), "{svg}");
        assert!(peers(&results(vec![case(8, 2.0)])).is_ok());
        assert!(peers(&results(vec![])).unwrap_err().to_string().contains("no case"));
    }
}
