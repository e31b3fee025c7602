//! Bundles of all models, measured through the sdk.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use limbeck::Model;
use limbeck::bundle::{Latency, Provenance, Quality};

use super::PreparedData;
use super::stages::Run;
use crate::graph::WeightMode;
use crate::measure::{BenchResult, Evaluation, evaluate};
use crate::pack::{Draft, PackOptions, draft};
use crate::progress::Reporter;
use crate::report::{Comparison, ModelReport, QuantizationReport};

/// Fresh processes that time each model; the models take turns, so that a machine that slows down slows
/// all of them, and the median counts.
const ROUNDS: usize = 3;

struct Candidate {
    name: &'static str,
    file: PathBuf,
    draft: Draft,
    test: Evaluation,
}

/// Opens a draft as the bundle it will be.
fn open(draft: &Draft) -> Result<Model> {
    Ok(Model::builder().open_bytes(draft.to_bytes()?)?)
}

/// Writes `teacher.limbeck`, `control.limbeck`, `ID.fp32.limbeck` and `ID.limbeck` (int8).
///
/// # Errors
/// An int8 bundle that loses more on dev than the recipe allows is refused.
pub(super) fn build_and_measure(
    run: &Run,
    data: &PreparedData,
    teacher_sha256: &str,
) -> Result<(Vec<ModelReport>, Comparison, QuantizationReport)> {
    let (recipe, out) = (run.recipe, &run.options.out);
    let provenance = Provenance {
        teacher_sha256: teacher_sha256.to_owned(),
        recipe_sha256: recipe.sha256()?,
        exporter: format!("limbeck {}", env!("CARGO_PKG_VERSION")),
    };
    let make = |name: &'static str, folder: &str, id: String, file: String, weights| -> Result<Candidate> {
        let options = PackOptions {
            id,
            version: recipe.version.clone(),
            build: recipe.build,
            languages: recipe.languages.clone(),
            max_tokens: Some(recipe.max_tokens),
            weights,
            provenance: Some(provenance.clone()),
            ..PackOptions::default()
        };
        let mut draft = draft(&out.join(folder), &options)?;
        let model = open(&draft)?;
        draft.record_self_test(&model)?;
        let test = evaluate(&model, &data.split.test, run.reporter, name)?;
        Ok(Candidate { name, file: out.join(file), draft, test })
    };
    let id = &recipe.id;
    let float = WeightMode::Float;
    let mut candidates = vec![
        make("teacher", "teacher", format!("{id}-teacher"), "teacher.limbeck".to_owned(), float)?,
        make("control", "control", format!("{id}-control"), "control.limbeck".to_owned(), float)?,
        make("student fp32", "student", id.clone(), format!("{id}.fp32.limbeck"), float)?,
        make("student int8", "student", id.clone(), format!("{id}.limbeck"), WeightMode::DynamicInt8)?,
    ];
    let [_, control, fp32, int8] = candidates.as_mut_slice() else { bail!("four models are measured") };
    let comparison = Comparison::paired(&fp32.test, &control.test);
    let quantization = quantization(run.reporter, data, fp32, int8, recipe.bundle.max_drop)?;

    for candidate in &mut candidates {
        let test = &candidate.test;
        candidate.draft.manifest.quality = Some(Quality {
            metric: "accuracy".to_owned(),
            split: "test".to_owned(),
            value: test.value,
            low: test.low,
            high: test.high,
            examples: test.examples as u64,
        });
        candidate.draft.write(&candidate.file)?;
    }
    let sentence = median_sentence(data);
    let mut timings: Vec<Vec<BenchResult>> = candidates.iter().map(|_| Vec::new()).collect();
    let bar = run.reporter.bar("latency", (ROUNDS * candidates.len()) as u64, 0);
    for round in 0..ROUNDS {
        for (i, candidate) in candidates.iter().enumerate() {
            timings[i].push(measure_in_fresh_process(&candidate.file, sentence, run.options.runtime.as_deref())?);
            bar.advance((round * candidates.len() + i + 1) as u64, candidate.name);
        }
    }
    bar.finish();
    let mut models = Vec::new();
    for (candidate, timings) in candidates.iter_mut().zip(&timings) {
        let p50 =
            median(timings.iter().filter_map(|t| Some(t.cases.first()?.p50_ms))).context("no latency was measured")?;
        let tokens = timings.first().and_then(|t| t.cases.first()).map_or(0, |c| c.tokens);
        let machine = crate::measure::machine();
        candidate.draft.manifest.latency =
            Some(Latency { p50_ms: p50, threads: 1, tokens, machine: format!("{} ({})", machine.cpu, machine.os) });
        let file_bytes = candidate.draft.write(&candidate.file)?;
        models.push(ModelReport {
            name: candidate.name.to_owned(),
            file: candidate.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            accuracy: candidate.test.clone(),
            parameters: candidate.draft.manifest.architecture.parameters,
            file_bytes,
            latency_p50_ms: p50,
            latency_tokens: tokens,
            peak_memory_mb: median(timings.iter().filter_map(BenchResult::added_memory_mb)),
        });
    }
    Ok((models, comparison, quantization))
}

/// The contract: int8 may cost at most `max_drop` points of accuracy on dev.
fn quantization(
    reporter: &Reporter,
    data: &PreparedData,
    fp32: &Candidate,
    int8: &mut Candidate,
    max_drop: f64,
) -> Result<QuantizationReport> {
    let dev = |c: &Candidate| evaluate(&open(&c.draft)?, &data.split.dev, reporter, c.name);
    let (dev_fp32, dev_int8) = (dev(fp32)?, dev(int8)?);
    let report = QuantizationReport {
        mode: "int8-dynamic".to_owned(),
        max_drop_points: max_drop,
        dev_drop_points: (dev_fp32.value - dev_int8.value) * 100.0,
        test_drop_points: (fp32.test.value - int8.test.value) * 100.0,
    };
    if report.dev_drop_points > max_drop {
        bail!(
            "int8 costs {:.2} points of accuracy on dev, more than the {max_drop} the recipe allows; \
             the fp32 student is in the folder `student`: ship it with `limbeck pack`, or raise bundle.max_drop",
            report.dev_drop_points
        );
    }
    if let Some(contract) = &mut int8.draft.manifest.quantization {
        contract.measured_drop = Some(dev_fp32.value - dev_int8.value);
    }
    Ok(report)
}

/// The test sentence of median length in bytes: what an app's call looks like.
fn median_sentence(data: &PreparedData) -> &str {
    let mut texts: Vec<&str> = data.split.test.iter().map(|e| e.text.as_str()).collect();
    texts.sort_by_key(|t| (t.len(), *t));
    texts[texts.len() / 2]
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Times one sentence on one thread in a process of its own, so that memory and cold start are its own.
///
/// # Errors
/// The child's error text.
pub fn measure_in_fresh_process(bundle: &Path, sentence: &str, runtime: Option<&Path>) -> Result<BenchResult> {
    let program = std::env::current_exe().context("cannot find the limbeck program itself")?;
    let mut command = Command::new(program);
    command.arg("bench").arg(bundle).args(["--json", "--runs", "200", "--warm-up", "30", "--text", sentence]);
    if let Some(runtime) = runtime {
        command.arg("--runtime").arg(runtime);
    }
    let output = command.output().context("cannot start `limbeck bench`")?;
    if !output.status.success() {
        bail!("`limbeck bench {}` failed: {}", bundle.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("`limbeck bench --json` printed something else")
}
