//! Static int8: scales of activations found on texts.

use limbeck::ClassifyOptions;
use limbeck::bundle::Batching;
use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::data::{Example, Rows};
use limbeck_export::graph::WeightMode;
use limbeck_export::progress::{Output, Reporter};
use limbeck_export::quantize::{Activations, Observer, calibrate};
use limbeck_tests::bundles::{Made, Recipe, difference, logits, values};
use limbeck_tests::models::tiny;
use limbeck_tests::{has_int8_products, seeded};

use crate::texts::{HARD, long};

const OBSERVERS: [Observer; 4] = [Observer::MinMax, Observer::Percentile(99.99), Observer::Entropy, Observer::Mse];

fn texts() -> Vec<String> {
    let hard = HARD.iter().filter(|text| !text.is_empty()).map(|text| (*text).to_owned());
    hard.chain((0..60).map(|i| long(i * 7 % 37))).collect()
}

fn rows(texts: &[String]) -> Rows {
    let example =
        |text: &String| Example { text: text.clone(), pair: None, label: String::new(), source: String::new() };
    Rows::Texts(texts.iter().map(example).collect())
}

/// A recipe's bundle with scales that `observer` finds.
fn calibrated(recipe: &Recipe, observer: Observer, samples: usize) -> Made {
    let _turn = seeded(150);
    let texts = rows(&texts());
    let find = |folder: &std::path::Path, model: &limbeck::Model| {
        calibrate(folder, model, &texts, samples, observer, &Reporter::new(Output::Silent)).unwrap()
    };
    Recipe { weights: WeightMode::StaticInt8, ..recipe.clone() }.make_calibrated(find)
}

fn of(config: ModelConfig, name: &str) -> ModelConfig {
    let family = tiny(name);
    let (vocab_size, pad_id) = (config.vocab_size, config.pad_id);
    ModelConfig { vocab_size, position_rows: config.position_rows + family.first_position, pad_id, ..family }
}

#[test]
fn every_observer_is_near_to_fp32_and_every_family_has_scales() {
    let classifier = Recipe::classifier(&["a", "b", "c"]);
    for observer in OBSERVERS {
        let made = calibrated(&classifier, observer, 512);
        let error = made.logits_error(&made.open(), &texts());
        // Products that saturate are further off: `codes` in docs/quantization.md.
        let most = if has_int8_products() { 0.08 } else { 0.5 };
        assert!(error < most && error > 1e-5, "{observer}: {error}");
        let manifest = made.open().bundle().manifest().clone();
        assert_eq!(manifest.quantization.unwrap().mode, "int8-static");
        assert_eq!(manifest.batching, Batching::Padded);
        assert!(manifest.operators.contains(&"com.microsoft:MatMulIntegerToFloat".to_owned()));
    }
    let families: [fn(ModelConfig) -> ModelConfig; 4] = [
        |config| of(config, "albert-base"),
        |config| of(config, "all-mpnet-base-v2"),
        |config| of(config, "electra-small"),
        |config| of(config, "gpt2"),
    ];
    for config in families {
        let made = calibrated(&Recipe { config, ..classifier.clone() }, Observer::Percentile(99.99), 512);
        let error = made.logits_error(&made.open(), &texts());
        let most = if has_int8_products() { 0.1 } else { 1.0 };
        assert!(error < most, "{:?}: {error}", made.config.family);
    }
}

/// In a batch as alone, as there is one scale for all texts.
#[test]
fn answers_do_not_depend_on_their_batch() {
    let made = calibrated(&Recipe::classifier(&["a", "b", "c"]), Observer::Mse, 64);
    let texts: Vec<String> = (0..105).map(|i| long(i * 7 % 37)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for threads in [1, 2] {
        let model = made.open_with(|builder| builder.threads(threads));
        let together = model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
        for (text, together) in texts.iter().zip(together) {
            let alone = logits(&model.classify(text).unwrap());
            // A code that rounds the other way moves a logit by less than one step.
            let largest = difference(&alone, &logits(&together));
            assert!(largest <= 1e-5, "{largest} at {text:?}");
        }
    }
}

/// Whatever outliers a model has, trimming a ten-thousandth of what was seen is not much worse than keeping it all: at
/// most a point of answers that change against fp32.
#[test]
fn percentile_is_hardly_worse_than_min_max() {
    for seed in 0..3usize {
        let range = [0.05, 0.15, 0.3][seed % 3];
        let config: fn(ModelConfig) -> ModelConfig = match seed % 3 {
            0 => |config| ModelConfig { initializer_range: 0.05, ..config },
            1 => |config| ModelConfig { initializer_range: 0.15, ..config },
            _ => |config| ModelConfig { initializer_range: 0.3, ..config },
        };
        let recipe = Recipe { config, ..Recipe::classifier(&["a", "b", "c"]) };
        let agreement = |observer| {
            let made = calibrated(&recipe, observer, 512);
            let model = made.open();
            let texts = texts();
            let fitting =
                || texts.iter().filter(|text| made.tokenizer.encode(text.as_str(), true).unwrap().len() <= 40);
            let same = fitting().filter(|text| {
                let expected = values(&made.logits_of(text.as_str()));
                let found = logits(&model.classify(text).unwrap());
                let best = |v: &[f32]| (0..v.len()).max_by(|&a, &b| v[a].total_cmp(&v[b]));
                best(&expected) == best(&found)
            });
            same.count() as f64 / fitting().count() as f64
        };
        let (percentile, min_max) = (agreement(Observer::Percentile(99.99)), agreement(Observer::MinMax));
        let less = if has_int8_products() { 0.01 } else { 0.1 };
        assert!(percentile >= min_max - less, "weights of {range}: {percentile} against {min_max}");
    }
}

#[test]
fn scales_are_found_or_it_is_said_why_not() {
    let recipe = Recipe::classifier(&["a", "b"]);
    let _turn = seeded(151);
    let silent = Reporter::new(Output::Silent);
    let plain = recipe.make_calibrated(|folder, model| {
        let none = calibrate(folder, model, &rows(&[]), 512, Observer::MinMax, &silent).unwrap_err();
        assert!(none.to_string().contains("needs texts"), "{none}");
        let odd = calibrate(folder, model, &rows(&texts()), 512, Observer::Percentile(10.0), &silent).unwrap_err();
        assert!(odd.to_string().contains("give one from 50 to 100"), "{odd}");
        let twice = [0, 1].map(|_| calibrate(folder, model, &rows(&texts()), 20, Observer::Entropy, &silent).unwrap());
        assert_eq!(twice[0], twice[1], "the same rows each time");
        Activations::default()
    });
    assert_eq!(plain.open().bundle().manifest().quantization.as_ref().unwrap().mode, "none");
    drop(plain);
    let over_vocabulary = Recipe { weights: WeightMode::StaticInt8, ..Recipe::new(Head::MaskedLm, &[]) };
    let error = over_vocabulary.refusal();
    assert!(error.contains("over the vocabulary"), "{error}");
    let unknown = Recipe { weights: WeightMode::StaticInt8, ..recipe }.refusal();
    assert!(unknown.contains("needs calibration data"), "{unknown}");
}
