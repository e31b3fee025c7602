//! A teacher that is only a file: its answers for the training rows, as an API or another program wrote them.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value};
use tch::Tensor;

use crate::data::{read_text, some_labels};

/// No probability counts as less (with many labels the limit is lower, see `smoothing`): its logarithm must be finite, and a
/// teacher that says 0 is not that sure.
const FLOOR: f64 = 1e-6;
/// How far probabilities may be from adding up to 1: they are written with few digits.
const TOLERANCE: f64 = 1e-3;
/// What a label without probabilities leaves to the other one of two. Soft targets need finite logits; at this value
/// their cross-entropy differs from that of the hard label by a thousandth.
const SMOOTHING: f64 = 1e-3;

/// What a label without probabilities leaves to each other one. The square of their number keeps the sum of square roots,
/// and so what a temperature of 2 makes of it, as small as it is with two labels.
fn smoothing(labels: usize) -> f64 {
    SMOOTHING / ((labels - 1) as f64).powi(2)
}

/// What such a file says.
#[derive(Debug)]
pub struct TeacherFile {
    /// `[examples, labels]` fp32: logits as they are written, or the logarithms of probabilities.
    pub logits: Tensor,
    /// Training rows that have an answer: all, or it would be an error.
    pub matched: usize,
    /// The file has no texts: its order alone says which answer is whose.
    pub by_position: bool,
    /// Answers for texts that are not among the training rows.
    pub unused: usize,
}

