//! Where a piece of text stands, in the three units that programs count in.

use std::ops::Range;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use unicode_segmentation::{GraphemeCursor, GraphemeIncomplete};

/// A piece of a text, by its place.
///
/// Programs count text in different units; each range here names the same piece.
/// For `"🙂 Ada"` the name is at bytes 5 to 8, UTF-16 units 3 to 6 and characters
/// 2 to 5.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TextSpan {
    /// In bytes of UTF-8, as C, C++, Rust and Go count.
    pub bytes: Range<usize>,
    /// In UTF-16 code units, as Java, Kotlin, JavaScript, Swift's `NSString` and C# count.
    pub utf16: Range<usize>,
    /// In Unicode scalar values, as Python counts.
    pub chars: Range<usize>,
}

impl Serialize for TextSpan {
    /// As `{"bytes": [5, 8], "utf16": [3, 6], "chars": [2, 5]}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("TextSpan", 3)?;
        for (name, range) in [("bytes", &self.bytes), ("utf16", &self.utf16), ("chars", &self.chars)] {
            fields.serialize_field(name, &[range.start, range.end])?;
        }
        fields.end()
    }
}

impl TextSpan {
    /// The piece itself; empty if `text` is not the text that the span was found in.
    pub fn of<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.bytes.clone()).unwrap_or_default()
    }
}

/// The spans of byte ranges of a text, in their order, which may be any. A border inside of a character moves
/// outwards.
pub(crate) fn locate(text: &str, ranges: &[Range<usize>]) -> Vec<TextSpan> {
    let mut spans: Vec<TextSpan> = ranges
        .iter()
        .map(|range| {
            let start = floor(text, range.start);
            TextSpan { bytes: start..ceil(text, range.end).max(start), ..TextSpan::default() }
        })
        .collect();
    // All borders in one walk over the text.
    let mut borders: Vec<usize> = spans.iter().flat_map(|span| [span.bytes.start, span.bytes.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let (mut at, mut utf16, mut chars) = (0, 0, 0);
    let counts: Vec<(usize, usize)> = borders
        .iter()
        .map(|&border| {
            for c in text.get(at..border).unwrap_or_default().chars() {
                utf16 += c.len_utf16();
                chars += 1;
            }
            at = border;
            (utf16, chars)
        })
        .collect();
    let count = |border: usize| borders.binary_search(&border).ok().and_then(|i| counts.get(i)).copied();
    for span in &mut spans {
        if let (Some(start), Some(end)) = (count(span.bytes.start), count(span.bytes.end)) {
            span.utf16 = start.0..end.0;
            span.chars = start.1..end.1;
        }
    }
    spans
}

/// The range with its borders moved outwards, so that it cuts through nothing that a reader sees as one: an
/// accent stays with its letter, a family of emoji together.
pub(crate) fn whole_clusters(text: &str, range: Range<usize>) -> Range<usize> {
    if range.start >= range.end {
        return floor(text, range.start)..floor(text, range.start);
    }
    let start = floor(text, range.start);
    let end = ceil(text, range.end);
    let start = if is_border(text, start) { start } else { previous(text, start) };
    let end = if is_border(text, end) { end } else { next(text, end) };
    start..end
}

fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn ceil(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (at..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

fn cursor(text: &str, at: usize) -> GraphemeCursor {
    GraphemeCursor::new(at, text.len(), true)
}

// The whole text is given as one chunk, so that nothing is ever incomplete.
fn is_border(text: &str, at: usize) -> bool {
    cursor(text, at).is_boundary(text, 0).unwrap_or(true)
}

fn previous(text: &str, at: usize) -> usize {
    let found: Result<_, GraphemeIncomplete> = cursor(text, at).prev_boundary(text, 0);
    found.ok().flatten().unwrap_or(at)
}

fn next(text: &str, at: usize) -> usize {
    cursor(text, at).next_boundary(text, 0).ok().flatten().unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Slices by UTF-16 units and by characters, the slow and certain way.
    fn slices(text: &str, span: &TextSpan) -> [String; 3] {
        let units: Vec<u16> = text.encode_utf16().collect();
        let chars: Vec<char> = text.chars().collect();
        [
            text[span.bytes.clone()].to_owned(),
            String::from_utf16(&units[span.utf16.clone()]).unwrap(),
            chars[span.chars.clone()].iter().collect(),
        ]
    }

    #[test]
    fn the_example_of_the_documentation() {
        let span = &locate("🙂 Ada", &[0..4, 5..8])[1];
        assert_eq!((span.bytes.clone(), span.utf16.clone(), span.chars.clone()), (5..8, 3..6, 2..5));
        assert_eq!(span.of("🙂 Ada"), "Ada");
        assert_eq!(span.of("🙂"), "");
    }

    #[test]
    fn clusters_stay_whole() {
        let family = "👩‍👩‍👧";
        for (text, cut, whole) in [
            ("cafe\u{301} au lait", 0..4, 0..6),
            ("cafe\u{301} au lait", 4..6, 3..6),
            (family, 0..4, 0..family.len()),
            (family, 7..11, 0..family.len()),
            ("a🇩🇪b", 1..5, 1..9),
            ("नमस्ते", 0..3, 0..3),
            ("e\u{301}", 1..1, 1..1),
            ("abc", 1..2, 1..2),
            ("\r\n", 0..1, 0..2),
        ] {
            assert_eq!(whole_clusters(text, cut.clone()), whole, "{text:?} {cut:?}");
        }
    }

    #[test]
    fn ranges_that_do_not_fit_are_moved_to_what_is_there() {
        assert_eq!(locate("é", &[1..1, 0..1, 5..9])[1].bytes, 0..2);
        assert_eq!(whole_clusters("ab", 5..9), 2..2);
        assert!(locate("", &[]).is_empty());
        let reversed = locate("abc", &[Range { start: 2, end: 1 }, 0..0]);
        assert_eq!(reversed[0].bytes, 2..2);
    }

    proptest! {
        #[test]
        fn slicing_by_each_unit_gives_the_same(
            text in "[a🙂é漢אe\u{301}\u{200d}👩👧\u{fe0f}🇩🇪 \n]{0,60}",
            cuts in proptest::collection::vec((0usize..300, 0usize..300), 0..12),
        ) {
            let ranges: Vec<_> = cuts.iter().map(|&(a, b)| a.min(b)..a.max(b)).collect();
            for range in &ranges {
                let whole = whole_clusters(&text, range.clone());
                prop_assert!(whole.start <= range.start.min(text.len()) && whole.end >= whole.start);
                prop_assert!(range.is_empty() || whole.end >= range.end.min(text.len()));
                prop_assert!(text.get(whole).is_some());
            }
            for span in locate(&text, &ranges) {
                let [bytes, utf16, chars] = slices(&text, &span);
                prop_assert_eq!(&bytes, &utf16);
                prop_assert_eq!(&bytes, &chars);
                prop_assert_eq!(span.of(&text), bytes);
            }
        }
    }
}
