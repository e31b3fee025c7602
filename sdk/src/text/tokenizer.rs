//! The tokenizer of a bundle.

use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::Value;

use super::bytes::TokenBytes;
use super::chunk;
use super::encoding::{Encoded, Tokens};
use super::library::Library;
use super::template::Template;
use crate::runtime::limits::Limits;
use crate::{Error, Result};

/// A tokenizer with its own truncation and padding switched off.
#[derive(Debug)]
pub(crate) struct TextTokenizer {
    tokenizer: Library,
    one: Template,
    two: Option<Template>,
    in_pieces: bool,
    vocab_size: usize,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`. Every id it gives must be below `vocab_size`.
    pub(crate) fn from_bytes(json: &[u8], vocab_size: usize) -> Result<TextTokenizer> {
        check_templates(json)?;
        let tokenizer =
            guarded(|| Library::read(json)).map_err(|error| Error::Tokenizer(format!("tokenizer.json: {error}")))?;
        let (one, two) = (Template::for_one(&tokenizer)?, Template::for_two(&tokenizer));
        let in_pieces = tokenizer.splits_at_spaces();
        let this = TextTokenizer { tokenizer, one, two, in_pieces, vocab_size };
        for template in std::iter::once(&this.one).chain(&this.two) {
            this.check_ids(&template.ids(&[], &[]).collect::<Vec<_>>())?;
        }
        Ok(this)
    }

    /// The special tokens around one text.
    pub(crate) fn one(&self) -> &Template {
        &self.one
    }

    /// The special tokens around two texts.
    pub(crate) fn two(&self) -> Result<&Template> {
        self.two.as_ref().ok_or_else(|| {
            Error::Tokenizer("tokenizer.json: its post-processor does not say how two texts are joined".to_owned())
        })
    }

    /// Token ids of the text, without the special tokens around it; no offsets and no words.
    pub(crate) fn ids(&self, text: &str, limits: &Limits) -> Result<Encoded> {
        self.by_pieces(text, limits, |piece, _, encoded| {
            let encoding = guarded(|| self.tokenizer.encode_fast(piece)).map_err(Error::Tokenizer)?;
            encoded.ids.extend_from_slice(encoding.get_ids());
            Ok(())
        })
    }

    /// Tokens of the text with their places and words, without the special tokens around it.
    pub(crate) fn words(&self, text: &str, limits: &Limits) -> Result<Encoded> {
        self.by_pieces(text, limits, |piece, start, encoded| {
            let encoding = guarded(|| self.tokenizer.encode(piece, false)).map_err(Error::Tokenizer)?;
            encoded.ids.extend_from_slice(encoding.get_ids());
            encoded.offsets.extend(encoding.get_offsets().iter().map(|&(from, to)| start + from..start + to));
            // Numbered anew: added tokens have no word, and words that gave no token would leave gaps.
            let mut last = None;
            for word in encoding.get_word_ids() {
                let next = encoded.words.last().map_or(0, |number| number + 1);
                let same = word.is_some() && *word == last;
                encoded.words.push(if same { next - 1 } else { next });
                last = *word;
            }
            Ok(())
        })
    }

    fn by_pieces(
        &self,
        text: &str,
        limits: &Limits,
        mut encode: impl FnMut(&str, usize, &mut Encoded) -> Result<()>,
    ) -> Result<Encoded> {
        let mut encoded = Encoded::default();
        if self.in_pieces {
            let mut start = 0;
            for piece in chunk::pieces(text) {
                limits.check()?;
                encode(piece, start, &mut encoded)?;
                start += piece.len();
            }
        } else {
            limits.check()?;
            encode(text, 0, &mut encoded)?;
        }
        self.check_ids(&encoded.ids)?;
        Ok(encoded)
    }

    /// The text that a token stands for; none for an id without one.
    pub(crate) fn token_text(&self, id: u32) -> Option<String> {
        self.tokenizer.id_to_token(id)
    }

    /// The text of tokens put together.
    pub(crate) fn decode(&self, ids: &[u32]) -> Result<String> {
        guarded(|| self.tokenizer.decode(ids)).map_err(Error::Tokenizer)
    }

    /// The bytes of every token, of a byte-level tokenizer.
    pub(crate) fn token_bytes(&self) -> Result<TokenBytes> {
        TokenBytes::of(&self.tokenizer, self.vocab_size)
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
pub(super) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = include_str!("../../tests/data/tokenizer.json");

    fn tokenizer(json: &str) -> TextTokenizer {
        TextTokenizer::from_bytes(json.as_bytes(), 1000).unwrap()
    }

    fn framed(tokenizer: &TextTokenizer, text: &str) -> Vec<u32> {
        let ids = tokenizer.ids(text, &Limits::default()).unwrap().ids;
        assert_eq!(tokenizer.words(text, &Limits::default()).unwrap().ids, ids);
        tokenizer.one().ids(&ids, &[]).collect()
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
    fn pairs_are_framed_as_the_post_processor_does() {
        let tokenizer = tokenizer(JSON);
        let (a, b) = ("the film", "was not very good");
        let [first, second] = [a, b].map(|text| tokenizer.ids(text, &Limits::default()).unwrap().ids);
        let template = tokenizer.two().unwrap();
        let mut whole = tokenizers::Tokenizer::from_bytes(JSON).unwrap();
        whole.with_padding(None).with_truncation(None).unwrap();
        let expected = whole.encode((a, b), true).unwrap();
        assert_eq!(template.ids(&first, &second).collect::<Vec<_>>(), expected.get_ids());
        assert_eq!(template.types(first.len(), second.len()).collect::<Vec<_>>(), expected.get_type_ids());
        let sequences = expected.get_sequence_ids();
        assert_eq!(sequences.iter().position(|&s| s == Some(0)), Some(template.first_at()));
        assert_eq!(sequences.iter().position(|&s| s == Some(1)), Some(template.second_at(first.len())));
    }

    #[test]
    fn words_count_over_pieces_and_offsets_are_of_the_whole_text() {
        let tokenizer = tokenizer(JSON);
        let text = "the films, ÉTÉ [SEP] 漢字🙂 ".repeat(2000);
        let encoded = tokenizer.words(&text, &Limits::default()).unwrap();
        let whole = tokenizer.tokenizer.encode(&text, false).unwrap();
        assert!(chunk::pieces(&text).count() > 2);
        assert_eq!(encoded.offsets, whole.get_offsets().iter().map(|&(a, b)| a..b).collect::<Vec<_>>());
        let mut last = None;
        for (at, (word, range)) in encoded.words.iter().zip(&encoded.offsets).enumerate() {
            assert!(text.get(range.clone()).is_some());
            let expected = whole.get_word_ids()[at];
            let same = at > 0 && expected.is_some() && expected == whole.get_word_ids()[at - 1];
            assert_eq!(*word, last.map_or(0, |last: usize| last + usize::from(!same)));
            last = Some(*word);
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
        assert_eq!(tokenizer.one().len(), 0);
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
