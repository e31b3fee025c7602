//! Bundles of all models, measured through the sdk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use limbeck::Model;
use limbeck::bundle::{Latency, Provenance, Quality};
use rayon::prelude::*;

use super::fresh_process::{in_fresh_process, measure_in_fresh_process, row_of_quantile};
use super::run::{Run, Trained};
use super::trims::Trimmed;
use crate::data::{Rows, Split};
use crate::graph::WeightMode;
use crate::measure::{BenchResult, Interval, Outcomes, TaskQuality, difference, interval, ratio, task_quality};
use crate::pack::{Draft, PackOptions, draft};
use crate::progress::{Bar, Output, Reporter};
use crate::quantize::FakeQuantization;
use crate::recipe::Recipe;
use crate::report::{AblationReport, Comparison, ModelReport, QuantizationReport, SeedReport};

/// Fresh processes that time each model; the models take turns, so that a machine that slows down slows
/// all of them, and the median counts.
const ROUNDS: usize = 3;
/// Lengths in tokens that are timed too, as far as the model takes them; its own maximum always.
const LENGTHS: [usize; 6] = [16, 32, 64, 128, 256, 512];

/// Trained models of one recipe.
pub(super) struct Models<'a> {
    /// Names and folders of the teachers whose weights are here; the first is what retention is measured against.
    pub teachers: Vec<(String, PathBuf)>,
    /// Students and controls in the order of the seeds.
    pub students: &'a [Trained],
    pub controls: &'a [Trained],
    pub ablations: &'a [(String, Vec<Trained>)],
    /// Smaller models of the student that ships.
    pub trims: &'a [Trimmed],
    /// Which student that is.
    pub best: usize,
    pub teacher_sha256: &'a str,
}

/// What was measured of them.
pub(super) struct Measured {
    pub measure: String,
    pub models: Vec<ModelReport>,
    pub seeds: Vec<SeedReport>,
    pub comparison: Comparison,
    pub quantization: QuantizationReport,
    pub ablation: Vec<AblationReport>,
}

struct Candidate {
    name: String,
    file: PathBuf,
    draft: Draft,
    test: TaskQuality,
    /// One for each seed.
    outcomes: Vec<Outcomes>,
}

/// A model that gets a bundle.
struct Wanted<'a> {
    name: String,
    folder: &'a Path,
    id: String,
    file: String,
    weights: WeightMode,
}

/// What all that is measured shares. Models are measured side by side, each on one thread, which changes no score; only those
/// that are timed have the machine to themselves.
struct Bench<'a> {
    recipe: &'a Recipe,
    split: &'a Split,
    out: &'a Path,
    provenance: Provenance,
    quiet: Reporter,
    bar: Bar,
    done: AtomicU64,
}

impl Bench<'_> {
    fn draft(&self, folder: &Path, id: String, weights: WeightMode) -> Result<Draft> {
        let recipe = self.recipe;
        let options = PackOptions {
            id,
            version: recipe.version.clone(),
            build: recipe.build,
            task: Some(recipe.task),
            languages: recipe.languages.clone(),
            max_tokens: Some(recipe.max_tokens),
            weights,
            provenance: Some(self.provenance.clone()),
            ..PackOptions::default()
        };
        draft(folder, &options)
    }

    fn quality(&self, model: &Model, rows: &Rows, name: &str) -> Result<TaskQuality> {
        let quality = task_quality(model, rows, &self.quiet)?;
        self.bar.advance(self.done.fetch_add(1, Ordering::Relaxed) + 1, name);
        Ok(quality)
    }

    /// Scores of a model folder on test, in one form.
    fn outcomes(&self, folder: &Path, weights: WeightMode) -> Result<Outcomes> {
        let draft = self.draft(folder, self.recipe.id.clone(), weights)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        Ok(self.quality(&draft.open()?, &self.split.test, &name)?.outcomes)
    }

    /// Scores of the models of all seeds but one, in its place nothing.
    fn but(
        &self,
        known: usize,
        trained: &[Trained],
        folder: fn(&Trained) -> &Path,
        weights: WeightMode,
    ) -> Result<Vec<Option<Outcomes>>> {
        let each = trained.par_iter().enumerate();
        each.map(|(seed, own)| (seed != known).then(|| self.outcomes(folder(own), weights)).transpose()).collect()
    }

    fn candidate(&self, wanted: &Wanted) -> Result<Candidate> {
        let Wanted { name, folder, id, file, weights } = wanted;
        let mut draft = self.draft(folder, id.clone(), *weights)?;
        let model = draft.open()?;
        draft.record_self_test(&model)?;
        let test = self.quality(&model, &self.split.test, name)?;
        let outcomes = vec![test.outcomes.clone()];
        Ok(Candidate { name: name.clone(), file: self.out.join(file), draft, test, outcomes })
    }
}

