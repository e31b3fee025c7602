//! Which tokens of a tokenizer are words.

use std::collections::HashMap;

use tokenizers::{ModelWrapper, Tokenizer};

/// A token that can stand as a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WordToken {
    /// As it is written in a text.
    pub text: String,
    /// Whether it begins a word: no `##` piece, or with the mark of a space before it (`▁`, `Ġ`). Tokenizers with such
    /// a mark have tokens without it for words that follow punctuation or begin a text, and the same ones for the
    /// inside of words.
    pub begins: bool,
}

/// Tokens that can stand as words, by id. Special tokens are none, nor are those in brackets (`[unused7]`), `##` pieces
/// and pieces of characters.
pub(super) struct Vocabulary(HashMap<u32, WordToken>);

impl Vocabulary {
    pub(super) fn new(tokenizer: &Tokenizer) -> Self {
        let ids = tokenizer.get_vocab(true);
        let added = tokenizer.get_added_tokens_decoder();
        let special = |id: &u32, token: &str| {
            let bracketed = |open, close| token.len() > 2 && token.starts_with(open) && token.ends_with(close);
            bracketed('[', ']') || bracketed('<', '>') || added.get(id).is_some_and(|token| token.special)
        };
        let marked = |mark: char| ids.keys().filter(|token| token.starts_with(mark)).count();
        let mark = if marked('\u{120}') > marked('\u{2581}') { '\u{120}' } else { '\u{2581}' };
        let word = |id: u32, token: &str| match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => (!token.starts_with(&model.continuing_subword_prefix))
                .then(|| WordToken { text: token.to_owned(), begins: true }),
            ModelWrapper::WordLevel(_) => Some(WordToken { text: token.to_owned(), begins: true }),
            ModelWrapper::BPE(_) | ModelWrapper::Unigram(_) => {
                let text = tokenizer.decode(&[id], false).ok()?;
                Some(WordToken { text: text.trim().to_owned(), begins: token.starts_with(mark) })
            }
        };
        let tokens = ids.iter().filter(|(token, id)| !special(id, token)).filter_map(|(token, &id)| {
            let word = word(id, token)?;
            // A part of a character is decoded to U+FFFD.
            let sound = |c: char| !c.is_whitespace() && !c.is_control() && c != char::REPLACEMENT_CHARACTER;
            (!word.text.is_empty() && word.text.chars().all(sound)).then_some((id, word))
        });
        Self(tokens.collect())
    }

    /// The word that a token is, if it is one.
    pub(super) fn word(&self, id: u32) -> Option<&WordToken> {
        self.0.get(&id)
    }

    /// Ids and words of tokens that begin a word and have letters only, by id.
    pub(super) fn whole_words(&self) -> Vec<(u32, &str)> {
        let letters = |word: &WordToken| word.begins && word.text.chars().all(char::is_alphabetic);
        let mut words: Vec<_> = self.0.iter().filter(|(_, word)| letters(word)).collect();
        words.sort_unstable_by_key(|(id, _)| **id);
        words.into_iter().map(|(&id, word)| (id, word.text.as_str())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_words_from_pieces() {
        let tokenizer = |decoder: &str, vocab: &str| {
            let json = format!(
                r#"{{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
                "post_processor": null, "decoder": {decoder},
                "added_tokens": [{{"id": 0, "content": "MASK", "single_word": false, "lstrip": false, "rstrip": false,
                                   "normalized": false, "special": true}}],
                "model": {{"type": "BPE", "merges": [], "vocab": {vocab}}}}}"#
            );
            json.parse::<Tokenizer>().unwrap()
        };
        let bytes = r#"{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}"#;
        let own = tokenizer(bytes, r#"{"MASK": 0, "Ġfilm": 1, "film": 2, "Ã": 3, "Ġca": 4, "ĠcafÃ©": 5, "<s>": 6}"#);
        let words = Vocabulary::new(&own);
        let word = |text: &str, begins| Some(WordToken { text: text.into(), begins });
        assert_eq!(words.word(1), word("film", true).as_ref());
        assert_eq!(words.word(2), word("film", false).as_ref());
        assert_eq!(words.word(5), word("caf\u{e9}", true).as_ref());
        assert!([0, 3, 6, 9].iter().all(|&id| words.word(id).is_none()));
        assert_eq!(words.whole_words(), [(1, "film"), (4, "ca"), (5, "caf\u{e9}")]);
        let metaspace = r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}"#;
        let words = Vocabulary::new(&tokenizer(metaspace, r#"{"MASK": 0, "▁film": 1, "film": 2, "▁": 3}"#));
        assert_eq!((words.word(1), words.word(2)), (word("film", true).as_ref(), word("film", false).as_ref()));
        assert!(words.word(3).is_none());
    }
}
