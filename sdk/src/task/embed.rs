//! Sentence embeddings: texts as vectors that are near each other where the texts mean the like.

use std::time::Instant;

use serde::Serialize;

use super::classify::mean;
use super::options::{Usage, call_options};
use super::reading::{Detail, read_one, require};
use super::rows;
use crate::bundle::Task;
use crate::post::pooling::{dot, normalize, pool};
use crate::post::softmax::descending;
use crate::{Cancel, Error, Model, Overflow, Result};

/// Options of an embedding call.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EmbedOptions {
    /// What to do with a text that is too long. Default: truncate, and report it. Windows are put together by
    /// the mean of their vectors, each weighted by the number of its tokens, before vectors are normalized.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

call_options!(EmbedOptions);

/// A text as a vector.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Embedding {
    /// As many values as the manifest's `embedding.dimensions`, of length 1 if it says `normalize`.
    pub vector: Vec<f32>,
    /// What was read and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

impl Model {
    /// The vector of one text with the default options.
    ///
    /// # Errors
    /// Those of [`embed_with`](Model::embed_with).
    pub fn embed(&self, text: &str) -> Result<Embedding> {
        self.embed_with(text, &EmbedOptions::default())
    }

    /// The vector of one text.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model makes no embeddings; else those of
    /// [`classify_with`](Model::classify_with).
    pub fn embed_with(&self, text: &str, options: &EmbedOptions) -> Result<Embedding> {
        super::only(self.embed_batch(&[text], options)?)
    }

    /// The vectors of many texts, in their order.
    ///
    /// # Errors
    /// Those of [`embed_with`](Model::embed_with); the first error ends the whole call.
    pub fn embed_batch(&self, texts: &[&str], options: &EmbedOptions) -> Result<Vec<Embedding>> {
        require(self, &[Task::SentenceEmbedding], "sentence-embedding")?;
        let manifest = self.bundle().manifest();
        let no_embedding = || Error::Internal("an embedding model without dimensions".to_owned());
        let spec = manifest.embedding.as_ref().ok_or_else(no_embedding)?;
        let pooled = manifest.outputs.first().is_some_and(|output| output.axes.len() == 2);
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = texts
            .iter()
            .map(|text| read_one(self, text, Detail::Ids, options.overflow, &limits, &mut rows))
            .collect::<Result<Vec<_>>>()?;
        let outcomes = rows::run(self, &rows, &limits, |_, output| {
            let values = output.values(0);
            Ok(if pooled { values.to_vec() } else { pool(values, spec.dimensions, spec.pooling) })
        })?;
        Ok(readings
            .iter()
            .map(|reading| {
                let (mut vector, mut usage) = mean(reading, &outcomes);
                let start = Instant::now();
                if spec.normalize {
                    normalize(&mut vector);
                }
                usage.timings.post = start.elapsed();
                Embedding { vector, usage }
            })
            .collect())
    }
}

/// The cosine of the angle between two vectors: 1 for the same direction, 0 for a right angle; 0 also if one of
/// them is zero.
///
/// # Errors
/// [`Error::InvalidArgument`] if the vectors have different lengths.
pub fn similarity(a: &[f32], b: &[f32]) -> Result<f32> {
    if a.len() != b.len() {
        return Err(Error::InvalidArgument(format!(
            "vectors of {} and {} values cannot be compared: take both from the same model",
            a.len(),
            b.len()
        )));
    }
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    Ok(if lengths > 0.0 { (dot(a, b) / lengths).clamp(-1.0, 1.0) as f32 } else { 0.0 })
}

/// One of many vectors, by its place, with its [`similarity`] to a query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Neighbour {
    /// Place in the list that was searched.
    pub index: usize,
    /// Cosine similarity.
    pub similarity: f32,
}

/// The `k` vectors most similar to `query`, the nearest first.
///
/// # Errors
/// [`Error::InvalidArgument`] if a vector has another length than the query.
pub fn nearest<V: AsRef<[f32]>>(query: &[f32], vectors: &[V], k: usize) -> Result<Vec<Neighbour>> {
    let similarities = vectors.iter().map(|vector| similarity(query, vector.as_ref())).collect::<Result<Vec<_>>>()?;
    let neighbour = |index: usize| Some(Neighbour { index, similarity: *similarities.get(index)? });
    Ok(descending(&similarities).into_iter().take(k).filter_map(neighbour).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similarity_is_the_cosine() {
        assert_eq!(similarity(&[2.0, 0.0], &[5.0, 0.0]).unwrap(), 1.0);
        assert_eq!(similarity(&[2.0, 0.0], &[0.0, 1.0]).unwrap(), 0.0);
        assert_eq!(similarity(&[1.0, 1.0], &[-1.0, -1.0]).unwrap(), -1.0);
        assert_eq!(similarity(&[0.0, 0.0], &[1.0, 0.0]).unwrap(), 0.0);
        assert!(similarity(&[1.0], &[1.0, 2.0]).is_err());
    }

    #[test]
    fn the_nearest_come_first() {
        let vectors = [[0.0, 1.0], [1.0, 0.1], [1.0, 0.0], [-1.0, 0.0]];
        let found = nearest(&[1.0, 0.0], &vectors, 3).unwrap();
        assert_eq!(found.iter().map(|neighbour| neighbour.index).collect::<Vec<_>>(), [2, 1, 0]);
        assert!(nearest(&[1.0], &vectors, 3).is_err());
        assert!(nearest(&[1.0, 0.0], &[] as &[[f32; 2]], 3).unwrap().is_empty());
    }
}
