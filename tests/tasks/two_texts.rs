//! Pairs, reranking, zero-shot classification.

use limbeck::{ClassifyOptions, Error, Overflow, RerankOptions, ZeroShotOptions};
use limbeck_export::checkpoint::Problem;
use limbeck_export::pack::TaskName;
use limbeck_tests::bundles::{Made, Recipe, difference, values};
use limbeck_tests::seeded;
use tch::Kind;

use crate::texts::long;

const PAIRS: [(&str, &str); 6] = [
    ("who met ada", "Ada met Babbage in London 🙂"),
    ("", "the battery"),
    ("the battery", ""),
    ("", ""),
    ("a", "b"),
    ("what is this about", "the screen is wonderful, but the battery is awful!"),
];

fn nli(labels: &[&str]) -> Made {
    Recipe { task: Some(TaskName::PairClassification), ..Recipe::classifier(labels) }.make()
}

#[test]
fn pairs_are_read_with_their_types() {
    let _turn = seeded(84);
    let made = nli(&["contradiction", "neutral", "entailment"]);
    let model = made.open();
    let strict = ClassifyOptions::new().overflow(Overflow::Error);
    let answers = model.classify_pairs(&PAIRS, &ClassifyOptions::new().overflow(Overflow::Truncate)).unwrap();
    for ((first, second), answer) in PAIRS.into_iter().zip(&answers) {
        let tokens = made.tokenizer.encode((first, second), true).unwrap().len();
        if tokens > 40 {
            assert!(matches!(model.classify_pair_with(first, second, &strict), Err(Error::TooLong { .. })));
            assert_eq!((answer.usage.tokens_used, answer.usage.tokens_dropped), (40, tokens - 40));
            continue;
        }
        let expected = values(&made.logits_of((first, second)).softmax(-1, Kind::Float));
        let mut found = vec![0.0; 3];
        answer.labels.iter().for_each(|label| found[label.index] = label.probability);
        assert!(difference(&found, &expected) <= 1e-5, "{first:?} {second:?}");
        assert_eq!(answer.usage.tokens_used, tokens);
    }
    let error = model.classify("one text").unwrap_err();
    assert!(matches!(error, Error::WrongTask { .. }), "{error}");
}

/// The longer text is cut, as `longest_first` of the tokenizers library does.
#[test]
fn long_pairs_are_cut_as_the_tokenizers_library_cuts_them() {
    let _turn = seeded(85);
    let made = nli(&["contradiction", "entailment"]);
    let model = made.open();
    let mut tokenizer = made.tokenizer.clone();
    tokenizer.with_truncation(Some(tokenizers::TruncationParams { max_length: 40, ..Default::default() })).unwrap();
    for (first, second) in [(3, 60), (60, 3), (30, 40), (40, 30), (19, 19), (18, 20), (25, 25)] {
        let (first, second) = (long(first), long(second));
        let expected = tokenizer.encode((first.as_str(), second.as_str()), true).unwrap();
        let expected = values(&made.logits(expected.get_ids(), expected.get_type_ids()));
        let answer = model.classify_pair(&first, &second).unwrap();
        let mut found = vec![0.0; 2];
        answer.labels.iter().for_each(|label| found[label.index] = label.logit);
        assert!(difference(&found, &expected) <= 1e-5);
        assert_eq!(answer.usage.tokens_used, 40);
    }
}

