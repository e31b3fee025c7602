//! Tables of `cargo xtask bench peers`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::bench::peers::{Case, Results, Times, Tried};

/// How many times longer each peer takes than limbeck int8.
pub(super) fn ratios_table(results: &Results) -> Result<String> {
    let reference = &results.peers.first().context("no peer was measured")?.name;
    tables(results, |case, times| {
        let own = case.times.iter().find(|times| times.peer == *reference)?;
        Some(format!("{:.2}", times.median_ms / own.median_ms))
    })
}

/// The milliseconds behind them.
pub(super) fn times_table(results: &Results) -> Result<String> {
    tables(results, |_, times| Some(format!("{} ({})", milliseconds(times.median_ms), milliseconds(times.p10_ms))))
}

/// Cold start, memory, and how far the vectors are from those of fp32.
pub(super) fn opening_table(results: &Results) -> String {
    let mut text = String::from(
        "| engine | weights | file | opened in | first call | resident | of it private | before opening | smallest \
         cosine to fp32 |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    let megabytes = |value: Option<f64>| value.map_or("-".to_owned(), |mb| format!("{mb:.0} MB"));
    for Tried { name, title, precision, file_bytes, opening } in &results.peers {
        let cosines = results.cases.iter().flat_map(|case| &case.times).filter(|times| times.peer == *name);
        let smallest = cosines.filter_map(|times| times.cosine).reduce(f64::min);
        text += &format!(
            "| {title} | {precision} | {:.1} MB | {:.0} ms | {:.1} ms | {} | {} | {} | {} |\n",
            *file_bytes as f64 / 1e6,
            opening.open_ms,
            opening.first_ms,
            megabytes(opening.resident_mb),
            megabytes(opening.private_mb),
            megabytes(opening.resident_before_mb),
            smallest.map_or("-".to_owned(), |cosine| format!("{cosine:.4}")),
        );
    }
    text + &format!(
        "\nOne thread, a fresh process each, files in the system's cache; the first call is a text of 32 tokens, and memory \
         is that after it. {}\n",
        circumstances(results)
    )
}

/// One table for each number of threads and batch.
fn tables(results: &Results, cell: impl Fn(&Case, &Times) -> Option<String>) -> Result<String> {
    let mut groups: BTreeMap<(usize, usize), Vec<&Case>> = BTreeMap::new();
    for case in &results.cases {
        groups.entry((case.threads, case.batch)).or_default().push(case);
    }
    let mut text = String::new();
    for ((threads, batch), mut cases) in groups {
        cases.sort_by_key(|case| case.tokens);
        let threads = if threads == 1 { "One thread".to_owned() } else { format!("{threads} threads") };
        let texts = if batch == 1 { "one text a call".to_owned() } else { format!("{batch} texts a call") };
        let columns: String = cases.iter().map(|case| format!(" {} tokens |", case.tokens)).collect();
        text +=
            &format!("{threads}, {texts}:\n\n| engine | weights |{columns}\n|---|---|{}\n", "---|".repeat(cases.len()));
        for peer in &results.peers {
            let cells = cases.iter().map(|case| {
                let times = case.times.iter().find(|times| times.peer == peer.name);
                let text = times.and_then(|times| cell(case, times));
                format!(" {} |", text.unwrap_or_else(|| "-".to_owned()))
            });
            text += &format!("| {} | {} |{}\n", peer.title, peer.precision, cells.collect::<String>());
        }
        text += "\n";
    }
    let rounds = results.cases.iter().map(|case| case.rounds);
    let (fewest, most) = (rounds.clone().min().unwrap_or(0), rounds.max().unwrap_or(0));
    let rounds = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
    let calls = results.cases.iter().flat_map(|case| &case.times).map(|times| times.calls).min().unwrap_or(0);
    Ok(text
        + &format!(
            "{} in turns, {rounds} rounds, at least {calls} calls each. {}\n",
            results.model,
            circumstances(results)
        ))
}

/// Three digits that count.
fn milliseconds(value: f64) -> String {
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$}")
}

/// Where, when and with what.
fn circumstances(results: &Results) -> String {
    let machine = |name: &str| results.machine[name].as_str().unwrap_or("unknown").to_owned();
    let features = results.machine["features"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let versions = results.versions.iter().map(|(name, version)| format!("{name} {version}"));
    format!(
        "{}, {} ({} cores; {}), {}, commit {}; {}.",
        results.date,
        machine("cpu"),
        results.machine["cores"],
        features.collect::<Vec<_>>().join(", "),
        machine("os"),
        results.commit,
        versions.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Results {
        let opening = json!({"import_ms": null, "open_ms": 40.4, "first_ms": 3.25, "resident_before_mb": null,
            "resident_mb": 60.2, "private_mb": 30.0});
        let peer = |name: &str, precision: &str| json!({"name": name, "title": name, "precision": precision, "file_bytes": 23_000_000, "opening": opening});
        let times = |peer: &str, median_ms: f64, cosine: f64| json!({"peer": peer, "calls": 30, "median_ms": median_ms, "p10_ms": median_ms * 0.9, "cosine": cosine});
        let case = |threads: usize, tokens: usize, times: Vec<Value>| json!({"threads": threads, "batch": 1, "tokens": tokens, "rounds": 3, "load": 0.5, "times": times});
        let results = json!({"schema": 1, "date": "2026-01-02", "commit": "abc",
        "machine": {"cpu": "Some CPU", "cores": 2, "os": "linux x86_64", "features": ["avx2"]},
        "versions": {"limbeck": "0.1.0", "tract-onnx": "0.23.9"}, "model": "all-MiniLM-L6-v2",
        "peers": [peer("own", "int8"), peer("tract", "fp32")],
        "cases": [
            case(2, 16, vec![times("own", 1.0, 0.99), times("tract", 12.0, 1.0)]),
            case(1, 128, vec![times("own", 10.0, 0.98), times("tract", 52.5, 0.9999)]),
            case(1, 16, vec![times("own", 2.0, 0.99)]),
        ]});
        serde_json::from_value(results).unwrap()
    }

    #[test]
    fn ratios_refer_to_the_first_peer_of_the_same_case() {
        let text = ratios_table(&results()).unwrap();
        let one = "One thread, one text a call:\n\n| engine | weights | 16 tokens | 128 tokens |\n|---|---|---|---|\n\
                   | own | int8 | 1.00 | 1.00 |\n| tract | fp32 | - | 5.25 |\n";
        assert!(text.starts_with(one), "{text}");
        assert!(text.contains("2 threads, one text a call:") && text.contains("| tract | fp32 | 12.00 |\n"), "{text}");
        assert!(text.contains("3 rounds, at least 30 calls each. 2026-01-02, Some CPU (2 cores; avx2), linux x86_64"));
        let mut none = results();
        none.peers.clear();
        assert!(ratios_table(&none).is_err());
    }

    #[test]
    fn milliseconds_stand_with_their_p10() {
        let text = times_table(&results()).unwrap();
        assert!(text.contains("| tract | fp32 | - | 52.5 (47.2) |\n"), "{text}");
    }

    #[test]
    fn openings_name_the_worst_cosine() {
        let text = opening_table(&results());
        assert!(text.contains("| own | int8 | 23.0 MB | 40 ms | 3.2 ms | 60 MB | 30 MB | - | 0.9800 |\n"), "{text}");
        assert!(text.contains("limbeck 0.1.0, tract-onnx 0.23.9."), "{text}");
    }
}
