//! `cargo xtask bench train`: training speed against PyTorch and transformers, and what the teacher cache saves.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::output;
use crate::Arguments;
use crate::cache::Cache;
use crate::command::{cargo, command, commit, repository};
use crate::engines::Engines;
use crate::{pins, python};

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
/// Texts a step, of short texts and of long ones.
const SHORT: usize = 32;
const LONG: usize = 16;

/// One distillation.
struct Case {
    name: &'static str,
    /// A recipe in `export/benches/train`.
    losses: &'static str,
    teacher: &'static str,
    student: &'static str,
    data: &'static str,
    batch: usize,
    /// Whether PyTorch runs it too.
    peer: bool,
}

const CASES: [Case; 5] = [
    Case {
        name: "answers, short",
        losses: "answers",
        teacher: "teacher",
        student: "three",
        data: "short",
        batch: SHORT,
        peer: true,
    },
    Case {
        name: "answers, 128",
        losses: "answers",
        teacher: "teacher",
        student: "three",
        data: "long",
        batch: LONG,
        peer: true,
    },
    Case {
        name: "layers, short",
        losses: "layers",
        teacher: "teacher",
        student: "narrow",
        data: "short",
        batch: SHORT,
        peer: true,
    },
    Case {
        name: "layers, 128",
        losses: "layers",
        teacher: "teacher",
        student: "narrow",
        data: "long",
        batch: LONG,
        peer: true,
    },
    Case {
        name: "base teacher, short",
        losses: "answers",
        teacher: "base-teacher",
        student: "three-of-base",
        data: "short",
        batch: SHORT,
        peer: false,
    },
];

/// Who trains, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// limbeck, the teacher in every step.
    Live,
    /// limbeck as it is: the teacher's outputs from the cache.
    Cached,
    /// PyTorch on limbeck's own batches.
    PeerLike,
    /// PyTorch on shuffled batches, padded to the longest.
    PeerShuffled,
}

impl Way {
    fn engine(self) -> &'static str {
        if matches!(self, Way::Live | Way::Cached) { "limbeck" } else { "PyTorch + transformers" }
    }

    fn teacher(self) -> &'static str {
        if self == Way::Cached { "cached" } else { "in each step" }
    }

    fn batches(self) -> &'static str {
        if self == Way::PeerShuffled { "shuffled" } else { "like lengths" }
    }
}

/// What all runs share.
struct Bench {
    built: Built,
    work: PathBuf,
    threads: usize,
    warm: usize,
    device: String,
    precision: String,
    times: usize,
    /// PyTorch, where one program runs all that is asked of it.
    served: Option<RefCell<Served>>,
}

/// A running `serve` of the peer.
struct Served {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Served {
    fn start(built: &Built) -> Result<Self> {
        let mut program = command(&built.python);
        program.args([PEER, "serve"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().context("starting python")?;
        let out = child.stdout.take().context("python has no output")?;
        Ok(Self { child, answers: BufReader::new(out).lines() })
    }

    fn ask(&mut self, arguments: &[String]) -> Result<Value> {
        let input = self.child.stdin.as_mut().context("python has no input")?;
        writeln!(input, "{}", serde_json::to_string(arguments)?).context("asking python")?;
        loop {
            let line = self.answers.next().context("python ended; its words are above")?.context("reading python")?;
            if line.starts_with('{') {
                return serde_json::from_str(&line).context("what python printed");
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The file of a device, a precision and a size of batches.
fn results(device: &str, precision: &str, times: usize) -> String {
    let large = if times > 1 { format!("-x{times}") } else { String::new() };
    match (device, precision, times) {
        ("cpu", "fp32", 1) => RESULTS.to_owned(),
        _ => format!("export/benches/results/training-{device}-{precision}{large}.json"),
    }
}

/// Both programs, and what they train with.
struct Built {
    program: PathBuf,
    python: PathBuf,
    /// None where the environment is left as it is.
    engines: Option<Engines>,
    teacher: PathBuf,
    base_teacher: PathBuf,
    sentences: PathBuf,
}

impl Built {
    /// Builds limbeck's side, and fetches all else.
    fn here() -> Result<Self> {
        // The teachers of the tests are those of the benchmark.
        let engines = Engines::ready_for_tests()?;
        let cache = Cache::locate()?;
        Ok(Self {
            python: python::references(&cache)?,
            program: program(&engines)?,
            teacher: engines.teacher.clone(),
            base_teacher: cache.folder(&pins::ALL_MPNET),
            sentences: cache.folder(&pins::SENTENCES),
            engines: Some(engines),
        })
    }

    /// What was brought to a machine without cargo and without internet: a folder with `train`, the built benchmark, and
    /// folders `teacher`, `base-teacher` and `sentences`.
    fn brought(folder: &Path) -> Result<Self> {
        let folder = fs::canonicalize(folder).with_context(|| format!("--brought {}", folder.display()))?;
        let place = |name: &str| {
            let path = folder.join(name);
            ensure!(path.exists(), "{} is missing", path.display());
            Ok(path)
        };
        Ok(Self {
            program: place("train")?,
            python: "python3".into(),
            engines: None,
            teacher: place("teacher")?,
            base_teacher: place("base-teacher")?,
            sentences: place("sentences")?,
        })
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
    let count = chosen.len();
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
    let served = on_gpu.then(|| Served::start(&built)).transpose()?.map(RefCell::new);
    let bench = Bench {
        served,
        built,
        work,
        threads,
        warm: if on_gpu { pools * POOL / 4 } else { 4 },
        device,
        precision,
        times,
    };

    let mut cases = Vec::new();
    let mut about = Value::Null;
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
        let text = serde_json::to_string_pretty(&found)? + "\n";
        if save {
            let path = repository().join(&file);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            fs::write(&path, text).with_context(|| format!("writing {file}"))?;
        } else if cases.len() == count {
            print!("{text}");
        }
    }
    if save {
        let has_tables = [RESULTS, BF16_RESULTS, CUDA_RESULTS, CUDA_LARGE_RESULTS].contains(&file.as_str());
        println!("{file} is written{}", if has_tables { "; now cargo xtask docs" } else { "" });
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
        if self.device == "cpu" || (case.losses == "answers" && self.times == 1) {
            ways.push(Way::Cached);
        }
        if case.peer {
            ways.insert(1, Way::PeerLike);
            // Where all lengths are equal it would be the same again.
            if case.data == "short" {
                ways.push(Way::PeerShuffled);
            }
        }
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
        // Spinning threads of one library would slow the other's measurements where cores are few.
        program.env("OMP_NUM_THREADS", self.threads.to_string()).env("OMP_WAIT_POLICY", "PASSIVE");
        let text = output(program)?;
        let line = text.lines().rfind(|line| line.starts_with('{')).context("the program printed no result")?;
        serde_json::from_str(line).context("what the program printed")
    }
}

fn steps(result: &Value) -> Result<&Vec<Value>> {
    result["timed"]["steps"].as_array().context("the program printed no steps")
}

/// Processes that ran or waited to run, mean of the last minute.
fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Builds limbeck's side.
fn program(engines: &Engines) -> Result<PathBuf> {
    let mut build = cargo();
    engines.apply(&mut build);
    build.args(["bench", "--package", "limbeck-export", "--bench", "train", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    for line in output(&mut build)?.lines() {
        let message: Value = serde_json::from_str(line).unwrap_or_default();
        if message["target"]["name"] == "train"
            && message["target"]["kind"][0] == "bench"
            && let Some(path) = message["executable"].as_str()
        {
            return Ok(path.into());
        }
    }
    bail!("cargo built no benchmark `train`")
}
