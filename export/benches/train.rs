//! Trains one stage and prints its steps with their times, peak memory and energy as JSON.
//!
//! `cargo xtask bench train` runs it in turns with `tests/parity/train_speed.py`, which makes what WORK holds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use limbeck_export::device::training_device;
use limbeck_export::measure::{Gpu, machine, peak_memory_mb, resident_memory_mb, today, versions};
use limbeck_export::pipeline::speed::{Setting, measure, wait_for};
use limbeck_export::recipe::Recipe;
use limbeck_export::train::Precision;
use serde_json::json;

#[derive(Parser)]
struct Arguments {
    /// Folder with models and data
    #[arg(long)]
    work: PathBuf,
    /// Name of the recipe beside this file
    #[arg(long)]
    recipe: String,
    /// Folders in WORK
    #[arg(long)]
    teacher: String,
    #[arg(long)]
    student: String,
    #[arg(long)]
    data: String,
    /// Examples a step
    #[arg(long)]
    batch: usize,
    /// Steps before the measured ones
    #[arg(long)]
    warm: usize,
    /// Folder in WORK for the teacher's outputs; without it the teacher runs in every step
    #[arg(long)]
    cache: Option<String>,
    /// The student's dropout
    #[arg(long)]
    dropout: Option<f64>,
    /// The student's: fp32 or bf16
    #[arg(long, default_value = "fp32")]
    precision: Precision,
    /// The teacher's
    #[arg(long, default_value = "fp32")]
    teacher_precision: Precision,
    #[arg(long)]
    threads: i32,
    #[arg(long, default_value = "cpu")]
    device: String,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let gpu = (arguments.device == "cuda").then(|| Gpu::find(0)).flatten();
    let before = gpu.as_ref().and_then(Gpu::used_memory_mb);
    limbeck_export::memory::keep_freed_memory();
    tch::set_num_threads(arguments.threads);
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/train").join(&arguments.recipe);
    let mut recipe = Recipe::read(&place.with_extension("toml"))?;
    recipe.student.train.batch_size = arguments.batch;
    recipe.student.train.precision = arguments.precision;
    recipe.teacher.precision = arguments.teacher_precision;
    for stage in &mut recipe.stages {
        stage.train = Some(recipe.student.train.clone());
    }
    let device = training_device(&arguments.device)?;
    let joules = || if device.is_cuda() { gpu.as_ref()?.joules() } else { energy_joules() };
    let within = |name: &String| arguments.work.join(name);
    let out = tempfile::tempdir_in(&arguments.work)?;
    let setting = Setting {
        recipe,
        data: within(&arguments.data),
        teacher: within(&arguments.teacher),
        student: within(&arguments.student),
        cache: arguments.cache.as_ref().map(within),
        out: out.path().to_owned(),
        device,
        dropout: arguments.dropout,
    };
    let (begun, processor) = (std::cell::Cell::new((None, None)), std::cell::Cell::new(None));
    let timed = measure(&setting, &|step| {
        if step == 0 {
            begun.set((begun.get().0, resident_memory_mb()));
        }
        if step == arguments.warm {
            wait_for(device);
            processor.set(processor_seconds());
            begun.set((joules(), begun.get().1));
        }
    })?;
    let used = joules();
    // libtorch gives no memory back while it runs, so what is used at the end was needed at most.
    let gpu_mb = gpu.as_ref().and_then(Gpu::used_memory_mb).zip(before).map(|(after, before)| after - before);
    let processor = processor_seconds().zip(processor.get()).map(|(end, start)| end - start);
    let (energy, resident) = begun.get();
    let result = json!({
        "engine": "limbeck", "timed": timed, "resident_mb": resident, "peak_mb": peak_memory_mb(),
        "processor_seconds": processor, "date": today(), "machine": machine(), "versions": versions(),
        "joules": used.zip(energy).map(|(end, start)| end - start),
        "gpu": gpu.as_ref().and_then(Gpu::name), "gpu_mb": gpu_mb,
    });
    println!("{}", serde_json::to_string(&result).context("printing the result")?);
    Ok(())
}

/// Processor time of this process: of all threads, in the program and in the system. Other programs change it little.
fn processor_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // utime and stime, fields 14 and 15 of proc(5), in ticks of 1/100 s; the name before them may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

/// What the processor packages have used, in joules, where RAPL is readable.
fn energy_joules() -> Option<f64> {
    let mut sum = None;
    for entry in std::fs::read_dir("/sys/class/powercap").ok()?.flatten() {
        // intel-rapl:0 is a package; intel-rapl:0:0 a part of it.
        if entry.file_name().to_string_lossy().matches(':').count() == 1 {
            let text = std::fs::read_to_string(entry.path().join("energy_uj")).ok()?;
            sum = Some(sum.unwrap_or(0.0) + text.trim().parse::<f64>().ok()? / 1e6);
        }
    }
    sum
}
