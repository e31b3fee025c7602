//! Classification: labels that exclude each other, labels that do not, numbers; calibration and scope.

use limbeck::{Calibration, ClassifyOptions, Overflow};
use limbeck_export::checkpoint::Problem;
use limbeck_tests::bundles::{Recipe, difference, values};
use limbeck_tests::seeded;
use tch::Kind;

use crate::texts::{HARD, long};

fn in_order(answer: &limbeck::Classification) -> Vec<f32> {
    let mut values = vec![f32::NAN; answer.labels.len()];
    answer.labels.iter().for_each(|label| values[label.index] = label.probability);
    values
}

#[test]
fn probabilities_are_those_of_libtorch() {
    let _turn = seeded(81);
    let recipe = Recipe::classifier(&["bad", "good", "mixed"]);
    for problem in [Problem::SingleLabelClassification, Problem::MultiLabelClassification, Problem::Regression] {
        let made = Recipe { problem, ..recipe.clone() }.make();
        let model = made.open();
        for text in HARD.iter().filter(|text| made.tokenizer.encode(**text, true).unwrap().len() <= 40) {
            let logits = made.logits_of(*text);
            let expected = values(&match problem {
                Problem::SingleLabelClassification => logits.softmax(-1, Kind::Float),
                Problem::MultiLabelClassification => logits.sigmoid(),
                Problem::Regression => logits,
            });
            let answer = model.classify_with(text, &ClassifyOptions::new().overflow(Overflow::Error)).unwrap();
            let found = difference(&in_order(&answer), &expected);
            assert!(found <= 1e-5, "{problem:?}, {text:?}: {found}");
            assert!(answer.labels.is_sorted_by(|a, b| a.probability >= b.probability) && answer.in_scope);
            let held: Vec<bool> = answer.labels.iter().map(|label| label.holds).collect();
            match problem {
                Problem::SingleLabelClassification => assert_eq!(held, [true, false, false]),
                Problem::MultiLabelClassification => {
                    assert!(answer.labels.iter().all(|label| label.holds == (label.probability >= 0.5)));
                }
                Problem::Regression => assert_eq!(held, [true; 3]),
            }
        }
    }
}

#[test]
fn temperature_thresholds_and_scope() {
    let _turn = seeded(82);
    let calibration = Calibration { temperature: 3.0, thresholds: Vec::new(), out_of_scope: Some(0.6) };
    let recipe = Recipe::classifier(&["bad", "good"]);
    let plain = recipe.make();
    // The same weights again.
    tch::manual_seed(82);
    let made = Recipe { calibration: Some(calibration), ..recipe.clone() }.make();
    let (plain, model) = (plain.open(), made.open());
    for text in ["the battery", "awful screen", "ada"] {
        let (before, after) = (plain.classify(text).unwrap(), model.classify(text).unwrap());
        let logits: Vec<f32> = {
            let mut logits = vec![0.0; 2];
            before.labels.iter().for_each(|label| logits[label.index] = label.logit);
            logits
        };
        let expected = 1.0 / (1.0 + ((logits[1] - logits[0]) / 3.0).exp());
        assert!((in_order(&after)[0] - expected).abs() < 1e-6, "{text}");
        let best = after.labels[0].probability;
        assert_eq!(after.in_scope, best >= 0.6);
        assert_eq!(after.labels[0].holds, after.in_scope);
        // The call goes before the bundle.
        let strict = model.classify_with(text, &ClassifyOptions::new().out_of_scope(1.0)).unwrap();
        assert!(!strict.in_scope && strict.labels.iter().all(|label| !label.holds));
        assert!(model.classify_with(text, &ClassifyOptions::new().out_of_scope(0.0)).unwrap().in_scope);
    }

    let calibration = Calibration { thresholds: vec![0.0, 1.0], ..Calibration::default() };
    let problem = Problem::MultiLabelClassification;
    let model = Recipe { problem, calibration: Some(calibration), ..recipe }.make().open();
    let answer = model.classify("the battery").unwrap();
    assert!(answer.labels.iter().all(|label| label.holds == (label.index == 0)));
    let answer = model.classify_with("the battery", &ClassifyOptions::new().threshold(0.0)).unwrap();
    assert!(answer.labels.iter().all(|label| label.holds));
    for bad in [ClassifyOptions::new().threshold(1.5), ClassifyOptions::new().out_of_scope(f32::NAN)] {
        assert!(matches!(model.classify_with("x", &bad), Err(limbeck::Error::InvalidArgument(_))));
    }
}

#[test]
fn windows_are_averaged_by_their_tokens() {
    let _turn = seeded(83);
    let made = Recipe::classifier(&["bad", "good", "mixed"]).make();
    let model = made.open();
    let text = long(90);
    let ids = made.tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec();
    let (room, stride) = (38, 9);
    let mut sum = [0f64; 3];
    let (mut from, mut weight) = (0, 0.0);
    loop {
        let window = &ids[from..(from + room).min(ids.len())];
        let row: Vec<u32> = [2].into_iter().chain(window.iter().copied()).chain([3]).collect();
        let logits = values(&made.logits(&row, &vec![0; row.len()]));
        logits.iter().zip(&mut sum).for_each(|(&logit, sum)| *sum += f64::from(logit) * window.len() as f64);
        weight += window.len() as f64;
        if from + room >= ids.len() {
            break;
        }
        from += room - stride;
    }
    let answer = model.classify_with(&text, &ClassifyOptions::new().overflow(Overflow::Window { stride })).unwrap();
    for label in &answer.labels {
        assert!((f64::from(label.logit) - sum[label.index] / weight).abs() < 1e-5);
    }
    assert_eq!((answer.usage.tokens_used, answer.usage.tokens_dropped), (ids.len() + 2, 0));
    assert!(answer.usage.windows > 3);
}