/// Reads the answers of a teacher for `rows` (text and second text) and brings their labels in the model's order.
///
/// The file is JSON Lines. Each row has one of:
/// * `"probabilities"`: `{"label": p, ...}`, where a label that is left out has 0, or a list;
/// * `"logits"`: the same, but every label must be there;
/// * `"label"`: the label alone, which gets all but a thousandth or less, also where a temperature of 2 flattens it to all
///   but a thirtieth. Beside one of the other two it is not read.
///
/// Lists are in the order of a first line `{"labels": [...]}`, or without one in the order of `labels`. Rows with
/// `"text"` (and `"pair"`, where the training rows are pairs) are joined by it, with white space of any kind and length
/// taken as equal; rows without are in the order of the training rows.
///
/// # Errors
/// Name file and line: broken JSON, unknown or missing labels, probabilities that are negative, no number or do not add
/// up to 1, a text that is answered twice in different ways, training rows without an answer.
pub fn read_teacher_file(path: &Path, rows: &[(String, Option<String>)], labels: &[String]) -> Result<TeacherFile> {
    ensure!(labels.len() > 1, "a teacher's file needs at least two labels to choose from");
    let text = read_text(path)?;
    let mut file = Answers {
        path,
        labels,
        order: (0..labels.len()).collect(),
        pairs: rows.iter().any(|r| r.1.is_some()),
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
    let mut logits: Vec<f32> = Vec::with_capacity(rows.len() * labels.len());
    for index in chosen {
        used[index] = true;
        logits.extend(&answers[index].logits);
    }
    Ok(TeacherFile {
        logits: Tensor::from_slice(&logits).view([rows.len() as i64, labels.len() as i64]),
        matched: rows.len(),
        by_position,
        unused: used.iter().filter(|used| !**used).count(),
    })
}

/// One row of the file.
struct Answer {
    line: usize,
    /// Its text and second text, if it has any.
    key: Option<String>,
    logits: Vec<f32>,
}

struct Answers<'a> {
    path: &'a Path,
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
        let answers = ["probabilities", "logits", "label"];
        if first
            && !answers.iter().any(|name| row.contains_key(*name))
            && let Some(labels) = row.get("labels")
        {
            self.order = self.order_of(labels)?;
            return Ok(());
        }
        let key = self.key(row)?;
        let logits = match (row.get("probabilities"), row.get("logits"), row.get("label")) {
            (Some(_), Some(_), _) => bail!("both `probabilities` and `logits`; keep one"),
            (Some(given), None, _) => self.probabilities(given)?,
            (None, Some(given), _) => {
                let values = self.values(given, "logits")?;
                let missing = values.iter().position(Option::is_none);
                if let Some(missing) = missing {
                    bail!("`logits` has no \"{}\"", self.labels[missing]);
                }
                values.into_iter().flatten().collect()
            }
            (None, None, Some(label)) => self.hard(label)?,
            (None, None, None) => {
                let names: Vec<&str> = row.keys().map(String::as_str).collect();
                bail!("none of `probabilities`, `logits` and `label`; the row has {}", names.join(", "))
            }
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

    fn place(&self, label: &str) -> Result<usize> {
        match self.labels.iter().position(|own| own == label) {
            Some(place) => Ok(place),
            None => bail!("unknown label \"{label}\"; the labels are {}", some_labels(self.labels)),
        }
    }

    /// A list's order as the model's places.
    fn order_of(&self, labels: &Value) -> Result<Vec<usize>> {
        let Some(labels) = labels.as_array() else { bail!("`labels` is not a list") };
        let places = labels.iter().map(|label| self.place(&name_of(label)?)).collect::<Result<Vec<_>>>()?;
        for (place, label) in self.labels.iter().enumerate() {
            match places.iter().filter(|&&other| other == place).count() {
                0 => bail!("`labels` has no \"{label}\""),
                1 => {}
                _ => bail!("`labels` has \"{label}\" twice"),
            }
        }
        Ok(places)
    }

    /// Numbers in the model's order; `None` where a label is left out.
    fn values(&self, given: &Value, name: &str) -> Result<Vec<Option<f64>>> {
        let mut values = vec![None; self.labels.len()];
        let number = |value: &Value, label: usize| match value.as_f64() {
            Some(number) => Ok(number),
            None => bail!("`{name}` of \"{}\" is {value}, no number", self.labels[label]),
        };
        match given {
            Value::Object(given) => {
                for (label, value) in given {
                    let place = self.place(label)?;
                    values[place] = Some(number(value, place)?);
                }
            }
            Value::Array(given) => {
                ensure!(
                    given.len() == self.labels.len(),
                    "`{name}` has {} numbers for {} labels",
                    given.len(),
                    self.labels.len()
                );
                for (&place, value) in self.order.iter().zip(given) {
                    values[place] = Some(number(value, place)?);
                }
            }
            _ => bail!("`{name}` is neither an object nor a list"),
        }
        Ok(values)
    }

    fn probabilities(&self, given: &Value) -> Result<Vec<f64>> {
        let values: Vec<f64> =
            self.values(given, "probabilities")?.into_iter().map(Option::unwrap_or_default).collect();
        if let Some(place) = values.iter().position(|value| *value < 0.0) {
            bail!("the probability of \"{}\" is {}", self.labels[place], values[place]);
        }
        let sum: f64 = values.iter().sum();
        ensure!((sum - 1.0).abs() <= TOLERANCE, "the probabilities add up to {sum}, not to 1");
        let floor = smoothing(self.labels.len()).min(FLOOR);
        Ok(values.into_iter().map(|value| value.max(floor).ln()).collect())
    }

    fn hard(&self, label: &Value) -> Result<Vec<f64>> {
        let place = self.place(&name_of(label)?)?;
        let other = smoothing(self.labels.len());
        let mut logits = vec![other.ln(); self.labels.len()];
        logits[place] = (1.0 - other * (self.labels.len() - 1) as f64).ln();
        Ok(logits)
    }
}

/// A label as the readers of labelled text take it.
fn name_of(label: &Value) -> Result<String> {
    Ok(match label {
        Value::String(label) => label.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(label) => label.to_string(),
        _ => bail!("the label {label} is not text or a number"),
    })
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
fn in_order(path: &Path, answers: &[Answer], rows: &[(String, Option<String>)]) -> Result<Vec<usize>> {
    ensure!(
        answers.len() == rows.len(),
        "{} has {} answers for {} training rows, the last in line {}; give every row its `text` if they are not the \
         same rows",
        path.display(),
        answers.len(),
        rows.len(),
        answers.last().map_or(0, |answer| answer.line)
    );
    Ok((0..rows.len()).collect())
}

/// The answer of every row, by its text.
fn by_text(path: &Path, answers: &[Answer], rows: &[(String, Option<String>)]) -> Result<Vec<usize>> {
    let keys: Vec<String> = rows.iter().map(|(text, pair)| key(text, pair.as_deref())).collect();
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
        let text: String = rows[row].0.chars().take(60).collect();
        bail!(
            "{} has no answer for {missing} of {} training rows; the first is row {}: \"{text}\"",
            path.display(),
            rows.len(),
            row + 1
        );
    }
    Ok(found.into_iter().flatten().collect())
}
