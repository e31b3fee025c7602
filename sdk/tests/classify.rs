//! The whole way of a text through a bundle and ONNX Runtime.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{builder, data, largest_difference, logits, open, writer};
use limbeck::bundle::{Activation, Batching};
use limbeck::{ClassifyOptions, Code, Error, Model, Overflow};

#[derive(serde::Deserialize)]
struct Case {
    text: String,
    ids: Vec<u32>,
    logits: Vec<f32>,
    folded: Vec<f32>,
}

fn cases() -> Vec<Case> {
    serde_json::from_slice(&data("expected.json")).unwrap()
}

fn window(stride: usize) -> ClassifyOptions {
    ClassifyOptions::new().overflow(Overflow::Window { stride })
}

/// Texts of all lengths, some longer than the model takes.
fn many_texts() -> Vec<String> {
    (0..60).map(|i| "the film was not very good , but it is awful ! ".repeat(i % 13) + &"fox ".repeat(i)).collect()
}

fn as_strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Also proves that external data given from memory work: the values were
/// computed by numpy from the same weights.
#[test]
fn logits_equal_those_of_numpy() {
    let model = open(|_| {});
    for case in cases() {
        assert_eq!(model.tokenize(&case.text).unwrap().ids, case.ids, "{:?}", case.text);
        let answer = model.classify(&case.text).unwrap();
        let difference = largest_difference(&logits(&answer), &case.logits);
        assert!(difference <= 1e-4, "{:?}: {difference}", case.text);
        assert_eq!(answer.usage.tokens_used, case.ids.len());
        assert_eq!((answer.usage.tokens_dropped, answer.usage.windows), (0, 1));
    }
}

/// Weights that ONNX Runtime computes with while it loads the graph, which it
/// cannot do with those that are shared. And a file that has the name of the
/// weights, in the folder where the process is, is never opened.
#[test]
fn weights_that_are_folded_come_from_the_bundle() {
    let decoy = std::env::current_dir().unwrap().join("model.onnx.data");
    assert!(!decoy.exists());
    std::fs::write(&decoy, vec![0x3c; data("folded.data").len()]).unwrap();
    let mut manifest = common::manifest();
    manifest.architecture.vocab_size = 300;
    let bundle = limbeck::BundleWriter::new(manifest)
        .classifier(data("tokenizer.json"), data("folded.onnx"), data("folded.data"), &common::labels())
        .to_bytes()
        .unwrap();
    let answers = builder().open_bytes(bundle).and_then(|model| {
        cases().iter().map(|case| Ok(logits(&model.classify(&case.text)?))).collect::<limbeck::Result<Vec<_>>>()
    });
    std::fs::remove_file(&decoy).unwrap();
    for (answer, case) in answers.unwrap().iter().zip(cases()) {
        let difference = largest_difference(answer, &case.folded);
        assert!(difference <= 1e-4, "{:?}: {difference}", case.text);
    }
}

#[test]
fn a_mapped_bundle_gives_the_same_as_one_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.limbeck");
    let size = writer(|_| {}).write(&path).unwrap();
    let mapped = builder().open(&path).unwrap();
    assert_eq!(mapped.bundle().size(), size);
    assert_eq!(size, std::fs::metadata(&path).unwrap().len());
    let owned = open(|_| {});
    for case in cases() {
        assert_eq!(logits(&mapped.classify(&case.text).unwrap()), logits(&owned.classify(&case.text).unwrap()));
    }
}

#[test]
fn labels_are_sorted_and_cut_to_the_best() {
    let model = open(|_| {});
    let all = model.classify("a good film").unwrap();
    assert_eq!(all.labels.len(), 3);
    assert!(all.labels.is_sorted_by(|a, b| a.probability >= b.probability));
    assert!((all.labels.iter().map(|l| l.probability).sum::<f32>() - 1.0).abs() < 1e-6);
    for label in &all.labels {
        assert_eq!(label.label, common::labels()[label.index]);
    }
    let best = model.classify_with("a good film", &ClassifyOptions::new().top_k(1)).unwrap();
    assert_eq!(best.labels, all.labels[..1]);
    let none = model.classify_with("a good film", &ClassifyOptions::new().top_k(0)).unwrap();
    assert!(none.labels.is_empty());
}

