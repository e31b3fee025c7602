//! A batch gives what its texts give one by one, and costs no more padding than their buckets.

use limbeck::{ClassifyOptions, EmbedOptions, FillMaskOptions, Overflow, TagOptions};
use limbeck_export::arch::Head;
use limbeck_tests::bundles::{Recipe, difference};
use limbeck_tests::seeded;

use crate::texts::{HARD, long};

fn mixed() -> Vec<String> {
    let hard = HARD.iter().map(|text| (*text).to_owned());
    hard.chain((0..40).map(|i| long(i * 3 % 47))).collect()
}

#[test]
fn classification() {
    let _turn = seeded(100);
    for sessions in [1, 3] {
        let model = Recipe::classifier(&["a", "b", "c"]).make().open_with(|builder| builder.sessions(sessions));
        let texts = mixed();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let options = ClassifyOptions::new().overflow(Overflow::AutoWindow);
        for (text, together) in texts.iter().zip(model.classify_batch(&texts, &options).unwrap()) {
            let alone = model.classify_with(text, &options).unwrap();
            let logits = |answer: &limbeck::Classification| {
                let mut logits = vec![0.0; 3];
                answer.labels.iter().for_each(|label| logits[label.index] = label.logit);
                logits
            };
            assert!(difference(&logits(&alone), &logits(&together)) <= 1e-5, "{text:?}");
        }
    }
}

#[test]
fn entities() {
    let _turn = seeded(101);
    let labels = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"];
    let model = Recipe::new(Head::TokenClassification { labels: 5 }, &labels).make().open();
    let texts = mixed();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (text, together) in texts.iter().zip(model.tag_batch(&texts, &TagOptions::new()).unwrap()) {
        let alone = model.tag(text).unwrap();
        assert_eq!(alone.entities.len(), together.entities.len(), "{text:?}");
        for (a, b) in alone.entities.iter().zip(&together.entities) {
            assert!((&a.label, &a.span) == (&b.label, &b.span) && (a.score - b.score).abs() <= 1e-5);
        }
    }
}

#[test]
fn answers_vectors_and_guesses() {
    let _turn = seeded(102);
    let texts = mixed();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let reader = Recipe::new(Head::Span, &[]).make().open();
    let questions: Vec<(&str, &str)> = texts.iter().map(|text| ("who met ada", *text)).collect();
    for ((question, text), together) in
        questions.iter().zip(reader.answer_batch(&questions, &Default::default()).unwrap())
    {
        let alone = reader.answer(question, text).unwrap();
        assert!((alone.no_answer - together.no_answer).abs() <= 1e-5);
        assert_eq!(alone.answers.len(), together.answers.len());
        for (a, b) in alone.answers.iter().zip(&together.answers) {
            assert!(a.span == b.span && (a.score - b.score).abs() <= 1e-5, "{text:?}: {a:?} {b:?}");
        }
    }
    let embedder = Recipe::new(Head::None, &[]).make().open();
    for (text, together) in texts.iter().zip(embedder.embed_batch(&texts, &EmbedOptions::new()).unwrap()) {
        assert!(difference(&embedder.embed(text).unwrap().vector, &together.vector) <= 1e-5, "{text:?}");
    }
    let guesser = Recipe::new(Head::MaskedLm, &[]).make().open();
    let masked: Vec<String> = texts.iter().map(|text| format!("{text} [MASK] the")).collect();
    let masked: Vec<&str> = masked.iter().map(String::as_str).collect();
    for (text, together) in masked.iter().zip(guesser.fill_mask_batch(&masked, &FillMaskOptions::new()).unwrap()) {
        let alone = guesser.fill_mask(text).unwrap();
        for (a, b) in alone.masks.iter().zip(&together.masks) {
            assert_eq!(a.span, b.span);
            for (a, b) in a.guesses.iter().zip(&b.guesses) {
                assert!((a.probability - b.probability).abs() <= 1e-5, "{text:?}");
            }
        }
    }
}

#[test]
fn wrong_tasks_are_named() {
    let _turn = seeded(103);
    let model = Recipe::new(Head::None, &[]).make().open();
    let errors = [
        model.classify("x").unwrap_err(),
        model.classify_pair("x", "y").unwrap_err(),
        model.tag("x").unwrap_err(),
        model.answer("x", "y").unwrap_err(),
        model.fill_mask("x").unwrap_err(),
        model.zero_shot("x", &["y"]).unwrap_err(),
        model.rerank("x", &["y"], &Default::default()).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), limbeck::Code::WrongTask);
        assert!(error.to_string().contains("sentence-embedding"), "{error}");
    }
    assert!(model.mask_token().is_none());
}
