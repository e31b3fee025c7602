//! The table of text generation in `docs/benchmarks.md`, as Markdown.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::read;
use super::tables::{Machine, Versions, circumstances};

/// What `cargo xtask bench generation` writes.
#[derive(Deserialize)]
struct Written {
    date: String,
    commit: String,
    machine: Machine,
    versions: Versions,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    model: String,
    weights: String,
    bytes: u64,
    prompt_tokens: usize,
    tokens: usize,
    rounds: usize,
    processes: usize,
    engines: Vec<Engine>,
}

#[derive(Deserialize)]
struct Engine {
    name: String,
    clock: Clock,
    processor: Clock,
}

#[derive(Deserialize)]
struct Clock {
    first_token_ms: f64,
    tokens_per_second: f64,
    first_ratio: f64,
    next_ratio: f64,
}

/// The table, or that there is none yet.
pub(super) fn section(results: &Path) -> Result<String> {
    match results.is_file() {
        true => Ok(table(&read(results)?)),
        false => Ok("Not measured yet: `cargo xtask bench generation --save`.".to_owned()),
    }
}

fn table(written: &Written) -> String {
    let mut text = String::from(
        "| model | weights | prompt | engine | first token | tokens a second | first token, times limbeck's | further tokens, \
         times limbeck's | by processor time |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in &written.cases {
        for Engine { name, clock, processor } in &case.engines {
            let times = |ratio: f64| if name == "limbeck" { "1".to_owned() } else { format!("{ratio:.2}") };
            text += &format!(
                "| {}, {:.0} MB | {} | {} | {name} | {:.1} ms | {:.1} | {} | {} | {}, {} |\n",
                case.model,
                case.bytes as f64 / 1e6,
                case.weights,
                case.prompt_tokens,
                clock.first_token_ms,
                clock.tokens_per_second,
                times(clock.first_ratio),
                times(clock.next_ratio),
                times(processor.first_ratio),
                times(processor.next_ratio)
            );
        }
    }
    let [tokens, rounds, processes] =
        [|case: &Case| case.tokens, |case: &Case| case.rounds, |case: &Case| case.processes]
            .map(|of| written.cases.iter().map(of).min().unwrap_or(0));
    let circumstances = circumstances(&written.date, &written.commit, &written.machine, &written.versions);
    text + &format!(
        "\nMedians of {processes} processes of each, of {rounds} rounds in which all took turns, {tokens} tokens each, greedy, one thread. {circumstances}.\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_engine_has_a_row_and_limbeck_is_the_measure() {
        let clock = |first: f64, next: f64| json!({"first_token_ms": 4.0 * first, "tokens_per_second": 100.0 / next, "first_ratio": first, "next_ratio": next});
        let engine = |name: &str, first: f64, next: f64| json!({"name": name, "clock": clock(first, next), "processor": clock(first, 2.0 * next)});
        let written = json!({
            "schema": 1, "date": "2026-11-26", "commit": "abc", "machine": {"cpu": "x", "cores": 2, "os": "y"},
            "versions": {"limbeck": "0.1.0", "onnxruntime": "1.24.4"},
            "cases": [{"model": "4x256", "weights": "fp32", "bytes": 65_300_000, "prompt_tokens": 16, "tokens": 32, "rounds": 3, "processes": 5,
                "engines": [engine("limbeck", 1.0, 1.0), engine("python, buffers", 1.5, 1.25)]}],
        });
        let text = table(&serde_json::from_value(written.clone()).unwrap());
        assert!(text.contains("| 4x256, 65 MB | fp32 | 16 | limbeck | 4.0 ms | 100.0 | 1 | 1 | 1, 1 |"), "{text}");
        assert!(text.contains("| python, buffers | 6.0 ms | 80.0 | 1.50 | 1.25 | 1.50, 2.50 |"), "{text}");
        assert!(
            text.contains("Medians of 5 processes of each, of 3 rounds") && text.contains("ONNX Runtime 1.24.4"),
            "{text}"
        );

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("generation.json");
        assert!(section(&file).unwrap().contains("Not measured yet"));
        std::fs::write(&file, written.to_string()).unwrap();
        assert_eq!(section(&file).unwrap(), text);
    }
}
