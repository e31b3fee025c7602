//! The recipe against the models: what would stop distill on its way.

use super::models::Models;
use super::{CheckOptions, Findings};
use crate::arch::{ModelConfig, Params};
use crate::data::Goal;
use crate::pipeline::{Needs, answer_weights, corpus_is_left, read_corpus, starts_from, student_config};
use crate::recipe::{Recipe, StageRecipe, TeacherSource, Texts};

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
    let from = (origin.name.as_str(), &origin.config);
    let made = starts_from(&recipe.student, from, origin.params.as_ref(), &config, origin.info.head);
    let made = made.map_err(|error| findings.problem(format!("student: {error:#}"))).ok()?;
    // Of an encoder whose weights could not be read the shapes alone were looked at.
    let params = made.filter(|_| origin.params.is_some());
    Some(Planned { config, params })
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