#[test]
fn activations_follow_the_manifest() {
    let sigmoid = open(|m| m.activation = Activation::Sigmoid).classify("a good film").unwrap();
    let none = open(|m| m.activation = Activation::None).classify("a good film").unwrap();
    for (with, without) in sigmoid.labels.iter().zip(&none.labels) {
        assert!((with.probability - 1.0 / (1.0 + (-with.logit).exp())).abs() < 1e-6);
        assert_eq!(without.probability, without.logit);
    }
}

/// The promise of a padded batch: at most 1e-5 from single texts, and here
/// also in another order and with several sessions.
#[test]
fn a_batch_equals_single_texts() {
    let texts = many_texts();
    let texts = as_strs(&texts);
    for (batching, sessions) in
        [(Batching::Padded, 1), (Batching::Padded, 3), (Batching::Single, 1), (Batching::Single, 3)]
    {
        let bytes = writer(|m| m.batching = batching).to_bytes().unwrap();
        let model = builder().sessions(sessions).open_bytes(bytes).unwrap();
        for options in [ClassifyOptions::new(), window(7)] {
            let batch = model.classify_batch(&texts, &options).unwrap();
            let reversed: Vec<&str> = texts.iter().rev().copied().collect();
            let backward = model.classify_batch(&reversed, &options).unwrap();
            assert_eq!(batch.len(), texts.len());
            for (i, text) in texts.iter().enumerate() {
                let single = model.classify_with(text, &options).unwrap();
                let difference = largest_difference(&logits(&batch[i]), &logits(&single));
                let turned = largest_difference(&logits(&backward[texts.len() - 1 - i]), &logits(&single));
                let limit = if batching == Batching::Single { 0.0 } else { 1e-5 };
                assert!(difference <= limit && turned <= limit, "text {i}: {difference} {turned} {batching:?}");
                let usage = |answer: &limbeck::Classification| {
                    (answer.usage.tokens_used, answer.usage.tokens_dropped, answer.usage.windows)
                };
                assert_eq!(usage(&batch[i]), usage(&single));
            }
        }
    }
}

#[test]
fn an_empty_batch_is_an_empty_answer() {
    assert!(open(|_| {}).classify_batch(&[], &ClassifyOptions::new()).unwrap().is_empty());
}

