//! The table of text generation in `docs/benchmarks.md`, as Markdown.

use serde::Deserialize;

use super::tables::{Machine, Versions, circumstances};

/// What `cargo xtask bench generation` writes.
#[derive(Deserialize)]
pub(super) struct Written {
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

pub(super) fn table(written: &Written) -> String {
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
    let [tokens, rounds] = [|case: &Case| case.tokens, |case: &Case| case.rounds]
        .map(|of| written.cases.iter().map(of).min().unwrap_or(0));
    let circumstances = circumstances(&written.date, &written.commit, &written.machine, &written.versions);
    text + &format!(
        "\nMedians of {rounds} rounds in which all took turns, {tokens} tokens each, greedy, one thread. {circumstances}.\n"
    )
}
