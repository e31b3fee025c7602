//! Candidates from word vectors, for words of several tokens.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use tch::{Device, IndexOp, Kind, Tensor};

use super::vocabulary::Vocabulary;
use super::{glove, library};
use crate::arch::{Head, Pooling};
use crate::checkpoint;
use crate::data::Encoder;

/// Words that are compared with all vectors at once.
const BATCH: usize = 64;
/// So many more neighbours are found in single precision than are wanted; the order among them is then found again in
/// double precision, where it does not depend on threads or batches.
const SPARE: usize = 16;

/// Where the vector of a word comes from.
enum Source {
    /// A list of words: their rows.
    Listed(HashMap<String, usize>),
    /// The mean of the embeddings of the word's pieces.
    Pieces { encoder: Box<Encoder>, embeddings: Tensor },
}

/// Word vectors and their neighbours.
pub(super) struct WordVectors {
    words: Vec<String>,
    /// `[words, dimensions]`, each of length 1.
    rows: Tensor,
    source: Source,
    /// Neighbours by word, for one number of them.
    known: Mutex<(usize, HashMap<String, Vec<String>>)>,
}

impl WordVectors {
    /// A file of words and numbers, as GloVe's.
    pub(super) fn of_file(path: &Path, device: Device) -> Result<Self> {
        let glove::Vectors { words, values, dimensions } = glove::read(path)?;
        let rows = Tensor::from_slice(&values).view([-1, dimensions as i64]).to_device(device);
        let listed = words.iter().enumerate().map(|(row, word)| (word.clone(), row)).collect();
        Ok(Self { rows: unit(&rows), words, source: Source::Listed(listed), known: Mutex::default() })
    }

    /// The token embeddings of a model folder.
    pub(super) fn of_model(folder: &Path, device: Device) -> Result<Self> {
        // The head reads no parameters, and the encoder's pooler may be missing.
        let head = Head::Embedding { pooling: Pooling::Mean, normalize: false };
        let loaded = checkpoint::load(folder, head, device)?;
        let embeddings = loaded.params.get("embeddings.words.weight").context("the model has no token embeddings")?;
        let path = checkpoint::tokenizer_path(folder)?;
        let encoder = Encoder::new(&path, loaded.config.max_positions(), loaded.config.vocab_size)?;
        let vocabulary = Vocabulary::new(encoder.tokenizer());
        Self::of_embeddings(embeddings, encoder, &vocabulary)
    }

    /// Embeddings of tokens, `[vocabulary, dimensions]`: neighbours are tokens that are whole words.
    pub(super) fn of_embeddings(embeddings: &Tensor, encoder: Encoder, vocabulary: &Vocabulary) -> Result<Self> {
        let whole = vocabulary.whole_words();
        let ids: Vec<i64> = whole.iter().map(|(id, _)| i64::from(*id)).collect();
        let words = whole.into_iter().map(|(_, word)| word.to_owned()).collect();
        let embeddings = embeddings.detach();
        let rows = embeddings.index_select(0, &Tensor::from_slice(&ids).to_device(embeddings.device()));
        let source = Source::Pieces { encoder: Box::new(encoder), embeddings };
        Ok(Self { rows: unit(&rows), words, source, known: Mutex::default() })
    }

    /// The `count` nearest words by cosine of each word, the nearest first, without the word itself in any case. None
    /// for a word without vector.
    pub(super) fn nearest(&self, words: &[&str], count: usize) -> Result<Vec<Vec<String>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != count {
            *known = (count, HashMap::new());
        }
        let mut fresh: Vec<&str> = words.iter().copied().filter(|word| !known.1.contains_key(*word)).collect();
        fresh.sort_unstable();
        fresh.dedup();
        let mut vectors = Vec::new();
        for word in fresh {
            match self.vector(word)? {
                Some(vector) if !self.words.is_empty() => vectors.push((word, vector)),
                _ => {
                    known.1.insert(word.to_owned(), vec![]);
                }
            }
        }
        for batch in vectors.chunks(BATCH) {
            let queries = Tensor::stack(&batch.iter().map(|(_, vector)| vector).collect::<Vec<_>>(), 0);
            let within = (count + SPARE).min(self.words.len()) as i64;
            let (_, ids) = queries.matmul(&self.rows.tr()).topk(within, -1, true, true);
            for (row, (word, vector)) in batch.iter().enumerate() {
                known.1.insert((*word).to_owned(), self.exact(word, vector, &ids.i(row as i64), count)?);
            }
        }
        Ok(words.iter().map(|word| known.1.get(*word).cloned().unwrap_or_default()).collect())
    }

    /// The nearest of a few rows.
    fn exact(&self, word: &str, vector: &Tensor, ids: &Tensor, count: usize) -> Result<Vec<String>> {
        let numbers = |tensor: &Tensor| tensor.to_kind(Kind::Double).to_device(Device::Cpu);
        let rows: Vec<Vec<f64>> = Vec::try_from(numbers(&self.rows.index_select(0, ids)))?;
        let vector: Vec<f64> = Vec::try_from(numbers(vector))?;
        let ids: Vec<i64> = Vec::try_from(ids.to_device(Device::Cpu))?;
        let cosine = |row: &Vec<f64>| row.iter().zip(&vector).map(|(a, b)| a * b).sum::<f64>();
        let mut near: Vec<(f64, i64)> = rows.iter().map(cosine).zip(ids).collect();
        near.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let own = word.to_lowercase();
        let others =
            near.into_iter().map(|(_, id)| &self.words[id as usize]).filter(|other| other.to_lowercase() != own);
        Ok(others.take(count).cloned().collect())
    }

    /// `[dimensions]`, of length 1.
    fn vector(&self, word: &str) -> Result<Option<Tensor>> {
        Ok(match &self.source {
            Source::Listed(rows) => {
                let row = rows.get(word).or_else(|| rows.get(&word.to_lowercase()));
                row.map(|&row| self.rows.get(row as i64))
            }
            Source::Pieces { encoder, embeddings } => {
                // Inside a text a word follows a space, which some tokenizers mark.
                let tokens = encoder.tokenizer().encode(format!(" {word}"), false).map_err(library)?;
                let ids: Vec<i64> = tokens.get_ids().iter().map(|&id| i64::from(id)).collect();
                if ids.is_empty() {
                    return Ok(None);
                }
                let pieces = embeddings.index_select(0, &Tensor::from_slice(&ids).to_device(embeddings.device()));
                Some(unit(&pieces.mean_dim([0i64].as_slice(), true, Kind::Float)).squeeze_dim(0))
            }
        })
    }
}

/// Rows `[n, dimensions]` scaled to length 1; a row of zeros stays.
fn unit(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2.0, [1i64].as_slice(), true).clamp_min(1e-12)
}
