//! TinyBERT's data augmentation (Jiao 2020, section 3.2 and algorithm 1): copies of a text with some of its words
//! replaced by others that could stand there.
//!
//! A word that is one token of a masked language model's tokenizer is replaced by one of the likeliest tokens in its
//! place, any other by one of the nearest words by cosine of word vectors. Words, and which of them may be replaced, are
//! those of the released `data_augmentation.py`: the letters a to z, outside a stop list. Everything between them stays
//! as it is, to the byte (the released code writes a space between all words).

mod copies;
mod glove;
mod masked;
mod options;
mod sources;
#[cfg(test)]
mod tests;
mod vectors;
mod vocabulary;
mod words;
mod write;

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

pub use options::{AugmentOptions, MaskedContext, PairCopies};
pub use sources::{Sources, VectorsFrom};
pub use write::{Augmentation, identity, record_path, save};

use super::{Example, Rows, TaggedText};
use crate::progress::{Bar, Reporter};
use copies::{draw, numbers};
use words::{replaceable_tagged, replaceable_words};

/// A word of a text that may be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaceable {
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What may stand there, all equally likely; with the word itself, where the model would guess it. None for a word
    /// that stays.
    pub candidates: Vec<String>,
}

/// What was met on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AugmentCounts {
    /// Words of the rows that may be replaced.
    pub words: usize,
    /// Those of them without a candidate.
    pub without_candidates: usize,
    /// Copies that were drawn.
    pub drawn: usize,
    /// Those of them that were left out, being there already.
    pub repeated: usize,
}

/// Augmented rows.
#[derive(Clone, Debug)]
pub struct Augmented {
    /// Each row as it was, then its copies.
    pub rows: Rows,
    /// For each of `rows`, which row it is a copy of, from 0.
    pub origins: Vec<usize>,
    /// What was met on the way.
    pub counts: AugmentCounts,
}

/// Rows whose candidates are found together: enough that batches hold like lengths, few enough to be held.
const POOL: usize = 512;

/// Each row as it is, and after it at most `options.copies` copies with the same label (or tags); of a pair of texts at
/// most as many for each of the two. What a row becomes depends on `sources`, `options`, `seed`, its text and its
/// place, and on nothing else.
///
/// # Errors
/// Settings that make no sense; questions, whose answers would move.
pub fn augment(
    rows: &Rows,
    sources: &Sources,
    options: &AugmentOptions,
    seed: u64,
    reporter: &Reporter,
) -> Result<Rows> {
    Ok(augment_with_origins(rows, sources, options, seed, reporter)?.rows)
}

/// [`augment`], with where each row comes from.
///
/// # Errors
/// As [`augment`].
pub fn augment_with_origins(
    rows: &Rows,
    sources: &Sources,
    options: &AugmentOptions,
    seed: u64,
    reporter: &Reporter,
) -> Result<Augmented> {
    options.check()?;
    let bar = reporter.bar("augment", rows.len() as u64, 0);
    let (origins, counts) = (Vec::new(), AugmentCounts::default());
    let mut work = Work { sources, options, seed, bar: &bar, origins, counts };
    let rows = match rows {
        Rows::Texts(rows) => Rows::Texts(work.texts(rows)?),
        Rows::Tagged(rows) => Rows::Tagged(work.tagged(rows)?),
        Rows::Questions(_) => bail!(
            "questions cannot be augmented: a replaced word may be the answer, or what leads to it; texts, pairs and \
             tagged texts can"
        ),
    };
    bar.finish();
    Ok(Augmented { rows, origins: work.origins, counts: work.counts })
}

/// Errors of the tokenizers crate are no `std::error::Error` that anyhow takes.
fn library(error: tokenizers::Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

struct Work<'a> {
    sources: &'a Sources,
    options: &'a AugmentOptions,
    seed: u64,
    bar: &'a Bar,
    origins: Vec<usize>,
    counts: AugmentCounts,
}

impl Work<'_> {
    /// Candidates for a pool of rows that begins with row `first`.
    fn find(&self, texts: &[(&str, Vec<Range<usize>>)], first: usize, rows: usize) -> Result<Vec<Vec<Replaceable>>> {
        let progress = |done: usize, all: usize| {
            self.bar.advance((first + rows * done / all.max(1)) as u64, "masked words");
        };
        self.sources.find(texts, self.options, &progress)
    }

    fn draw<'w>(&mut self, text: &str, words: &'w [Replaceable], row: usize, side: u64) -> Vec<copies::Copy<'w>> {
        let copies = draw(text, words, self.options, &mut numbers(self.seed, row, side));
        self.counts.words += words.len();
        self.counts.without_candidates += words.iter().filter(|word| word.candidates.is_empty()).count();
        self.counts.drawn += self.options.copies;
        self.counts.repeated += self.options.copies - copies.len();
        copies
    }

    fn texts(&mut self, rows: &[Example]) -> Result<Vec<Example>> {
        let mut out = Vec::with_capacity(rows.len());
        for (first, pool) in rows.chunks(POOL).enumerate().map(|(index, pool)| (index * POOL, pool)) {
            // The same text may stand in many pairs.
            let mut places: HashMap<&str, usize> = HashMap::new();
            let mut distinct = Vec::new();
            for text in pool.iter().flat_map(|row| [Some(&row.text), row.pair.as_ref()]).flatten() {
                if !places.contains_key(text.as_str()) {
                    places.insert(text, distinct.len());
                    distinct.push((text.as_str(), replaceable_words(text)?));
                }
            }
            let found = self.find(&distinct, first, pool.len())?;
            for (index, row) in pool.iter().enumerate() {
                let index = first + index;
                let before = out.len();
                out.push(row.clone());
                for copy in self.draw(&row.text, &found[places[row.text.as_str()]], index, 0) {
                    out.push(Example { text: copy.text, ..row.clone() });
                }
                if let Some(pair) = &row.pair {
                    let beside = match self.options.pairs {
                        PairCopies::Apart => row.text.clone(),
                        PairCopies::BesideLast => out[out.len() - 1].text.clone(),
                    };
                    for copy in self.draw(pair, &found[places[pair.as_str()]], index, 1) {
                        out.push(Example { text: beside.clone(), pair: Some(copy.text), ..row.clone() });
                    }
                }
                self.origins.extend(std::iter::repeat_n(index, out.len() - before));
            }
        }
        Ok(out)
    }

    fn tagged(&mut self, rows: &[TaggedText]) -> Result<Vec<TaggedText>> {
        let mut out = Vec::with_capacity(rows.len());
        for (first, pool) in rows.chunks(POOL).enumerate().map(|(index, pool)| (index * POOL, pool)) {
            let texts = pool.iter().map(|row| Ok((row.text.as_str(), replaceable_tagged(row, self.options.entities)?)));
            let texts = texts.collect::<Result<Vec<_>>>()?;
            let found = self.find(&texts, first, pool.len())?;
            for (index, (row, words)) in pool.iter().zip(&found).enumerate() {
                let before = out.len();
                out.push(row.clone());
                out.extend(self.draw(&row.text, words, first + index, 0).into_iter().map(|copy| copy.tagged(row)));
                self.origins.extend(std::iter::repeat_n(first + index, out.len() - before));
            }
        }
        Ok(out)
    }
}
