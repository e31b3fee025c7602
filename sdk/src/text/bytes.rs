//! The bytes that tokens stand for, and text made of them piece by piece.
//!
//! A byte-level tokenizer (GPT-2) takes a text as bytes, and writes each as one printable character in its vocabulary.
//! A token may so be half a character of the text, and a text of any bytes comes back from its tokens as it was.

use super::library::Library;
use crate::{Error, Result};

/// The bytes of every token.
#[derive(Debug)]
pub(crate) struct TokenBytes {
    /// Where the bytes of each id end.
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

impl TokenBytes {
    /// Of a byte-level tokenizer with ids below `vocab_size`. Special tokens stand for no bytes, nor do ids without
    /// a token.
    pub(super) fn of(tokenizer: &Library, vocab_size: usize) -> Result<TokenBytes> {
        if !tokenizer.is_byte_level() {
            return Err(Error::Tokenizer(
                "tokenizer.json: its decoder is not ByteLevel, and generation needs to know the bytes of each token"
                    .to_owned(),
            ));
        }
        let added = tokenizer.added_tokens();
        let places = byte_places();
        let (mut ends, mut bytes) = (Vec::new(), Vec::new());
        for id in 0..tokenizer.id_count().min(u32::try_from(vocab_size).unwrap_or(u32::MAX)) {
            match added.get(&id) {
                Some(token) if token.special => {}
                Some(token) => bytes.extend_from_slice(token.content.as_bytes()),
                None => {
                    let token = tokenizer.id_to_token(id).unwrap_or_default();
                    let own: Option<Vec<u8>> =
                        token.chars().map(|c| places.get(c as usize).copied().flatten()).collect();
                    // A token with a character that no byte is written as stands for itself, as in the tokenizers library.
                    bytes.extend(own.unwrap_or_else(|| token.into_bytes()));
                }
            }
            ends.push(bytes.len());
        }
        Ok(TokenBytes { ends, bytes })
    }

    /// The bytes of one token; none of an id without a token.
    pub(crate) fn get(&self, id: u32) -> &[u8] {
        let id = id as usize;
        let start = id.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        self.ends.get(id).and_then(|&end| self.bytes.get(start..end)).unwrap_or_default()
    }
}

/// The byte that each character of a byte-level vocabulary stands for: printable ones of Latin-1 for themselves, the
/// others from U+0100 on (`bytes_to_unicode` of GPT-2).
fn byte_places() -> Vec<Option<u8>> {
    let mut places = vec![None; 0x144];
    let mut next = 0x100;
    for byte in 0..=255u8 {
        let place = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => usize::from(byte),
            _ => {
                next += 1;
                next - 1
            }
        };
        if let Some(slot) = places.get_mut(place) {
            *slot = Some(byte);
        }
    }
    places
}

/// Bytes that become text as soon as whole characters are there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Utf8Stream {
    /// The beginning of a character, at most three bytes.
    rest: Vec<u8>,
}

impl Utf8Stream {
    /// Adds bytes; whole characters go to `text`, what can never be one as U+FFFD (as [`String::from_utf8_lossy`] has
    /// it), and half a character waits for its other half.
    pub(crate) fn push(&mut self, bytes: &[u8], text: &mut String) {
        self.rest.extend_from_slice(bytes);
        let mut rest = &self.rest[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    match error.error_len() {
                        None => {
                            rest = after;
                            break;
                        }
                        Some(length) => {
                            text.push(char::REPLACEMENT_CHARACTER);
                            rest = after.get(length..).unwrap_or_default();
                        }
                    }
                }
            }
        }
        let whole = self.rest.len() - rest.len();
        self.rest.drain(..whole);
    }

    /// No more bytes come: half a character becomes U+FFFD.
    pub(crate) fn finish(&mut self, text: &mut String) {
        if !self.rest.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
            self.rest.clear();
        }
    }
}

/// Looks for stop strings in text that comes in pieces, and holds back what may be the beginning of one.
#[derive(Clone, Debug)]
pub(crate) struct StopSearch {
    stops: Vec<String>,
    held: String,
}

impl StopSearch {
    /// For strings none of which is empty.
    pub(crate) fn new(stops: &[String]) -> StopSearch {
        StopSearch { stops: stops.to_vec(), held: String::new() }
    }

    /// Adds a piece, and gives the text that can no longer be part of a stop string; and, if one is there, which, with
    /// the text before it. Of two the one that begins first counts, of those the shortest, however the text is cut: one
    /// that is there waits while another may yet come that began before it.
    pub(crate) fn push(&mut self, piece: &str) -> (String, Option<usize>) {
        self.held.push_str(piece);
        let found = self.first();
        let open = self.held.char_indices().map(|(at, _)| at).find(|&at| {
            let tail = self.held.get(at..).unwrap_or_default();
            self.stops.iter().any(|stop| stop.starts_with(tail))
        });
        match found {
            Some((at, number)) if open.is_none_or(|open| open >= at) => {
                self.held.truncate(at);
                (std::mem::take(&mut self.held), Some(number))
            }
            _ => {
                let rest = self.held.split_off(open.unwrap_or(self.held.len()));
                (std::mem::replace(&mut self.held, rest), None)
            }
        }
    }

