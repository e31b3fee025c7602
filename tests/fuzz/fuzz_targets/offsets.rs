//! Byte ranges of any kind in texts of any kind: the three units name the same piece, and pieces are whole.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use limbeck::internals::{locate, whole_clusters};

#[derive(Arbitrary, Debug)]
struct Input {
    ranges: Vec<(u16, u16)>,
    text: String,
}

fuzz_target!(|input: Input| {
    let text = input.text.as_str();
    let ranges: Vec<_> = input.ranges.iter().map(|&(a, b)| usize::from(a)..usize::from(b)).collect();
    let units: Vec<u16> = text.encode_utf16().collect();
    let chars: Vec<char> = text.chars().collect();
    for span in locate(text, &ranges) {
        let piece = &text[span.bytes.clone()];
        assert_eq!(piece, span.of(text));
        assert_eq!(piece, String::from_utf16(&units[span.utf16.clone()]).expect("whole characters"));
        assert_eq!(piece, chars[span.chars.clone()].iter().collect::<String>());
    }
    for range in ranges {
        let whole = whole_clusters(text, range.clone());
        assert!(text.get(whole.clone()).is_some());
        assert_eq!(whole_clusters(text, whole.clone()), whole, "once is enough");
        if range.start < range.end {
            assert!(whole.start <= range.start.min(text.len()) && range.end.min(text.len()) <= whole.end);
        }
    }
});
