//! Token ids and offsets against the PyPI package `tokenizers`, through the sdk and through training's encoder.

use limbeck::{ClassifyOptions, Model};
use limbeck_export::arch::{Head, ModelConfig, Params, parameter_layout};
use limbeck_export::checkpoint::HeadInfo;
use limbeck_export::data::{Encoder, Example};
use limbeck_export::{checkpoint, pack};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tch::Device;

use crate::reference;

const MAX_TOKENS: usize = 128;

struct Case {
    text: String,
    ids: Vec<u32>,
    /// Start and end of each token in Unicode scalar values.
    offsets: Vec<(usize, usize)>,
}

fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

fn cases() -> Vec<Case> {
    let references = reference::json("tokenizer.json");
    let file = std::fs::read(limbeck_tests::cache::minilm().join("tokenizer.json")).unwrap();
    let found: String = Sha256::digest(file).iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(references["tokenizer_sha256"], found, "another tokenizer.json than the references were made with");
    let cases = references["cases"].as_array().unwrap().iter();
    cases
        .map(|case| Case {
            text: case["text"].as_str().unwrap().to_owned(),
            ids: numbers(&case["ids"]).into_iter().map(|id| id as u32).collect(),
            offsets: numbers(&case["offsets"]).chunks(2).map(|pair| (pair[0], pair[1])).collect(),
        })
        .collect()
}

/// The sdk with the MiniLM tokenizer, in front of a network of almost no size.
fn model() -> Model {
    let config = ModelConfig::from_hf(&json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 30522,
        "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4,
        "max_position_embeddings": MAX_TOKENS, "type_vocab_size": 2}))
    .unwrap();
    let params = Params::initialise(&parameter_layout(&config, Head::Classification { labels: 2 }), Device::Cpu);
    let folder = tempfile::tempdir().unwrap();
    let labels = ["no".to_owned(), "yes".to_owned()];
    let tokenizer = limbeck_tests::cache::minilm().join("tokenizer.json");
    checkpoint::save(folder.path(), &config, &HeadInfo::classifier(&labels), &params, &tokenizer).unwrap();
    let options =
        pack::PackOptions { id: "tokens".into(), max_tokens: Some(MAX_TOKENS), ..pack::PackOptions::default() };
    let bundle = pack::draft(folder.path(), &options).unwrap().to_bytes().unwrap();
    Model::builder().runtime_path(limbeck_tests::cache::onnxruntime()).open_bytes(bundle).unwrap()
}

/// How many Unicode scalar values stand before a byte.
fn scalars(text: &str, byte: usize) -> usize {
    assert!(text.is_char_boundary(byte), "byte {byte} is inside a character of {text:?}");
    text[..byte].chars().count()
}

#[test]
fn ids_and_offsets_of_the_sdk_equal_the_reference() {
    let (model, cases) = (model(), cases());
    assert!(cases.len() >= 150, "{} texts", cases.len());
    for case in &cases {
        let tokens = model.tokenize(&case.text).unwrap();
        assert_eq!(tokens.ids, case.ids, "ids of {:?}", case.text);
        let offsets: Vec<_> =
            tokens.offsets.iter().map(|o| (scalars(&case.text, o.start), scalars(&case.text, o.end))).collect();
        assert_eq!(offsets, case.offsets, "offsets of {:?}", case.text);
        let special: Vec<usize> = (0..tokens.special.len()).filter(|&i| tokens.special[i]).collect();
        assert_eq!(special, [0, case.ids.len() - 1], "special tokens of {:?}", case.text);
    }
}

/// `classify` has its own, faster way to the ids; it must count the same tokens.
#[test]
fn classify_uses_and_drops_as_many_tokens_as_the_reference_has() {
    let (model, cases) = (model(), cases());
    let texts: Vec<&str> = cases.iter().map(|case| case.text.as_str()).collect();
    let answers = model.classify_batch(&texts, &ClassifyOptions::default()).unwrap();
    for (case, answer) in cases.iter().zip(answers) {
        let (used, dropped) = (case.ids.len().min(MAX_TOKENS), case.ids.len().saturating_sub(MAX_TOKENS));
        assert_eq!((answer.usage.tokens_used, answer.usage.tokens_dropped), (used, dropped), "{:?}", case.text);
    }
}

#[test]
fn ids_of_the_training_encoder_equal_the_reference() {
    let cases = cases();
    let tokenizer = limbeck_tests::cache::minilm().join("tokenizer.json");
    let encoder = Encoder::new(&tokenizer, 100_000, 30522).unwrap();
    let examples: Vec<Example> = cases
        .iter()
        .map(|case| Example { text: case.text.clone(), pair: None, label: "x".into(), source: "references".into() })
        .collect();
    let encoded = encoder.encode(&examples, &["x".to_owned()]).unwrap();
    assert_eq!((encoded.truncated, encoded.examples.len()), (0, cases.len()));
    for (case, example) in cases.iter().zip(encoded.examples) {
        let want: Vec<i64> = case.ids.iter().map(|&id| i64::from(id)).collect();
        assert_eq!(example.ids, want, "{:?}", case.text);
    }
}
