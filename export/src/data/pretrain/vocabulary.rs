//! What pretraining has to know of a vocabulary.

use anyhow::{Result, bail};
use tokenizers::ModelWrapper;

use crate::data::Encoder;

/// Whether each token of a vocabulary of `size` goes on with the word before it: WordPiece's `##`; SentencePiece's pieces
/// as ALBERT's code has them; byte-level BPE's without a space or a line's end before them, and without
/// punctuation.
pub fn continues_word(encoder: &Encoder, size: usize) -> Vec<bool> {
    let tokenizer = encoder.tokenizer();
    let mut continues = vec![false; size];
    let punctuation = |token: &str| token.starts_with(|c: char| c.is_ascii_punctuation());
    let goes_on: Box<dyn Fn(&str) -> bool> = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => {
            let prefix = model.continuing_subword_prefix.clone();
            Box::new(move |token| token.starts_with(&prefix))
        }
        ModelWrapper::WordLevel(_) => Box::new(|_| false),
        ModelWrapper::Unigram(_) => Box::new(goes_on_in_albert),
        ModelWrapper::BPE(_) => Box::new(move |token| !token.starts_with(['Ġ', 'Ċ', '▁', '<']) && !punctuation(token)),
    };
    for (token, id) in tokenizer.get_vocab(false) {
        if let Some(place) = continues.get_mut(id as usize) {
            *place = goes_on(&token);
        }
    }
    continues
}

/// google-research/albert, `_is_start_piece_sp`, the other way round: a piece goes on if it has no `▁` and nothing but Latin
/// letters and punctuation, and is not one mark of punctuation alone. So digits, and each piece of Chinese or Thai, begin a word.
fn goes_on_in_albert(piece: &str) -> bool {
    // These four are not in its list.
    let mark = |c: char| c.is_ascii_punctuation() && !matches!(c, '\'' | '<' | '=' | '>');
    let mut rest = piece.chars();
    let one = rest.next().is_some_and(mark) && rest.next().is_none();
    !one && piece.chars().all(|c| c.is_ascii_alphabetic() || mark(c))
}

/// The token between documents: `named`, or what tokenizers call it.
///
/// # Errors
/// A vocabulary without it.
pub fn end_of_text(encoder: &Encoder, named: Option<&str>) -> Result<i64> {
    let tokenizer = encoder.tokenizer();
    let names: &[&str] = match &named {
        Some(name) => &[*name],
        None => &["<|endoftext|>", "<|end_of_text|>", "</s>", "[SEP]"],
    };
    match names.iter().find_map(|name| tokenizer.token_to_id(name)) {
        Some(id) => Ok(i64::from(id)),
        None => bail!(
            "the vocabulary has none of {}; name the token between documents as data.end_of_text",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::goes_on_in_albert;

    #[test]
    fn pieces_that_go_on_are_alberts() {
        for piece in ["ing", "s", "S", "--", "e-"] {
            assert!(goes_on_in_albert(piece), "{piece}");
        }
        for piece in ["▁the", "▁", "<pad>", ".", "(", "'s", "1984", "天气", "é", "a1", "="] {
            assert!(!goes_on_in_albert(piece), "{piece}");
        }
    }
}
