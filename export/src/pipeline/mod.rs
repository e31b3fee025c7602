//! The whole way of `limbeck distill`: data, teachers, students, controls, bundles, measurements, report.

mod answers;
mod bundles;
mod data;
mod fit;
mod fresh_process;
mod lesson;
mod lessons;
mod masked;
mod needs;
mod replacing;
mod run;
mod search;
#[doc(hidden)]
pub mod speed;
mod student;
mod teacher;
#[cfg(test)]
mod tests;
mod trims;
mod variant;
mod wanted;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tch::Device;

use crate::data::{augment, some_labels};
use crate::progress::Reporter;
use crate::recipe::{Recipe, TeacherSource};
use crate::report::{Report, StageReport, TrainingPlace, UnlabelledReport};
use crate::train::{Alone, Group, Outcome};
use crate::{checkpoint, files, measure};

use bundles::Models;
use run::{Run, Trained};
use student::{Ancestor, Origin};
use teacher::Teacher;
use variant::Variant;

pub(crate) use answers::{agreement, asked};
pub use data::{PreparedData, prepare};
pub(crate) use data::{Unlabelled, corpus_is_left, corpus_sample, read_corpus, read_file};
pub(crate) use fit::{starts_from, student_config};
pub use fresh_process::measure_in_fresh_process;
pub(crate) use lessons::{answer_weights, same_lengths};
pub(crate) use masked::has_masked_lm;
pub(crate) use needs::Needs;
pub use run::FULL_PRECISION;
pub use search::LatencyBudget;
pub(crate) use search::candidates;
pub(crate) use teacher::{above_chance, labels_of_finished, made_for, margin};
pub use trims::Trim;
pub use variant::Ablate;

/// What `limbeck distill` is told besides the recipe.
#[derive(Clone, Debug)]
pub struct DistillOptions {
    /// Hugging Face folders of the teachers, or of the encoders that become them; the first one's layers are learned.
    pub teachers: Vec<PathBuf>,
    /// Hugging Face folder of the encoder that gives the student its first weights, shape and tokenizer; the first
    /// teacher's when `None`.
    pub student: Option<PathBuf>,
    /// Folder that the recipe's file names are relative to.
    pub data: PathBuf,
    /// Folder of the results; a run that was stopped goes on from what it holds.
    pub out: PathBuf,
    /// Folder where the teachers' outputs are kept.
    pub cache: PathBuf,
    /// Hugging Face folder of a masked language model, for augmentation.
    pub masked_lm: Option<PathBuf>,
    /// Where training runs.
    pub device: Device,
    /// ONNX Runtime library; `None` leaves the search to the sdk.
    pub runtime: Option<PathBuf>,
    /// At most this long between training checkpoints.
    pub checkpoint_every: Duration,
    /// Parts that the recipe is trained without too.
    pub ablate: Ablate,
    /// Smaller models of the student to be trained and measured too.
    pub trims: Vec<Trim>,
    /// Search the student's shape for this time, in place of the recipe's.
    pub latency: Option<LatencyBudget>,
    /// Of the recipe's seeds, those whose models are trained, and nothing else: another run, with all of them, measures.
    /// Empty for all.
    pub only_seeds: Vec<u64>,
    /// Source revision to be named in the report.
    pub commit: Option<String>,
}

/// Runs a recipe and writes teacher, student and control folders, bundles and the report into
/// `options.out`.
///
/// # Errors
/// Whatever a stage finds wrong, with the stage named. What was finished stays, and the next run
/// continues from there.
pub fn distill(recipe: &Recipe, options: &DistillOptions, reporter: &Reporter) -> Result<Report> {
    distill_together(recipe, options, &Alone, reporter)?.context("a process alone leads")
}

