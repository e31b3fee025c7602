//! A teacher that is only a file of answers: read once, and judged before anything is trained.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};

use super::data::PreparedData;
use super::teacher::above_chance;
use crate::data::{Encoder, Example, Goal, Rows, TaggedText, TaggedWord, Target, entities_of, labels_of};
use crate::distill::{AskedRow, read_teacher_file};
use crate::files;
use crate::measure::metrics::{f1, spearman};
use crate::objective::IGNORED;
use crate::recipe::Recipe;

/// What such a teacher says of the training rows, and after them of texts without labels, if a stage reads those.
pub(super) struct Answers {
    /// `[rows, labels]`; of numbers `[rows, 1]`; of tags `[words, labels]`, all rows' words one after the other.
    pub logits: Tensor,
    /// Of tagged texts, the words whose answers these are.
    texts: Vec<TaggedText>,
    /// How many rows are answered.
    pub rows: usize,
    /// Hash of the file.
    pub sha256: String,
}

impl Answers {
    /// Reads them, if the recipe has its teacher from a file.
    ///
    /// # Errors
    /// Those of [`read_teacher_file`] and [`agreement`]; answers that are hardly better than the largest class, or than chance.
    pub(super) fn read(
        recipe: &Recipe,
        data: &PreparedData,
        unlabelled: Option<&Rows>,
        folder: &Path,
    ) -> Result<Option<Self>> {
        let Some(file) = &recipe.teacher.answers else { return Ok(None) };
        let path = folder.join(file);
        let train = &data.split.train;
        let rows = unlabelled.unwrap_or(train);
        let logits = read_teacher_file(&path, data.goal, &asked(rows, data.goal)?, &data.labels)?.logits;
        let (score, chance) = agreement(&logits, train, data.goal, &data.labels)?;
        above_chance(&format!("the answers of {}", path.display()), data.goal, "the training rows", score, chance)
            .map_err(|error| {
                anyhow::anyhow!("{error}; `limbeck check` tells whether another order of labels or rows fits")
            })?;
        let texts = if let Rows::Tagged(texts) = rows { texts.clone() } else { Vec::new() };
        Ok(Some(Self { logits, texts, rows: rows.len(), sha256: files::sha256_file(&path)? }))
    }

    /// Of tagged texts, for each token of each text which row of [`Self::logits`] answers it: that of its word for the first
    /// token of a word, else [`IGNORED`].
    pub(super) fn places(&self, encoder: &Encoder) -> Result<Vec<Vec<i64>>> {
        // Words that carry their own number as their tag show where the encoder puts them.
        let longest = self.texts.iter().map(|text| text.words.len()).max().unwrap_or(0);
        let numbers: Vec<String> = (0..longest).map(|number| number.to_string()).collect();
        let numbered = |text: &TaggedText| TaggedText {
            words: text.words.iter().zip(&numbers).map(|(w, n)| TaggedWord { tag: n.clone(), ..w.clone() }).collect(),
            ..text.clone()
        };
        let texts: Vec<TaggedText> = self.texts.iter().map(numbered).collect();
        let encoded = encoder.encode_tagged(&texts, &numbers)?.examples;
        let mut first = 0;
        let mut places = Vec::with_capacity(encoded.len());
        for (example, text) in encoded.iter().zip(&self.texts) {
            let Target::Tokens(words) = &example.target else { bail!("a tagged text without tags") };
            let place = |&word: &i64| if word == IGNORED { IGNORED } else { first + word };
            places.push(words.iter().map(place).collect());
            first += text.words.len() as i64;
        }
        Ok(places)
    }
}

/// The logits of a batch of tagged texts, `[batch, length, labels]`, 0 where no word is answered, and which tokens are,
/// `[batch, length]`, 1 or 0; `rows` are of [`Answers::places`].
pub(super) fn by_token(logits: &Tensor, rows: &[&[i64]], device: Device) -> (Tensor, Tensor) {
    let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let padded = |row: &&[i64]| row.iter().copied().chain(std::iter::repeat(IGNORED)).take(length).collect::<Vec<_>>();
    let places: Vec<i64> = rows.iter().flat_map(padded).collect();
    let places = Tensor::from_slice(&places).view([rows.len() as i64, length as i64]);
    let answered = places.ne(IGNORED);
    let found = logits.index_select(0, &places.clamp_min(0).flatten(0, -1));
    let found = found.view([rows.len() as i64, length as i64, -1]) * answered.unsqueeze(-1).to_kind(Kind::Float);
    (found.to_device(device), answered.to_kind(Kind::Int64).to_device(device))
}

