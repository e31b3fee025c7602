//! `cargo xtask bench`: the library's own benchmarks, and their results as one file.

pub mod generation;
pub mod peers;
pub mod train;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::Arguments;
use crate::command::{cargo, command, commit, repository};
use crate::compile::build;
use crate::engines::Engines;

/// `--help`.
pub const HELP: &str = "\
Packs the teacher (all-MiniLM-L6-v2) as an fp32 and an int8 bundle and runs the benchmarks of the library on
them: tokenizing, post-processing, whole calls by length and batch, what a call costs beyond a bare ONNX
Runtime run, and memory. Takes about ten minutes; let the machine do nothing else.

With `train`: distils in turns with limbeck and with PyTorch and transformers (the same teacher, student, data, losses,
batches and threads; first it compares their losses), and with and without the teacher cache. Takes about half an hour and
a Python environment in the cache (gigabytes; needs Python 3.11 or newer).

With `peers`: the same model in ONNX Runtime (Python), tract and candle, text in to vector out, in turns with limbeck.
Takes about half an hour, the Python environment of `train`, another with ONNX Runtime, and at first a long compilation.

With `generation`: GPT-2's shape and a small one with new weights, in fp32, int8 and int4, write text in turns with ONNX Runtime
(Python) and, in fp32, candle: time to the first token, tokens a second. Takes about half an hour, the Python environments of
`peers`, and at first a long compilation.

Usage: cargo xtask bench [--save]
       cargo xtask bench train [--save] [--rounds N] [--pools N] [--threads N] [--device cpu|cuda]
                               [--precision fp32|bf16] [--times N] [--only X] [--same-batches]
                               [--brought FOLDER [--commit X]]
       cargo xtask bench peers [--save] [--rounds N] [--threads LIST] [--batches LIST] [--lengths LIST] [--turn-ms N]
                               [--openings N] [--only X] [--shapes]
       cargo xtask bench generation [--save] [--starts N] [--rounds N] [--lengths LIST] [--only X]

Options:
  --save        write sdk/benches/results/library.json, or export/benches/results/training.json, or peers.json beside
                the first, from which `cargo xtask docs` makes docs/benchmarks.md and docs/training-speed.md
  --rounds N    turns (3)
  --pools N     length of an epoch of short texts, in 16 batches, 1 to 4, on a GPU in 32 (4)
  --threads N   threads of each side (2)
  --device X    where both sides train (cpu)
  --precision X of the students of both sides (fp32); --save keeps other devices and precisions in files of their own
  --times N     batches of so many times the texts (1); --save keeps each in a file of its own
  --only X      only the cases whose name contains X
  --same-batches
                only what is compared on the same batches, with the teacher in each step
  --brought F   for a machine without cargo or internet: a folder with `train`, the benchmark built elsewhere (`cargo bench -p
                limbeck-export --bench train --no-run`), and folders `teacher`, `base-teacher` (both in Hugging Face's
                layout; without model.safetensors they get new weights) and `sentences`; `python3` must have the packages
  --commit X    what that program was built from

Options of `peers`:
  --save        keeps the cases (threads, batch, length) that an earlier call with the same code and peers measured on
                this machine, and that this one does not measure
  --rounds N    turns of each peer a case (5)
  --threads, --batches, --lengths LIST
                numbers with commas between (1,2; 1,8; 8,16,32,64,128,256,512)
  --turn-ms N   how long a turn is (300)
  --openings N  fresh processes a peer, for cold start and memory (3)
  --shapes      bundles of students' shapes against BERT-base in fp32, with new weights (shapes.json)
  --only LIST   only limbeck and the peers whose name contains one of these, with commas between

Options of `generation`:
  --save        writes generation.json and generation-12x768.json beside peers.json, those of the models that are measured
  --starts N    processes for each model, of whose numbers the medians are kept (5)
  --rounds N    turns in each (3)
  --lengths LIST
                tokens of the prompt, after which 32 are written (16,64,256,900)
  --only X      only models whose name contains X: 4x256, 12x768
