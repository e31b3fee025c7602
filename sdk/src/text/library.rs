//! A tokenizer of the library, over a vocabulary of our own where it is WordPiece's.

use std::collections::HashMap;

use tokenizers::{
    AddedToken, DecoderWrapper, Encoding, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper, Result,
    Tokenizer, TokenizerImpl,
};

use super::word_piece::WordPiece;

type WithWordPiece =
    TokenizerImpl<WordPiece, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// All that is asked of a tokenizer.
#[derive(Debug)]
pub(super) enum Library {
    WordPiece(Box<WithWordPiece>),
    Other(Box<Tokenizer>),
}

macro_rules! each {
    ($self:expr, $tokenizer:ident => $call:expr) => {
        match $self {
            Library::WordPiece($tokenizer) => $call,
            Library::Other($tokenizer) => $call,
        }
    };
}

impl Library {
    /// Reads a `tokenizer.json` and switches its truncation and padding off.
    ///
    /// WordPiece is tried first, by itself: among the other models the library finds it only after it has made a tree of
    /// the whole vocabulary, which takes most of the time that a small model needs to open.
    pub(super) fn read(json: &[u8]) -> Result<Self> {
        let mut this = match serde_json::from_slice::<WithWordPiece>(json) {
            Ok(tokenizer) => Self::WordPiece(Box::new(tokenizer)),
            Err(_) => Self::Other(Box::new(Tokenizer::from_bytes(json)?)),
        };
        each!(&mut this, tokenizer => {
            tokenizer.with_padding(None);
            tokenizer.with_truncation(None)?;
        });
        Ok(this)
    }

    pub(super) fn encode(&self, text: &str, special: bool) -> Result<Encoding> {
        each!(self, tokenizer => tokenizer.encode(text, special))
    }

    /// Without offsets.
    pub(super) fn encode_fast(&self, text: &str) -> Result<Encoding> {
        each!(self, tokenizer => tokenizer.encode_fast(text, false))
    }

    pub(super) fn decode(&self, ids: &[u32]) -> Result<String> {
        each!(self, tokenizer => tokenizer.decode(ids, true))
    }

    pub(super) fn id_to_token(&self, id: u32) -> Option<String> {
        each!(self, tokenizer => tokenizer.id_to_token(id))
    }

    /// One more than the largest id. Ids may have gaps.
    pub(super) fn id_count(&self) -> u32 {
        let vocabulary = each!(self, tokenizer => tokenizer.get_vocab(true));
        vocabulary.values().max().map_or(0, |&last| last.saturating_add(1))
    }

    /// Tokens beside the model's vocabulary, by id.
    pub(super) fn added_tokens(&self) -> HashMap<u32, AddedToken> {
        each!(self, tokenizer => tokenizer.get_added_tokens_decoder().into_iter().collect())
    }

    /// Whether tokens are bytes in printable characters.
    pub(super) fn is_byte_level(&self) -> bool {
        each!(self, tokenizer => matches!(tokenizer.get_decoder(), Some(DecoderWrapper::ByteLevel(_))))
    }

    /// One encoding or two with the special tokens around them.
    pub(super) fn frame(&self, first: Encoding, second: Option<Encoding>) -> Result<Encoding> {
        each!(self, tokenizer => tokenizer.post_process(first, second, true))
    }

    /// Whether tokens of this tokenizer never cross white space and do not depend on what stands beyond it.
    pub(super) fn splits_at_spaces(&self) -> bool {
        let Self::WordPiece(tokenizer) = self else { return false };
        matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)))
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
        assert!(matches!(ours, Library::WordPiece(_)));
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
        assert!(matches!(ours, Library::Other(_)) && !ours.splits_at_spaces());
        assert_eq!(ours.id_to_token(1).as_deref(), Some("film"));
        assert_eq!(ours.encode_fast("film film").unwrap().get_ids(), [1, 1]);
    }
}