/// Scores of all seeds, of which one is of a model that was measured by itself.
fn with(own: &TaskQuality, others: Vec<Option<Outcomes>>) -> Vec<Outcomes> {
    others.into_iter().map(|other| other.unwrap_or_else(|| own.outcomes.clone())).collect()
}

/// Which student dev chose, the first of equals.
pub(super) fn best_on_dev(students: &[Trained]) -> Option<usize> {
    (0..students.len()).rev().max_by(|&a, &b| students[a].dev().total_cmp(&students[b].dev()))
}

/// Writes `teacher.limbeck` (`teacher-2.limbeck` of a further one), `control.limbeck`, `ID.fp32.limbeck` and `ID.limbeck`
/// (int8, or what the student was trained for), of the seed that dev chose, and `ID.ffn-768.limbeck` of a smaller one.
///
/// # Errors
/// A bundle of fewer bits that loses more on dev than the recipe allows is refused.
pub(super) fn build_and_measure<'a>(run: &Run, models: &'a Models) -> Result<Measured> {
    let recipe = run.recipe;
    let seeds = recipe.seeds.len();
    // Each in one form, but for the student that ships, which has two, and for those that were trained for their bits.
    let forms = if recipe.quantize().is_some() { 3 } else { 2 };
    let count =
        models.teachers.len() + models.trims.len() + 3 + 2 + (seeds - 1) * forms + models.ablations.len() * seeds;
    let bench = Bench {
        recipe,
        split: &run.data.split,
        out: &run.options.out,
        provenance: Provenance {
            teacher_sha256: models.teacher_sha256.to_owned(),
            recipe_sha256: recipe.sha256()?,
            exporter: format!("limbeck {}", env!("CARGO_PKG_VERSION")),
        },
        quiet: Reporter::new(Output::Silent),
        bar: run.reporter.bar("measuring", count as u64, 0),
        done: AtomicU64::new(0),
    };
    let best = models.best;
    let id = &recipe.id;
    let (control, student) = (&models.controls[best], &models.students[best]);
    let float = WeightMode::Float;
    let shipped_weights = recipe.quantize().map_or(WeightMode::Int8Layers, FakeQuantization::weights);
    let shipped = if shipped_weights == WeightMode::Ternary { "student ternary" } else { "student int8" };
    let wanted = |name: &str, folder, id: String, file: String, weights| Wanted {
        name: name.to_owned(),
        folder,
        id,
        file,
        weights,
    };
    let of_teacher = |(name, folder): &'a (String, PathBuf)| {
        wanted(name, folder, format!("{id}-{name}"), format!("{name}.limbeck"), float)
    };
    let of_trim = |trim: &'a Trimmed| {
        let (id, file) = (format!("{id}-{}", trim.slug), format!("{id}.{}.limbeck", trim.slug));
        wanted(&format!("{shipped}, {}", trim.name), &trim.folder, id, file, shipped_weights)
    };
    let mut chosen = vec![
        wanted("control", &control.folder, format!("{id}-control"), "control.limbeck".to_owned(), float),
        wanted("student fp32", student.fp32(), id.clone(), format!("{id}.fp32.limbeck"), float),
        wanted(shipped, &student.folder, id.clone(), format!("{id}.limbeck"), shipped_weights),
    ];
    chosen.extend(models.teachers.iter().map(of_teacher));
    chosen.extend(models.trims.iter().map(of_trim));
    // A student that was trained for its bits is compared in them.
    let compared = if recipe.quantize().is_some() { shipped_weights } else { float };
    let (measured, others) = rayon::join(
        || {
            let mut all = chosen.par_iter().map(|wanted| bench.candidate(wanted)).collect::<Result<Vec<_>>>()?;
            let rest = all.split_off(3);
            let [control, fp32, fewer_bits] = <[Candidate; 3]>::try_from(all).ok().context("three were measured")?;
            let on_dev = |candidate: &Candidate| -> Result<f64> {
                let name = format!("{} on dev", candidate.name);
                Ok(bench.quality(&candidate.draft.open()?, &bench.split.dev, &name)?.outcomes.score())
            };
            let (dev_fp32, dev_bits) = rayon::join(|| on_dev(&fp32), || on_dev(&fewer_bits));
            Ok::<_, anyhow::Error>((control, fp32, fewer_bits, rest, (dev_fp32?, dev_bits?)))
        },
        || {
            let controls = bench.but(best, models.controls, |own| &own.folder, float)?;
            let students = bench.but(best, models.students, Trained::fp32, float)?;
            let in_bits = match recipe.quantize() {
                Some(_) => Some(bench.but(best, models.students, |own| &own.folder, shipped_weights)?),
                None => None,
            };
            let ablations = models.ablations.par_iter().map(|(_, trained)| {
                trained.par_iter().map(|trained| bench.outcomes(&trained.folder, compared)).collect::<Result<Vec<_>>>()
            });
            Ok::<_, anyhow::Error>((controls, students, in_bits, ablations.collect::<Result<Vec<_>>>()?))
        },
    );
    bench.bar.finish();
    let (mut control, mut fp32, mut fewer_bits, mut rest, on_dev) = measured?;
    let (controls, students, in_bits, ablations) = others?;
    let trims = rest.split_off(models.teachers.len());
    let mut candidates = rest;
    let teacher = candidates.first().map(|teacher| teacher.test.outcomes.clone());
    let quantization = quantization(run, student.fp32(), &fp32, &mut fewer_bits, on_dev)?;
    control.outcomes = with(&control.test, controls);
    fp32.outcomes = with(&fp32.test, students);
    let of_seeds = in_bits.map_or_else(|| fp32.outcomes.clone(), |in_bits| with(&fewer_bits.test, in_bits));
    let (gain, p_value) = difference(&of_seeds, &control.outcomes);
    let comparison = Comparison::new(gain, p_value, models.students.len());
    let seeds = recipe
        .seeds
        .iter()
        .enumerate()
        .map(|(index, &seed)| SeedReport {
            seed,
            student: of_seeds[index].score(),
            student_dev: models.students[index].dev(),
            control: control.outcomes[index].score(),
            control_dev: models.controls[index].dev(),
        })
        .collect();
    let mut ablation = Vec::new();
    for ((name, _), outcomes) in models.ablations.iter().zip(ablations) {
        let (difference, p_value) = difference(&outcomes, &of_seeds);
        let seeds = outcomes.iter().map(Outcomes::score).collect();
        ablation.push(AblationReport { name: name.clone(), score: interval(&outcomes), difference, p_value, seeds });
    }
    candidates.extend([control, fp32]);
    candidates.extend(trims);
    candidates.push(fewer_bits);
    let measure = candidates[0].test.headline().0.to_owned();
    let models = time(run, &mut candidates, teacher.as_ref(), &measure)?;
    Ok(Measured { measure, models, seeds, comparison, quantization, ablation })
}

