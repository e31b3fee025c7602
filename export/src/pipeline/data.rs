//! The recipe's data: read, split, tokenized.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::answers::Answers;
use crate::data::{
    CorpusCount, CorpusFilter, EncodedExample, Encoder, Fractions, Goal, Rows, Split, SplitReport, augment, hold_out,
    read_text, some_labels,
};
use crate::distill::declared_labels;
use crate::files;
use crate::progress::Reporter;
use crate::recipe::{Recipe, Texts};

/// Default shares of dev and test.
const DEFAULT_SPLIT: Fractions = Fractions { dev: 0.1, test: 0.2 };
/// Share of a corpus that shows how well a stage without labels does.
const CORPUS_DEV: f64 = 0.02;
/// Lines of a corpus that are tokenized at a time where a few may be enough.
const SOME_LINES: usize = 1024;

/// Data ready for training.
pub struct PreparedData {
    /// The three sets.
    pub split: Split,
    /// What was dropped.
    pub report: SplitReport,
    /// What is learned.
    pub goal: Goal,
    /// Labels in logit order (sorted, or as a finished teacher has them).
    pub labels: Vec<String>,
    /// SHA-256 over the files' hashes.
    pub sha256: String,
}

/// Reads what the recipe names, relative to `folder`.
///
/// # Errors
/// A file that is missing or broken, a set without rows, fewer than two labels.
pub fn prepare(recipe: &Recipe, folder: &Path) -> Result<PreparedData> {
    let goal = recipe.goal()?;
    let mut hashes = String::new();
    let mut read = |name: &str| -> Result<Rows> {
        let rows = read_file(recipe, goal, folder, name)?;
        hashes.push_str(&files::sha256_file(&folder.join(name))?);
        Ok(rows)
    };
    let (split, report) = if recipe.data.files.is_empty() {
        let mut set = |name: &Option<String>, role: &str| -> Result<Rows> {
            read(name.as_deref().with_context(|| format!("data: `{role}` is missing"))?)
        };
        let mut split = Split {
            train: set(&recipe.data.train, "train")?,
            dev: set(&recipe.data.dev, "dev")?,
            test: set(&recipe.data.test, "test")?,
        };
        let leaked = split.train.drop_seen_in(&split.dev) + split.train.drop_seen_in(&split.test);
        ensure!(!split.train.is_empty(), "every training text is also in dev or test");
        let report = SplitReport { duplicates_dropped: leaked, ..split.sizes()? };
        (split, report)
    } else {
        let all = Rows::joined(recipe.data.files.iter().map(|name| read(name)))?;
        let all = all.context("data: no files")?;
        all.split(goal, recipe.data.split.unwrap_or(DEFAULT_SPLIT))?
    };
    let mut labels = split.train.labels(goal)?;
    if let Some(file) = recipe.teacher.answers.as_ref().filter(|_| !labels.is_empty()) {
        let declared = declared_labels(&folder.join(file))?.unwrap_or_default();
        if labels.iter().all(|label| declared.contains(label)) {
            // As rows that showed all would have them.
            labels.extend(declared);
            labels.sort_by(|a, b| (a != "O").cmp(&(b != "O")).then_with(|| a.cmp(b)));
            labels.dedup();
        }
    }
    Ok(PreparedData { split, report, goal, labels, sha256: files::sha256_hex(hashes.as_bytes()) })
}

/// The rows of one of the recipe's files.
///
/// # Errors
/// A file that is missing or broken.
pub(crate) fn read_file(recipe: &Recipe, goal: Goal, folder: &Path, name: &str) -> Result<Rows> {
    let columns = crate::data::Schema { several_labels: goal == Goal::Labels, ..recipe.data.columns.clone() };
    let mut rows = Rows::read(&folder.join(name), goal, &columns)?;
    // The stratum is the file as the recipe names it, so that the split does not depend on where the data folder lies.
    if let Rows::Texts(examples) = &mut rows {
        examples.iter_mut().for_each(|e| e.source = name.to_owned());
    }
    Ok(rows)
}

impl PreparedData {
    /// The labels that no training row has, for messages; a finished teacher or a file of answers brought them.
    pub(crate) fn without_rows(&self) -> Option<String> {
        let shown = self.split.train.labels(self.goal).unwrap_or_default();
        let others: Vec<String> = self.labels.iter().filter(|label| !shown.contains(label)).cloned().collect();
        (!others.is_empty())
            .then(|| format!("labels that no training row has, and the student will: {}", some_labels(&others)))
    }

    /// What the largest class of dev alone would score; for other goals than one right label, 0.
    pub fn chance_on_dev(&self) -> f64 {
        let Rows::Texts(rows) = &self.split.dev else { return 0.0 };
        if self.goal != Goal::Class {
            return 0.0;
        }
        let count = |label: &String| rows.iter().filter(|row| row.label == *label).count();
        self.labels.iter().map(count).max().unwrap_or(0) as f64 / rows.len().max(1) as f64
    }
}

