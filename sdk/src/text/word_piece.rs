//! WordPiece with a vocabulary that is small in memory.
//!
//! The library keeps a vocabulary as two maps with a string of its own for each token on both sides, about 6 MB for
//! 30,000 tokens: more than all else that a small model allocates. Here the tokens stand in one string, and a token costs
//! some 20 bytes beside its text. What it gives is the library's to the last token, which tests compare.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use tokenizers::models::wordpiece::WordPieceTrainer;
use tokenizers::{Model, Token};

/// The model of a `tokenizer.json` whose type is `WordPiece` (Wu 2016; the greedy longest match of BERT).
#[derive(Debug, serde::Deserialize)]
pub(super) struct WordPiece {
    #[serde(rename = "type", default)]
    _kind: Kind,
    vocab: Vocabulary,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
}

/// Files of old do not say it.
#[derive(Debug, Default, serde::Deserialize)]
enum Kind {
    #[default]
    WordPiece,
}

/// No slot is used yet.
const FREE: u32 = u32::MAX;

/// Tokens with their ids.
struct Vocabulary {
    /// The tokens, one after the other.
    texts: String,
    /// Where each ends there.
    ends: Vec<u32>,
    ids: Vec<u32>,
    /// The numbers of the tokens by id.
    by_id: Vec<u32>,
    /// The numbers of the tokens, each at its hash or behind it; a power of two, at most half full.
    slots: Vec<u32>,
    hashes: RandomState,
    longest: usize,
}

/// The hash of a text by its characters, so that it can be had of every beginning of a word in one go.
struct Walk(<RandomState as BuildHasher>::Hasher);

impl Walk {
    fn over(hashes: &RandomState, text: &str) -> Self {
        let mut walk = Self(hashes.build_hasher());
        text.chars().for_each(|c| walk.step(c));
        walk
    }

    fn step(&mut self, c: char) {
        self.0.write_u32(c.into());
    }

    fn hash(&self) -> u64 {
        self.0.finish()
    }
}

impl Vocabulary {
    fn text(&self, number: u32) -> &str {
        let number = number as usize;
        let start = if number == 0 { 0 } else { self.ends[number - 1] as usize };
        &self.texts[start..self.ends[number] as usize]
    }