/// Times the models and writes their bundles with all that is known of them.
fn time(
    run: &Run,
    candidates: &mut [Candidate],
    teacher: Option<&Outcomes>,
    measure: &str,
) -> Result<Vec<ModelReport>> {
    for candidate in candidates.iter_mut() {
        let Interval { value, low, high } = interval(std::slice::from_ref(&candidate.test.outcomes));
        candidate.draft.manifest.quality = Some(Quality {
            metric: measure.to_owned(),
            split: "test".to_owned(),
            value,
            low,
            high,
            examples: candidate.test.examples as u64,
        });
        candidate.draft.write(&candidate.file)?;
    }
    let row = row_of_quantile(&run.data.split.test, run.data.goal, 0.5);
    let mut timings: Vec<Vec<BenchResult>> = candidates.iter().map(|_| Vec::new()).collect();
    let mut by_length = Vec::new();
    let most = run.recipe.max_tokens;
    let mut lengths: Vec<String> = LENGTHS.iter().filter(|&&length| length < most).map(ToString::to_string).collect();
    lengths.push(most.to_string());
    let lengths = lengths.join(",");
    let bar = run.reporter.bar("latency", ((ROUNDS + 1) * candidates.len()) as u64, 0);
    let runtime = run.options.runtime.as_deref();
    for round in 0..=ROUNDS {
        for (i, candidate) in candidates.iter().enumerate() {
            if round == ROUNDS {
                let options = ["--lengths", &lengths, "--runs", "50", "--warm-up", "10"];
                let measured = in_fresh_process(&candidate.file, &options, None, runtime);
                // Texts of a length are made up, which some tokenizers do not allow.
                by_length.push(measured.map(|measured| measured.cases).unwrap_or_else(|error| {
                    run.reporter.note(&format!("  {}: no latency by length: {error:#}", candidate.name));
                    Vec::new()
                }));
            } else {
                timings[i].push(measure_in_fresh_process(&candidate.file, row, runtime)?);
            }
            bar.advance((round * candidates.len() + i + 1) as u64, &candidate.name);
        }
    }
    bar.finish();
    let mut reports = Vec::new();
    for ((candidate, timings), by_length) in candidates.iter_mut().zip(&timings).zip(by_length) {
        let p50 =
            median(timings.iter().filter_map(|t| Some(t.cases.first()?.p50_ms))).context("no latency was measured")?;
        let tokens = timings.first().and_then(|t| t.cases.first()).map_or(0, |c| c.tokens);
        let machine = crate::measure::machine();
        candidate.draft.manifest.latency =
            Some(Latency { p50_ms: p50, threads: 1, tokens, machine: format!("{} ({})", machine.cpu, machine.os) });
        let file_bytes = candidate.draft.write(&candidate.file)?;
        reports.push(ModelReport {
            name: candidate.name.clone(),
            file: candidate.file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            score: interval(&candidate.outcomes),
            retention: teacher.map(|teacher| ratio(&candidate.outcomes, teacher)),
            examples: candidate.test.examples,
            metrics: candidate.test.metrics.clone(),
            classes: candidate.test.classes.clone(),
            by_label: candidate.test.by_label.clone(),
            truncated: candidate.test.truncated,
            parameters: candidate.draft.manifest.architecture.parameters,
            file_bytes,
            latency_p50_ms: p50,
            latency_tokens: tokens,
            latency_by_length: by_length,
            peak_memory_mb: median(timings.iter().filter_map(BenchResult::added_memory_mb)),
        });
    }
    Ok(reports)
}