/// What stages train on and choose by.
pub(super) struct TextSets {
    /// The rows that `[augment]` makes and those they are made of.
    pub augmented: Option<Rows>,
    /// Hash of all that decides them: rows, masked language model, settings, seed.
    pub augmentation: Option<String>,
    /// Texts without labels, if a stage reads them.
    pub unlabelled: Option<Unlabelled>,
    /// What a teacher that is a file says of the training rows, or of all of `unlabelled`.
    pub answers: Option<Answers>,
    /// Corpus to train on, and to look at.
    corpus: Option<(Vec<String>, Vec<String>)>,
    filter: CorpusFilter,
    /// SHA-256 over those of the corpus's files.
    pub corpus_sha256: Option<String>,
}

/// A set in tokens.
#[derive(Clone)]
pub(super) struct Tokens {
    pub train: Vec<EncodedExample>,
    pub dev: Vec<EncodedExample>,
    /// Of a corpus, what became of its lines.
    pub count: Option<CorpusCount>,
}

/// The training rows and the texts without labels, which are learned from alike.
pub(crate) struct Unlabelled {
    /// The training rows first.
    pub rows: Rows,
    /// How many of them have no label.
    pub fresh: usize,
    /// Texts that were left out because they are in train, dev or test, or came before.
    pub dropped: usize,
    /// SHA-256 over those of their files.
    pub sha256: String,
}

impl Unlabelled {
    /// Reads them, if a stage does.
    ///
    /// # Errors
    /// A file that is missing or broken; texts that are all known.
    pub(crate) fn read(recipe: &Recipe, data: &PreparedData, folder: &Path) -> Result<Option<Self>> {
        if !recipe.stages.iter().any(|stage| stage.on == Texts::Unlabelled) {
            return Ok(None);
        }
        let mut hashes = String::new();
        let fresh = Rows::joined(recipe.data.unlabelled.iter().map(|name| {
            let path = folder.join(name);
            hashes.push_str(&files::sha256_file(&path)?);
            Rows::read_unlabelled(&path, data.goal, &recipe.data.columns)
        }))?;
        let mut fresh = fresh.context("data.unlabelled: no files")?;
        let Split { train, dev, test } = &data.split;
        let seen: usize = [train, dev, test].into_iter().map(|set| fresh.drop_seen_in(set)).sum();
        let dropped = seen + fresh.drop_repeated();
        ensure!(!fresh.is_empty(), "data.unlabelled: all {dropped} texts are in train, dev or test already");
        let (mut rows, count) = (train.clone(), fresh.len());
        rows.extend(fresh);
        Ok(Some(Self { rows, fresh: count, dropped, sha256: files::sha256_hex(hashes.as_bytes()) }))
    }

    /// Those without labels alone.
    pub(crate) fn fresh_rows(&self) -> Rows {
        self.rows.after(self.rows.len() - self.fresh)
    }

    /// What was read, in a sentence.
    pub(crate) fn told(&self) -> String {
        format!(
            "{} texts without labels; left out {} that are in train, dev or test, or twice",
            self.fresh, self.dropped
        )
    }
}

