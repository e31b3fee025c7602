//! A text as tokens.

use std::ops::Range;

/// The tokens of one text, without special tokens around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each token its bytes in the text; whole characters. Empty if nobody asked for them.
    pub offsets: Vec<Range<usize>>,
    /// For each token the word it belongs to: numbers that grow by one from word to word. Empty if nobody
    /// asked for them.
    pub words: Vec<usize>,
}

impl Encoded {
    /// The tokens of the word that holds token `at`.
    pub(crate) fn word_of(&self, at: usize) -> Range<usize> {
        let Some(word) = self.words.get(at) else { return at..at };
        let same = |other: &&usize| *other == word;
        let before = self.words[..at].iter().rev().take_while(same).count();
        let after = self.words[at..].iter().take_while(same).count();
        at - before..at + after
    }

    /// The bytes from the first to the last of some tokens.
    pub(crate) fn bytes_of(&self, tokens: Range<usize>) -> Range<usize> {
        let Some(offsets) = self.offsets.get(tokens).filter(|offsets| !offsets.is_empty()) else { return 0..0 };
        let start = offsets.iter().map(|range| range.start).min().unwrap_or(0);
        let end = offsets.iter().map(|range| range.end).max().unwrap_or(0);
        start..end
    }
}

/// The tokens of one text, as the model would read them if it took texts of
/// any length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tokens {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// For each token where it stands in the text, in bytes. Special tokens
    /// that stand for no text have an empty range at 0.
    pub offsets: Vec<Range<usize>>,
    /// Whether each token was put there by the tokenizer and stands for no
    /// text.
    pub special: Vec<bool>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bytes_of_tokens() {
        let text = Encoded { ids: vec![7; 4], offsets: vec![0..2, 2..3, 4..6, 4..8], words: vec![0, 0, 1, 1] };
        assert_eq!(text.word_of(1), 0..2);
        assert_eq!(text.word_of(2), 2..4);
        assert_eq!(text.bytes_of(1..3), 2..6);
        assert_eq!(text.bytes_of(0..4), 0..8);
        assert_eq!(text.bytes_of(2..2), 0..0);
        assert_eq!(text.bytes_of(3..9), 0..0);
    }
}
