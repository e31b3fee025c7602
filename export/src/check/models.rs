//! The folders of teachers and student: whether they can be used at all.

use std::path::{Path, PathBuf};

use tch::Device;

use super::{CheckOptions, Findings};
use crate::arch::{Head, ModelConfig, Params, count_parameters};
use crate::checkpoint::{self, HeadInfo};
use crate::data::Encoder;
use crate::files;
use crate::finetune::{head_for, load_for};
use crate::graph::WeightMode;
use crate::pipeline::PreparedData;
use crate::recipe::{Recipe, TeacherSource};

/// A model folder that could be read.
pub(super) struct Opened {
    /// The folder's name.
    pub name: String,
    pub folder: PathBuf,
    pub config: ModelConfig,
    /// The head that `config.json` names, if limbeck knows it.
    pub own: Option<HeadInfo>,
    /// The head that the data need.
    pub info: HeadInfo,
    /// Its weights with that head, unless they are broken.
    pub params: Option<Params>,
    /// Whether its file holds that head's weights.
    pub has_head: bool,
    /// Unless the tokenizer is broken.
    pub encoder: Option<Encoder>,
    /// Hash of the tokenizer's file.
    pub tokenizer: String,
}

impl Opened {
    /// Whether it reads token types.
    pub(super) fn types(&self) -> bool {
        self.config.token_types > 1
    }
}

/// All models of a recipe.
pub(super) struct Models {
    /// Those that teach; none where only answers are there.
    pub teachers: Vec<Opened>,
    /// The encoder that the student is made from, where it is no teacher.
    student: Option<Opened>,
    /// Whether the student is made from the first teacher.
    from_teacher: bool,
}

impl Models {
    /// What the student is made from.
    pub(super) fn origin(&self) -> Option<&Opened> {
        if self.from_teacher { self.teachers.first() } else { self.student.as_ref() }
    }

    /// The origin first, then the teachers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Opened> {
        self.student.iter().chain(&self.teachers)
    }
}

pub(super) fn open(
    recipe: &Recipe,
    options: &CheckOptions,
    data: Option<&PreparedData>,
    findings: &mut Findings,
) -> Models {
    let answers = recipe.teacher.source == TeacherSource::Answers;
    let first = options.teachers.first();
    if first.is_none() {
        findings.problem("there is no teacher; give --teacher FOLDER");
    }
    let mut teachers = Vec::new();
    let mut all_open = true;
    for folder in options.teachers.iter().filter(|_| !answers) {
        let opened = read("teacher", folder, recipe, data, options.device, findings);
        all_open &= opened.is_some();
        teachers.extend(opened);
    }
    let alone = options.student.as_ref().or(first.filter(|_| answers));
    let student = alone.and_then(|folder| read("student", folder, recipe, data, options.device, findings));
    Models { teachers, student, from_teacher: alone.is_none() && all_open }
}

fn read(
    role: &str,
    folder: &Path,
    recipe: &Recipe,
    data: Option<&PreparedData>,
    device: Device,
    findings: &mut Findings,
) -> Option<Opened> {
    let name = folder.file_name().map_or(folder.display().to_string(), |name| name.to_string_lossy().into_owned());
    let mut noted = |error: anyhow::Error| findings.problem(format!("{role}: {error:#}"));
    let (config, own) = checkpoint::read_shape(folder).map_err(&mut noted).ok()?;
    let info = match data {
        Some(data) => head_for(data.goal, &data.labels, &recipe.data.columns.label, folder).map_err(&mut noted).ok()?.0,
        // Which labels there are is not known; the encoder can be looked at all the same.
        None => HeadInfo::new(Head::Classification { labels: 2 }),
    };
    info.head.check(&config).map_err(&mut noted).ok()?;
    let own = own.ok();
    // A finished teacher is loaded as it is, by the number of its labels.
    let finished = recipe.teacher.source == TeacherSource::Finished && role == "teacher";
    let loaded = match finished {
        true => crate::pack::check_form(folder, WeightMode::Float)
            .and_then(|()| checkpoint::load(folder, info.head, device))
            .map(|loaded| {
                let has_head = !loaded.initialised.iter().any(|name| name.starts_with("head."));
                (loaded.params, has_head)
            }),
        false => load_for(folder, &config, &info, device).map(|params| (params, false)),
    };
    let (params, has_head) = match loaded.map_err(&mut noted) {
        Ok((params, has_head)) => (Some(params), has_head),
        Err(()) => (None, false),
    };
    let path = checkpoint::tokenizer_path(folder).map_err(&mut noted).ok();
    let encoder = path.as_ref().and_then(|path| {
        let encoder = Encoder::new(path, recipe.max_tokens, config.vocab_size);
        encoder.map_err(|error| noted(error.context("tokenizer"))).ok()
    });
    let tokenizer = path.and_then(|path| files::sha256_file(&path).ok()).unwrap_or_default();
    let what = if role == "student" { "student made from" } else { role };
    findings.fact(format!(
        "{what}: {name}, {}, {} layers x {}, {} parameters in the encoder",
        config.family.name(),
        config.blocks().len(),
        config.hidden_size,
        count_parameters(&config, Head::None).encoder
    ));
    let positions = config.max_positions();
    if recipe.max_tokens > positions {
        findings
            .problem(format!("max_tokens is {}, but {name} has {positions} positions; lower it", recipe.max_tokens));
    }
    Some(Opened { name, folder: folder.to_owned(), config, own, info, params, has_head, encoder, tokenizer })
}
