//! A recipe: everything that decides a distillation, as one TOML file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::data::{AugmentOptions, CorpusFilter, Fractions, Goal, LabelKind, Schema};
use crate::pack::TaskName;
use crate::quantize::FakeQuantization;
use crate::train::{Precision, TrainOptions};

mod auto;
mod loss;
mod method;
mod stage;
mod student;

pub use loss::{Attending, LossTerm, Projection, Relation};
pub use method::Method;
pub use stage::{Line, Scheduled, StageRecipe, TeacherState, Texts, full_precision_stage};
pub use student::{Start, Student};

/// The whole recipe. Unknown keys are refused, so that a misspelt one is not silently ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the bundle: `sentiment` gives `sentiment.limbeck`.
    pub id: String,
    /// Version of the model, for people.
    #[serde(default = "default_version")]
    pub version: String,
    /// Build number, counted up with each release of the same id.
    #[serde(default = "default_build")]
    pub build: u64,
    /// BCP 47 tags.
    #[serde(default)]
    pub languages: Vec<String>,
    /// What the student is for.
    #[serde(default = "default_task")]
    pub task: TaskName,
    /// What a label of a text or pair is.
    #[serde(default)]
    pub labels: LabelKind,
    /// For embeddings: the label of texts that mean the same.
    #[serde(default = "default_highest")]
    pub highest: f64,
    /// Longest text in tokens, special tokens included.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// For questions: overlap of the windows of a long text, in tokens.
    #[serde(default = "default_stride")]
    pub stride: usize,
    /// A student and a control are trained for each seed; the first is the teacher's too.
    #[serde(default = "default_seeds")]
    pub seeds: Vec<u64>,
    /// The way to distil, in place of `stages`; `distilbert` when neither is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Labelled text.
    pub data: Data,
    /// The teacher.
    #[serde(default)]
    pub teacher: Teacher,
    /// The student and its training, which the control shares.
    pub student: Student,
    /// More rows made of the training rows, for stages on `augmented`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augment: Option<AugmentOptions>,
    /// The stages of the distillation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<StageRecipe>,
    /// The bundle that ships.
    #[serde(default)]
    pub bundle: Bundle,
}

/// Where the data lies: either `files` that are split, or one file a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Files to be split by `split`, relative to the data folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Shares of dev and test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Fractions>,
    /// Training file, when the data comes split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Dev file: chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Test file: reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Texts like those of the training file, whose labels nobody knows, for stages on `unlabelled`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlabelled: Vec<String>,
    /// Plain text, a passage a line, for stages on `corpus`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corpus: Vec<String>,
    /// Which sequences of the corpus are used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corpus_filter: Option<CorpusFilter>,
    /// Columns and labels.
    #[serde(default)]
    pub columns: Schema,
}

/// The teacher.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Teacher {
    /// What its folder is.
    pub source: TeacherSource,
    /// Its answers to the training rows, relative to the data folder, when `source` is `answers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answers: Option<String>,
    /// Of several teachers: how much each one's answers count; equally when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f64>,
    /// What its answers and layers are computed in, where students learn from them. It is scored in fp32 in any case.
    #[serde(skip_serializing_if = "is_fp32")]
    pub precision: Precision,
    /// Fine-tuning.
    pub train: TrainOptions,
}

fn is_fp32(precision: &Precision) -> bool {
    *precision == Precision::Fp32
}

/// Where a teacher comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherSource {
    /// The folder is an encoder, which is fine-tuned on the labels.
    #[default]
    Finetune,
    /// The folder is a model for this very task.
    Finished,
    /// Only its answers are there, as a file: of another machine, another tokenizer, an API. The folder gives the
    /// student's first weights and its tokenizer.
    Answers,
}

/// The bundle that ships.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bundle {
    /// Largest loss of accuracy, in points of 100, that int8 may cost on dev before it is refused.
    pub max_drop: f64,
}

impl Default for Bundle {
    fn default() -> Self {
        Self { max_drop: 1.0 }
    }
}

