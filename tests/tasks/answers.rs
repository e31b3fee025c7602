//! Question answering.

use limbeck::{AnswerOptions, Error, Overflow};
use limbeck_export::arch::Head;
use limbeck_tests::bundles::{Made, Recipe, values};
use limbeck_tests::seeded;

use crate::texts::{HARD, long, pieces};

fn made() -> Made {
    Recipe::new(Head::Span, &[]).make()
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let exponentials: Vec<f64> = logits.iter().map(|&logit| f64::from(logit).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// The best piece of a window by trying all, and the score of none.
fn try_all(made: &Made, question: &[u32], text: &[u32], most: usize) -> ((usize, usize, f64), f64) {
    let row: Vec<u32> = [&[2], question, &[3], text, &[3]].concat();
    let types: Vec<u32> = row.iter().enumerate().map(|(at, _)| u32::from(at >= question.len() + 2)).collect();
    let logits = made.logits(&row, &types);
    let [start, end] = [0, 1].map(|place| {
        let values = values(&logits.select(2, place));
        let text = values[question.len() + 2..][..text.len()].iter().copied();
        softmax(&std::iter::once(values[0]).chain(text).collect::<Vec<_>>())
    });
    let mut best = (0, 0, -1.0);
    for (from, start) in start.iter().enumerate().skip(1) {
        for (to, end) in end.iter().enumerate().skip(from).take(most) {
            if start * end > best.2 {
                best = (from - 1, to - 1, start * end);
            }
        }
    }
    (best, start[0] * end[0])
}

#[test]
fn the_best_answer_is_that_of_libtorch() {
    let _turn = seeded(92);
    let made = made();
    let model = made.open();
    let ids = |text: &str| made.tokenizer.encode(text, false).unwrap();
    let question = "who met ada";
    let mut compared = 0;
    for text in HARD {
        let tokens = ids(text);
        if tokens.is_empty() || tokens.len() > 34 {
            continue;
        }
        let ((from, to, score), none) = try_all(&made, ids(question).get_ids(), tokens.get_ids(), 5);
        let options = AnswerOptions::new().max_answer_tokens(5).top_k(40);
        let answers = model.answer_with(question, text, &options).unwrap();
        assert!((f64::from(answers.no_answer) - none).abs() < 1e-5);
        // The piece that libtorch likes best lies in an answer that scores at least as well: words are whole, and
        // places with the same words add up.
        let (start, end) = (tokens.get_offsets()[from].0, tokens.get_offsets()[to].1);
        let words = |a: &limbeck::Answer| a.text.to_lowercase();
        let best = answers.answers.iter().find(|a| {
            let bytes = &a.span.bytes;
            (bytes.start <= start && end <= bytes.end) || words(a).contains(&text[start..end].to_lowercase())
        });
        assert!(best.is_some_and(|answer| f64::from(answer.score) >= score - 1e-5), "{text:?}");
        assert!(answers.answers.is_sorted_by(|a, b| a.score >= b.score));
        for answer in &answers.answers {
            let [bytes, utf16, chars] = pieces(text, &answer.span);
            assert!(bytes == utf16 && bytes == chars && bytes == answer.text, "{text:?} {answer:?}");
        }
        compared += 1;
    }
    assert!(compared > 15, "{compared}");
}

#[test]
fn long_texts_are_read_in_windows_and_the_question_stays() {
    let _turn = seeded(93);
    let made = made();
    let model = made.open();
    let ids = |text: &str| made.tokenizer.encode(text, false).unwrap();
    let (question, text) = ("who met ada", long(60));
    let (q, t) = (ids(question), ids(&text));
    let (room, stride) = (40 - 3 - q.len(), 12);
    let mut from = 0;
    let (mut none, mut windows, mut most) = (f64::INFINITY, 0, 0f64);
    loop {
        let window = &t.get_ids()[from..(from + room).min(t.len())];
        let ((_, _, score), here) = try_all(&made, q.get_ids(), window, 15);
        (none, most, windows) = (none.min(here), most.max(score), windows + 1);
        if from + room >= t.len() {
            break;
        }
        from += room - stride;
    }
    let options = AnswerOptions::new().overflow(Overflow::Window { stride }).top_k(3);
    let answers = model.answer_with(question, &text, &options).unwrap();
    assert_eq!((answers.usage.windows, answers.usage.tokens_dropped), (windows, 0));
    assert!((f64::from(answers.no_answer) - none).abs() < 1e-5);
    assert!(f64::from(answers.answers[0].score) >= most - 1e-5);
    assert_eq!(answers.answers.len(), 3);

    let cut = model.answer_with(question, &text, &AnswerOptions::new().overflow(Overflow::Truncate)).unwrap();
    assert_eq!(cut.usage.tokens_dropped, t.len() - room);
    assert!(cut.answers[0].span.bytes.end <= t.get_offsets()[room - 1].1);
    let strict = AnswerOptions::new().overflow(Overflow::Error);
    assert!(matches!(model.answer_with(question, &text, &strict), Err(Error::TooLong { .. })));
    assert!(matches!(model.answer(&long(60), "a b"), Err(Error::TooLong { .. })));
}

#[test]
fn texts_and_options_without_sense() {
    let _turn = seeded(94);
    let model = made().open();
    let empty = model.answer("who", "").unwrap();
    assert!(empty.answers.is_empty() && empty.best().is_none());
    assert_eq!(model.answer("", "ada met").unwrap().answers.len(), 1);
    for options in [AnswerOptions::new().top_k(0), AnswerOptions::new().max_answer_tokens(0)] {
        assert!(matches!(model.answer_with("who", "ada", &options), Err(Error::InvalidArgument(_))));
    }
    let one = model.answer_with("who", "ada met london", &AnswerOptions::new().max_answer_tokens(1)).unwrap();
    assert!(!one.answers[0].text.contains(' '));
}
