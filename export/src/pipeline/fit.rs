//! What would stop a run on its way, found before anything is trained.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tch::{Device, Kind, Tensor};

use super::lessons::{answer_weights, same_lengths};
use super::masked::has_masked_lm;
use super::needs::Needs;
use super::run::Run;
use super::search;
use super::teacher::made_for;
use crate::arch::{Head, ModelConfig, Params, parameter_layout};
use crate::checkpoint::{self, Directions, HeadInfo, evenly_spaced_layers, student_from_teacher};
use crate::data::{EncodedExample, Encoder};
use crate::distill::LayerMap;
use crate::files;
use crate::finetune::head_for;
use crate::graph::WeightMode;
use crate::pack;
use crate::recipe::{StageRecipe, Start, Student, TeacherSource, Texts};

/// A model folder that can be read.
struct Looked<'a> {
    folder: &'a Path,
    config: ModelConfig,
    info: HeadInfo,
    encoder: Encoder,
    /// SHA-256 of the tokenizer's file.
    tokenizer: String,
}

/// Refuses folders that cannot be used, a student that cannot be made, and stages that do not fit it and its teachers.
///
/// # Errors
/// What is wrong, by its name in the recipe or among the options.
pub(super) fn check(run: &Run) -> Result<()> {
    let Run { recipe, options, group, .. } = *run;
    let first = options.teachers.first().context("no teacher; give --teacher FOLDER")?.as_path();
    let answers = recipe.teacher.source == TeacherSource::Answers;
    let augmented = recipe.stages.iter().any(|stage| stage.on == Texts::Augmented);
    ensure!(!answers || options.teachers.len() == 1, "a teacher's answers as a file stand alone; give one --teacher");
    ensure!(!(answers && augmented), "a teacher's answers as a file cannot be used on augmented rows");
    ensure!(
        !augmented || options.masked_lm.is_some(),
        "a stage reads augmented rows; give --masked-lm FOLDER to make them"
    );
    ensure!(
        options.latency.is_none() || group.size() == 1,
        "a search for a latency runs in one process; then distil OUT/recipe.toml in several"
    );
    let mut teachers = Vec::new();
    if !answers {
        answer_weights(recipe, options.teachers.len())?;
        for folder in &options.teachers {
            teachers.push(look(run, folder, recipe.teacher.source == TeacherSource::Finished)?);
        }
    }
    let apart = options.student.as_deref().or(answers.then_some(first));
    let apart = apart.map(|folder| look(run, folder, false)).transpose()?;
    let origin =
        apart.as_ref().or(teachers.first()).context("there is neither a teacher nor a student to start from")?;
    ensure!(
        apart.is_none() || recipe.student.start != Start::Teacher,
        "student.start = \"teacher\" takes the teacher's layers, and the student is to be made from {}; use \
         \"pretrained\" or \"random\"",
        origin.folder.display()
    );
    let teacher = teachers.first().map(|teacher| &teacher.config);
    let student = if options.latency.is_some() {
        // Which shape is not known yet; what the stages need of the teacher is the same for all.
        let shapes = search::candidates(recipe, &origin.config, teacher)?;
        shapes.into_iter().next().context("no shape to look for")?.config
    } else {
        let student = student_config(&recipe.student, &origin.config, &origin.info)?;
        let name = origin.folder.display().to_string();
        starts_from(&recipe.student, (&name, &origin.config), None, &student, origin.info.head)?;
        options.trims.iter().try_for_each(|trim| trim.check(&student))?;
        student
    };
    for stage in &recipe.stages {
        let needs = Needs::of(stage, &student, teacher)?;
        same_tokens(run, stage, &needs, &teachers, origin)?;
    }
    if recipe.stages.iter().any(StageRecipe::guesses) {
        has_masked_lm(first)?;
    }
    if recipe.stages.iter().any(StageRecipe::masks) {
        pack::mask_id(origin.folder)?;
    }
    for looked in teachers.iter().chain(&apart) {
        run.sets.corpus_is_left(&looked.encoder)?;
    }
    // A label that train does not have, or what is no number, would end the run when all is trained.
    for (role, rows) in [("dev", &run.data.split.dev), ("test", &run.data.split.test)] {
        let encoded = rows.encode(run.data.goal, &origin.encoder, &run.data.labels, recipe.stride);
        encoded.with_context(|| format!("the {role} rows cannot be scored"))?;
    }
    Ok(())
}

/// Reads all of a folder; a finished teacher must be one for this task.
fn look<'a>(run: &Run, folder: &'a Path, finished: bool) -> Result<Looked<'a>> {
    let Run { recipe, data, .. } = *run;
    let (config, own) = checkpoint::read_shape(folder)?;
    let (info, _) = head_for(data.goal, &data.labels, &recipe.data.columns.label, folder)?;
    info.head.check(&config).with_context(|| format!("in {}", folder.display()))?;
    let path = checkpoint::tokenizer_path(folder)?;
    let encoder = Encoder::new(&path, recipe.max_tokens, config.vocab_size)?;
    ensure!(
        recipe.max_tokens <= config.max_positions(),
        "max_tokens is {}, but {} has {} positions",
        recipe.max_tokens,
        folder.display(),
        config.max_positions()
    );
    if finished {
        pack::check_form(folder, WeightMode::Float).context("a teacher is run in fp32")?;
        let own = own.with_context(|| format!("{} has no head", folder.display()))?;
        made_for(&own, &info, folder)?;
        checkpoint::load_arrays(folder, Some(info.head))?;
    } else {
        checkpoint::load_encoder(folder)?;
    }
    let tokenizer = files::sha256_file(&path)?;
    Ok(Looked { folder, config, info, encoder, tokenizer })
}

