//! A teacher that is only a file of answers: read once, and judged before anything is trained.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tch::Tensor;

use super::data::PreparedData;
use super::teacher::above_chance;
use crate::data::{Example, Goal, Rows};
use crate::distill::read_teacher_file;
use crate::files;
use crate::recipe::Recipe;

/// What such a teacher says of the training rows.
pub(super) struct Answers {
    /// `[rows, labels]`.
    pub logits: Tensor,
    /// Hash of the file.
    pub sha256: String,
}

impl Answers {
    /// Reads them, if the recipe has its teacher from a file.
    ///
    /// # Errors
    /// Those of [`read_teacher_file`]; rows that do not have one label each; answers that are hardly better than the largest
    /// class.
    pub(super) fn read(recipe: &Recipe, data: &PreparedData, folder: &Path) -> Result<Option<Self>> {
        let Some(file) = &recipe.teacher.answers else { return Ok(None) };
        let path = folder.join(file);
        let Rows::Texts(rows) = &data.split.train else {
            bail!("a teacher's answers as a file are for classification; this is {}", recipe.task.task().name())
        };
        ensure!(data.goal == Goal::Class, "a teacher's answers as a file are for rows with one label each");
        let texts: Vec<_> = rows.iter().map(|row| (row.text.clone(), row.pair.clone())).collect();
        let logits = read_teacher_file(&path, &texts, &data.labels)?.logits;
        let (right, largest) = share_right(&logits, rows, &data.labels)?;
        above_chance(&format!("the answers of {}", path.display()), data.goal, "the training rows", right, largest)
            .map_err(|error| {
                anyhow::anyhow!("{error}; `limbeck check` tells whether another order of labels or rows fits")
            })?;
        Ok(Some(Self { logits, sha256: files::sha256_file(&path)? }))
    }
}

/// The share of rows that answers are right for, and that of the largest class.
///
/// # Errors
/// A row whose label is none of the labels.
pub(crate) fn share_right(logits: &Tensor, rows: &[Example], labels: &[String]) -> Result<(f64, f64)> {
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
