//! `cargo xtask bench train`: training speed against PyTorch and transformers, and what the teacher cache saves.

mod built;
mod cases;
mod served;

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use self::built::Built;
use self::cases::{CASES, Case, LONG, SHORT, Way};
use self::served::Served;
use super::output;
use crate::Arguments;
use crate::command::{command, commit, repository};
use crate::engines::WAITING;

/// Where the results stand of the CPU in fp32, of students in bf16, and of a GPU in bf16 with small and with large batches: of
/// these the tables are made.
pub const RESULTS: &str = "export/benches/results/training.json";
pub const BF16_RESULTS: &str = "export/benches/results/training-cpu-bf16.json";
pub const CUDA_RESULTS: &str = "export/benches/results/training-cuda-bf16.json";
pub const CUDA_LARGE_RESULTS: &str = "export/benches/results/training-cuda-bf16-x16.json";
const PEER: &str = "tests/parity/train_speed.py";
/// Relative difference of the losses up to which both sides do the same work, in fp32 and in bf16, where each rounds in places
/// of its own.
const TOLERANCE: f64 = 1e-4;
const TOLERANCE_BF16: f64 = 1e-2;
/// Batches of a pool of like lengths (`data/batch.rs`): an epoch of whole pools pads as a long one does.
const POOL: usize = 16;

/// What all runs share.
struct Bench {
    built: Built,
    work: PathBuf,
    threads: usize,
    warm: usize,
    device: String,
    precision: String,
    times: usize,
    /// Only what is compared on the same batches, with the teacher in each step.
    same_batches: bool,
    /// PyTorch, where one program runs all that is asked of it.
    served: Option<RefCell<Served>>,
}

/// The file of a device, a precision and a size of batches.
fn results(device: &str, precision: &str, times: usize) -> String {
    let large = if times > 1 { format!("-x{times}") } else { String::new() };
    match (device, precision, times) {
        ("cpu", "fp32", 1) => RESULTS.to_owned(),
        _ => format!("export/benches/results/training-{device}-{precision}{large}.json"),
    }
}

