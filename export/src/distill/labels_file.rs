//! A teacher that is only a file: its answers for the training rows, as an API or another program wrote them.

mod answer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value};
use tch::Tensor;

use crate::data::{Goal, read_text};

/// What such a file says.
#[derive(Debug)]
pub struct TeacherFile {
    /// `[examples, labels]` fp32: logits as they are written, or the logarithms of probabilities (of several labels, of odds);
    /// of numbers `[examples, 1]`; of tags `[words, labels]`, the words of all examples one after the other.
    pub logits: Tensor,
    /// Training rows that have an answer: all, or it would be an error.
    pub matched: usize,
    /// The file has no texts: its order alone says which answer is whose.
    pub by_position: bool,
    /// Answers for texts that are not among the training rows.
    pub unused: usize,
}

/// A training row as a file of answers names it.
#[derive(Clone, Debug)]
pub struct AskedRow {
    /// Its text.
    pub text: String,
    /// Its second text.
    pub pair: Option<String>,
    /// Of tagged texts, how many words it has.
    pub words: usize,
}

/// Reads the answers of a teacher for `rows` and brings their labels in the model's order.
///
/// The file is JSON Lines. Each row has one of:
/// * `"probabilities"`: `{"label": p, ...}`, where a label that is left out has 0, or a list;
/// * `"logits"`: the same, but every label must be there;
/// * `"label"`: the label alone, which gets all but a thousandth or less, also where a temperature of 2 flattens it to all
///   but a thirtieth. Beside one of the other two it is not read.
///
/// Where rows have several labels, probabilities are each label's own, and `"label"` is a list, or text with `|` between. A
/// number is the `"label"`. Of tagged texts the three are lists with an entry a word, and the third is called `"tags"`.
///
/// Lists are in the order of a first line `{"labels": [...]}`, or without one in the order of `labels`; see [`declared_labels`]. Rows with
/// `"text"` (and `"pair"`, where the training rows are pairs) are joined by it, with white space of any kind and length
/// taken as equal; rows without are in the order of the training rows.
///
/// # Errors
/// Name file and line: broken JSON, unknown or missing labels, probabilities that are negative, no number or do not add
/// up to 1, a text that is answered twice in different ways, training rows without an answer.
pub fn read_teacher_file(path: &Path, goal: Goal, rows: &[AskedRow], labels: &[String]) -> Result<TeacherFile> {
    ensure!(
        matches!(goal, Goal::Class | Goal::Labels | Goal::Value | Goal::Tags),
        "a teacher's answers as a file are for labels, numbers and tags: of spans and vectors it can say nothing"
    );
    ensure!(
        labels.len() > 1 || !matches!(goal, Goal::Class | Goal::Tags),
        "a teacher's file needs at least two labels to choose from"
    );
    let text = read_text(path)?;
    let mut file = Answers {
        path,
        goal,
        labels,
        order: (0..labels.len()).collect(),
        pairs: rows.iter().any(|row| row.pair.is_some()),
        rows: vec![],
    };
    file.read(&text)?;
    let answers = file.rows;
    let Some(first) = answers.first() else { bail!("{} has no answers", path.display()) };
    let by_position = first.key.is_none();
    if let Some(other) = answers.iter().find(|answer| answer.key.is_none() != by_position) {
        let (with, without) = if by_position { (other, first) } else { (first, other) };
        bail!(
            "{}, line {}: no `text`, but line {} has one; give it in every row or in none",
            path.display(),
            without.line,
            with.line
        );
    }
    let chosen = if by_position { in_order(path, &answers, rows)? } else { by_text(path, &answers, rows)? };
    let mut used = vec![false; answers.len()];
    let width = if goal == Goal::Value { 1 } else { labels.len() };
    let mut logits: Vec<f32> = Vec::with_capacity(rows.len() * width);
    for (index, row) in chosen.into_iter().zip(rows) {
        used[index] = true;
        let own = &answers[index];
        ensure!(
            goal != Goal::Tags || own.logits.len() == row.words * width,
            "{}, line {}: answers for {} words, and the text has {}; give one for each word of the training file",
            path.display(),
            own.line,
            own.logits.len() / width,
            row.words
        );
        logits.extend(&own.logits);
    }
    Ok(TeacherFile {
        logits: Tensor::from_slice(&logits).view([-1, width as i64]),
        matched: rows.len(),
        by_position,
        unused: used.iter().filter(|used| !**used).count(),
    })
}

/// The labels of a first line `{"labels": [...]}`: there may be more of them than few training rows show.
///
/// # Errors
/// A file that cannot be read; a list that is none of labels.
pub fn declared_labels(path: &Path) -> Result<Option<Vec<String>>> {
    let text = read_text(path)?;
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let Ok(Value::Object(row)) = serde_json::from_str(first) else { return Ok(None) };
    let Some(labels) = row.get("labels").filter(|_| !ANSWERS.iter().any(|name| row.contains_key(*name))) else {
        return Ok(None);
    };
    let Some(labels) = labels.as_array() else { bail!("{}: `labels` is not a list", path.display()) };
    labels.iter().map(answer::name_of).collect::<Result<_>>().map(Some)
}

/// What a row may have of an answer.
const ANSWERS: [&str; 4] = ["probabilities", "logits", "label", "tags"];

/// One row of the file.
struct Answer {
    line: usize,
    /// Its text and second text, if it has any.
    key: Option<String>,
    logits: Vec<f32>,
}