/// [`distill`] in several processes that share `options.out` and the work of each step. The first one measures and gives
/// the report; the others give `None`, and so does a run of [`DistillOptions::only_seeds`].
///
/// # Errors
/// As [`distill`]. A process that fails must end, so that those who wait for it are ended.
pub fn distill_together(
    recipe: &Recipe,
    options: &DistillOptions,
    group: &dyn Group,
    reporter: &Reporter,
) -> Result<Option<Report>> {
    let started = Instant::now();
    // A name that is none is told before anything is trained.
    Variant::asked(recipe, &options.ablate)?;
    for seed in &options.only_seeds {
        let known = recipe.seeds.contains(seed);
        anyhow::ensure!(known, "--only-seed {seed}: the recipe's seeds are {:?}", recipe.seeds);
    }
    let first = options.teachers.first().map(PathBuf::as_path);
    let first = first.ok_or_else(|| anyhow::anyhow!("no teacher; give --teacher FOLDER"))?;
    let leads = group.rank() == 0;
    let _lock = if leads {
        let lock = files::lock_folder(&options.out)?;
        reporter.log_to(&options.out.join("train.log"))?;
        Some(lock)
    } else {
        None
    };
    limbeck::runtime::load(options.runtime.as_deref())?;
    let mut data = prepare(recipe, &options.data)?;
    if recipe.teacher.source == TeacherSource::Finished {
        let (_, own) = checkpoint::read_shape(first)?;
        data.labels = labels_of_finished(&data.split.train, data.goal, own.ok().as_ref())?;
    }
    let summary = &data.report;
    let labels = if data.labels.is_empty() { String::new() } else { format!("; labels {}", some_labels(&data.labels)) };
    reporter.note(&format!(
        "Data: {} to train on, {} dev, {} test{labels}; dropped {} duplicates and {} contradictions",
        summary.train, summary.dev, summary.test, summary.duplicates_dropped, summary.contradictions_dropped
    ));
    if let Some(others) = data.without_rows() {
        reporter.note(&format!("Note: {others}"));
    }
    let mut sets = data::TextSets::read(recipe, &data, &options.data)?;
    if let Some(unlabelled) = &sets.unlabelled {
        reporter.note(&format!("Unlabelled: {}", unlabelled.told()));
    }
    if let Some((file, answers)) = recipe.teacher.answers.as_ref().zip(sets.answers.as_ref()) {
        reporter.note(&format!("Teacher: the answers of {file} to {} rows", answers.rows));
    }
    fit::check(&Run { recipe, options, data: &data, sets: &sets, reporter, group })?;
    let teacher_sha256 = checkpoint::weights_sha256(first)?;
    let others_sha256 = others_sha256(options)?;
    let sources = augmentation(options)?;
    sets.augment(recipe, &data, sources.as_ref(), reporter)?;
    let run = Run { recipe, options, data: &data, sets: &sets, reporter, group };
    lost_tokens(&run, first)?;

    let only_answers = recipe.teacher.source == TeacherSource::Answers;
    let mut teachers = Vec::new();
    let mut origin_alone = None;
    if only_answers {
        origin_alone = Some(Teacher::untrained(&run, first)?);
    } else {
        for (index, folder) in options.teachers.iter().enumerate() {
            teachers.push(Teacher::make(&run, folder, index)?);
        }
    }
    if let Some(folder) = &options.student {
        origin_alone = Some(Teacher::untrained(&run, folder)?);
    }
    let ancestor = match (&origin_alone, teachers.first()) {
        (Some(own), _) => {
            Ancestor { model: own, folder: options.student.as_deref().unwrap_or(first), is_teacher: false }
        }
        (None, Some(teacher)) => Ancestor { model: teacher, folder: first, is_teacher: true },
        (None, None) => anyhow::bail!("there is neither a teacher nor a student to start from"),
    };
    let found = options.latency.map(|budget| search::search(&run, budget, ancestor, &teachers)).transpose()?;
    let (found, mut search) = found.unzip();
    let recipe = found.as_ref().unwrap_or(recipe);
    let run = Run { recipe, ..run };
    if leads {
        files::write_bytes(&options.out.join("recipe.toml"), recipe.to_toml()?.as_bytes())?;
    }
    let origin = Origin::new(run, ancestor)?;
    for trim in &options.trims {
        trim.check(&origin.config)?;
    }

    let only = &options.only_seeds;
    let seeds: Vec<u64> = recipe.seeds.iter().copied().filter(|seed| only.is_empty() || only.contains(seed)).collect();
    let all_seeds = |variant: &Variant| -> Result<Vec<Trained>> {
        seeds.iter().map(|&seed| origin.train(variant, &teachers, seed)).collect()
    };
    reporter.note("Student: distilling");
    let students = all_seeds(&Variant::student(recipe))?;
    reporter.note("Control: the same student and start, on the labels alone");
    let controls = all_seeds(&Variant::control(recipe))?;
    let mut ablations = Vec::new();
    for (name, variant) in Variant::asked(recipe, &options.ablate)? {
        reporter.note(&format!("Ablation: {name}"));
        ablations.push((name, all_seeds(&variant)?));
    }
    if !only.is_empty() {
        reporter.note("Trained, not measured: --only-seed");
        return Ok(None);
    }
    let best = bundles::best_on_dev(&students).context("no student was trained")?;
    let trim = |&trim: &Trim| trims::trim(&run, trim, &students[best], &teachers, recipe.seeds[best]);
    let trims = options.trims.iter().map(trim).collect::<Result<Vec<_>>>()?;

    if !leads {
        return Ok(None);
    }
    reporter.note("Bundles: writing, checking and measuring through the sdk");
    let folders = teachers.iter().zip(&options.teachers).map(|(teacher, folder)| match recipe.teacher.source {
        TeacherSource::Finished => (teacher.name.clone(), folder.clone()),
        _ => (teacher.name.clone(), options.out.join(&teacher.name)),
    });
    let models = Models {
        teachers: folders.collect(),
        students: &students,
        controls: &controls,
        ablations: &ablations,
        trims: &trims,
        best,
        teacher_sha256: &teacher_sha256,
    };
    let measured = bundles::build_and_measure(&run, &models)?;
    if let Some(search) = &mut search {
        search::time_finished(&run, search)?;
    }
    let mut stages = Vec::new();
    for teacher in &teachers {
        stages.extend(teacher.outcome.clone().map(|outcome| StageReport {
            name: teacher.name.clone(),
            scored: true,
            layer_map: None,
            outcome,
        }));
    }
    for (name, trained) in [("control", &controls[0]), ("student", &students[0])] {
        for (index, (stage, outcome)) in trained.stages.iter().enumerate() {
            let alone = trained.stages.len() == 1;
            let scored = alone || recipe.stages[index].trains_head();
            let name = if alone { name.to_owned() } else { format!("{name}, {stage}") };
            let layer_map = trained.layer_maps.get(stage).cloned();
            stages.push(StageReport { name, scored, layer_map, outcome: outcome.clone() });
        }
    }
    for trim in &trims {
        let named = |(stage, outcome): &(String, Outcome)| StageReport {
            name: format!("trim {}, {stage}", trim.name),
            scored: true,
            layer_map: None,
            outcome: outcome.clone(),
        };
        stages.extend(trim.stages.iter().map(named));
    }
    let report = Report {
        schema: 2,
        title: recipe.id.clone(),
        date: measure::today(),
        commit: options.commit.clone().unwrap_or_else(|| "unknown".to_owned()),
        machine: measure::machine(),
        versions: measure::versions(),
        recipe_sha256: recipe.sha256()?,
        teacher_sha256,
        others_sha256,
        inputs_sha256: sets.hashes(&data),
        training: Some(TrainingPlace {
            device: if options.device.is_cuda() { "cuda" } else { "cpu" }.to_owned(),
            threads: usize::try_from(tch::get_num_threads()).unwrap_or(1),
            processes: group.size(),
        }),
        task: recipe.task.task().name().to_owned(),
        measure: measured.measure,
        layer_map: origin.layer_map.clone(),
        data: *summary,
        unlabelled: sets.unlabelled.as_ref().map(|all| UnlabelledReport { texts: all.fresh, dropped: all.dropped }),
        chance_on_dev: data.chance_on_dev(),
        models: measured.models,
        seeds: measured.seeds,
        comparison: measured.comparison,
        quantization: measured.quantization,
        stages,
        ablation: measured.ablation,
        trims: trims.into_iter().map(|trim| trim.report).collect(),
        search,
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    files::write_json(&options.out.join("report.json"), &report)?;
    files::write_bytes(&options.out.join("report.html"), crate::report::html(&report, recipe)?.as_bytes())?;
    Ok(Some(report))
}

/// Hashes of the folders that a run is made from, but the first teacher's.
fn others_sha256(options: &DistillOptions) -> Result<Vec<(String, String)>> {
    let teachers =
        options.teachers.iter().enumerate().skip(1).map(|(index, folder)| (format!("teacher {}", index + 1), folder));
    let student = options.student.iter().map(|folder| ("student".to_owned(), folder));
    let masked_lm = options.masked_lm.iter().map(|folder| ("masked language model".to_owned(), folder));
    teachers
        .chain(student)
        .chain(masked_lm)
        .map(|(role, folder)| Ok((role, checkpoint::weights_sha256(folder)?)))
        .collect()
}

fn augmentation(options: &DistillOptions) -> Result<Option<augment::Sources>> {
    let Some(folder) = &options.masked_lm else { return Ok(None) };
    Ok(Some(augment::Sources::load(folder, augment::VectorsFrom::MaskedLm, options.device)?))
}

/// Says how much of the training texts a model will not see.
fn lost_tokens(run: &Run, folder: &Path) -> Result<()> {
    let (config, _) = checkpoint::read_shape(folder)?;
    let tokenizer = checkpoint::tokenizer_path(folder)?;
    let encoder = crate::data::Encoder::new(&tokenizer, run.recipe.max_tokens, config.vocab_size)?;
    let encoded = match &run.sets.unlabelled {
        Some(all) => all.rows.encode_unlabelled(run.data.goal, &encoder)?,
        None => run.data.split.train.encode(run.data.goal, &encoder, &run.data.labels, run.recipe.stride)?,
    };
    if encoded.truncated > 0 {
        run.reporter.note(&format!(
            "Note: {} training texts are longer than {} tokens and were cut ({} tokens lost)",
            encoded.truncated, run.recipe.max_tokens, encoded.tokens_dropped
        ));
    }
    Ok(())
}
