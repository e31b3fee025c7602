//! Sentence embeddings and the heads fitted on them.

use limbeck::{ClassifyOptions, EmbedOptions, Error, FewShotHead, FewShotOptions, Overflow, nearest, similarity};
use limbeck_export::arch::Head;
use limbeck_tests::bundles::{Made, Recipe, difference, values};
use limbeck_tests::seeded;
use tch::Kind;

use crate::texts::{HARD, long};

fn made() -> Made {
    Recipe::new(Head::None, &[]).make()
}

/// The mean over the tokens, of length 1.
fn expected(made: &Made, text: &str) -> Vec<f32> {
    let mean = made.logits_of(text).mean_dim([1i64].as_slice(), false, Kind::Float);
    values(&(&mean / mean.norm()))
}

#[test]
fn vectors_are_those_of_libtorch() {
    let _turn = seeded(95);
    let made = made();
    let model = made.open();
    let short: Vec<&str> =
        HARD.into_iter().filter(|text| made.tokenizer.encode(*text, true).unwrap().len() <= 40).collect();
    let found = model.embed_batch(&short, &EmbedOptions::new()).unwrap();
    for (text, embedding) in short.iter().zip(&found) {
        let difference = difference(&embedding.vector, &expected(&made, text));
        assert!(difference <= 1e-5, "{text:?}: {difference}");
    }
    let (a, b) = (&found[0].vector, &found[1].vector);
    assert!((similarity(a, a).unwrap() - 1.0).abs() < 1e-6 && similarity(a, b).unwrap() < 1.0);
    let vectors: Vec<&[f32]> = found.iter().map(|embedding| embedding.vector.as_slice()).collect();
    assert_eq!(nearest(a, &vectors, 1).unwrap()[0].index, 0);
}

#[test]
fn windows_are_averaged_before_vectors_are_scaled() {
    let _turn = seeded(96);
    let made = made();
    let model = made.open();
    let text = long(50);
    let ids = made.tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec();
    let mut sum = [0f32; 32];
    for window in ids.chunks(38) {
        let row: Vec<u32> = [2].into_iter().chain(window.iter().copied()).chain([3]).collect();
        let mean = values(&made.logits(&row, &vec![0; row.len()]).mean_dim([1i64].as_slice(), false, Kind::Float));
        sum.iter_mut().zip(mean).for_each(|(sum, value)| *sum += value * window.len() as f32);
    }
    let length = sum.iter().map(|v| v * v).sum::<f32>().sqrt();
    let expected: Vec<f32> = sum.iter().map(|v| v / length).collect();
    let options = EmbedOptions::new().overflow(Overflow::Window { stride: 0 });
    let found = model.embed_with(&text, &options).unwrap();
    assert!(difference(&found.vector, &expected) < 1e-5);
    assert!(model.embed(&text).unwrap().usage.tokens_dropped > 0);
}

#[test]
fn a_head_learns_its_examples_and_stays_with_its_model() {
    let _turn = seeded(97);
    let made = made();
    let model = made.open();
    let examples = [
        ("the battery is awful", "battery"),
        ("battery life", "battery"),
        ("a good battery", "battery"),
        ("ada met babbage", "people 🙂"),
        ("who wrote this", "people 🙂"),
        ("the screen is wonderful", "screen"),
        ("bad screen", "screen"),
    ];
    let head = FewShotHead::fit(&model, &examples, &FewShotOptions::new().strength(1000.0)).unwrap();
    assert_eq!(head.labels(), ["battery", "people 🙂", "screen"]);
    let texts = examples.map(|(text, _)| text);
    let answers = head.classify(&model, &texts, &ClassifyOptions::new()).unwrap();
    for ((_, label), answer) in examples.iter().zip(&answers) {
        assert_eq!(answer.labels[0].label, *label);
        assert!((answer.labels.iter().map(|l| l.probability).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert!(!head.classify(&model, &["x"], &ClassifyOptions::new().out_of_scope(1.0)).unwrap()[0].in_scope);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.json");
    head.save(&path).unwrap();
    let again = FewShotHead::load(&path).unwrap();
    assert_eq!(again.classify(&model, &texts, &ClassifyOptions::new()).unwrap().len(), 7);
    let same = again.classify(&model, &texts[..1], &ClassifyOptions::new().top_k(1)).unwrap();
    let (first, before) = (&same[0].labels[0], &answers[0].labels[0]);
    assert_eq!((same[0].labels.len(), &first.label), (1, &before.label));
    assert!((first.logit - before.logit).abs() < 1e-5);

    // The same architecture with other weights is another model.
    let other = self::made().open();
    let error = again.classify(&other, &["x"], &ClassifyOptions::new()).unwrap_err();
    assert!(error.to_string().contains("fit it again"), "{error}");
    for bad in [&examples[..1], &[("a", ""), ("b", "x")], &[]] {
        let error = FewShotHead::fit(&model, bad, &FewShotOptions::new()).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    }
    assert!(FewShotHead::fit(&model, &examples, &FewShotOptions::new().strength(0.0)).is_err());
}