/// The contract: fewer bits may cost at most `max_drop` points on dev.
fn quantization(
    run: &Run,
    folder: &Path,
    fp32: &Candidate,
    fewer_bits: &mut Candidate,
    (dev_fp32, dev_bits): (f64, f64),
) -> Result<QuantizationReport> {
    let max_drop = run.recipe.bundle.max_drop;
    let report = QuantizationReport {
        mode: fewer_bits.draft.manifest.quantization.as_ref().map_or_else(String::new, |own| own.mode.clone()),
        max_drop_points: max_drop,
        dev_drop_points: (dev_fp32 - dev_bits) * 100.0,
        test_drop_points: (fp32.test.outcomes.score() - fewer_bits.test.outcomes.score()) * 100.0,
    };
    if report.dev_drop_points > max_drop {
        bail!(
            "{} costs {:.2} points on dev, more than the {max_drop} the recipe allows; the fp32 student is in the folder `{}`: \
             ship it with `limbeck pack`, or with some layers in fp32 with `limbeck quantize`, or raise bundle.max_drop",
            report.element(),
            report.dev_drop_points,
            folder.strip_prefix(&run.options.out).unwrap_or(folder).display()
        );
    }
    if let Some(contract) = &mut fewer_bits.draft.manifest.quantization {
        contract.measured_drop = Some(dev_fp32 - dev_bits);
    }
    Ok(report)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