    /// The token that is `prefix` and `rest` together, whose hash that is.
    fn find(&self, hash: u64, prefix: &str, rest: &str) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at] != FREE {
            if self.text(self.slots[at]).strip_prefix(prefix) == Some(rest) {
                return Some(self.slots[at]);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn id(&self, text: &str) -> Option<u32> {
        self.find(Walk::over(&self.hashes, text).hash(), "", text).map(|number| self.ids[number as usize])
    }

    /// Puts the tokens into their slots. Of several with one text the last counts, as in a map.
    fn index(&mut self) {
        self.texts.shrink_to_fit();
        self.ends.shrink_to_fit();
        self.ids.shrink_to_fit();
        self.slots = vec![FREE; (self.ends.len() * 2).next_power_of_two().max(2)];
        let mask = self.slots.len() - 1;
        for number in 0..self.ends.len() as u32 {
            let hash = Walk::over(&self.hashes, self.text(number)).hash();
            match self.find(hash, "", self.text(number)) {
                Some(earlier) => self.ids[earlier as usize] = self.ids[number as usize],
                None => {
                    let mut at = hash as usize & mask;
                    while self.slots[at] != FREE {
                        at = (at + 1) & mask;
                    }
                    self.slots[at] = number;
                }
            }
        }
        self.by_id = (0..self.ends.len() as u32).collect();
        self.by_id.sort_by_key(|&number| self.ids[number as usize]);
    }

    fn of_id(&self, id: u32) -> Option<&str> {
        let place = self.by_id.binary_search_by_key(&id, |&number| self.ids[number as usize]).ok()?;
        Some(self.text(self.by_id[place]))
    }
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tokens", self.ends.len())
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a map of tokens to ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut vocabulary = Vocabulary {
                    texts: String::new(),
                    ends: Vec::new(),
                    ids: Vec::new(),
                    by_id: Vec::new(),
                    slots: Vec::new(),
                    hashes: RandomState::new(),
                    longest: 0,
                };
                while let Some((token, id)) = map.next_entry::<std::borrow::Cow<str>, u32>()? {
                    vocabulary.texts += &token;
                    vocabulary.longest = vocabulary.longest.max(token.len());
                    let end = u32::try_from(vocabulary.texts.len()).map_err(A::Error::custom)?;
                    vocabulary.ends.push(end);
                    vocabulary.ids.push(id);
                }
                if u32::try_from(vocabulary.ends.len()).is_ok_and(|count| count < FREE / 4) {
                    vocabulary.index();
                    Ok(vocabulary)
                } else {
                    Err(A::Error::custom("too many tokens"))
                }
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl WordPiece {
    fn unknown(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        let id = self.vocab.id(&self.unk_token);
        let id = id.ok_or("WordPiece error: Missing [UNK] token from the vocabulary")?;
        Ok(vec![Token { id, value: self.unk_token.clone(), offsets: (0, word.len()) }])
    }
}

impl Model for WordPiece {
    type Trainer = WordPieceTrainer;

    /// The longest token that the word begins with, then the longest that the rest begins with, and so on; the unknown
    /// token for the whole word where there is none.
    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        if word.chars().count() > self.max_input_chars_per_word {
            return self.unknown(word);
        }
        let (mut tokens, mut beginnings) = (Vec::new(), Vec::new());
        let mut start = 0;
        while start < word.len() {
            let prefix = if start > 0 { self.continuing_subword_prefix.as_str() } else { "" };
            let mut walk = Walk::over(&self.vocab.hashes, prefix);
            beginnings.clear();
            for (at, c) in word[start..].char_indices() {
                let end = at + c.len_utf8();
                if prefix.len() + end > self.vocab.longest {
                    break;
                }
                walk.step(c);
                beginnings.push((end, walk.hash()));
            }
            let found = beginnings.iter().rev().find_map(|&(end, hash)| {
                let number = self.vocab.find(hash, prefix, &word[start..start + end])?;
                Some((number, start + end))
            });
            let Some((number, end)) = found else { return self.unknown(word) };
            let (id, value) = (self.vocab.ids[number as usize], self.vocab.text(number).to_owned());
            tokens.push(Token { id, value, offsets: (start, end) });
            start = end;
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.vocab.id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        self.vocab.of_id(id).map(str::to_owned)
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        let all = 0..self.vocab.ends.len() as u32;
        all.map(|number| (self.vocab.text(number).to_owned(), self.vocab.ids[number as usize])).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.vocab.ends.len()
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("a bundle's tokenizer is only read".into())
    }

    fn get_trainer(&self) -> WordPieceTrainer {
        WordPieceTrainer::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use tokenizers::models::wordpiece::WordPiece as Theirs;

    use super::*;

    fn file(vocab: Value, longest_word: usize) -> String {
        json!({"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": longest_word, "vocab": vocab})
        .to_string()
    }

    fn both(file: &str) -> (WordPiece, Theirs) {
        (serde_json::from_str(file).unwrap(), serde_json::from_str(file).unwrap())
    }

    fn same(ours: &WordPiece, theirs: &Theirs, word: &str) {
        match (ours.tokenize(word), theirs.tokenize(word)) {
            (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs, "{word:?}"),
            (Err(_), Err(_)) => {}
            (ours, theirs) => panic!("{word:?}: {ours:?} and {theirs:?}"),
        }
    }

    #[test]
    fn a_real_vocabulary_is_the_librarys() {
        let file: Value = serde_json::from_str(include_str!("../../tests/data/tokenizer.json")).unwrap();
        let (ours, theirs) = both(&file["model"].to_string());
        for word in
            ["film", "films", "filmsfilms", "ÉTÉ", "été", "##s", "s##", "##", "", "漢字", "🙂", "a\u{301}", "goodish"]
        {
            same(&ours, &theirs, word);
        }
        let vocabulary = theirs.get_vocab();
        assert_eq!((ours.get_vocab_size(), ours.get_vocab()), (vocabulary.len(), vocabulary.clone()));
        for (token, id) in vocabulary {
            assert_eq!((ours.token_to_id(&token), ours.id_to_token(id)), (Some(id), Some(token)));
        }
        assert_eq!((ours.token_to_id("not in it"), ours.id_to_token(1 << 30)), (None, None));
    }

    #[test]
    fn files_that_contradict_themselves_are_read_as_the_library_does() {
        // Two ids for one token: the last counts. Ids far apart. No unknown token.
        let text = file(json!({"[UNK]": 7, "a": 4_000_000_000u32, "##b": 2}), 5).replace("\"a\":", "\"a\":1,\"a\":");
        let (ours, theirs) = both(&text);
        assert_eq!(ours.token_to_id("a"), theirs.token_to_id("a"));
        for word in ["a", "ab", "abb", "abbb", "abbbb", "abbbbb", "b", "ba", "##b"] {
            same(&ours, &theirs, word);
        }
        let (ours, theirs) = both(&file(json!({"a": 1}), 100));
        assert!(ours.tokenize("b").is_err() && theirs.tokenize("b").is_err());
        let (ours, theirs) = both(&file(json!({}), 100));
        same(&ours, &theirs, "");
        same(&ours, &theirs, "a");
        for wrong in ["{}", "[]", "{\"type\":\"WordLevel\"}"] {
            assert!(serde_json::from_str::<WordPiece>(wrong).is_err(), "{wrong}");
        }
        let other = file(json!({"a": 1}), 100).replace("\"WordPiece\"", "\"WordLevel\"");
        assert!(serde_json::from_str::<WordPiece>(&other).is_err());
    }

    proptest! {
        #[test]
        fn any_words_over_any_vocabulary(
            tokens in proptest::collection::hash_set("(##|#)?[abé🙂#]{0,4}", 0..40),
            words in proptest::collection::vec("[abé🙂#c]{0,12}", 1..20),
            longest in 0usize..14,
            unknown in any::<bool>(),
        ) {
            let mut vocab: serde_json::Map<String, Value> =
                tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
            if unknown {
                vocab.insert("[UNK]".to_owned(), json!(tokens.len()));
            }
            let (ours, theirs) = both(&file(vocab.into(), longest));
            for word in &words {
                same(&ours, &theirs, word);
            }
        }
    }
}
