//! Copies of a text with some of its words replaced.

use std::collections::HashSet;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{AugmentOptions, Replaceable};
use crate::data::{TaggedText, TaggedWord};

/// A text with some words replaced.
pub(super) struct Copy<'a> {
    pub text: String,
    /// The words that were drawn, and for what.
    edits: Vec<(&'a Replaceable, &'a str)>,
}

/// The random numbers of one text: the same whatever other texts there are. `side` is 1 for the second of a pair.
pub(super) fn numbers(seed: u64, row: usize, side: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(row as u64 * 2 + side);
    rng
}

/// Draws `options.copies` copies of `text` (Jiao 2020, algorithm 1): each word with candidates gives way to one of them,
/// all equally likely, with `options.probability`. Copies that equal the text or an earlier copy are left out.
pub(super) fn draw<'a>(
    text: &str,
    words: &'a [Replaceable],
    options: &AugmentOptions,
    rng: &mut ChaCha8Rng,
) -> Vec<Copy<'a>> {
    let mut seen = HashSet::from([text.to_owned()]);
    let mut copies = Vec::new();
    for _ in 0..options.copies {
        let mut edits = Vec::new();
        for word in words.iter().filter(|word| !word.candidates.is_empty()) {
            if rng.random_bool(options.probability) {
                // 32 bits, so that machines of any width draw the same.
                let chosen = rng.random_range(0..word.candidates.len() as u32) as usize;
                edits.push((word, word.candidates[chosen].as_str()));
            }
        }
        let copy = Copy { text: written(text, &edits), edits };
        if seen.insert(copy.text.clone()) {
            copies.push(copy);
        }
    }
    copies
}

/// `text` with `edits`, which are in order; every other byte stays.
fn written(text: &str, edits: &[(&Replaceable, &str)]) -> String {
    let mut copy = String::with_capacity(text.len() + 8 * edits.len());
    let mut done = 0;
    for (word, candidate) in edits {
        copy += &text[done..word.start];
        copy += candidate;
        done = word.end;
    }
    copy + &text[done..]
}

impl Copy<'_> {
    /// The copy of a tagged text, whose words keep their tags.
    pub(super) fn tagged(self, original: &TaggedText) -> TaggedText {
        let mut edits = self.edits.iter().peekable();
        let mut end_before = (0, 0);
        let words = original.words.iter().map(|word| {
            let length = match edits.next_if(|(edited, _)| edited.start == word.start) {
                Some((_, candidate)) => candidate.len(),
                None => word.end - word.start,
            };
            let start = end_before.1 + (word.start - end_before.0);
            end_before = (word.end, start + length);
            TaggedWord { start, end: start + length, tag: word.tag.clone() }
        });
        let words = words.collect();
        TaggedText { text: self.text, words, source: original.source.clone() }
    }
}