fn default_version() -> String {
    "0.1.0".into()
}

fn default_build() -> u64 {
    1
}

fn default_max_tokens() -> usize {
    128
}

fn default_seeds() -> Vec<u64> {
    vec![7]
}

fn default_task() -> TaskName {
    TaskName::TextClassification
}

fn default_highest() -> f64 {
    5.0
}

fn default_stride() -> usize {
    64
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// Not TOML, an unknown or missing key, an impossible value; with the line where TOML tells it.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the recipe {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the recipe {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut recipe: Recipe = toml::from_str(text)?;
        if recipe.stages.is_empty() {
            let method = recipe.method.unwrap_or_default();
            recipe.stages = match recipe.data.unlabelled.is_empty() {
                true => method.stages(&recipe.student.train),
                false => method.stages_with_unlabelled(&recipe.student.train),
            };
            if recipe.augment.is_some() {
                for stage in recipe.stages.iter_mut().filter(|stage| stage.on == Texts::Train) {
                    stage.on = Texts::Augmented;
                }
            }
        } else if recipe.method.is_some() {
            bail!("give `method` or `stages`, not both");
        }
        recipe.method = None;
        for stage in &mut recipe.stages {
            stage.train.get_or_insert_with(|| recipe.student.train.clone());
            if stage.guesses() {
                stage.masking.get_or_insert_default();
            }
        }
        if !recipe.data.corpus.is_empty() {
            recipe.data.corpus_filter.get_or_insert_default();
        }
        recipe.check()?;
        Ok(recipe)
    }

    /// The recipe with other seeds.
    ///
    /// # Errors
    /// No seed, or one twice.
    pub fn with_seeds(self, seeds: Vec<u64>) -> Result<Self> {
        let recipe = Self { seeds, ..self };
        recipe.check()?;
        Ok(recipe)
    }

    /// What the student that ships was trained for.
    pub fn quantize(&self) -> Option<FakeQuantization> {
        self.stages.last().and_then(|stage| stage.quantize)
    }

    /// What the student learns to give.
    ///
    /// # Errors
    /// A task without labelled data.
    pub fn goal(&self) -> Result<Goal> {
        Goal::of_task(self.task, self.labels, self.highest)
    }

    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.id.is_empty() || self.id.len() > 128 || !self.id.chars().all(plain) {
            bail!("id \"{}\" must be 1 to 128 of A-Z a-z 0-9 . _ -", self.id);
        }
        if self.max_tokens < 3 {
            bail!("max_tokens must be at least 3: two special tokens and one of text");
        }
        if self.student.layers == 0 {
            bail!("student.layers must be at least 1");
        }
        self.goal()?;
        self.check_columns()?;
        let unique: std::collections::BTreeSet<_> = self.seeds.iter().collect();
        if self.seeds.is_empty() || unique.len() != self.seeds.len() {
            bail!("seeds must be at least one number, each once");
        }
        let given = self.teacher.answers.is_some();
        if given != (self.teacher.source == TeacherSource::Answers) {
            bail!("teacher: `answers` and `source = \"answers\"` belong together");
        }
        if given && self.teacher.precision != Precision::Fp32 {
            bail!("teacher.precision: answers in a file are not computed here; leave it out");
        }
        if !self.teacher.weights.iter().all(|weight| *weight > 0.0 && weight.is_finite()) {
            bail!("teacher.weights must be above 0");
        }
        self.teacher.train.check("teacher.train")?;
        self.student.train.check("student.train")?;
        if let Some(pair) = self.stages.windows(2).find(|pair| pair[0].quantize > pair[1].quantize) {
            bail!(
                "stage {} comes after {}, which rounds weights to fewer bits: give it the same `quantize`, else the student \
                 that ships was trained for another form",
                pair[1].name,
                pair[0].name
            );
        }
        if self.quantize() == Some(FakeQuantization::Ternary) && full_precision_stage(&self.stages).is_none() {
            bail!(
                "ternary weights are made of a student that was trained before: put a stage without `quantize` that trains \
                 the head (labels, soft-targets or soft-cross-entropy) before those with it; what ternary weights lose is \
                 measured against that student"
            );
        }
        for (index, stage) in self.stages.iter().enumerate() {
            stage.check(index + 1 == self.stages.len())?;
            if self.stages[..index].iter().any(|before| before.name == stage.name) {
                bail!("two stages are called {}", stage.name);
            }
            if stage.on == Texts::Corpus && self.data.corpus.is_empty() {
                bail!("stage {} reads a corpus; name its files in data.corpus", stage.name);
            }
            if stage.on == Texts::Unlabelled && self.data.unlabelled.is_empty() {
                bail!("stage {} reads texts without labels; name their files in data.unlabelled", stage.name);
            }
            if stage.on == Texts::Augmented && self.augment.is_none() {
                bail!("stage {} reads augmented rows; say how in [augment]", stage.name);
            }
            let soft = stage.losses.iter().any(|term| matches!(term, LossTerm::SoftCrossEntropy { .. }));
            if soft && !matches!(self.goal()?, Goal::Class | Goal::Tags) {
                bail!(
                    "stage {}: soft-cross-entropy is for one label a text or token, not for {}; use soft-targets",
                    stage.name,
                    self.goal()?.measure()
                );
            }
            if stage.from == TeacherState::Pretrained && self.teacher.source == TeacherSource::Finished {
                bail!(
                    "stage {} learns from the pretrained encoder, but the teacher comes finished; use from = \"task\"",
                    stage.name
                );
            }
            if let Some(term) = stage.losses.iter().find(|term| !term.reads_head() && given) {
                bail!("stage {}: {} needs the teacher itself, and there are only its answers", stage.name, term.name());
            }
        }
        let read = |texts| self.stages.iter().any(|stage| stage.on == texts);
        if let Some(augment) = &self.augment {
            augment.check()?;
            if !read(Texts::Augmented) {
                bail!(
                    "[augment] is given, and no stage reads what it makes: set on = \"augmented\" for some, or leave it out"
                );
            }
        }
        if !self.data.corpus.is_empty() && !read(Texts::Corpus) {
            bail!(
                "data.corpus is given, and no stage reads it: take a method that does (distilbert-general, tinybert-general), \
                 set on = \"corpus\" for a stage of general distillation, or leave it out"
            );
        }
        if !self.data.unlabelled.is_empty() {
            if self.goal()? == Goal::Answers {
                bail!("data.unlabelled: questions cannot be read without their answers; leave it out");
            }
            if !read(Texts::Unlabelled) {
                bail!(
                    "data.unlabelled is given, and no stage reads it: set on = \"unlabelled\" for stages without the loss \
                     `labels`"
                );
            }
        }
        let sets = [&self.data.train, &self.data.dev, &self.data.test];
        let split = !self.data.files.is_empty();
        if split == sets.iter().any(|set| set.is_some()) {
            bail!("data: give either `files` (to be split) or `train`, `dev` and `test`");
        }
        if !split && sets.iter().any(|set| set.is_none()) {
            bail!("data: all of `train`, `dev` and `test` are needed: dev chooses, test reports");
        }
        Ok(())
    }

    /// Whether the task and the columns speak of one text or of two.
    fn check_columns(&self) -> Result<()> {
        let task = self.task.task().name().to_owned();
        match (self.task, &self.data.columns.pair) {
            (TaskName::PairClassification | TaskName::SentenceEmbedding, None) => {
                bail!("data.columns.pair is missing: {task} needs two texts a row; name the second one's column")
            }
            (TaskName::TextClassification, Some(pair)) => bail!(
                "data.columns.pair is \"{pair}\", but {task} reads no second text; leave it out, or take task = \
                 \"pair-classification\""
            ),
            _ => Ok(()),
        }
    }

    /// The recipe with every default written out, as TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// SHA-256 of the written-out recipe: two files that mean the same have the same hash.
    pub fn sha256(&self) -> Result<String> {
        Ok(crate::files::sha256_hex(self.to_toml()?.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