/// Rows as a file of answers names them.
///
/// # Errors
/// Rows that such a file cannot answer.
pub(crate) fn asked(rows: &Rows, goal: Goal) -> Result<Vec<AskedRow>> {
    Ok(match rows {
        Rows::Texts(rows) if !matches!(goal, Goal::Similarity { .. }) => {
            rows.iter().map(|row| AskedRow { text: row.text.clone(), pair: row.pair.clone(), words: 0 }).collect()
        }
        Rows::Tagged(rows) => {
            rows.iter().map(|row| AskedRow { text: row.text.clone(), pair: None, words: row.words.len() }).collect()
        }
        _ => bail!(
            "a teacher's answers as a file are for labels, numbers and tags; for questions a span has other tokens in each \
             window, and for embeddings there are no vectors in a file: take another teacher.source"
        ),
    })
}

/// How well answers, of which there may be more than rows, agree with the labels of the rows, by the goal's measure, and what needs no answers: the largest class
/// where there is one label, else 0.
///
/// # Errors
/// A row whose label is none of the labels, or no number.
pub(crate) fn agreement(logits: &Tensor, rows: &Rows, goal: Goal, labels: &[String]) -> Result<(f64, f64)> {
    let answered = match rows {
        Rows::Tagged(rows) => rows.iter().map(|row| row.words.len()).sum(),
        _ => rows.len(),
    };
    let given = logits.size()[0];
    ensure!(given >= answered as i64, "{given} answers for {answered} rows");
    let logits = &logits.narrow(0, 0, answered as i64);
    match (rows, goal) {
        (Rows::Texts(rows), Goal::Class) => share_right(logits, rows, labels),
        (Rows::Texts(rows), Goal::Labels) => {
            let holds: Vec<Vec<i64>> = Vec::try_from(logits.gt(0.0).to_kind(Kind::Int64))?;
            let (mut right, mut guessed, mut there) = (0, 0, 0);
            for (row, holds) in rows.iter().zip(holds) {
                let own: Vec<&str> = labels_of(&row.label).collect();
                let chosen = labels.iter().zip(holds).filter(|(_, holds)| *holds == 1).map(|(label, _)| label.as_str());
                let chosen: Vec<&str> = chosen.collect();
                right += chosen.iter().filter(|label| own.contains(label)).count();
                guessed += chosen.len();
                there += own.len();
            }
            Ok((f1(right, guessed, there), 0.0))
        }
        (Rows::Texts(rows), Goal::Value) => {
            let values: Vec<f64> = Vec::try_from(logits.squeeze_dim(-1).to_kind(Kind::Double))?;
            let own = rows.iter().map(Example::value).collect::<Result<Vec<f64>>>()?;
            Ok((spearman(&values, &own), 0.0))
        }
        (Rows::Tagged(rows), Goal::Tags) => {
            let chosen: Vec<i64> = Vec::try_from(logits.argmax(-1, false))?;
            let mut chosen = chosen.into_iter().map(|tag| labels.get(tag as usize).map_or("O", String::as_str));
            let (mut right, mut guessed, mut there) = (0, 0, 0);
            for row in rows {
                let own = entities_of(row.words.iter().map(|word| word.tag.as_str()));
                let found = entities_of(chosen.by_ref().take(row.words.len()));
                right += found.iter().filter(|entity| own.contains(entity)).count();
                guessed += found.len();
                there += own.len();
            }
            Ok((f1(right, guessed, there), 0.0))
        }
        _ => bail!("a teacher's answers as a file do not fit these rows"),
    }
}

/// The share of rows that answers are right for, and that of the largest class.
///
/// # Errors
/// A row whose label is none of the labels.
fn share_right(logits: &Tensor, rows: &[Example], labels: &[String]) -> Result<(f64, f64)> {
    let chosen: Vec<i64> = Vec::try_from(logits.argmax(-1, false))?;
    let mut counts = vec![0; labels.len()];
    let mut right = 0;
    for (row, chosen) in rows.iter().zip(chosen) {
        let own = labels.iter().position(|label| *label == row.label).context("a row's label is none of the labels")?;
        counts[own] += 1;
        right += usize::from(own as i64 == chosen);
    }
    let of_all = |count: usize| count as f64 / rows.len().max(1) as f64;
    Ok((of_all(right), of_all(counts.into_iter().max().unwrap_or(0))))
}