/// The verb, behind `train`.
///
/// # Errors
/// A step fails, or the losses of the two sides differ.
pub fn run(mut arguments: Arguments) -> Result<ExitCode> {
    let save = arguments.flag("--save");
    let number = |value: Option<String>, default: usize| -> Result<usize> {
        value.map_or(Ok(default), |text| text.parse().with_context(|| format!("`{text}` is not a number")))
    };
    let rounds = number(arguments.value("--rounds")?, 3)?;
    let pools = number(arguments.value("--pools")?, 4)?;
    let threads = number(arguments.value("--threads")?, 2)?;
    let device = arguments.value("--device")?.unwrap_or_else(|| "cpu".to_owned());
    let precision = arguments.value("--precision")?.unwrap_or_else(|| "fp32".to_owned());
    let times = number(arguments.value("--times")?, 1)?;
    let only = arguments.value("--only")?.unwrap_or_default();
    let same_batches = arguments.flag("--same-batches");
    let brought = arguments.value("--brought")?;
    let revision = arguments.value("--commit")?.or_else(commit).unwrap_or_else(|| "unknown".to_owned());
    arguments.finish()?;
    ensure!(["fp32", "bf16"].contains(&precision.as_str()), "--precision {precision}: it is fp32 or bf16");
    ensure!(!save || only.is_empty(), "--save writes the results of all cases; leave --only out");
    ensure!(
        rounds > 0 && pools > 0 && threads > 0 && times > 0,
        "--rounds, --pools, --threads and --times must be at least 1"
    );
    // On a GPU steps are so short that many are needed, and there are not so many texts.
    let on_gpu = device == "cuda";
    let repeat = on_gpu || times > 1;
    ensure!(repeat || pools <= 4, "--pools: there are sentences for 4 pools of {POOL} batches");
    // What a larger teacher costs is shown on the CPU.
    let here = |case: &&Case| case.name.contains(&only) && (case.peer || !on_gpu);
    let chosen: Vec<&Case> = CASES.iter().filter(here).collect();
    ensure!(!chosen.is_empty(), "no case has `{only}` in its name");

    let built = brought.map_or_else(Built::here, |folder| Built::brought(Path::new(&folder)))?;
    let work = repository().join("out/bench-train");
    fs::create_dir_all(&work).with_context(|| format!("making {}", work.display()))?;
    let mut prepare = command(&built.python);
    prepare.args([PEER, "prepare", "--work"]).arg(&work).arg("--minilm").arg(&built.teacher);
    prepare.arg("--mpnet").arg(&built.base_teacher).arg("--sentiment").arg(&built.sentences);
    // Lengths of long texts are equal: fewer steps are enough, but on a GPU.
    let pools = if on_gpu { pools * 2 } else { pools };
    let long_steps = if on_gpu { pools * POOL } else { (pools + 1) * 4 };
    for (name, count) in [
        ("--rows-short", pools * POOL * SHORT * times),
        ("--rows-long", long_steps * LONG * times),
        ("--batch-short", SHORT * times),
        ("--batch-long", LONG * times),
    ] {
        prepare.args([name, &count.to_string()]);
    }
    prepare.args(repeat.then_some("--repeat"));
    output(&mut prepare)?;
    let served = on_gpu.then(|| Served::start(&built.python)).transpose()?.map(RefCell::new);
    let bench = Bench {
        served,
        built,
        work,
        threads,
        warm: if on_gpu { pools * POOL / 4 } else { 4 },
        device,
        precision,
        times,
        same_batches,
    };

    let mut cases = Vec::new();
    let (mut about, mut text) = (Value::Null, String::new());
    let file = results(&bench.device, &bench.precision, bench.times);
    for case in chosen {
        eprintln!("{}", case.name);
        cases.push(bench.case(case, rounds, &mut about)?);
        let found = json!({
            "schema": 1, "date": about["date"], "commit": revision, "machine": about["machine"],
            "versions": about["versions"], "device": bench.device, "threads": threads, "dropout": 0.1,
            "precision": bench.precision, "teacher_precision": bench.teacher_precision(), "gpu": about["gpu"],
            "rounds": rounds, "warm": bench.warm, "cases": cases,
        });
        text = serde_json::to_string_pretty(&found)? + "\n";
        if save {
            let path = repository().join(&file);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            fs::write(&path, &text).with_context(|| format!("writing {file}"))?;
        }
    }
    if save {
        let has_tables = [RESULTS, BF16_RESULTS, CUDA_RESULTS, CUDA_LARGE_RESULTS].contains(&file.as_str());
        println!("{file} is written{}", if has_tables { "; now cargo xtask docs" } else { "" });
    } else {
        print!("{text}");
    }
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    /// On a GPU the teacher computes as the student does; on a CPU it stays fp32, as the recipes have it.
    fn teacher_precision(&self) -> &str {
        if self.device == "cuda" { &self.precision } else { "fp32" }
    }

    fn case(&self, case: &Case, rounds: usize, about: &mut Value) -> Result<Value> {
        // Larger batches are more of the same.
        let difference = if case.peer && self.times == 1 { Some(self.same_losses(case)?) } else { None };
        let batches = self.work.join("batches.json");
        let cache = self.work.join("cache");
        if cache.exists() {
            fs::remove_dir_all(&cache).with_context(|| format!("removing {}", cache.display()))?;
        }
        let mut ways = vec![Way::Live];
        // On a GPU so many tokens are read that the outputs of layers would fill the disk.
        let cached = self.device == "cpu" || (case.losses == "answers" && self.times == 1);
        if cached && !self.same_batches {
            ways.push(Way::Cached);
        }
        if case.peer {
            ways.insert(1, Way::PeerLike);
            // Where all lengths are equal it would be the same again.
            if case.data == "short" && !self.same_batches {
                ways.push(Way::PeerShuffled);
            }
        }
        let mut batches_of_live = Vec::new();
        let mut found: Vec<Vec<Value>> = ways.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds {
            // Each round begins with another, so that none always follows the same.
            for turn in 0..ways.len() {
                let index = (turn + round) % ways.len();
                let (way, found) = (&ways[index], &mut found[index]);
                let result = match way {
                    Way::Live | Way::Cached => self.own(case, case.data, *way, None)?,
                    Way::PeerLike => self.peer(case, case.data, Some(&batches), None)?,
                    Way::PeerShuffled => self.peer(case, case.data, None, None)?,
                };
                // Rows that one side leaves out would shift the numbers of those behind them.
                match way {
                    Way::Live => batches_of_live = sizes(&result)?,
                    Way::PeerLike => ensure!(
                        batches_of_live.is_empty() || sizes(&result)? == batches_of_live,
                        "{}: the two sides did not read the same batches",
                        case.name
                    ),
                    _ => {}
                }
                if *way == Way::Live && round == 0 {
                    let order: Vec<&Value> = steps(&result)?.iter().map(|step| &step["indices"]).collect();
                    fs::write(&batches, serde_json::to_string(&order)?)?;
                    for name in ["date", "machine", "gpu"] {
                        about[name] = result[name].clone();
                    }
                }
                if let Some(versions) = result["versions"].as_object() {
                    for (name, version) in versions {
                        about["versions"][name] = version.clone();
                    }
                }
                let summary = self.summary(&result)?;
                eprintln!(
                    "  {}, teacher {}, {}: {:.0} tokens/s",
                    way.engine(),
                    way.teacher(),
                    way.batches(),
                    summary["tokens_per_second"].as_f64().unwrap_or(0.0)
                );
                found.push(summary);
            }
        }
        let runs: Vec<Value> = ways
            .iter()
            .zip(found)
            .map(|(way, rounds)| {
                json!({
                    "engine": way.engine(), "teacher": way.teacher(), "batches": way.batches(), "rounds": rounds,
                })
            })
            .collect();
        Ok(json!({
            "name": case.name, "losses": case.losses, "teacher": case.teacher, "student": case.student,
            "data": case.data, "batch": case.batch * self.times, "loss_difference": difference, "runs": runs,
        }))
    }

    /// One run in numbers.
    fn summary(&self, result: &Value) -> Result<Value> {
        let all = steps(result)?;
        ensure!(all.len() > self.warm, "there are {} steps, {} warm up", all.len(), self.warm);
        let measured = &all[self.warm..];
        let sum = |name: &str| measured.iter().filter_map(|step| step[name].as_f64()).sum::<f64>();
        let (tokens, seconds) = (sum("tokens"), sum("seconds"));
        let per_token = |name: &str| result[name].as_f64().map(|used| used / tokens);
        Ok(json!({
            "tokens_per_second": tokens / seconds, "steps": measured.len(), "tokens_per_step": tokens / measured.len() as f64,
            "padding": 1.0 - tokens / sum("padded"), "peak_mb": result["peak_mb"], "resident_mb": result["resident_mb"],
            "joules_per_token": per_token("joules"), "gpu_mb": result["gpu_mb"],
            "processor_seconds_per_token": per_token("processor_seconds"), "cache_seconds": result["timed"]["cache_seconds"],
            "cache_bytes": result["timed"]["cache_bytes"], "load": load(),
        }))
    }

    /// The largest relative difference of the losses of the first steps, on the same batches without dropout.
    fn same_losses(&self, case: &Case) -> Result<f64> {
        let data = format!("{}-check", case.data);
        let own = self.own(case, &data, Way::Live, Some("0"))?;
        let own_steps = steps(&own)?;
        let batches = self.work.join("batches-check.json");
        let order: Vec<&Value> = own_steps.iter().map(|step| &step["indices"]).collect();
        fs::write(&batches, serde_json::to_string(&order)?)?;
        let peer = self.peer(case, &data, Some(&batches), Some("0"))?;
        let peer_steps = steps(&peer)?;
        ensure!(
            own_steps.len() == peer_steps.len(),
            "{}: {} steps and {}",
            case.name,
            own_steps.len(),
            peer_steps.len()
        );
        let tolerance = if self.precision == "bf16" { TOLERANCE_BF16 } else { TOLERANCE };
        let mut largest: f64 = 0.0;
        for (number, (own, peer)) in own_steps.iter().zip(peer_steps).enumerate() {
            let loss = |step: &Value| step["loss"].as_f64().context("a step has no loss");
            let (ours, theirs) = (loss(own)?, loss(peer)?);
            let difference = (ours - theirs).abs() / theirs.abs();
            ensure!(
                difference < tolerance && own["tokens"] == peer["tokens"],
                "{}: step {number} has the loss {ours} here and {theirs} in PyTorch, with {} and {} tokens: they do not do \
                 the same work",
                case.name,
                own["tokens"],
                peer["tokens"]
            );
            largest = largest.max(difference);
        }
        eprintln!("  losses of {} steps agree within {largest:.1e}", own_steps.len());
        Ok(largest)
    }

    fn own(&self, case: &Case, data: &str, way: Way, dropout: Option<&str>) -> Result<Value> {
        let mut program = command(&self.built.program);
        if let Some(engines) = &self.built.engines {
            engines.apply(&mut program);
        }
        program.args(["--recipe", case.losses]);
        if way == Way::Cached {
            program.args(["--cache", "cache"]);
        }
        self.run(program.args(self.arguments(case, data, dropout)))
    }

    fn peer(&self, case: &Case, data: &str, batches: Option<&Path>, dropout: Option<&str>) -> Result<Value> {
        let mut arguments = vec!["run".to_owned(), "--losses".to_owned(), case.losses.to_owned()];
        if let Some(batches) = batches {
            arguments.extend(["--batches".to_owned(), batches.display().to_string()]);
            // At its best; with shuffled batches it is as it comes.
            arguments.extend((self.device == "cuda").then(|| "--no-cudnn-attention".to_owned()));
        }
        arguments.extend(self.arguments(case, data, dropout));
        match &self.served {
            Some(served) => served.borrow_mut().ask(&arguments),
            None => self.run(command(&self.built.python).arg(PEER).args(arguments)),
        }
    }

    fn arguments(&self, case: &Case, data: &str, dropout: Option<&str>) -> Vec<String> {
        let (work, batch) = (self.work.display().to_string(), (case.batch * self.times).to_string());
        let (warm, threads) = (self.warm.to_string(), self.threads.to_string());
        let mut pairs = vec![
            ("--work", work.as_str()),
            ("--teacher", case.teacher),
            ("--student", case.student),
            ("--data", data),
            ("--batch", &batch),
            ("--warm", &warm),
            ("--threads", &threads),
            ("--device", &self.device),
            ("--precision", &self.precision),
            ("--teacher-precision", self.teacher_precision()),
        ];
        pairs.extend(dropout.map(|rate| ("--dropout", rate)));
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()]).collect()
    }

    fn run(&self, program: &mut Command) -> Result<Value> {
        // The same for both sides.
        program.env("OMP_NUM_THREADS", self.threads.to_string()).envs(WAITING);
        let text = output(program)?;
        let line = text.lines().rfind(|line| line.starts_with('{')).context("the program printed no result")?;
        serde_json::from_str(line).context("what the program printed")
    }
}

fn steps(result: &Value) -> Result<&Vec<Value>> {
    result["timed"]["steps"].as_array().context("the program printed no steps")
}

/// Tokens of every step, and tokens with padding.
fn sizes(result: &Value) -> Result<Vec<[Value; 2]>> {
    Ok(steps(result)?.iter().map(|step| ["tokens", "padded"].map(|name| step[name].clone())).collect())
}

/// Processes that ran or waited to run, mean of the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