/// The shape of a student made from an encoder.
///
/// # Errors
/// One that cannot be built, or that its folder could not say.
pub(crate) fn student_config(student: &Student, origin: &ModelConfig, info: &HeadInfo) -> Result<ModelConfig> {
    let config = student.config(origin)?;
    info.head.check(&config)?;
    let written = ModelConfig::from_hf(&config.to_hf(info)).ok();
    ensure!(
        written.as_ref() == Some(&config),
        "transformers' {} has no model of this shape, so that it could not be saved; give it other sizes",
        config.family.name()
    );
    Ok(config)
}

/// A student's first weights along any directions, of those of an encoder that is told by name and shape; `None` where it
/// starts from new ones. What shapes forbid shows without `weights` too.
///
/// # Errors
/// A layer map that does not fit; a wider student; sizes that the encoder's weights do not give.
pub(crate) fn starts_from(
    student: &Student,
    (name, origin): (&str, &ModelConfig),
    weights: Option<&Params>,
    config: &ModelConfig,
    head: Head,
) -> Result<Option<Params>> {
    let depths = (origin.blocks().len(), config.blocks().len());
    let map = match &student.layer_map {
        Some(map) => LayerMap::Explicit(map.clone()).attention(depths.0, depths.1).context("student.layer_map")?,
        None => evenly_spaced_layers(depths.0, depths.1),
    };
    if student.start == Start::Random {
        return Ok(None);
    }
    let (wide, narrow) = (origin.hidden_size, config.hidden_size);
    ensure!(
        narrow <= wide,
        "student.hidden_size {narrow} is more than the {wide} of {name}, whose weights it starts from; take less, or \
         student.start = \"random\""
    );
    let directions = match wide == narrow {
        true => Directions::all(wide),
        false => Directions::principal(&Tensor::eye(wide as i64, (Kind::Double, Device::Cpu)), narrow)?,
    };
    let _guard = tch::no_grad_guard();
    let made = match weights {
        Some(weights) => student_from_teacher(weights, origin, config, &map, head, &directions),
        None => student_from_teacher(&zeros(origin, head), origin, config, &map, head, &directions),
    };
    Ok(Some(made.with_context(|| format!("the student cannot start from {name}"))?))
}

/// Weights of a shape.
fn zeros(config: &ModelConfig, head: Head) -> Params {
    let float = (Kind::Float, Device::Cpu);
    let all = parameter_layout(config, head).into_iter();
    Params::new(all.map(|spec| (spec.name, Tensor::zeros(&spec.shape[..], float))).collect(), Device::Cpu)
}

/// Refuses a stage that compares token with token where a teacher cuts texts into others than the student, or numbers
/// them otherwise.
fn same_tokens(run: &Run, stage: &StageRecipe, needs: &Needs, teachers: &[Looked], origin: &Looked) -> Result<()> {
    if let Some(teacher) = teachers.first().filter(|_| stage.replacing.is_some()) {
        ensure!(
            teacher.tokenizer == origin.tokenizer || teacher.encoder.same_vocabulary(&origin.encoder),
            "stage {}: {} numbers tokens otherwise than the student, whose layers are to stand among its own; give the student \
             the teacher's tokenizer",
            stage.name,
            teacher.folder.display()
        );
    }
    let Some(wanted) = needs.teacher() else { return Ok(()) };
    for (index, teacher) in teachers.iter().enumerate().filter(|(_, teacher)| teacher.tokenizer != origin.tokenizer) {
        let folder = teacher.folder.display();
        if stage.masks() {
            ensure!(
                index > 0 || teacher.encoder.same_vocabulary(&origin.encoder),
                "stage {}: {folder} numbers tokens otherwise than the student: they cannot read the same masked text; give \
                 the student the teacher's tokenizer, or leave its losses of masked language models and its masking out",
                stage.name
            );
            continue;
        }
        let wanted = wanted.of_teacher(index);
        if !wanted.by_token(run.data.goal) {
            continue;
        }
        ensure!(
            same_lengths(&sample(run, stage.on, &teacher.encoder)?, &sample(run, stage.on, &origin.encoder)?),
            "stage {}: {folder} cuts texts into other tokens than the student, whose tokenizer is that of {}, so that {} \
             cannot be compared; {}give the student the teacher's tokenizer",
            stage.name,
            origin.folder.display(),
            if wanted.layers() { "layers" } else { "answers for tokens" },
            if wanted.layers() { "leave the losses on layers out, or " } else { "" }
        );
    }
    Ok(())
}

/// Texts like those that a stage reads, in tokens. Copies of rows are not made yet: the rows stand for them.
fn sample(run: &Run, on: Texts, encoder: &Encoder) -> Result<Vec<EncodedExample>> {
    let on = match on {
        Texts::Corpus => return run.sets.corpus_sample(encoder),
        Texts::Augmented => Texts::Train,
        Texts::Train | Texts::Unlabelled => on,
    };
    let tokens = run.encode(on, encoder)?;
    Ok(tokens.train.into_iter().chain(tokens.dev).collect())
}
