//! The tasks `order` and `replaced` of the sdk against PyPI transformers' `AlbertForPreTraining` and
//! `ElectraForPreTraining`: their folders, packed. `make_order_replaced.py` made the references.

use std::fs;
use std::path::PathBuf;

use limbeck::{Aggregation, Model, OrderOptions, ReplacedOptions};
use limbeck_export::graph::WeightMode;
use limbeck_export::pack::{PackOptions, TaskName, draft};
use limbeck_tests::{cache, has_int8_products, seeded};
use serde_json::Value;

use crate::reference::path;

fn folder() -> PathBuf {
    path("order-replaced")
}

fn lines(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn open(name: &str, task: Option<TaskName>, weights: WeightMode) -> Model {
    let options = PackOptions { task, weights, max_tokens: Some(96), ..PackOptions::default() };
    let bundle = {
        let _turn = seeded(0);
        draft(&folder().join(name), &options).unwrap().to_bytes().unwrap()
    };
    Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bundle).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Log odds of "in order" and their probability.
fn odds(logits: &Value) -> (f64, f64) {
    let logits = floats(logits);
    let odds = logits[0] - logits[1];
    (odds, 1.0 / (1.0 + (-odds).exp()))
}

#[test]
fn order_is_that_of_the_sentence_order_head() {
    let model = open("albert", Some(TaskName::Order), WeightMode::Float);
    assert!(model.self_test().unwrap().vectors >= 2);
    let lines = lines("order.jsonl");
    let pairs: Vec<(&str, &str)> =
        lines.iter().map(|line| (line["first"].as_str().unwrap(), line["second"].as_str().unwrap())).collect();
    let given = model.order_batch(&pairs, &OrderOptions::new()).unwrap();
    let both = model.order_batch(&pairs, &OrderOptions::new().both_orders(true)).unwrap();
    let mut biased = 0;
    for ((line, given), both) in lines.iter().zip(&given).zip(&both) {
        let ((logit, probability), (swapped, _)) = (odds(&line["as_given"]), odds(&line["swapped"]));
        assert!((f64::from(given.logit) - logit).abs() < 2e-5, "{line}: {given:?}");
        assert!((f64::from(given.probability) - probability).abs() < 1e-5, "{line}: {given:?}");
        assert!((f64::from(both.logit) - (logit - swapped) / 2.0).abs() < 2e-5, "{line}: {both:?}");
        biased += usize::from((logit + swapped).abs() > 0.05);
    }
    assert!(biased >= 3, "a model without a bias to one of the orders shows no difference: {biased}");
    // The masked-LM head of the same folder is another bundle.
    assert!(open("albert", None, WeightMode::Float).mask_token().is_some());
}

#[test]
fn replaced_tokens_are_those_of_the_discriminator() {
    let model = open("electra", None, WeightMode::Float);
    assert!(model.self_test().unwrap().vectors >= 2);
    let lines = lines("replaced.jsonl");
    let texts: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
    let answers = model.replaced_batch(&texts, &ReplacedOptions::new()).unwrap();
    let (mut compared, mut found) = (0, 0);
    for ((line, answer), text) in lines.iter().zip(&answers).zip(&texts) {
        let (offsets, probabilities) = (line["offsets"].as_array().unwrap(), floats(&line["probabilities"]));
        assert_eq!(answer.tokens.len(), probabilities.len(), "{text:?}");
        for ((token, offset), probability) in answer.tokens.iter().zip(offsets).zip(&probabilities) {
            let offset = [0, 1].map(|i| offset[i].as_u64().unwrap() as usize);
            assert_eq!([token.span.chars.start, token.span.chars.end], offset, "{text:?}");
            assert!((f64::from(token.probability) - probability).abs() < 1e-5, "{text:?}: {token:?}");
            compared += 1;
        }
        // A word is as suspicious as the most suspicious of its tokens.
        let words: Vec<Option<u64>> = line["words"].as_array().unwrap().iter().map(Value::as_u64).collect();
        let mut at = 0;
        let mut suspicious: Vec<usize> = Vec::new();
        for word in words.chunk_by(|a, b| a == b) {
            let highest = probabilities[at..at + word.len()].iter().copied().fold(0.0, f64::max);
            suspicious.extend((highest >= 0.5).then(|| offsets[at][0].as_u64().unwrap() as usize));
            at += word.len();
        }
        for start in &suspicious {
            assert!(answer.spans.iter().any(|span| span.span.chars.contains(start)), "{text:?}: {start}");
        }
        for span in &answer.spans {
            assert!(suspicious.iter().any(|start| span.span.chars.contains(start)), "{text:?}: {span:?}");
        }
        found += answer.spans.len();
    }
    assert!(compared > 90 && found > 20 && found < compared, "{found} of {compared}");
    let runs = model.replaced_with(texts[3], &ReplacedOptions::new().aggregation(Aggregation::None)).unwrap();
    let probabilities = floats(&lines[3]["probabilities"]);
    let passes = |at: usize| probabilities[at] >= 0.5;
    let begins = (0..probabilities.len()).filter(|&at| passes(at) && (at == 0 || !passes(at - 1))).count();
    assert_eq!(runs.spans.len(), begins);
}

/// The modes that `quantize` makes of these heads.
#[test]
fn fewer_bits_stay_near() {
    let float = open("albert", Some(TaskName::Order), WeightMode::Float);
    let replaced = open("electra", None, WeightMode::Float);
    for weights in [WeightMode::Int8Layers, WeightMode::DynamicInt8, WeightMode::Half] {
        // ONNX Runtime's products saturate on processors without: `codes` in docs/quantization.md.
        let saturates = weights == WeightMode::DynamicInt8 && !has_int8_products();
        let [order_most, replaced_most] = if saturates { [0.3; 2] } else { [0.05, 0.1] };
        let order = open("albert", Some(TaskName::Order), weights);
        let given = order.order("who wrote the film?", "Ada met London.").unwrap();
        let expected = float.order("who wrote the film?", "Ada met London.").unwrap();
        assert!((given.probability - expected.probability).abs() < order_most, "{weights:?}: {given:?} {expected:?}");
        let found = open("electra", None, weights).replaced("teh batery is godo!").unwrap();
        let expected = replaced.replaced("teh batery is godo!").unwrap();
        assert_eq!(found.tokens.len(), expected.tokens.len());
        for (found, expected) in found.tokens.iter().zip(&expected.tokens) {
            assert!(
                (found.probability - expected.probability).abs() < replaced_most,
                "{weights:?}: {found:?} {expected:?}"
            );
        }
    }
}
