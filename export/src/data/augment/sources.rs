//! Where candidates come from.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result};
use tch::Device;

use super::masked::MaskedWords;
use super::vectors::WordVectors;
use super::words::{in_case_of, replaceable_words};
use super::{AugmentOptions, Replaceable};
use crate::checkpoint;
use crate::data::Encoder;
use crate::files;

/// Whose vectors tell the neighbours of words that are several tokens.
#[derive(Clone, Copy, Debug)]
pub enum VectorsFrom<'a> {
    /// The token embeddings of the masked language model.
    MaskedLm,
    /// The token embeddings of a Hugging Face folder: a word's vector is the mean of its pieces', its neighbours are
    /// tokens that are whole words.
    Model(&'a Path),
    /// A file of words and numbers, such as GloVe's, which the paper used. Its first 100,000 lines count.
    File(&'a Path),
}

/// A masked language model and word vectors.
pub struct Sources {
    pub(super) masked: MaskedWords,
    vectors: WordVectors,
    identity: String,
    names: (String, String),
}

impl Sources {
    /// Reads both. `masked_lm` is a Hugging Face folder with a masked-LM head.
    ///
    /// # Errors
    /// A folder without such a head, tokenizer or mask token; a broken file of vectors, by line.
    pub fn load(masked_lm: &Path, vectors: VectorsFrom, device: Device) -> Result<Self> {
        let masked = MaskedWords::load(masked_lm, device)?;
        let (hash, path) = match vectors {
            VectorsFrom::MaskedLm => (String::new(), masked_lm),
            VectorsFrom::Model(folder) => (checkpoint::model_sha256(folder)?, folder),
            VectorsFrom::File(path) => (files::sha256_file(path)?, path),
        };
        let vectors = match vectors {
            VectorsFrom::MaskedLm => {
                let (config, _) = checkpoint::read_shape(masked_lm)?;
                let tokenizer = checkpoint::tokenizer_path(masked_lm)?;
                let encoder = Encoder::new(&tokenizer, config.max_positions(), config.vocab_size)?;
                WordVectors::of_embeddings(&masked.embeddings, encoder, &masked.vocabulary)
            }
            VectorsFrom::Model(folder) => WordVectors::of_model(folder, device),
            VectorsFrom::File(path) => WordVectors::of_file(path, device),
        }?;
        let identity = files::sha256_hex((checkpoint::model_sha256(masked_lm)? + &hash).as_bytes());
        let name = |path: &Path| path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        Ok(Self { masked, vectors, identity, names: (name(masked_lm), name(path)) })
    }

    /// A hash of all that decides the candidates besides the options: weights, tokenizers, vectors.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The names of the masked language model's folder and of the folder or file of the vectors.
    pub fn names(&self) -> (&str, &str) {
        (&self.names.0, &self.names.1)
    }

    /// The words of a text that may be replaced, and by what.
    ///
    /// # Errors
    /// Settings that make no sense; a text that cannot be tokenized.
    pub fn replaceable(&self, text: &str, options: &AugmentOptions) -> Result<Vec<Replaceable>> {
        options.check()?;
        let found = self.find(&[(text, replaceable_words(text)?)], options, &|_, _| {})?;
        found.into_iter().next().context("nothing was found for the text")
    }

    /// The candidates of words of texts. `progress` hears of words done and words in all.
    pub(super) fn find(
        &self,
        texts: &[(&str, Vec<Range<usize>>)],
        options: &AugmentOptions,
        progress: &dyn Fn(usize, usize),
    ) -> Result<Vec<Vec<Replaceable>>> {
        let found = self.masked.candidates(texts, options, progress)?;
        let each = || {
            texts.iter().zip(&found).flat_map(|((text, words), found)| {
                words.iter().zip(found).map(|(word, found)| (&text[word.clone()], found))
            })
        };
        let several: Vec<&str> = each().filter(|(_, found)| found.is_none()).map(|(word, _)| word).collect();
        let mut nearest = self.vectors.nearest(&several, options.candidates)?.into_iter();
        let replaceable = texts.iter().zip(found).map(|((text, words), found)| {
            let one = |(range, found): (&Range<usize>, Option<Vec<String>>)| {
                let word = &text[range.clone()];
                let candidates = found.or_else(|| nearest.next()).unwrap_or_default();
                let candidates = candidates.iter().map(|candidate| in_case_of(word, candidate)).collect();
                Replaceable { start: range.start, end: range.end, candidates }
            };
            words.iter().zip(found).map(one).collect()
        });
        Ok(replaceable.collect())
    }
}
