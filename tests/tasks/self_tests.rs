//! The inputs that a bundle carries to test itself by.

use limbeck::Code;
use limbeck_export::arch::Head;
use limbeck_export::graph::WeightMode;
use limbeck_export::pack::TaskName;
use limbeck_tests::bundles::{Recipe, open_changed};
use limbeck_tests::seeded;

use crate::{order, replaced};

#[test]
fn every_task_passes_its_own() {
    let _turn = seeded(104);
    let tags = ["O", "B-A", "I-A"];
    let recipes = [
        Recipe::classifier(&["a", "b"]),
        Recipe { task: Some(TaskName::PairClassification), ..Recipe::classifier(&["a", "b"]) },
        Recipe::new(Head::TokenClassification { labels: 3 }, &tags),
        Recipe::new(Head::Span, &[]),
        Recipe::new(Head::None, &[]),
        Recipe::new(Head::MaskedLm, &[]),
        order::recipe(),
        replaced::recipe(),
    ];
    for recipe in recipes {
        for weights in [WeightMode::Float, WeightMode::DynamicInt8, WeightMode::Int8Layers] {
            let recipe = Recipe { max_tokens: 80, weights, ..recipe.clone() };
            let report = recipe.make().open().self_test().unwrap();
            assert!(report.vectors >= 3, "{:?}: {report:?}", recipe.head);
            assert!(weights != WeightMode::Float || report.largest_difference < 1e-4, "{report:?}");
        }
    }
}

/// A bundle with one thing changed, its hashes right.
#[test]
fn other_weights_or_another_tokenizer_are_found_out() {
    let _turn = seeded(105);
    let made = Recipe { max_tokens: 80, ..Recipe::classifier(&["a", "b"]) }.make();
    let open = |change: &dyn Fn(&str, &mut Vec<u8>)| open_changed(&made.bundle, |_| {}, change).unwrap();
    open(&|_, _| {}).self_test().unwrap();
    let weights = open(&|name, bytes| {
        if name == "model.onnx.data" {
            // The sign of every weight.
            bytes.iter_mut().skip(3).step_by(4).for_each(|byte| *byte ^= 0x80);
        }
    });
    let error = weights.self_test().unwrap_err();
    assert_eq!(error.code(), Code::SelfTest);
    let tokenizer = open(&|name, bytes| {
        if name == "tokenizer.json" {
            *bytes =
                String::from_utf8(bytes.clone()).unwrap().replace("\"lowercase\":true", "\"lowercase\":false").into();
        }
    });
    let error = tokenizer.self_test().unwrap_err();
    assert!(error.to_string().contains("other ids"), "{error}");
    let damaged = open(&|name, bytes| {
        if name == "selftest.json" {
            bytes.truncate(bytes.len() / 2);
        }
    });
    assert_eq!(damaged.self_test().unwrap_err().code(), Code::Malformed);
}
