//! Encoder layers with 8-bit weights, which the sdk computes itself: near to fp32, and an answer depends on its text
//! alone.

use limbeck::bundle::Batching;
use limbeck::{ClassifyOptions, EmbedOptions, Overflow, TagOptions};
use limbeck_export::arch::{Activation, Head, ModelConfig, Sharing};
use limbeck_export::graph::{KeepFloat, Operators, Part, WeightMode};
use limbeck_tests::bundles::{Made, Recipe, difference, logits};
use limbeck_tests::models::tiny;
use limbeck_tests::seeded;

use crate::texts::{HARD, long};

fn of(config: ModelConfig, name: &str) -> ModelConfig {
    let family = tiny(name);
    ModelConfig {
        vocab_size: config.vocab_size,
        position_rows: config.position_rows + family.first_position,
        pad_id: config.pad_id,
        ..family
    }
}

pub(crate) type Change = fn(ModelConfig) -> ModelConfig;

/// Every kind of layer there is.
pub(crate) const KINDS: [(&str, Change); 11] = [
    ("bert", |config| config),
    ("uneven sizes", |config| ModelConfig {
        hidden_size: 36,
        embedding_size: 36,
        attention_heads: 3,
        intermediate_size: 50,
        ..config
    }),
    ("fewer heads", |config| ModelConfig { attention_heads: 1, own_head_size: Some(config.head_size()), ..config }),
    ("mpnet, fewer heads", |config| {
        let mpnet = of(config, "all-mpnet-base-v2");
        ModelConfig { attention_heads: 1, own_head_size: Some(mpnet.head_size()), ..mpnet }
    }),
    ("tanh", |config| ModelConfig { activation: Activation::GeluTanh, ..config }),
    ("relu", |config| ModelConfig { activation: Activation::Relu, ..config }),
    ("distilbert", |config| of(config, "distilbert-base-uncased")),
    ("mpnet", |config| of(config, "all-mpnet-base-v2")),
    ("electra", |config| of(config, "electra-small")),
    ("albert", |config| of(config, "albert-base")),
    ("albert, attention shared", |config| ModelConfig { sharing: Sharing::Attention, ..of(config, "albert-base") }),
];

fn classifier(weights: WeightMode, config: Change) -> Made {
    Recipe { weights, config, ..Recipe::classifier(&["a", "b", "c"]) }.make()
}

#[test]
fn every_kind_of_layer_is_near_to_fp32() {
    for (name, config) in KINDS {
        let _turn = seeded(130);
        let made = classifier(WeightMode::Int8Layers, config);
        let model = made.open();
        let manifest = model.bundle().manifest();
        assert_eq!(manifest.batching, Batching::Padded, "{name}");
        assert!(manifest.operators.contains(&"ai.limbeck:EncoderLayer".to_owned()), "{name}");
        assert_eq!(manifest.quantization.as_ref().unwrap().mode, "int8-by-token");
        // Of the weights of these models, drawn wide, 8 bits lose about this much.
        let error = made.logits_error(&model, &HARD);
        assert!(error < 0.03, "{name}: {error}");
    }
}

/// Two groups of two layers each.
fn grouped(config: ModelConfig) -> ModelConfig {
    ModelConfig { layers: 4, sharing: Sharing::Groups { groups: 2, inner: 1 }, ..of(config, "albert-base") }
}

