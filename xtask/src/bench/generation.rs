//! `cargo xtask bench generation`: writing text, against Python's onnxruntime and candle on the same weights.

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::output;
use super::peers::prepare::program as rust_peer;
use crate::Arguments;
use crate::cache::Cache;
use crate::command::{cargo, command, commit, repository};
use crate::compile::build;
use crate::engines::Engines;
use crate::python;

/// Where the results stand of the small model, and of that of GPT-2's shape.
pub const RESULTS: &str = "sdk/benches/results/generation.json";
pub const BASE_RESULTS: &str = "sdk/benches/results/generation-12x768.json";

const SHAPES: &str = "tests/peers/gpt2.py";
/// A folder with a byte-level tokenizer; which one does not matter for the time.
const TOKENIZER: &str = "tests/parity/references/generation";
const MODELS: [(&str, &str); 2] = [("4x256", RESULTS), ("12x768", BASE_RESULTS)];
/// Storage of weights, and how `limbeck quantize` is told.
const WEIGHTS: [(&str, &[&str]); 3] = [
    ("fp32", &[]),
    ("int8-weights", &["--mode", "int8-weights", "--block-size", "128"]),
    ("int4-weights", &["--mode", "int4-weights", "--block-size", "32"]),
];

/// The verb, behind `generation`.
///
/// # Errors
/// A step fails, or not all write the same.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let save = arguments.flag("--save");
    let rounds = arguments.value("--rounds")?.unwrap_or_else(|| "3".to_owned());
    let starts = arguments.value("--starts")?.unwrap_or_else(|| "5".to_owned());
    let starts: usize = starts.parse().with_context(|| format!("`{starts}` is not a number"))?;
    ensure!(starts > 0, "--starts must be at least 1");
    let lengths = arguments.value("--lengths")?.unwrap_or_else(|| "16,64,256,900".to_owned());
    let only = arguments.value("--only")?.unwrap_or_default();
    arguments.finish()?;
    let models: Vec<_> = MODELS.into_iter().filter(|(model, _)| model.contains(only.as_str())).collect();
    ensure!(!models.is_empty(), "no model has `{only}` in its name: {}", MODELS.map(|(model, _)| model).join(", "));
    let (engines, cache) = (Engines::ready()?, Cache::locate()?);
    let limbeck = build(&["limbeck-export"], &engines)?.executable("limbeck")?.to_owned();
    let (references, peer) = (python::references(&cache)?, python::onnx_runtime(&cache)?);
    let candle = rust_peer("candle-gpt2", &engines)?;
    let work = repository().join("out/bench-generation");
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let mut shapes = command(references);
    shapes.env("HF_HUB_OFFLINE", "1").args([SHAPES, TOKENIZER]).arg(&work);
    eprint!("{}", output(&mut shapes)?);

    let program = |words: &[&str]| {
        let mut program = command(&limbeck);
        engines.apply(&mut program);
        program.args(words);
        program
    };
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    let mut about = Value::Null;
    for (model, file) in models {
        let mut cases = Vec::new();
        let folder = work.join(model);
        for (weights, words) in WEIGHTS {
            let bundle = work.join(format!("{model}-{weights}.limbeck"));
            let make: &[&str] = if words.is_empty() { &["pack"] } else { &["quantize", "--unproven"] };
            output(program(make).args(words).arg(&folder).arg("-o").arg(&bundle))?;
            if about.is_null() {
                // The machine and the versions, in the words of every other measurement.
                let mut bench = program(&["bench", "--json", "--lengths", "16", "--contexts", "32", "--runs", "20"]);
                about = serde_json::from_str(&output(bench.arg(&bundle))?).context("what `limbeck bench` printed")?;
            }
            let mut bench = cargo();
            engines.apply(&mut bench);
            bench.args(["bench", "--package", "limbeck", "--bench", "generation", "--"]);
            bench.arg(&bundle).arg(&peer).args([&rounds, &lengths]);
            if weights == "fp32" {
                // As other exporters write it: standard operators, keys and values that grow.
                let graph = work.join(format!("{model}-graph"));
                output(program(&["export", "--profile", "portable", "--cache"]).arg(&folder).arg("--out").arg(&graph))?;
                bench.arg(graph.join("model.onnx")).arg(&candle).arg(&folder);
            }
            eprintln!("{model}, {weights}");
            let bytes = fs::metadata(&bundle).with_context(|| format!("reading {}", bundle.display()))?.len();
            // Where memory comes to lie makes a process a fifth faster or slower for as long as it lives, so several live.
            let mut processes = Vec::new();
            for _ in 0..starts {
                let printed = printed(&mut bench)?;
                let lines = printed.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str);
                processes.push(lines.collect::<Result<Vec<Value>, _>>().context("what the benchmark printed")?);
            }
            for length in 0..processes.iter().map(Vec::len).min().unwrap_or(0) {
                let mut case = medians(&processes.iter().map(|process| &process[length]).collect::<Vec<_>>());
                (case["model"], case["weights"], case["bytes"]) = (json!(model), json!(weights), json!(bytes));
                case["processes"] = json!(starts);
                cases.push(case);
            }
        }
        ensure!(!cases.is_empty(), "the benchmark printed nothing");
        let results = json!({
            "schema": 1, "date": about["date"], "commit": commit, "machine": about["machine"],
            "versions": about["versions"], "cases": cases,
        });
        let text = serde_json::to_string_pretty(&results)? + "\n";
        if save {
            fs::write(repository().join(file), &text).with_context(|| format!("writing {file}"))?;
            println!("{file} is written; now cargo xtask docs");
        } else {
            print!("{text}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What a benchmark prints; cargo's words, and the peer's, go where ours go.
fn printed(bench: &mut Command) -> Result<String> {
    let output = bench.stderr(Stdio::inherit()).output().context("running cargo bench")?;
    ensure!(output.status.success(), "the benchmark failed ({}); its words are above", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Values of one form, with the median of each number; whole numbers are the same in all.
fn medians(values: &[&Value]) -> Value {
    match values.first() {
        Some(Value::Object(first)) => {
            let of = |key: &String| medians(&values.iter().map(|value| &value[key]).collect::<Vec<_>>());
            Value::Object(first.keys().map(|key| (key.clone(), of(key))).collect())
        }
        Some(Value::Array(first)) => {
            let of = |place| medians(&values.iter().map(|value| &value[place]).collect::<Vec<_>>());
            (0..first.len()).map(of).collect()
        }
        Some(Value::Number(first)) if first.is_f64() => {
            let mut numbers: Vec<f64> = values.iter().filter_map(|value| value.as_f64()).collect();
            numbers.sort_by(f64::total_cmp);
            json!(numbers.get(numbers.len() / 2))
        }
        Some(other) => (*other).clone(),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_several_processes_become_their_medians() {
        let process =
            |ms: f64| json!({"prompt_tokens": 16, "engines": [{"name": "limbeck", "clock": {"first_token_ms": ms}}]});
        let (a, b, c) = (process(3.0), process(1.0), process(2.0));
        assert_eq!(medians(&[&a, &b, &c]), c);
    }
}
