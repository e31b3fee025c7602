//! Token classification.

use limbeck::{Aggregation, Error, Overflow, TagOptions};
use limbeck_export::arch::Head;
use limbeck_tests::bundles::{Made, Recipe, values};
use limbeck_tests::seeded;
use tch::Kind;

use crate::texts::{HARD, long, pieces};

const LABELS: [&str; 5] = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];

fn made() -> Made {
    Recipe::new(Head::TokenClassification { labels: 5 }, &LABELS).make()
}

/// Label and score of each token by libtorch.
fn best(made: &Made, row: &[u32]) -> Vec<(usize, f32)> {
    let probabilities = values(&made.logits(row, &vec![0; row.len()]).softmax(-1, Kind::Float));
    let highest = |row: &[f32]| {
        let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]).then(b.cmp(&a))).unwrap();
        (best, row[best])
    };
    probabilities.chunks(5).map(highest).collect()
}

#[test]
fn tokens_have_the_labels_of_libtorch() {
    let _turn = seeded(88);
    let made = made();
    let model = made.open();
    let options = TagOptions::new().aggregation(Aggregation::None);
    let mut compared = 0;
    for text in HARD {
        let tokens = made.tokenizer.encode(text, true).unwrap();
        if tokens.len() > 40 {
            continue;
        }
        let expected: Vec<_> = best(&made, tokens.get_ids())
            .into_iter()
            .zip(tokens.get_offsets())
            .skip(1)
            .take(tokens.len() - 2)
            .filter(|((label, _), _)| *label != 0)
            .collect();
        let found = model.tag_with(text, &options).unwrap().entities;
        assert_eq!(found.len(), expected.len(), "{text:?}");
        for (entity, ((label, score), &(start, end))) in found.iter().zip(expected) {
            assert_eq!(entity.label, LABELS[label]);
            assert!((entity.score - score).abs() <= 1e-5);
            assert_eq!(entity.span.bytes, start..end, "{text:?}");
            compared += 1;
        }
    }
    assert!(compared > 50, "{compared}");
}

#[test]
fn spans_are_whole_words_in_all_three_units() {
    let _turn = seeded(89);
    let model = made().open();
    let mut found = 0;
    for text in HARD {
        for aggregation in [Aggregation::First, Aggregation::Average, Aggregation::Max, Aggregation::Strict] {
            let tagging = model.tag_with(text, &TagOptions::new().aggregation(aggregation)).unwrap();
            let mut end = 0;
            for entity in &tagging.entities {
                let [bytes, utf16, chars] = pieces(text, &entity.span);
                assert!(bytes == utf16 && bytes == chars && bytes == entity.text, "{text:?} {entity:?}");
                assert!(entity.span.bytes.start >= end, "{text:?}: entities overlap");
                end = entity.span.bytes.end;
                // A letter that goes on beyond the span would be a word cut in two; where words are written
                // without spaces the tokenizer says what a word is.
                let ascii = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                let (first, last) = (bytes.chars().next(), bytes.chars().next_back());
                let (before, after) = (text[..entity.span.bytes.start].chars().next_back(), text[end..].chars().next());
                assert!(!(ascii(first) && ascii(before)), "{text:?}: {bytes:?} begins inside a word");
                assert!(!(ascii(last) && ascii(after)), "{text:?}: {bytes:?} ends inside a word");
                let mark = |c: char| ('\u{300}'..='\u{36f}').contains(&c) || c == '\u{200d}' || c == '\u{fe0f}';
                assert!(!after.is_some_and(mark), "{text:?}: {bytes:?} loses a mark");
                found += 1;
            }
        }
    }
    assert!(found > 100, "{found}");
}

/// Each word from the window that shows most around it, found the slow way.
#[test]
fn long_texts_are_read_in_windows() {
    let _turn = seeded(90);
    let made = made();
    let model = made.open();
    let (room, stride) = (38, 14);
    let text = long(50);
    let tokens = made.tokenizer.encode(text.as_str(), false).unwrap();
    let (ids, words) = (tokens.get_ids(), tokens.get_word_ids());
    let starts = (0..).step_by(room - stride);
    let mut windows: Vec<std::ops::Range<usize>> = Vec::new();
    for start in starts {
        windows.push(start..(start + room).min(ids.len()));
        if start + room >= ids.len() {
            break;
        }
    }
    let labels: Vec<Vec<(usize, f32)>> = windows
        .iter()
        .map(|window| {
            let row: Vec<u32> = [2].into_iter().chain(ids[window.clone()].iter().copied()).chain([3]).collect();
            best(&made, &row)
        })
        .collect();
    let mut expected: Vec<(usize, usize)> = Vec::new();
    for at in 0..ids.len() {
        if at > 0 && words[at] == words[at - 1] {
            continue;
        }
        let end = at + words[at..].iter().take_while(|word| **word == words[at]).count();
        let context = |window: &std::ops::Range<usize>| {
            let before = if window.start == 0 { usize::MAX } else { at - window.start };
            let after = if window.end == ids.len() { usize::MAX } else { window.end - 1 - at };
            before.min(after)
        };
        let holding = windows.iter().enumerate().filter(|(_, w)| w.start <= at && end <= w.end);
        let (window, range) = holding.rev().max_by_key(|(_, window)| context(window)).unwrap();
        let (label, _) = labels[window][1 + at - range.start];
        if label != 0 {
            expected.push((tokens.get_offsets()[at].0, label));
        }
    }
    let options = TagOptions::new().overflow(Overflow::Window { stride });
    let tagging = model.tag_with(&text, &options).unwrap();
    assert_eq!((tagging.usage.windows, tagging.usage.tokens_dropped), (windows.len(), 0));
    // Entities may join words; each begins with one of the labelled words.
    let mut left = expected.clone();
    for entity in &tagging.entities {
        let inside: Vec<_> = left.iter().filter(|(start, _)| entity.span.bytes.contains(start)).copied().collect();
        assert!(!inside.is_empty() && inside.iter().all(|(_, label)| LABELS[*label].ends_with(&entity.label)));
        left.retain(|word| !inside.contains(word));
    }
    assert!(left.is_empty(), "{left:?} were not found");

    let cut = model.tag_with(&text, &TagOptions::new().overflow(Overflow::Truncate)).unwrap();
    assert_eq!(cut.usage.tokens_dropped, ids.len() - room);
    let error = model.tag_with(&text, &TagOptions::new().overflow(Overflow::Error)).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }));
}

#[test]
fn a_threshold_leaves_out_what_is_less_sure() {
    let _turn = seeded(91);
    let model = made().open();
    let all = model.tag("ada met the phone in london").unwrap().entities;
    let most = all.iter().map(|entity| entity.score).fold(0.0, f32::max);
    let sure = model.tag_with("ada met the phone in london", &TagOptions::new().threshold(most)).unwrap().entities;
    assert!(!all.is_empty() && !sure.is_empty() && sure.iter().all(|entity| entity.score >= most));
    assert!(model.tag("").unwrap().entities.is_empty());
    assert!(model.tag_batch(&[], &TagOptions::new()).unwrap().is_empty());
}