    /// Where the first stop string of the text that is held begins, and which it is.
    fn first(&self) -> Option<(usize, usize)> {
        let found = self.stops.iter().enumerate();
        let found = found.filter_map(|(number, stop)| Some((self.held.find(stop.as_str())?, stop.len(), number)));
        found.min().map(|(at, _, number)| (at, number))
    }

    /// No more text comes: what was held back is text, up to a stop string that waited.
    pub(crate) fn finish(&mut self) -> (String, Option<usize>) {
        let found = self.first();
        if let Some((at, _)) = found {
            self.held.truncate(at);
        }
        (std::mem::take(&mut self.held), found.map(|(_, number)| number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_byte_has_its_character() {
        let places = byte_places();
        let mut bytes: Vec<u8> = places.iter().flatten().copied().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        // As in GPT-2's vocabulary: a space is U+0120, a line end U+010A.
        assert_eq!((places[0x120], places[0x10A], places['a' as usize]), (Some(b' '), Some(b'\n'), Some(b'a')));
    }

    fn streamed(bytes: &[u8], cuts: usize) -> String {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        for piece in bytes.chunks(cuts) {
            stream.push(piece, &mut text);
            assert!(stream.rest.len() < 4);
        }
        stream.finish(&mut text);
        text
    }

    #[test]
    fn half_a_character_waits() {
        let (mut stream, mut text) = (Utf8Stream::default(), String::new());
        let emoji = "\u{1F642}".as_bytes();
        stream.push(&emoji[..3], &mut text);
        assert_eq!(text, "");
        stream.push(&emoji[3..], &mut text);
        assert_eq!(text, "\u{1F642}");
        stream.push(&[b'a', 0xF0, 0x9F], &mut text);
        stream.push(b"b", &mut text);
        assert_eq!(text, "\u{1F642}a\u{FFFD}b");
    }

    fn searched(text: &str, stops: &[&str], cut: usize) -> (String, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|&stop| stop.to_owned()).collect();
        let (mut search, mut out) = (StopSearch::new(&stops), String::new());
        let chars: Vec<char> = text.chars().collect();
        for piece in chars.chunks(cut) {
            let (more, found) = search.push(&piece.iter().collect::<String>());
            out.push_str(&more);
            if found.is_some() {
                return (out, found);
            }
        }
        let (rest, found) = search.finish();
        (out + &rest, found)
    }

    #[test]
    fn stop_strings_end_a_text_before_them() {
        for cut in 1..9 {
            assert_eq!(searched("one\n\nQ: two", &["\n\n", "Q:"], cut), ("one".to_owned(), Some(0)));
            assert_eq!(searched("aab", &["aaab"], cut), ("aab".to_owned(), None));
            assert_eq!(searched("aaaab", &["aaab"], cut), ("a".to_owned(), Some(0)));
            assert_eq!(searched("caf\u{e9}\u{e9}", &["\u{e9}\u{e9}"], cut), ("caf".to_owned(), Some(0)));
        }
        // The one that begins first, however the text is cut.
        for cut in 1..5 {
            assert_eq!(searched("abcd", &["cd", "bcd"], cut), ("a".to_owned(), Some(1)));
            assert_eq!(searched("abcd", &["bc", "abcd"], cut), (String::new(), Some(1)));
            for rest in ["", "x", "c"] {
                assert_eq!(searched(&format!("abc{rest}"), &["bc", "abcd"], cut), ("a".to_owned(), Some(0)));
            }
            assert_eq!(searched("a\n\nb", &["\n\n", "\n"], cut), ("a".to_owned(), Some(1)));
        }
    }

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_gives(bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 1usize..7) {
            prop_assert_eq!(streamed(&bytes, cut), String::from_utf8_lossy(&bytes).into_owned());
        }

        #[test]
        fn stops_are_found_however_text_is_cut(
            text in "[ab\u{e9}]{0,24}",
            stops in proptest::collection::vec("[ab\u{e9}]{1,4}", 1..4),
            cut in 1usize..6,
        ) {
            let named: Vec<&str> = stops.iter().map(String::as_str).collect();
            let (found, which) = searched(&text, &named, cut);
            let places = named.iter().enumerate().filter_map(|(number, stop)| Some((text.find(stop)?, stop.len(), number)));
            match places.min() {
                Some((at, _, number)) => prop_assert_eq!((found.as_str(), which), (&text[..at], Some(number))),
                None => prop_assert_eq!((found, which), (text, None)),
            }
        }
    }
}
