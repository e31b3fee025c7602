//! A process of its own that opens a model and uses it, watched.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use limbeck::bundle::Task;
use limbeck::{EmbedOptions, Error, FillMaskOptions, GenerateOptions, Model};
use limbeck_tests::bundles::Recipe;
use limbeck_tests::{cache, seeded};
use serde_json::{Value, json};

const JOB: &str = "LIMBECK_MEMORY_TEST_JOB";

/// What the child does.
#[derive(Clone)]
pub struct Job {
    pub bundle: PathBuf,
    pub budget: Option<u64>,
    pub sessions: usize,
    pub calls: usize,
    pub seed: u64,
}

/// What was measured, in bytes of private memory beyond that of the process before.
#[derive(Default)]
pub struct Measured {
    pub budget: Option<u64>,
    /// What the library needs at least, if it refused.
    pub needed: Option<u64>,
    pub expected: u64,
    pub opened: u64,
    /// The most at any moment.
    pub peak: u64,
    /// After all calls.
    pub settled: u64,
    pub sessions: u64,
    pub batch_tokens: u64,
    pub prepacked: bool,
    /// Resident memory of the whole process after each quarter of the calls, and what of it belongs to no file.
    pub resident_at_quarters: Vec<u64>,
    pub anonymous_at_quarters: Vec<u64>,
}

/// Does a job in a process of its own.
pub fn measure(job: &Job) -> Measured {
    let written = json!({"bundle": job.bundle, "budget": job.budget, "sessions": job.sessions, "calls": job.calls,
        "seed": job.seed});
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(JOB, written.to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("measured "));
    let line = line.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    let value: Value = serde_json::from_str(line).unwrap();
    let numbers = |key: &str| value[key].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let number = |key: &str| value[key].as_u64().unwrap_or(0);
    Measured {
        budget: job.budget,
        needed: value["needed"].as_u64(),
        expected: number("expected"),
        opened: number("opened"),
        peak: number("peak"),
        settled: number("settled"),
        sessions: number("sessions"),
        batch_tokens: number("batch_tokens"),
        prepacked: value["prepacked"].as_bool().unwrap_or(false),
        resident_at_quarters: numbers("quarters"),
        anonymous_at_quarters: numbers("anonymous"),
    }
}

/// A field of this process in /proc, in bytes.
pub fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Value = serde_json::from_str(&job).unwrap();
    // What ONNX Runtime and the libraries need once is not the model's.
    {
        let _turn = seeded(1);
        let first = Recipe::classifier(&["a", "b"]).make().open();
        first.classify("the battery").unwrap();
    }
    let before = status("RssAnon");
    let mut builder =
        Model::builder().runtime_path(cache::onnxruntime()).sessions(job["sessions"].as_u64().unwrap() as usize);
    if let Some(budget) = job["budget"].as_u64() {
        builder = builder.memory_budget(budget);
    }
    let model = match builder.open(job["bundle"].as_str().unwrap()) {
        Ok(model) => model,
        Err(Error::MemoryBudget { needed, .. }) => {
            println!("\nmeasured {}", json!({"needed": needed}));
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let opened = status("RssAnon").saturating_sub(before);
    let calls = job["calls"].as_u64().unwrap() as usize;
    let (peak, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (mut quarters, mut anonymous) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(status("RssAnon").saturating_sub(before), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut random = job["seed"].as_u64().unwrap();
        let mut below = |most: usize| {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (random >> 33) as usize % most
        };
        // The longest first: what they need once they may need again.
        let writes = model.bundle().manifest().task == Task::Generation;
        if writes {
            write(&model, 6, 500);
        } else {
            call(&model, &[510; 6]);
        }
        for i in 0..calls {
            let count = if i % 8 == 0 { 6 } else { 1 };
            if writes {
                write(&model, count, 1 + below(500));
            } else {
                let lengths: Vec<usize> = (0..count).map(|_| 1 + below(510)).collect();
                call(&model, &lengths);
            }
            if (i + 1) * 4 % calls < 4 {
                quarters.push(status("VmRSS"));
                anonymous.push(status("RssAnon"));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let plan = model.memory();
    println!(
        "\nmeasured {}",
        json!({"expected": plan.expected, "opened": opened, "peak": peak.load(Ordering::Relaxed).max(opened),
            "settled": status("RssAnon").saturating_sub(before), "sessions": plan.sessions,
            "batch_tokens": plan.batch_tokens, "prepacked": plan.prepacked, "quarters": quarters,
            "anonymous": anonymous})
    );
}

/// Some texts, so many tokens each.
fn write(model: &Model, texts: usize, tokens: usize) {
    let options = GenerateOptions::new().max_new_tokens(tokens).ignore_eos(true).temperature(1.0);
    drop(model.generate_batch(&vec!["the"; texts], &options).unwrap());
}

/// One call with texts of these lengths.
fn call(model: &Model, lengths: &[usize]) {
    let mask = model.mask_token();
    let texts: Vec<String> =
        lengths.iter().map(|&n| format!("{}{}", mask.as_deref().unwrap_or_default(), " a".repeat(n - 1))).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    match model.bundle().manifest().task {
        Task::FillMask => drop(model.fill_mask_batch(&texts, &FillMaskOptions::new()).unwrap()),
        Task::SentenceEmbedding => drop(model.embed_batch(&texts, &EmbedOptions::new()).unwrap()),
        _ => drop(model.classify_batch(&texts, &Default::default()).unwrap()),
    }
}
