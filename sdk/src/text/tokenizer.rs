//! The tokenizer of a bundle.

use std::ops::Range;

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
        let mut tokenizer =
            Tokenizer::from_bytes(json).map_err(|error| Error::Tokenizer(format!("tokenizer.json: {error}")))?;
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
        let encoding = self.tokenizer.encode(text, true).map_err(|error| Error::Tokenizer(error.to_string()))?;
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
        let encoding = tokenizer
            .post_process(Encoding::from_tokens(tokens, 0), None, true)
            .map_err(|error| Error::Tokenizer(error.to_string()))?;
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