/// The recipe's plain texts, to train on and to look at.
///
/// # Errors
/// A file that cannot be read; too few lines.
pub(crate) fn read_corpus(recipe: &Recipe, folder: &Path) -> Result<(Vec<String>, Vec<String>)> {
    let mut lines = Vec::new();
    for name in &recipe.data.corpus {
        let text = read_text(&folder.join(name))?;
        lines.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    let (train, dev) = hold_out(lines, |line| line, CORPUS_DEV);
    ensure!(!train.is_empty() && !dev.is_empty(), "the corpus has too few lines");
    Ok((train, dev))
}

/// Refuses a corpus of which the filter leaves nothing to train on, or nothing to look at.
///
/// # Errors
/// That, with what became of the lines; a line that cannot be tokenized.
pub(crate) fn corpus_is_left(
    (train, dev): &(Vec<String>, Vec<String>),
    encoder: &Encoder,
    filter: &CorpusFilter,
) -> Result<()> {
    for lines in [train, dev] {
        let mut count = CorpusCount::default();
        for some in lines.chunks(SOME_LINES) {
            count = count.with(encoder.encode_corpus(some, filter)?.1);
            if count.used > 0 {
                break;
            }
        }
        ensure!(count.used > 0, too_little(&count, filter));
    }
    Ok(())
}

/// The first sequences of a corpus, by which tokenizers are compared.
///
/// # Errors
/// A line that cannot be tokenized.
pub(crate) fn corpus_sample(
    (train, _): &(Vec<String>, Vec<String>),
    encoder: &Encoder,
    filter: &CorpusFilter,
) -> Result<Vec<EncodedExample>> {
    Ok(encoder.encode_corpus(&train[..train.len().min(SOME_LINES)], filter)?.0)
}

impl TextSets {
    /// Reads the corpus, if a stage wants it, and a teacher's file of answers; [`Self::augment`] does the rest.
    pub(super) fn read(recipe: &Recipe, data: &PreparedData, folder: &Path) -> Result<Self> {
        let (mut corpus, mut corpus_sha256) = (None, None);
        if recipe.stages.iter().any(|stage| stage.on == Texts::Corpus) {
            corpus = Some(read_corpus(recipe, folder)?);
            let hashes = recipe.data.corpus.iter().map(|name| files::sha256_file(&folder.join(name)));
            corpus_sha256 = Some(files::sha256_hex(hashes.collect::<Result<String>>()?.as_bytes()));
        }
        let filter = recipe.data.corpus_filter.unwrap_or_default();
        let unlabelled = Unlabelled::read(recipe, data, folder)?;
        let answers = Answers::read(recipe, data, unlabelled.as_ref().map(|all| &all.rows), folder)?;
        Ok(Self { augmented: None, augmentation: None, unlabelled, answers, corpus, filter, corpus_sha256 })
    }

    /// Augments the training rows, if a stage wants them.
    pub(super) fn augment(
        &mut self,
        recipe: &Recipe,
        data: &PreparedData,
        sources: Option<&augment::Sources>,
        reporter: &Reporter,
    ) -> Result<()> {
        let wanted = recipe.stages.iter().any(|stage| stage.on == Texts::Augmented);
        if let Some(options) = recipe.augment.as_ref().filter(|_| wanted) {
            let sources = sources.context("a stage reads augmented rows; give --masked-lm FOLDER to make them")?;
            let (rows, seed) = (&data.split.train, recipe.seeds[0]);
            self.augmentation = Some(augment::identity(rows, sources, options, seed)?);
            self.augmented = Some(augment::augment(rows, sources, options, seed, reporter)?);
        }
        Ok(())
    }

    /// Refuses a corpus of which nothing is left, if there is one.
    pub(super) fn corpus_is_left(&self, encoder: &Encoder) -> Result<()> {
        self.corpus.as_ref().map_or(Ok(()), |corpus| corpus_is_left(corpus, encoder, &self.filter))
    }

    /// The first sequences of the corpus.
    pub(super) fn corpus_sample(&self, encoder: &Encoder) -> Result<Vec<EncodedExample>> {
        corpus_sample(self.corpus.as_ref().context("a stage reads a corpus that was not read")?, encoder, &self.filter)
    }

    /// One of the sets, tokenized.
    pub(super) fn encode(&self, on: Texts, data: &PreparedData, encoder: &Encoder, stride: usize) -> Result<Tokens> {
        let rows = |rows: &Rows| rows.encode(data.goal, encoder, &data.labels, stride);
        let dev = || Ok::<_, anyhow::Error>(rows(&data.split.dev)?.examples);
        Ok(match (on, &self.augmented, &self.corpus) {
            (Texts::Train, ..) => Tokens { train: rows(&data.split.train)?.examples, dev: dev()?, count: None },
            (Texts::Augmented, Some(augmented), _) => {
                Tokens { train: rows(augmented)?.examples, dev: dev()?, count: None }
            }
            (Texts::Unlabelled, ..) => {
                let all = self.unlabelled.as_ref().context("a stage reads texts without labels that were not read")?;
                let train = all.rows.encode_unlabelled(data.goal, encoder)?.examples;
                Tokens { train, dev: dev()?, count: None }
            }
            (Texts::Corpus, _, Some((train, own_dev))) => {
                let (train, count) = encoder.encode_corpus(train, &self.filter)?;
                let (dev, more) = encoder.encode_corpus(own_dev, &self.filter)?;
                let count = count.with(more);
                ensure!(!train.is_empty() && !dev.is_empty(), too_little(&count, &self.filter));
                Tokens { train, dev, count: Some(count) }
            }
            _ => bail!("a stage reads texts that were not made"),
        })
    }
}

impl TextSets {
    /// Hashes of all that was read, by what it is.
    pub(super) fn hashes(&self, data: &PreparedData) -> Vec<(String, String)> {
        let unlabelled = self.unlabelled.as_ref().map(|all| &all.sha256);
        let answers = self.answers.as_ref().map(|answers| &answers.sha256);
        let all = [
            ("data", Some(&data.sha256)),
            ("unlabelled", unlabelled),
            ("corpus", self.corpus_sha256.as_ref()),
            ("answers", answers),
            ("augmentation", self.augmentation.as_ref()),
        ];
        all.into_iter().filter_map(|(what, hash)| Some((what.to_owned(), hash?.clone()))).collect()
    }

    /// What became of the lines of a corpus.
    pub(super) fn told(&self, count: &CorpusCount) -> String {
        told(count, &self.filter)
    }
}

fn too_little(count: &CorpusCount, filter: &CorpusFilter) -> String {
    let told = told(count, filter);
    format!("too little of the corpus is left: {told}; lower data.corpus_filter.min_tokens, or give more lines")
}

fn told(count: &CorpusCount, filter: &CorpusFilter) -> String {
    let CorpusCount { lines, long, short, unknown, used } = count;
    format!(
        "{lines} lines, {long} of them longer than the model reads, gave {used} sequences; left out: {short} of fewer than \
         {} tokens, {unknown} of which {}% or more are unknown",
        filter.min_tokens,
        filter.unknown_below * 100.0
    )
}
