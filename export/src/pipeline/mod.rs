//! The whole way of `limbeck distill`: data, teacher, student, control, bundles, measurements, report.

mod bundles;
mod data;
mod stages;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tch::Device;

use crate::arch::Head;
use crate::data::{Encoder, some_labels};
use crate::distill::TeacherOutputs;
use crate::progress::Reporter;
use crate::recipe::{Recipe, Start};
use crate::report::{Report, StageReport};
use crate::{checkpoint, files, measure};

pub use bundles::measure_in_fresh_process;
pub use data::{PreparedData, prepare};

/// What `limbeck distill` is told besides the recipe.
#[derive(Clone, Debug)]
pub struct DistillOptions {
    /// Hugging Face folder of the pretrained encoder that becomes the teacher.
    pub teacher: PathBuf,
    /// Folder that the recipe's file names are relative to.
    pub data: PathBuf,
    /// Folder of the results; a run that was stopped goes on from what it holds.
    pub out: PathBuf,
    /// Where training runs.
    pub device: Device,
    /// ONNX Runtime library; `None` leaves the search to the sdk.
    pub runtime: Option<PathBuf>,
    /// At most this long between training checkpoints.
    pub checkpoint_every: Duration,
    /// Source revision to be named in the report.
    pub commit: Option<String>,
}

/// A teacher must beat the largest class on dev by this many points of 100, or there is nothing to distil.
const TEACHER_MARGIN: f64 = 2.0;

/// Runs a recipe and writes teacher, student and control folders, bundles and the report into
/// `options.out`.
///
/// # Errors
/// Whatever a stage finds wrong, with the stage named. What was finished stays, and the next run
/// continues from there.
pub fn distill(recipe: &Recipe, options: &DistillOptions, reporter: &Reporter) -> Result<Report> {
    let started = Instant::now();
    let _lock = files::lock_folder(&options.out)?;
    reporter.log_to(&options.out.join("train.log"))?;
    limbeck::runtime::load(options.runtime.as_deref())?;
    let data = prepare(recipe, &options.data)?;
    let summary = &data.report;
    reporter.note(&format!(
        "Data: {} to train on, {} dev, {} test; labels {}; dropped {} duplicates and {} contradictions",
        summary.train,
        summary.dev,
        summary.test,
        some_labels(&data.labels),
        summary.duplicates_dropped,
        summary.contradictions_dropped
    ));
    files::write_bytes(&options.out.join("recipe.toml"), recipe.to_toml()?.as_bytes())?;

    let teacher_sha256 = checkpoint::weights_sha256(&options.teacher)?;
    let tokenizer = checkpoint::tokenizer_path(&options.teacher)?;
    let head = Head::Classification { labels: data.labels.len() };
    tch::manual_seed(recipe.seed as i64);
    // The teacher comes as an encoder: a head of another task or other labels is not ours to keep.
    let pretrained = checkpoint::load(&options.teacher, head, options.device)?;
    let config = pretrained.config.clone();
    let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
    let encoded = data.encode(&encoder)?;
    if encoded.train.truncated > 0 {
        reporter.note(&format!(
            "Note: {} training texts are longer than {} tokens and were cut ({} tokens lost)",
            encoded.train.truncated, recipe.max_tokens, encoded.train.tokens_dropped
        ));
    }
    let run = stages::Run {
        recipe,
        options,
        labels: &data.labels,
        encoded: &encoded,
        tokenizer: &tokenizer,
        identity: files::sha256_hex(format!("{}{}{}", recipe.sha256()?, data.sha256, teacher_sha256).as_bytes()),
        reporter,
    };

    reporter.note("Teacher: fine-tuning the encoder on the labels");
    let teacher_params = pretrained.params;
    let start_params = match recipe.student.start {
        Start::Pretrained => Some(teacher_params.deep_clone()),
        Start::Teacher => None,
    };
    let teacher = run.supervised("teacher", &config, &teacher_params, &recipe.teacher)?;
    let majority = data.majority_on_dev();
    if (teacher.best_dev - majority) * 100.0 < TEACHER_MARGIN {
        bail!(
            "the teacher reaches {:.1}% on dev and the largest class alone {:.1}%: there is nothing to distil; \
             check the labels with `limbeck check`, or train longer",
            teacher.best_dev * 100.0,
            majority * 100.0
        );
    }

    reporter.note("Student: distilling");
    let layer_map = match &recipe.student.layer_map {
        Some(map) => map.clone(),
        None => checkpoint::evenly_spaced_layers(config.layers, recipe.student.layers),
    };
    let student_config = crate::arch::ModelConfig { layers: recipe.student.layers, ..config.clone() };
    let origin = start_params.as_ref().unwrap_or(&teacher_params);
    let start = || checkpoint::student_from_teacher(origin, &config, &student_config, &layer_map, head);
    let teacher_model = crate::arch::Model::new(&teacher_params, &config, head);
    let student_params = start()?;
    let student = match run.finished("student", &student_config, &student_params)? {
        Some(outcome) => outcome,
        None => {
            let outputs = TeacherOutputs::compute(
                &teacher_model,
                &encoded.train.examples,
                config.pad_id,
                options.device,
                reporter,
            )?;
            run.distilled("student", &student_config, &student_params, &outputs)?
        }
    };
    reporter.note("Control: the same student, start and steps, on the labels alone");
    let control_params = start()?;
    let control = run.supervised("control", &student_config, &control_params, &recipe.student.train)?;

    reporter.note("Bundles: writing, checking and measuring through the sdk");
    let (models, comparison, quantization) = bundles::build_and_measure(&run, &data, &teacher_sha256)?;
    let report = Report {
        schema: 1,
        title: recipe.id.clone(),
        date: measure::today(),
        commit: options.commit.clone().unwrap_or_else(|| "unknown".to_owned()),
        machine: measure::machine(),
        versions: measure::versions(),
        recipe_sha256: recipe.sha256()?,
        teacher_sha256,
        layer_map,
        data: *summary,
        majority_on_dev: majority,
        models,
        comparison,
        quantization,
        stages: [("teacher", teacher), ("control", control), ("student", student)]
            .into_iter()
            .map(|(name, outcome)| StageReport { name: name.to_owned(), outcome })
            .collect(),
        wall_seconds: started.elapsed().as_secs_f64(),
    };
    files::write_json(&options.out.join("report.json"), &report)?;
    files::write_bytes(&options.out.join("report.html"), crate::report::html(&report, recipe)?.as_bytes())?;
    Ok(report)
}