struct Answers<'a> {
    path: &'a Path,
    goal: Goal,
    labels: &'a [String],
    /// The model's place of each label of a list.
    order: Vec<usize>,
    /// Whether the training rows are pairs.
    pairs: bool,
    rows: Vec<Answer>,
}

impl Answers<'_> {
    fn read(&mut self, text: &str) -> Result<()> {
        let mut first = true;
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let number = index + 1;
            self.row(number, line, first)
                .map_err(|error| error.context(format!("{}, line {number}", self.path.display())))?;
            first = false;
        }
        Ok(())
    }

    fn row(&mut self, number: usize, line: &str, first: bool) -> Result<()> {
        let row: Value = match serde_json::from_str(line) {
            Ok(row) => row,
            Err(error) if line.contains("NaN") || line.contains("Infinity") => {
                bail!("NaN and Infinity are no answers, nor JSON: {error}")
            }
            Err(error) => bail!("broken JSON: {error}"),
        };
        let Some(row) = row.as_object() else { bail!("not a JSON object") };
        let hard = if self.goal == Goal::Tags { "tags" } else { "label" };
        let answers = ["probabilities", "logits", hard];
        if first
            && !answers.iter().any(|name| row.contains_key(*name))
            && let Some(labels) = row.get("labels")
        {
            self.order = self.order_of(labels)?;
            return Ok(());
        }
        let key = self.key(row)?;
        let given = answers.map(|name| row.get(name));
        let (form, given) = match given {
            [Some(_), Some(_), _] => bail!("both `probabilities` and `logits`; keep one"),
            [Some(given), None, _] => (answers[0], given),
            [None, Some(given), _] => (answers[1], given),
            [None, None, Some(given)] => (hard, given),
            [None, None, None] => {
                let names: Vec<&str> = row.keys().map(String::as_str).collect();
                bail!("none of `probabilities`, `logits` and `{hard}`; the row has {}", names.join(", "))
            }
        };
        let logits = match self.goal {
            Goal::Tags => {
                let Some(words) = given.as_array() else { bail!("`{form}` is no list with an entry for each word") };
                let each = words.iter().map(|word| self.answer(form, word)).collect::<Result<Vec<_>>>()?;
                each.concat()
            }
            _ => self.answer(form, given)?,
        };
        let logits: Vec<f32> = logits.into_iter().map(|logit| logit as f32).collect();
        ensure!(logits.iter().all(|logit| logit.is_finite()), "`logits` holds a number beyond fp32");
        self.rows.push(Answer { line: number, key, logits });
        Ok(())
    }

    fn key(&self, row: &Map<String, Value>) -> Result<Option<String>> {
        let text = |name: &str| match row.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => bail!("`{name}` is not text"),
        };
        let pair = text("pair")?;
        let Some(text) = text("text")? else { return Ok(None) };
        ensure!(pair.is_some() || !self.pairs, "no `pair`, but the training rows are pairs");
        ensure!(pair.is_none() || self.pairs, "`pair`, but the training rows are single texts");
        Ok(Some(key(text, pair)))
    }
}

/// What rows are joined by: white space often changes on the way through other programs.
fn key(text: &str, pair: Option<&str>) -> String {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match pair {
        Some(pair) => format!("{}\n{}", plain(text), plain(pair)),
        None => plain(text),
    }
}

/// The answer of every row, by its number.
fn in_order(path: &Path, answers: &[Answer], rows: &[AskedRow]) -> Result<Vec<usize>> {
    ensure!(
        answers.len() == rows.len(),
        "{} has {} answers for {} rows, the last in line {}; give every row its `text` if they are not the \
         same rows",
        path.display(),
        answers.len(),
        rows.len(),
        answers.last().map_or(0, |answer| answer.line)
    );
    Ok((0..rows.len()).collect())
}

/// The answer of every row, by its text.
fn by_text(path: &Path, answers: &[Answer], rows: &[AskedRow]) -> Result<Vec<usize>> {
    let keys: Vec<String> = rows.iter().map(|row| key(&row.text, row.pair.as_deref())).collect();
    // A text may stand twice in the training rows, and a teacher that draws at random answers it twice.
    if answers.len() == keys.len() && answers.iter().zip(&keys).all(|(answer, key)| answer.key.as_ref() == Some(key)) {
        return Ok((0..keys.len()).collect());
    }
    let mut by_key: HashMap<&str, usize> = HashMap::with_capacity(answers.len());
    for (index, answer) in answers.iter().enumerate() {
        let Some(key) = &answer.key else { continue };
        let first = *by_key.entry(key).or_insert(index);
        ensure!(
            answers[first].logits == answer.logits,
            "{}, line {}: another answer for the text of line {}; keep one",
            path.display(),
            answer.line,
            answers[first].line
        );
    }
    let found: Vec<Option<usize>> = keys.iter().map(|key| by_key.get(key.as_str()).copied()).collect();
    if let Some(row) = found.iter().position(Option::is_none) {
        let missing = found.iter().filter(|answer| answer.is_none()).count();
        let text: String = rows[row].text.chars().take(60).collect();
        bail!(
            "{} has no answer for {missing} of {} rows; the first is row {}: \"{text}\"",
            path.display(),
            rows.len(),
            row + 1
        );
    }
    Ok(found.into_iter().flatten().collect())
}