/// Layers or the token table in fp32 beside int8: the first and the last ones, which are written in their own ways.
#[test]
fn parts_in_fp32_beside_int8_are_exact() {
    let bert: Change = |config| config;
    let cases: [(&str, Change, &[usize], bool); 8] = [
        ("bert, first layer", bert, &[0], false),
        ("bert, last layer", bert, &[2], false),
        ("bert, table", bert, &[], true),
        ("bert, all but one layer", bert, &[0, 2], true),
        ("albert, first group", grouped, &[0, 1], false),
        ("albert, last group", grouped, &[2, 3], false),
        ("albert, table", grouped, &[], true),
        ("mpnet, last layer", |config| of(config, "all-mpnet-base-v2"), &[2], false),
    ];
    let texts: Vec<String> = (0..40).map(|i| long(i * 7 % 37)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for (name, config, layers, table) in cases {
        let make = |weights, layers: &[usize], table| {
            let _turn = seeded(134);
            let keep_float = KeepFloat { layers: layers.iter().copied().collect(), table };
            Recipe { weights, keep_float, config, ..Recipe::classifier(&["a", "b", "c"]) }.make()
        };
        let made = make(WeightMode::Int8Layers, layers, table);
        let model = made.open();
        let manifest = model.bundle().manifest();
        assert_eq!(manifest.quantization.as_ref().unwrap().mode, "int8-by-token-mixed", "{name}");
        assert_eq!(manifest.batching, Batching::Padded, "{name}");
        let uses = |operator: &str| manifest.operators.contains(&operator.to_owned());
        assert!(uses("ai.limbeck:EncoderLayer"), "{name}: {:?}", manifest.operators);
        assert_eq!(uses("com.microsoft:MultiHeadAttention"), !layers.is_empty(), "{name}: {:?}", manifest.operators);

        let mixed = made.logits_error(&model, &HARD);
        let all = make(WeightMode::Int8Layers, &[], false);
        let (int8, bytes) = (all.logits_error(&all.open(), &HARD), all.bundle.len());
        let fp32 = make(WeightMode::Float, &[], false).bundle.len();
        assert!(mixed < 0.03 && mixed != int8 && mixed > 1e-6, "{name}: {mixed}, all int8 {int8}");
        assert!(made.bundle.len() > bytes, "{name}: {} bytes of {bytes} to {fp32}", made.bundle.len());

        let together = model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
        for (text, together) in texts.iter().zip(together) {
            let largest = difference(&logits(&model.classify(text).unwrap()), &logits(&together));
            assert!(largest <= 1e-5, "{name}: {largest} at {text:?}");
        }
    }
}

/// Whichever layers are kept fp32, and whether their attention is one operator or its parts.
#[test]
fn padding_is_masked_beside_int8() {
    let texts: Vec<String> = (0..40).map(|i| long(i * 7 % 37)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for part in [None, Some(Part::Attention)] {
        let operators = part.map_or_else(Operators::default, |part| Operators::default().with_other(part));
        for layers in [&[0][..], &[2], &[0, 2]] {
            let make = |recipe| {
                let _turn = seeded(136);
                let keep_float = KeepFloat { layers: layers.iter().copied().collect(), table: false };
                Recipe { weights: WeightMode::Int8Layers, keep_float, operators, ..recipe }.make().open()
            };
            let (classifier, embedder) = (make(Recipe::classifier(&["a", "b"])), make(Recipe::new(Head::None, &[])));
            let uses = |operator: &str| classifier.bundle().manifest().operators.contains(&operator.to_owned());
            assert!(uses("ai.limbeck:EncoderLayer"));
            assert_eq!(uses("com.microsoft:MultiHeadAttention"), part.is_none());
            for (text, together) in
                texts.iter().zip(classifier.classify_batch(&texts, &ClassifyOptions::new()).unwrap())
            {
                let largest = difference(&logits(&classifier.classify(text).unwrap()), &logits(&together));
                assert!(largest <= 1e-5, "{layers:?}, {operators}: {largest} at {text:?}");
            }
            for (text, together) in texts.iter().zip(embedder.embed_batch(&texts, &EmbedOptions::new()).unwrap()) {
                let largest = difference(&embedder.embed(text).unwrap().vector, &together.vector);
                assert!(largest <= 1e-5, "{layers:?}, {operators}: {largest} at {text:?}");
            }
        }
    }
}

/// What is kept fp32 costs nothing: with all but the table in fp32 the error is the table's, and so on; errors of all
/// parts are about that of the whole.
#[test]
fn errors_of_parts_add_up() {
    let of_part = |layers: &[usize], table| {
        let _turn = seeded(135);
        let keep_float = KeepFloat { layers: layers.iter().copied().collect(), table };
        let recipe = Recipe { weights: WeightMode::Int8Layers, keep_float, ..Recipe::classifier(&["a", "b", "c"]) };
        let made = recipe.make();
        made.logits_error(&made.open(), &HARD).powi(2)
    };
    let parts = [of_part(&[1, 2], true), of_part(&[0, 2], true), of_part(&[0, 1], true), of_part(&[0, 1, 2], false)];
    let (sum, all) = (parts.iter().sum::<f32>(), of_part(&[], false));
    assert!(parts.iter().all(|&part| part > 0.0 && part < all), "{parts:?} of {all}");
    assert!((0.3..3.0).contains(&(sum / all)), "{parts:?}, together {sum}, all int8 {all}");
}

/// 105 texts, one by one and in batches of every order, with one thread and with two.
#[test]
fn an_answer_does_not_depend_on_its_batch() {
    for weights in [WeightMode::Int8Layers, WeightMode::Ternary] {
        batches_of(weights);
    }
}

fn batches_of(weights: WeightMode) {
    let texts: Vec<String> =
        HARD.iter().map(|text| (*text).to_owned()).chain((0..).map(|i| long(i * 3 % 47))).take(105).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let options = ClassifyOptions::new().overflow(Overflow::AutoWindow);
    for (name, config) in KINDS {
        let made = {
            let _turn = seeded(131);
            classifier(weights, config)
        };
        let model = made.open();
        let alone: Vec<Vec<f32>> =
            texts.iter().map(|text| logits(&model.classify_with(text, &options).unwrap())).collect();
        for threads in [1, 2] {
            let model = made.open_with(|builder| builder.threads(threads));
            let mut order: Vec<usize> = (0..texts.len()).collect();
            for turn in 0..3 {
                order.rotate_left(turn * 17);
                order.swap(turn, 50);
                let batch: Vec<&str> = order.iter().map(|i| texts[*i]).collect();
                for (i, together) in order.iter().zip(model.classify_batch(&batch, &options).unwrap()) {
                    let largest = difference(&alone[*i], &logits(&together));
                    assert!(largest <= 1e-5, "{name}, {weights:?}: {largest} at {:?}", texts[*i]);
                }
            }
        }
    }
}

#[test]
fn tags_and_vectors_do_not_depend_on_their_batch() {
    let _turn = seeded(132);
    let recipe = |head, labels: &[&str]| Recipe { weights: WeightMode::Int8Layers, ..Recipe::new(head, labels) };
    let texts: Vec<String> = (0..30).map(|i| long(i * 7 % 37)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tagger = recipe(Head::TokenClassification { labels: 3 }, &["O", "B-A", "I-A"]).make().open();
    for (text, together) in texts.iter().zip(tagger.tag_batch(&texts, &TagOptions::new()).unwrap()) {
        let alone = tagger.tag(text).unwrap();
        assert_eq!(alone.entities.len(), together.entities.len(), "{text:?}");
        for (a, b) in alone.entities.iter().zip(&together.entities) {
            assert!((&a.label, &a.span) == (&b.label, &b.span) && (a.score - b.score).abs() <= 1e-5);
        }
    }
    let embedder = recipe(Head::None, &[]).make().open();
    for (text, together) in texts.iter().zip(embedder.embed_batch(&texts, &EmbedOptions::new()).unwrap()) {
        assert!(difference(&embedder.embed(text).unwrap().vector, &together.vector) <= 1e-5, "{text:?}");
    }
}

/// A head over the vocabulary has no place outside of the layers to be exact in.
#[test]
fn a_model_without_such_layers_is_stored_the_other_way() {
    let _turn = seeded(133);
    let made = Recipe { weights: WeightMode::Int8Layers, ..Recipe::new(Head::MaskedLm, &[]) }.make();
    let model = made.open();
    let manifest = model.bundle().manifest();
    assert_eq!(manifest.quantization.as_ref().unwrap().mode, "int8-dynamic");
    assert_eq!(manifest.batching, Batching::Single);
    assert!(model.fill_mask("the [MASK] fox").is_ok());
}
