//! A tokenizer of the library, over a vocabulary of our own where it is WordPiece's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::value::RawValue;
use tokenizers::models::wordpiece::WordPieceTrainer;
use tokenizers::{
    AddedToken, DecoderWrapper, Encoding, Model, ModelWrapper, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, Token, TokenizerImpl,
};

use super::word_piece::WordPiece;

/// A tokenizer of the library. There is one type of it, because each would be compiled as a whole.
type Inner = TokenizerImpl<Vocabulary, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// All that is asked of a tokenizer.
#[derive(Debug)]
pub(super) struct Library(Box<Inner>);

/// What makes tokens of words.
#[derive(Debug)]
enum Vocabulary {
    WordPiece(WordPiece),
    Other(ModelWrapper),
}

macro_rules! each {
    ($self:expr, $model:ident => $call:expr) => {
        match $self {
            Vocabulary::WordPiece($model) => $call,
            Vocabulary::Other($model) => $call,
        }
    };
}

/// WordPiece is tried first, by itself: among the other models the library finds it only after it has made a tree of the
/// whole vocabulary, which takes most of the time that a small model needs to open.
impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        match serde_json::from_str(json) {
            Ok(word_piece) => Ok(Self::WordPiece(word_piece)),
            Err(_) => serde_json::from_str(json).map(Self::Other).map_err(D::Error::custom),
        }
    }
}

impl Model for Vocabulary {
    type Trainer = WordPieceTrainer;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        each!(self, model => model.tokenize(word))
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        each!(self, model => model.token_to_id(token))
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        each!(self, model => model.id_to_token(id))
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        each!(self, model => model.get_vocab())
    }

    fn get_vocab_size(&self) -> usize {
        each!(self, model => model.get_vocab_size())
    }

    fn save(&self, _: &Path, _: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("a bundle's tokenizer is only read".into())
    }

    fn get_trainer(&self) -> WordPieceTrainer {
        WordPieceTrainer::default()
    }
}

impl Library {
    /// Reads a `tokenizer.json` and switches its truncation and padding off.
    pub(super) fn read(json: &[u8]) -> tokenizers::Result<Self> {
        let mut tokenizer: Box<Inner> = Box::new(serde_json::from_slice(json)?);
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None)?;
        Ok(Self(tokenizer))
    }

    pub(super) fn encode(&self, text: &str, special: bool) -> tokenizers::Result<Encoding> {
        self.0.encode(text, special)
    }

    /// Without offsets.
    pub(super) fn encode_fast(&self, text: &str) -> tokenizers::Result<Encoding> {
        self.0.encode_fast(text, false)
    }

    pub(super) fn decode(&self, ids: &[u32]) -> tokenizers::Result<String> {
        self.0.decode(ids, true)
    }

    pub(super) fn id_to_token(&self, id: u32) -> Option<String> {
        self.0.id_to_token(id)
    }

    /// One more than the largest id. Ids may have gaps.
    pub(super) fn id_count(&self) -> u32 {
        let vocabulary = self.0.get_vocab(true);
        vocabulary.values().max().map_or(0, |&last| last.saturating_add(1))
    }

    /// Tokens beside the model's vocabulary, by id.
    pub(super) fn added_tokens(&self) -> HashMap<u32, AddedToken> {
        self.0.get_added_tokens_decoder().into_iter().collect()
    }

    /// Whether tokens are bytes in printable characters.
    pub(super) fn is_byte_level(&self) -> bool {
        matches!(self.0.get_decoder(), Some(DecoderWrapper::ByteLevel(_)))
    }

    /// One encoding or two with the special tokens around them.
    pub(super) fn frame(&self, first: Encoding, second: Option<Encoding>) -> tokenizers::Result<Encoding> {
        self.0.post_process(first, second, true)
    }

    /// Whether tokens of this tokenizer never cross white space and do not depend on what stands beyond it.
    pub(super) fn splits_at_spaces(&self) -> bool {
        let tokenizer = &self.0;
        matches!(tokenizer.get_model(), Vocabulary::WordPiece(_))
            && matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            // Added tokens are looked for in the raw text, where they may hold spaces.
            && tokenizer
                .get_added_tokens_decoder()
                .values()
                .all(|token| !token.content.is_empty() && !token.content.contains(char::is_whitespace))
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use super::*;

    const JSON: &str = include_str!("../../tests/data/tokenizer.json");

    /// The library itself on the same file, with truncation and padding off.
    fn theirs(json: &[u8]) -> Tokenizer {
        let mut theirs = Tokenizer::from_bytes(json).unwrap();
        theirs.with_padding(None).with_truncation(None).unwrap();
        theirs
    }

    fn same(json: &[u8], texts: impl Iterator<Item = String>) {
        let (ours, theirs) = (Library::read(json).unwrap(), theirs(json));
        assert!(matches!(ours.0.get_model(), Vocabulary::WordPiece(_)));
        for text in texts {
            let encoding = ours.encode(&text, true).unwrap();
            let expected = theirs.encode(text.as_str(), true).unwrap();
            assert_eq!(encoding, expected, "{text:?}");
            assert_eq!(ours.encode_fast(&text).unwrap().get_ids(), theirs.encode_fast(text, false).unwrap().get_ids());
            assert_eq!(ours.decode(encoding.get_ids()).unwrap(), theirs.decode(expected.get_ids(), true).unwrap());
        }
    }

    /// Texts of pieces that tokenizers care about, some of them letters in a row.
    fn texts(count: u64) -> impl Iterator<Item = String> {
        const PIECES: [&str; 24] = [
            "the ", "film", "s", "un", "believ", "able ", "ÉTÉ ", "e\u{301}", "漢字", "🙂", "[SEP]", "[MASK] ",
            "##ing", ". ", "'", "-", "\u{200d}", "\0", "\t", "1984", "ß", "İ", " ", "q",
        ];
        let mut state = 7u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        (0..count).map(move |_| (0..next() % 12).map(|_| PIECES[next() % PIECES.len()]).collect())
    }

    #[test]
    fn encodings_are_the_librarys() {
        same(JSON.as_bytes(), texts(2000));
    }

    /// `LIMBECK_TEACHER=FOLDER cargo test -p limbeck --lib real_tokenizer -- --ignored`
    #[test]
    #[ignore = "needs a real model's tokenizer"]
    fn encodings_of_a_real_tokenizer_are_the_librarys() {
        let folder = std::path::PathBuf::from(std::env::var_os("LIMBECK_TEACHER").unwrap());
        same(&std::fs::read(folder.join("tokenizer.json")).unwrap(), texts(100_000));
    }

    #[test]
    fn other_models_are_the_librarys_own() {
        let mut other: serde_json::Value = serde_json::from_str(JSON).unwrap();
        other["model"] =
            serde_json::json!({"type": "WordLevel", "vocab": {"[UNK]": 0, "film": 1}, "unk_token": "[UNK]"});
        let ours = Library::read(other.to_string().as_bytes()).unwrap();
        assert!(matches!(ours.0.get_model(), Vocabulary::Other(_)) && !ours.splits_at_spaces());
        assert_eq!(ours.id_to_token(1).as_deref(), Some("film"));
        assert_eq!(ours.encode_fast("film film").unwrap().get_ids(), [1, 1]);
    }
}
