//! Replaced tokens.

use std::ops::Range;

use limbeck::{Aggregation, Calibration, Code, Error, Overflow, ReplacedOptions};
use limbeck_export::arch::{Head, ModelConfig};
use limbeck_tests::bundles::{Made, Recipe, values};
use limbeck_tests::models::tiny;
use limbeck_tests::seeded;

use crate::texts::{HARD, long, pieces};

/// A small ELECTRA discriminator.
pub fn recipe() -> Recipe {
    let config = |config: ModelConfig| {
        let ModelConfig { vocab_size, position_rows, pad_id, .. } = config;
        ModelConfig { vocab_size, position_rows, pad_id, ..tiny("electra-small") }
    };
    Recipe { config, ..Recipe::new(Head::ReplacedToken, &[]) }
}

/// The probability of each token of a row by libtorch, without its special tokens.
fn probabilities(made: &Made, tokens: &[u32]) -> Vec<f32> {
    let row = [&[2], tokens, &[3]].concat();
    let all = values(&made.logits(&row, &vec![0; row.len()]).sigmoid());
    all[1..all.len() - 1].to_vec()
}

#[test]
fn tokens_have_the_probabilities_of_libtorch() {
    let _turn = seeded(130);
    let made = recipe().make();
    let model = made.open();
    let mut compared = 0;
    for text in HARD {
        let tokens = made.tokenizer.encode(text, false).unwrap();
        if tokens.len() > 38 {
            continue;
        }
        let expected = probabilities(&made, tokens.get_ids());
        let found = model.replaced(text).unwrap();
        assert_eq!(found.tokens.len(), expected.len(), "{text:?}");
        for ((token, expected), &(start, end)) in found.tokens.iter().zip(expected).zip(tokens.get_offsets()) {
            assert!((token.probability - expected).abs() <= 1e-5, "{text:?}");
            assert_eq!(token.span.bytes, start..end, "{text:?}");
            compared += 1;
        }
        assert_eq!(found.usage.tokens_used, tokens.len() + 2);
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn words_are_whole_in_all_three_units() {
    let _turn = seeded(131);
    let model = recipe().make().open();
    let mut found = 0;
    for text in HARD {
        for aggregation in [Aggregation::Max, Aggregation::Average] {
            let options = ReplacedOptions::new().aggregation(aggregation).threshold(0.45);
            let answer = model.replaced_with(text, &options).unwrap();
            let mut end = 0;
            for span in &answer.spans {
                let [bytes, utf16, chars] = pieces(text, &span.span);
                assert!(
                    bytes == utf16 && bytes == chars && bytes == span.text && !bytes.is_empty(),
                    "{text:?} {span:?}"
                );
                assert!(span.span.bytes.start >= end, "{text:?}: {span:?} overlaps");
                end = span.span.bytes.end;
                let ascii = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                let (first, last) = (bytes.chars().next(), bytes.chars().next_back());
                let (before, after) = (text[..span.span.bytes.start].chars().next_back(), text[end..].chars().next());
                assert!(!(ascii(first) && ascii(before)), "{text:?}: {bytes:?} begins inside a word");
                assert!(!(ascii(last) && ascii(after)), "{text:?}: {bytes:?} ends inside a word");
                let mark = |c: char| ('\u{300}'..='\u{36f}').contains(&c) || c == '\u{200d}' || c == '\u{fe0f}';
                assert!(!after.is_some_and(mark), "{text:?}: {bytes:?} loses a mark");
                // As suspicious as its tokens make it.
                let inside: Vec<f32> = answer
                    .tokens
                    .iter()
                    .filter(|token| {
                        let bytes = &token.span.bytes;
                        span.span.bytes.start <= bytes.start && bytes.end <= end && !bytes.is_empty()
                    })
                    .map(|token| token.probability)
                    .collect();
                let most = inside.iter().copied().fold(0.0, f32::max);
                assert!(aggregation != Aggregation::Max || span.probability == most, "{text:?}: {span:?} {inside:?}");
                assert!(span.probability >= 0.45 && span.probability <= most);
                found += 1;
            }
        }
    }
    assert!(found > 40, "{found}");
}

/// Each token from the window that holds all of its word and shows most around it, found the slow way.
#[test]
fn long_texts_are_read_in_windows() {
    let _turn = seeded(132);
    let made = recipe().make();
    let model = made.open();
    let (room, stride) = (38, 14);
    let text = long(50);
    let tokens = made.tokenizer.encode(text.as_str(), false).unwrap();
    let (ids, words) = (tokens.get_ids(), tokens.get_word_ids());
    let mut windows: Vec<Range<usize>> = Vec::new();
    for start in (0..).step_by(room - stride) {
        windows.push(start..(start + room).min(ids.len()));
        if start + room >= ids.len() {
            break;
        }
    }
    let read: Vec<Vec<f32>> = windows.iter().map(|window| probabilities(&made, &ids[window.clone()])).collect();
    let options = ReplacedOptions::new().overflow(Overflow::Window { stride });
    let answer = model.replaced_with(&text, &options).unwrap();
    assert_eq!((answer.usage.windows, answer.usage.tokens_dropped), (windows.len(), 0));
    assert_eq!(answer.tokens.len(), ids.len());
    let mut at = 0;
    for word in words.chunk_by(|a, b| a == b) {
        let end = at + word.len();
        let context = |window: &Range<usize>| {
            let before = if window.start == 0 { usize::MAX } else { at - window.start };
            let after = if window.end == ids.len() { usize::MAX } else { window.end - 1 - at };
            before.min(after)
        };
        let holding = windows.iter().enumerate().filter(|(_, w)| w.start <= at && end <= w.end);
        let (window, range) = holding.rev().max_by_key(|(_, window)| context(window)).unwrap();
        for token in at..end {
            let expected = read[window][token - range.start];
            assert!((answer.tokens[token].probability - expected).abs() <= 1e-5, "token {token}");
        }
        at = end;
    }
    let cut = model.replaced_with(&text, &ReplacedOptions::new().overflow(Overflow::Truncate)).unwrap();
    assert_eq!((cut.usage.tokens_dropped, cut.tokens.len()), (ids.len() - room, room));
    let error = model.replaced_with(&text, &ReplacedOptions::new().overflow(Overflow::Error)).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
}

#[test]
fn thresholds_calibration_and_tasks() {
    let _turn = seeded(133);
    let made = recipe().make();
    let model = made.open();
    let text = "ada met the phone in london";
    let of = |threshold| model.replaced_with(text, &ReplacedOptions::new().threshold(threshold)).unwrap();
    assert_eq!(of(0.0).spans.len(), 6);
    assert!(of(1.0).spans.is_empty() && of(1.0).tokens.len() == of(0.0).tokens.len());
    let most = of(0.0).spans.iter().map(|span| span.probability).fold(0.0, f32::max);
    assert!(of(most).spans.iter().all(|span| span.probability == most) && !of(most).spans.is_empty());
    assert!(model.replaced_batch(&[], &ReplacedOptions::new()).unwrap().is_empty());
    let nothing = model.replaced("").unwrap();
    assert!(nothing.spans.is_empty() && nothing.tokens.is_empty() && nothing.usage.tokens_used == 2);
    for bad in [ReplacedOptions::new().threshold(1.1), ReplacedOptions::new().aggregation(Aggregation::Strict)] {
        assert_eq!(model.replaced_with(text, &bad).unwrap_err().code(), Code::InvalidArgument);
    }
    for error in [model.tag(text).unwrap_err(), model.classify(text).unwrap_err()] {
        assert!(error.code() == Code::WrongTask && error.to_string().contains("replaced"), "{error}");
    }
    let tags = Recipe::new(Head::TokenClassification { labels: 2 }, &["O", "B-A"]);
    assert_eq!(tags.make().open().replaced(text).unwrap_err().code(), Code::WrongTask);

    drop(_turn);
    let _turn = seeded(133);
    let calibration = Some(Calibration { temperature: 2.0, ..Calibration::default() });
    let warm = Recipe { calibration, ..recipe() }.make().open().replaced(text).unwrap();
    for (warm, plain) in warm.tokens.iter().zip(&of(0.0).tokens) {
        let logit = (plain.probability / (1.0 - plain.probability)).ln();
        assert!((warm.probability - 1.0 / (1.0 + (-logit / 2.0).exp())).abs() < 1e-5);
    }
}
