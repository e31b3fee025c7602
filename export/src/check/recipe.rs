//! The recipe against the models: what would stop distill on its way.

use super::models::{Models, Opened};
use super::{CheckOptions, Findings};
use crate::arch::{ModelConfig, Params};
use crate::data::augment::{Sources, VectorsFrom};
use crate::data::{CorpusFilter, Goal};
use crate::pack::mask_id;
use crate::pipeline::{
    Needs, answer_weights, candidates, corpus_is_left, corpus_sample, has_masked_lm, read_corpus, same_lengths,
    starts_from, student_config,
};
use crate::recipe::{LossTerm, Recipe, StageRecipe, Start, TeacherSource, Texts};

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
        if stage.replacing.is_some()
            && let (Some(teacher), Some(origin)) = (models.teachers.first(), models.origin())
            && let (Some(own), Some(other)) = (&origin.encoder, &teacher.encoder)
            && !other.same_vocabulary(own)
        {
            findings.problem(format!(
                "stage {}: {} numbers tokens otherwise than the student ({}), whose layers are to stand among its own; give \
                 the student the teacher's tokenizer",
                stage.name, teacher.name, origin.name
            ));
        }
    }
    augmentation(recipe, options, findings);
    let apart = options.student.is_some() || source == TeacherSource::Answers;
    if apart && recipe.student.start == Start::Teacher {
        findings.problem(
            "student.start = \"teacher\" takes the teacher's layers, and the student is to be made from another encoder; \
             use \"pretrained\" or \"random\"",
        );
    }
    let origin = models.origin()?;
    masked_text(recipe, origin, models, findings);
    let teacher = models.teachers.first().map(|teacher| &teacher.config);
    if let Some(budget) = options.latency {
        searched(recipe, budget.ms, origin, teacher, findings);
        return None;
    }
    let config = student_config(&recipe.student, &origin.config, &origin.info);
    let config = config.map_err(|error| findings.problem(format!("student: {error:#}"))).ok()?;
    // Of a teacher that could not be read nothing is known; answers have none, and no losses on its layers.
    for stage in recipe.stages.iter().filter(|_| teacher.is_some() || source == TeacherSource::Answers) {
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

/// The shapes that a search for a latency times.
fn searched(recipe: &Recipe, ms: f64, origin: &Opened, teacher: Option<&ModelConfig>, findings: &mut Findings) {
    match candidates(recipe, &origin.config, teacher) {
        Ok(shapes) => {
            let names: Vec<String> = shapes.iter().map(|shape| shape.name()).collect();
            findings.fact(format!(
                "student: its shape is searched, for {ms} ms, among {} (layers x width): distill times them",
                names.join(", ")
            ));
        }
        Err(error) => findings.problem(format!("--latency: {error:#}")),
    }
}

/// What the recipe's stages on masked text need of teacher and student.
fn masked_text(recipe: &Recipe, origin: &Opened, models: &Models, findings: &mut Findings) {
    if !recipe.stages.iter().any(StageRecipe::masks) {
        return;
    }
    let guesses = recipe.stages.iter().any(StageRecipe::guesses);
    let teacher = models.teachers.first().filter(|_| guesses);
    let of_teacher = teacher.map_or(Ok(()), |teacher| has_masked_lm(&teacher.folder));
    for found in [of_teacher, mask_id(&origin.folder).map(drop)] {
        if let Err(error) = found {
            findings.problem(format!("{error:#}"));
        }
    }
}

/// Whether rows can be augmented, where that is wanted.
fn augmentation(recipe: &Recipe, options: &CheckOptions, findings: &mut Findings) {
    let stage = recipe.stages.iter().find(|stage| stage.on == Texts::Augmented);
    match (&options.masked_lm, stage) {
        (None, None) => {}
        (None, Some(stage)) => findings.problem(format!(
            "stage {} reads augmented rows; give --masked-lm FOLDER, a masked language model, to make them",
            stage.name
        )),
        (Some(folder), stage) => {
            if let Err(error) = Sources::load(folder, VectorsFrom::MaskedLm, options.device) {
                findings.problem(format!("--masked-lm: {error:#}"));
            } else if stage.is_none() {
                findings.warning("--masked-lm is given, and no stage reads augmented rows (on = \"augmented\")");
            }
        }
    }
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
        // What is wrong with texts without labels shows with the data.
        Texts::Train | Texts::Unlabelled => {}
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
                if let Some(problem) = corpus_differs(stage, &corpus, &filter, models) {
                    findings.problem(problem);
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
        Texts::Augmented => {}
    }
}

/// Where student and teacher do not read the same tokens of a corpus, what is wrong.
fn corpus_differs(
    stage: &StageRecipe,
    corpus: &(Vec<String>, Vec<String>),
    filter: &CorpusFilter,
    models: &Models,
) -> Option<String> {
    // Layers and masked words are the first teacher's; the words alone ask nothing of it.
    let asks = stage.losses.iter().any(|term| !matches!(term, LossTerm::MaskedLm { .. }));
    let (teacher, origin) = (models.teachers.first().filter(|_| asks)?, models.origin()?);
    if teacher.tokenizer == origin.tokenizer {
        return None;
    }
    let (own, other) = (origin.encoder.as_ref()?, teacher.encoder.as_ref()?);
    if stage.masks() {
        return (!other.same_vocabulary(own)).then(|| {
            format!(
                "stage {}: {} numbers tokens otherwise than the student ({}): they cannot read the same masked text; give \
                 the student the teacher's tokenizer, or leave its losses of masked language models and its masking out",
                stage.name, teacher.name, origin.name
            )
        });
    }
    let sample = |encoder| corpus_sample(corpus, encoder, filter).ok();
    (!same_lengths(&sample(other)?, &sample(own)?)).then(|| {
        format!(
            "stage {}: the tokenizer of {} cuts the corpus into other tokens than the student's ({}), so that layers \
             cannot be compared; leave the stage out, or give the student the teacher's tokenizer",
            stage.name, teacher.name, origin.name
        )
    })
}
