//! The tokenizer of a bundle.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;
use tokenizers::{Encoding, Token, Tokenizer};

use super::chunk;
use crate::runtime::limits::Limits;
use crate::{Error, Result};

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

/// Ids of a text without the special tokens around it.
pub(crate) type Ids = Vec<u32>;

/// The special tokens a model wants around one text, and the token types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    before: Vec<(u32, u32)>,
    after: Vec<(u32, u32)>,
    text_type: u32,
}

impl Frame {
    /// How many special tokens it adds.
    pub(crate) fn len(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Ids of one text with its special tokens.
    pub(crate) fn ids<'a>(&'a self, text: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        self.before.iter().map(|t| t.0).chain(text.iter().copied()).chain(self.after.iter().map(|t| t.0))
    }

    /// Token types of one text of `length` tokens with its special tokens.
    pub(crate) fn types(&self, length: usize) -> impl Iterator<Item = u32> + '_ {
        let text = std::iter::repeat_n(self.text_type, length);
        self.before.iter().map(|t| t.1).chain(text).chain(self.after.iter().map(|t| t.1))
    }
}

/// A tokenizer with its own truncation and padding switched off.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    frame: Frame,
    in_pieces: bool,
    vocab_size: usize,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`. Every id it gives must be below `vocab_size`.
    pub(crate) fn from_bytes(json: &[u8], vocab_size: usize) -> Result<TextTokenizer> {
        check_templates(json)?;
        let mut tokenizer = guarded(|| Tokenizer::from_bytes(json))
            .map_err(|error| Error::Tokenizer(format!("tokenizer.json: {error}")))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| Error::Tokenizer(error.to_string()))?;
        let frame = find_frame(&tokenizer)?;
        let in_pieces = chunk::splits_at_spaces(&tokenizer);
        let this = TextTokenizer { tokenizer, frame, in_pieces, vocab_size };
        this.check_ids(&this.frame.ids(&[]).collect::<Vec<_>>())?;
        Ok(this)
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Token ids of the text, without the special tokens around it.
    pub(crate) fn ids(&self, text: &str, limits: &Limits) -> Result<Ids> {
        if !self.in_pieces {
            return self.encode(text).map(|encoding| encoding.get_ids().to_vec());
        }
        let mut ids = Vec::with_capacity(text.len() / 4);
        for piece in chunk::pieces(text) {
            limits.check()?;
            ids.extend_from_slice(self.encode(piece)?.get_ids());
        }
        Ok(ids)
    }

    fn encode(&self, text: &str) -> Result<Encoding> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| Error::Tokenizer(error.to_string()))?;
        self.check_ids(encoding.get_ids())?;
        Ok(encoding)
    }

    /// Tokens of the text with offsets and the special tokens around it.
    pub(crate) fn tokens(&self, text: &str) -> Result<Tokens> {
        let encoding = guarded(|| self.tokenizer.encode(text, true)).map_err(Error::Tokenizer)?;
        self.check_ids(encoding.get_ids())?;
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            offsets: encoding.get_offsets().iter().map(|&(start, end)| start..end).collect(),
            special: encoding.get_special_tokens_mask().iter().map(|&mask| mask != 0).collect(),
        })
    }

    /// ONNX Runtime would take an id out of range for one counted from the
    /// end, or read past the table: never let one through.
    fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            None => Ok(()),
            Some(id) => Err(Error::Tokenizer(format!(
                "it gave the id {id} and the model has only {} tokens: tokenizer and model do not belong together",
                self.vocab_size
            ))),
        }
    }
}

/// Calls into the tokenizers library. It has places that panic on a file that
/// contradicts itself; those known are looked for before, and this keeps the
/// others from ending the program.
fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    // Nothing that was half changed is used again: a tokenizer is only read,
    // and one that fails to load is gone.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("the tokenizers library panicked: tokenizer.json contradicts itself".to_owned()),
    }
}

/// Checks that templates name only special tokens that they also define; the
/// tokenizers library believes them.
fn check_templates(json: &[u8]) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct File {
        #[serde(default)]
        post_processor: Value,
    }
    // What does not even parse is left to the library, which says it better.
    let Ok(File { post_processor }) = serde_json::from_slice(json) else { return Ok(()) };
    let inner = post_processor.get("processors").and_then(Value::as_array);
    for processor in std::iter::once(&post_processor).chain(inner.into_iter().flatten()) {
        let defined = processor.get("special_tokens").and_then(Value::as_object);
        for piece in ["single", "pair"].iter().filter_map(|key| processor.get(key)?.as_array()).flatten() {
            let name = piece.pointer("/SpecialToken/id").and_then(Value::as_str);
            if let Some(name) = name
                && !defined.is_some_and(|defined| defined.contains_key(name))
            {
                return Err(Error::Tokenizer(format!(
                    "tokenizer.json: its template uses the special token `{name}` without defining it"
                )));
            }
        }
    }
    Ok(())
}

/// Finds out which special tokens the post-processor puts where, by letting it
/// process made-up tokens. Windows can then be framed without running it again.
fn find_frame(tokenizer: &Tokenizer) -> Result<Frame> {
    let unsupported = || {
        Error::Tokenizer(
            "tokenizer.json: its post-processor does more than put special tokens before and after a text".to_owned(),
        )
    };
    let frame_of = |length: usize| -> Result<(Frame, Vec<u32>)> {
        let tokens = (0..length).map(|i| Token::new(0, String::new(), (i, i + 1))).collect();
        let encoding = guarded(|| tokenizer.post_process(Encoding::from_tokens(tokens, 0), None, true))
            .map_err(Error::Tokenizer)?;
        let special = encoding.get_special_tokens_mask();
        let start = special.iter().take_while(|&&mask| mask != 0).count();
        let end = start + length;
        if special.len() < end || special[start..end].contains(&1) || special[end..].contains(&0) {
            return Err(unsupported());
        }
        let all: Vec<(u32, u32)> =
            encoding.get_ids().iter().copied().zip(encoding.get_type_ids().iter().copied()).collect();
        let text_type = all[start..end].first().map_or(0, |t| t.1);
        let frame = Frame { before: all[..start].to_vec(), after: all[end..].to_vec(), text_type };
        Ok((frame, encoding.get_type_ids().to_vec()))
    };
    let (frame, _) = frame_of(1)?;
    let (same, types) = frame_of(3)?;
    if frame != same || !frame.types(3).eq(types) {
        return Err(unsupported());
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = include_str!("../../tests/data/tokenizer.json");

    fn tokenizer(json: &str) -> TextTokenizer {
        TextTokenizer::from_bytes(json.as_bytes(), 1000).unwrap()
    }

    fn framed(tokenizer: &TextTokenizer, text: &str) -> Vec<u32> {
        let ids = tokenizer.ids(text, &Limits::default()).unwrap();
        tokenizer.frame().ids(&ids).collect()
    }

    /// The file asks for four tokens and padding to sixteen.
    #[test]
    fn truncation_and_padding_of_the_file_are_off() {
        let tokenizer = tokenizer(JSON);
        assert_eq!(tokenizer.tokens("the film was not very good").unwrap().ids.len(), 8);
        assert_eq!(framed(&tokenizer, "").len(), 2);
    }

    #[test]
    fn framing_equals_the_post_processor() {
        let tokenizer = tokenizer(JSON);
        for text in ["", "a", "The FILM was [SEP] not [CLS] good 🙂", "\0 x \u{301}"] {
            assert_eq!(framed(&tokenizer, text), tokenizer.tokens(text).unwrap().ids, "{text:?}");
        }
    }

    #[test]
    fn pieces_give_the_tokens_of_the_whole() {
        let tokenizer = tokenizer(JSON);
        assert!(tokenizer.in_pieces);
        let mut text = String::new();
        let parts = [
            "the films",
            "[SEP]",
            "ÉTÉ",
            "e\u{301}",
            "漢字",
            "\0",
            "🙂",
            "[CLS",
            "]",
            "it's",
            "\u{a0}",
            "\t",
            "\n",
            "  ",
        ];
        for i in 0..30_000 {
            text.push_str(parts[(i * 7 + i / 11) % parts.len()]);
            if i % 3 != 0 {
                text.push(' ');
            }
        }
        assert!(chunk::pieces(&text).count() > 5);
        assert_eq!(framed(&tokenizer, &text), tokenizer.tokens(&text).unwrap().ids);
    }

    #[test]
    fn tokens_with_spaces_switch_the_pieces_off() {
        let json = JSON.replace(r#""content": "[MASK]""#, r#""content": "a b""#);
        assert_ne!(json, JSON);
        assert!(!tokenizer(&json).in_pieces);
    }

    #[test]
    fn ids_beyond_the_model_are_refused() {
        let tokenizer = TextTokenizer::from_bytes(JSON.as_bytes(), 8).unwrap();
        let error = tokenizer.ids("the film", &Limits::default()).unwrap_err();
        assert!(error.to_string().contains("do not belong together"), "{error}");
        let error = TextTokenizer::from_bytes(JSON.as_bytes(), 3).unwrap_err();
        assert_eq!(error.code(), crate::Code::Tokenizer);
    }

    #[test]
    fn a_tokenizer_without_a_post_processor_has_an_empty_frame() {
        let start = JSON.find(r#""post_processor""#).unwrap();
        let end = JSON.find(r#""decoder""#).unwrap();
        let json = format!("{}{}", &JSON[..start], &JSON[end..]);
        let tokenizer = tokenizer(&json);
        assert_eq!(tokenizer.frame().len(), 0);
        assert_eq!(framed(&tokenizer, "").len(), 0);
        assert_eq!(framed(&tokenizer, "the film").len(), 2);
    }

    #[test]
    fn text_that_is_no_tokenizer_is_refused() {
        for json in ["", "{}", "[1]", "{\"model\":3}"] {
            let error = TextTokenizer::from_bytes(json.as_bytes(), 100).unwrap_err();
            assert_eq!(error.code(), crate::Code::Tokenizer);
        }
    }

    #[test]
    fn templates_must_define_their_tokens() {
        let json = JSON.replacen(r#""id": "[SEP]","#, r#""id": "[END]","#, 2);
        assert_ne!(json, JSON);
        let error = TextTokenizer::from_bytes(json.as_bytes(), 100).unwrap_err();
        assert!(error.to_string().contains("[END]"), "{error}");
    }

    #[test]
    fn a_panic_of_the_library_is_an_error() {
        let error = guarded::<()>(|| panic!("for the test")).unwrap_err();
        assert!(error.contains("panicked"), "{error}");
    }

    #[test]
    fn a_cancelled_call_ends_between_pieces() {
        let cancel = crate::Cancel::new();
        let limits = Limits { cancel: Some(cancel.clone()), deadline: None };
        let tokenizer = tokenizer(JSON);
        tokenizer.ids("the film", &limits).unwrap();
        cancel.cancel();
        assert!(matches!(tokenizer.ids("the film", &limits), Err(Error::Cancelled)));
    }
}
