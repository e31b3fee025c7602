//! The decoders of entities and answers, and the windows, on numbers of any kind.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use limbeck::Aggregation;
use limbeck::bundle::TagScheme;
use limbeck::internals::{best_window, candidates, decode, plan_pair, softmax};

const LABELS: [&str; 8] = ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "-"];

#[derive(Arbitrary, Debug)]
struct Input {
    logits: Vec<f32>,
    words: Vec<u8>,
    labels: u8,
    scheme: u8,
    aggregation: u8,
    longest: u8,
    count: u8,
    first: u16,
    second: u16,
    room: u8,
    stride: u8,
    overflow: u8,
}

fuzz_target!(|input: Input| {
    let count = 1 + usize::from(input.labels) % LABELS.len();
    let labels: Vec<String> = LABELS[..count].iter().map(|&label| label.to_owned()).collect();
    let scheme = [TagScheme::Bio, TagScheme::Bioes, TagScheme::Plain][usize::from(input.scheme) % 3];
    let aggregation = [
        Aggregation::None,
        Aggregation::First,
        Aggregation::Average,
        Aggregation::Max,
        Aggregation::Strict,
    ][usize::from(input.aggregation) % 5];
    // Words as the tokenizer numbers them: growing.
    let mut word = 0;
    let words: Vec<usize> = input.words.iter().map(|&step| { word += usize::from(step % 2); word }).collect();
    let probabilities: Vec<f32> = input.logits.chunks(count).flat_map(softmax).collect();
    let mut end = 0;
    for (tokens, label, _) in decode(&probabilities, &words, &labels, scheme, aggregation) {
        assert!(tokens.start >= end && tokens.start < tokens.end && tokens.end <= words.len());
        end = tokens.end;
        assert!(label != "O");
    }

    let half = input.logits.len() / 2;
    let (start, stop) = input.logits.split_at(half);
    let stop = &stop[..half];
    let (longest, most) = (usize::from(input.longest), usize::from(input.count));
    let (found, _) = candidates(start, stop, longest, most);
    assert!(found.len() <= most);
    for (from, to, _) in found {
        assert!(from <= to && to - from < longest && to + 1 < half);
    }

    let tokens = [usize::from(input.first), usize::from(input.second)];
    let (room, stride) = (usize::from(input.room), usize::from(input.stride));
    if let Ok(windows) = plan_pair(tokens, room, stride, input.overflow) {
        let longer: Vec<_> = windows.iter().map(|[_, second]| second.clone()).collect();
        for window in &windows {
            assert!(window[0].len() + window[1].len() <= room);
        }
        let read = longer.last().map_or(0, |window| window.end);
        for (at, best) in best_window(&longer, read).into_iter().enumerate() {
            assert!(longer[best].contains(&at));
        }
    }
});