#[test]
fn zero_shot_weighs_entailment() {
    let _turn = seeded(86);
    let made = nli(&["entailment", "neutral", "contradiction"]);
    let model = made.open();
    let labels = ["phone", "london", "screen 🙂"];
    let text = "the battery is good";
    let options = ZeroShotOptions::new().template("this is about {}.");
    let logits: Vec<Vec<f32>> =
        labels.iter().map(|label| values(&made.logits_of((text, format!("this is about {label}."))))).collect();
    let exponentials: Vec<f64> = logits.iter().map(|logits| f64::from(logits[0]).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    let answer = model.zero_shot_with(text, &labels, &options).unwrap();
    assert!(answer.labels.is_sorted_by(|a, b| a.probability >= b.probability));
    for label in &answer.labels {
        assert_eq!(label.label, labels[label.index]);
        assert!((f64::from(label.probability) - exponentials[label.index] / sum).abs() < 1e-5);
    }
    let each = model.zero_shot_with(text, &labels, &options.clone().multi_label(true)).unwrap();
    for label in &each.labels {
        let [entailment, contradiction] = [0, 2].map(|place| f64::from(logits[label.index][place]).exp());
        assert!((f64::from(label.probability) - entailment / (entailment + contradiction)).abs() < 1e-5);
    }
    let batch = model.zero_shot_batch(&[text, "bad", text], &labels, &options).unwrap();
    let probabilities =
        |answer: &limbeck::ZeroShot| answer.labels.iter().map(|l| (l.index, l.probability)).collect::<Vec<_>>();
    let single = model.zero_shot_with("bad", &labels, &options).unwrap();
    for (one, of_batch) in [(&answer, &batch[0]), (&single, &batch[1]), (&answer, &batch[2])] {
        for (a, b) in probabilities(one).iter().zip(probabilities(of_batch)) {
            assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-5, "{a:?} {b:?}");
        }
        assert_eq!(one.usage.tokens_used, of_batch.usage.tokens_used);
    }
    assert_eq!(model.zero_shot_batch(&[], &labels, &options).unwrap(), []);
    // A label alone is weighed against its contradiction.
    let alone = model.zero_shot_with(text, &labels[..1], &options).unwrap();
    let same = each.labels.iter().find(|label| label.index == 0).unwrap();
    assert!((alone.labels[0].probability - same.probability).abs() < 1e-6);

    for (labels, template) in [(&[][..], "{}"), (&labels[..], "no place")] {
        let error = model.zero_shot_with(text, labels, &ZeroShotOptions::new().template(template)).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error}");
    }
    let error = nli(&["yes", "no"]).open().zero_shot(text, &labels).unwrap_err();
    assert!(error.to_string().contains("entailment"), "{error}");
    // The text is cut and the label's sentence is not.
    let cut = model.zero_shot(&long(80), &["phone"]).unwrap();
    assert!(cut.usage.tokens_dropped > 0 && cut.usage.tokens_used == 40);
    let error = model.zero_shot("a", &[long(80).as_str()]).unwrap_err();
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
}

#[test]
fn reranking_orders_by_the_label_that_counts() {
    let _turn = seeded(87);
    let query = "who met ada";
    let far = long(70);
    let texts = ["the battery", "ada met babbage", "", "london", far.as_str()];
    let made = Recipe { problem: Problem::Regression, ..Recipe::classifier(&["score"]) };
    let made = Recipe { task: Some(TaskName::PairClassification), ..made }.make();
    let ranked = made.open().rerank(query, &texts, &RerankOptions::new()).unwrap();
    assert_eq!(ranked.len(), 5);
    assert!(ranked.is_sorted_by(|a, b| a.score >= b.score));
    for text in ranked.iter().filter(|text| text.index < 4) {
        let expected = values(&made.logits_of((query, texts[text.index])))[0];
        assert!((text.score - expected).abs() < 1e-5);
    }
    let long = ranked.iter().find(|text| text.index == 4).unwrap();
    assert!(long.usage.windows > 1 && long.usage.tokens_dropped == 0);

    let made = nli(&["no", "yes"]);
    let model = made.open();
    let error = model.rerank(query, &texts, &RerankOptions::new()).unwrap_err();
    assert!(error.to_string().contains("no, yes"), "{error}");
    assert!(model.rerank(query, &texts, &RerankOptions::new().label("maybe")).is_err());
    let ranked = model.rerank(query, &texts[..4], &RerankOptions::new().label("yes").top_k(2)).unwrap();
    assert_eq!(ranked.len(), 2);
    for text in &ranked {
        let expected = values(&made.logits_of((query, texts[text.index])).softmax(-1, Kind::Float))[1];
        assert!((text.score - expected).abs() < 1e-5);
    }
    assert!(model.rerank(query, &[], &RerankOptions::new().label("yes")).unwrap().is_empty());
}