";

/// Where the results stand.
pub const RESULTS: &str = "sdk/benches/results/library.json";

/// The verb.
///
/// # Errors
/// A step fails.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    if arguments.flag("peers") {
        return peers::run(arguments);
    }
    if arguments.flag("generation") {
        return generation::run(arguments);
    }
    if arguments.flag("train") {
        return train::run(arguments);
    }
    let save = arguments.flag("--save");
    arguments.finish()?;
    let engines = Engines::ready()?;
    let built = build(&["limbeck-export"], &engines)?;
    let limbeck = built.executable("limbeck")?;
    let bundles = repository().join("out/bench");
    fs::create_dir_all(&bundles).with_context(|| format!("making {}", bundles.display()))?;
    let program = |words: &[&str]| {
        let mut program = command(limbeck);
        engines.apply(&mut program);
        program.args(words);
        program
    };
    let (fp32, int8) = (bundles.join("minilm-fp32.limbeck"), bundles.join("minilm-int8.limbeck"));
    let kind = ["--task", "sentence-embedding", "--max-tokens", "256"];
    output(program(&["pack"]).arg(&engines.teacher).arg("-o").arg(&fp32).args(kind))?;
    output(program(&["quantize", "--unproven"]).arg(&engines.teacher).arg("-o").arg(&int8).args(kind))?;
    // The machine and the versions, in the words of every other measurement.
    let about = output(program(&["bench", "--json", "--lengths", "32", "--runs", "20"]).arg(&fp32))?;
    let about: Value = serde_json::from_str(&about).context("what `limbeck bench --json` printed")?;

    let bench = |name: &str| {
        let mut bench = cargo();
        engines.apply(&mut bench);
        bench.args(["bench", "--package", "limbeck", "--features", "internals", "--bench", name]);
        bench.env("LIMBECK_BENCH_BUNDLES", &bundles);
        bench
    };
    let overhead = output(&mut bench("overhead"))?;
    let overhead = overhead.lines().filter(|line| line.starts_with('{')).map(serde_json::from_str);
    let overhead = overhead.collect::<Result<Vec<Value>, _>>().context("what the overhead benchmark printed")?;
    let status = bench("speed").status().context("running cargo bench")?;
    if !status.success() {
        bail!("the speed benchmark failed ({status})");
    }
    let mut cases = Vec::new();
    estimates(&target_folder()?.join("criterion"), &mut cases)?;
    cases.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    let results = json!({
        "schema": 1, "date": about["date"], "commit": commit().unwrap_or_else(|| "unknown".to_owned()),
        "machine": about["machine"], "versions": about["versions"], "models": overhead, "cases": cases,
    });
    let text = serde_json::to_string_pretty(&results)? + "\n";
    if save {
        fs::write(repository().join(RESULTS), text).with_context(|| format!("writing {RESULTS}"))?;
        println!("{RESULTS} is written; now cargo xtask docs");
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

/// What a program prints.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    if !output.status.success() {
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The folder that cargo builds in.
///
/// # Errors
/// Cargo does not run.
pub fn target_folder() -> Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target folder")?.into())
}

/// The newest estimates of each case below criterion's folder.
fn estimates(folder: &Path, cases: &mut Vec<Value>) -> Result<()> {
    let new = folder.join("new");
    if new.join("estimates.json").is_file() {
        let read = |name: &str| -> Result<Value> {
            let path = new.join(name);
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            serde_json::from_str(&text).with_context(|| path.display().to_string())
        };
        let (about, found) = (read("benchmark.json")?, read("estimates.json")?);
        let microseconds = |value: &Value| value.as_f64().map(|ns| ns / 1e3);
        let median = &found["median"];
        cases.push(json!({
            "name": about["full_id"], "median_us": microseconds(&median["point_estimate"]),
            "low_us": microseconds(&median["confidence_interval"]["lower_bound"]),
            "high_us": microseconds(&median["confidence_interval"]["upper_bound"]),
        }));
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            estimates(&path, cases)?;
        }
    }
    Ok(())
}
