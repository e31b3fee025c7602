//! The recipe against the models: what would stop distill on its way.

use super::models::{Models, Opened};
use super::{CheckOptions, Findings};
use crate::arch::{ModelConfig, Params};
use crate::checkpoint::{Directions, evenly_spaced_layers, student_from_teacher};
use crate::data::Goal;
use crate::pipeline::{Needs, answer_weights, corpus_is_left, read_corpus, starts_from, student_config};
use crate::recipe::{Recipe, StageRecipe, Start, TeacherSource, Texts};

/// A student that can be built.
pub(super) struct Planned {
    pub config: ModelConfig,
    /// Weights in its shape, if it starts from an encoder's.
    pub params: Option<Params>,
}

pub(super) fn check(
    recipe: &Recipe,
    goal: Goal,
    options: &CheckOptions,
    models: &Models,
    findings: &mut Findings,
) -> Option<Planned> {
    let source = recipe.teacher.source;
    if source == TeacherSource::Answers {
        if options.teachers.len() > 1 {
            findings.problem("a teacher's answers as a file stand alone; give one --teacher");
        }
    } else if let Err(error) = answer_weights(recipe, options.teachers.len()) {
        findings.problem(format!("{error:#}"));
    }
    for stage in &recipe.stages {
        texts(recipe, stage, goal, options, models, findings);
    }
    let origin = models.origin()?;
    let config = student_config(&recipe.student, &origin.config, &origin.info);
    let config = config.map_err(|error| findings.problem(format!("student: {error:#}"))).ok()?;
    let teacher = models.teachers.first().map(|teacher| &teacher.config);
    for stage in recipe.stages.iter().filter(|_| teacher.is_some()) {
        // One loss at a time, so that each says what is wrong with it.
        for term in &stage.losses {
            let alone = StageRecipe { losses: vec![term.clone()], ..stage.clone() };
            if let Err(error) = Needs::of(&alone, &config, teacher) {
                let text = format!("{error:#}");
                let named = if text.contains(term.name()) { text } else { format!("{text} ({})", term.name()) };
                findings.problem(named);
            }
        }
    }
    let params = first_weights(recipe, origin, &config);
    let params = params.map_err(|error| findings.problem(format!("student: {error:#}"))).ok()?;
    Some(Planned { config, params })
}

/// The student's first weights, along any directions: what their shapes forbid shows at once.
///
/// # Errors
/// A layer map that does not fit; sizes that cannot start from the encoder.
fn first_weights(recipe: &Recipe, origin: &Opened, config: &ModelConfig) -> anyhow::Result<Option<Params>> {
    starts_from(&recipe.student, (&origin.name, &origin.config), config, origin.info.head)?;
    let Some(params) = &origin.params else { return Ok(None) };
    if recipe.student.start == Start::Random {
        return Ok(None);
    }
    let (wide, narrow) = (origin.config.hidden_size, config.hidden_size);
    let even = || evenly_spaced_layers(origin.config.blocks().len(), config.blocks().len());
    let map = recipe.student.layer_map.clone().unwrap_or_else(even);
    let directions = match wide == narrow {
        true => Directions::all(wide),
        false => Directions::principal(&tch::Tensor::eye(wide as i64, (tch::Kind::Double, tch::Device::Cpu)), narrow)?,
    };
    let _guard = tch::no_grad_guard();
    Ok(Some(student_from_teacher(params, &origin.config, config, &map, origin.info.head, &directions)?))
}

/// Whether the texts that a stage reads are there.
fn texts(
    recipe: &Recipe,
    stage: &StageRecipe,
    goal: Goal,
    options: &CheckOptions,
    models: &Models,
    findings: &mut Findings,
) {
    let name = &stage.name;
    match stage.on {
        Texts::Train => {}
        Texts::Corpus => match read_corpus(recipe, &options.data) {
            Ok(corpus) => {
                let (train, dev) = (corpus.0.len(), corpus.1.len());
                findings.fact(format!("stage {name}: {train} lines of corpus, {dev} to look at"));
                let filter = recipe.data.corpus_filter.unwrap_or_default();
                for (opened, encoder) in models.all().filter_map(|opened| Some((opened, opened.encoder.as_ref()?))) {
                    if let Err(error) = corpus_is_left(&corpus, encoder, &filter) {
                        findings.problem(format!("stage {name}, tokenizer of {}: {error:#}", opened.name));
                    }
                }
            }
            Err(error) => findings.problem(format!("stage {name}, data.corpus: {error:#}")),
        },
        Texts::Augmented if goal == Goal::Answers => findings.problem(format!(
            "stage {name} reads augmented rows, and questions cannot be augmented: a replaced word may be the answer; use \
             on = \"train\""
        )),
        Texts::Augmented if recipe.teacher.source == TeacherSource::Answers => findings.problem(format!(
            "stage {name} reads augmented rows, which a teacher's answers as a file cannot know; use on = \"train\""
        )),
        Texts::Augmented => {
            findings.fact(format!("stage {name} reads augmented rows: distill needs --masked-lm FOLDER to make them"));
        }
    }
}