#[test]
fn overflow_is_never_silent() {
    let model = open(|_| {});
    let text = "fox ".repeat(200);
    let text = text.as_str();

    let cut = model.classify(text).unwrap().usage;
    assert_eq!((cut.tokens_used, cut.tokens_dropped, cut.windows), (64, 138, 1));

    let error = model.classify_with(text, &ClassifyOptions::new().overflow(Overflow::Error)).unwrap_err();
    assert!(matches!(error, Error::TooLong { tokens: 202, max: 64 }));
    assert_eq!(error.code(), Code::TooLong);

    // 62 tokens a window, 12 shared: 0..62, 50..112, 100..162, 150..200.
    let read = model.classify_with(text, &window(12)).unwrap().usage;
    assert_eq!((read.tokens_used, read.tokens_dropped, read.windows), (202, 0, 4));

    let error = model.classify_with("short", &window(62)).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

/// Each window counts by its tokens: checked against windows run by hand.
#[test]
fn windows_are_averaged_by_their_tokens() {
    let model = open(|_| {});
    let words: Vec<&str> = "the film was not very good but it is awful".split(' ').cycle().take(100).collect();
    let whole = logits(&model.classify_with(&words.join(" "), &window(10)).unwrap());
    let parts = [(&words[..62], 62.0), (&words[52..], 48.0)];
    let mut expected = vec![0.0; 3];
    for (words, weight) in parts {
        let part = logits(&model.classify(&words.join(" ")).unwrap());
        for (sum, logit) in expected.iter_mut().zip(part) {
            *sum += logit * weight / 110.0;
        }
    }
    assert!(largest_difference(&whole, &expected) < 1e-5);
}

#[test]
fn difficult_texts_are_ordinary() {
    let model = open(|_| {});
    let texts = [
        "",
        " ",
        "\0",
        "good\0film\0",
        "🙂👩‍👩‍👧‍👦🇬🇧",
        "e\u{301}te\u{301} \u{200d} \u{feff} \u{202e}desrever",
        "[CLS] [SEP] [MASK] [PAD] [UNK]",
        "漢字かな交じり文",
        "\u{10ffff}\u{fffd}",
        "\r\n\t\u{b}\u{c}\u{85}\u{2028}",
    ];
    for text in texts {
        let answer = model.classify(text).unwrap();
        assert_eq!(answer.labels.len(), 3, "{text:?}");
        assert!(answer.labels.iter().all(|label| label.probability.is_finite()), "{text:?}");
        assert!(answer.usage.tokens_used >= 2, "{text:?}");
    }
    assert_eq!(model.classify_batch(&texts, &window(3)).unwrap().len(), texts.len());
}

#[test]
fn a_megabyte_of_text_is_read_whole() {
    let model = open(|_| {});
    let words = "the film was not very good , but it is awful !\n".repeat(1_100_000 / 47);
    assert!(words.len() > 1_000_000);
    let answer = model.classify_with(&words, &window(16)).unwrap();
    assert_eq!(answer.usage.tokens_dropped, 0);
    assert_eq!(answer.usage.tokens_used, words.lines().count() * 12 + 2);

    // One word of a megabyte: nothing to cut it at.
    let word = "x".repeat(1_000_000);
    assert_eq!(model.classify(&word).unwrap().usage.tokens_used, 3);
    // A megabyte of characters of four bytes, each an unknown word.
    let emoji = "🙂 ".repeat(200_000);
    let usage = model.classify(&emoji).unwrap().usage;
    assert_eq!(usage.tokens_used + usage.tokens_dropped, 200_002);
}

#[test]
fn offsets_point_into_the_text() {
    let model = open(|_| {});
    let text = "🙂 Good\0 FILMS, unknown";
    let tokens = model.tokenize(text).unwrap();
    let parts: Vec<&str> = tokens.offsets.iter().map(|range| &text[range.clone()]).collect();
    assert_eq!(parts, ["", "🙂", "Good", "FILM", "S", ",", "unknown", ""]);
    let special: Vec<usize> = (0..parts.len()).filter(|&i| tokens.special[i]).collect();
    assert_eq!(special, [0, 7]);
}

#[test]
fn one_model_serves_many_threads() {
    let bytes = writer(|_| {}).to_bytes().unwrap();
    let texts = many_texts();
    for sessions in [1, 2] {
        let model = builder().sessions(sessions).open_bytes(bytes.clone()).unwrap();
        let expected: Vec<_> = texts.iter().map(|text| logits(&model.classify(text).unwrap())).collect();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::Relaxed);
                        if i >= 5 * texts.len() {
                            break;
                        }
                        let i = i % texts.len();
                        assert_eq!(logits(&model.classify(&texts[i]).unwrap()), expected[i]);
                    }
                });
            }
        });
    }
}

#[test]
fn several_models_live_in_one_process_and_a_model_outlives_its_bundle_handle() {
    let first = open(|_| {});
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("second.limbeck");
    writer(|m| m.id = "second".into()).write(&path).unwrap();
    let second = builder().open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    drop(dir);
    let answer = logits(&second.classify("a good film").unwrap());
    assert_eq!(logits(&first.classify("a good film").unwrap()), answer);
    drop(first);
    assert_eq!(logits(&second.classify("a good film").unwrap()), answer);
    second.warm_up().unwrap();
}

#[test]
fn the_types_cross_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Model>();
    check::<limbeck::Bundle>();
    check::<limbeck::Cancel>();
    check::<ClassifyOptions>();
}
