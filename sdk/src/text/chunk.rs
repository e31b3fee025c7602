//! Cutting huge texts into pieces that can be tokenized one by one.
//!
//! The tokenizer needs a few hundred bytes of memory for each byte of text. A
//! tokenizer of the BERT family treats white space as a border that no token
//! crosses, so that tokenizing the pieces between two spaces gives exactly the
//! tokens of the whole; there memory stays bounded, and a cancelled call ends
//! soon. Other tokenizers get the text in one piece.

/// Pieces are at least this long, in bytes.
const PIECE: usize = 16 * 1024;

/// The pieces of `text`, each ending after an ASCII space or line end. Together
/// they are the text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let is_space = |b: &u8| matches!(b, b' ' | b'\n' | b'\t' | b'\r');
        let end = rest
            .as_bytes()
            .get(PIECE..)
            .and_then(|tail| tail.iter().position(is_space))
            .map_or(rest.len(), |at| PIECE + at + 1);
        // An ASCII byte is never inside another character, so this is a border.
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_text_is_one_piece() {
        assert_eq!(pieces("").count(), 0);
        assert_eq!(pieces("a b c").collect::<Vec<_>>(), ["a b c"]);
    }

    #[test]
    fn a_text_without_spaces_stays_whole() {
        let text = "é".repeat(PIECE * 3);
        assert_eq!(pieces(&text).collect::<Vec<_>>(), [text.as_str()]);
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_text(words in proptest::collection::vec("[a-zé🙂 \n]{0,2000}", 0..60)) {
            let text = words.join(" ");
            let pieces: Vec<&str> = pieces(&text).collect();
            prop_assert_eq!(pieces.concat(), text.as_str());
            for piece in pieces.iter().rev().skip(1) {
                prop_assert!(piece.len() > PIECE);
                prop_assert!(piece.ends_with([' ', '\n', '\t', '\r']));
            }
        }
    }
}
