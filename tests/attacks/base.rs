//! A small valid bundle, which all damaged ones are made from.

use limbeck::{BundleWriter, Manifest};
use serde_json::{Value, json};

use crate::onnx::GraphSpec;
use crate::raw::Section;

pub const VOCABULARY: usize = 32;
pub const WIDTH: usize = 4;
pub const LABELS: [&str; 2] = ["negative", "positive"];

pub fn manifest() -> Value {
    json!({
        "id": "tiny", "version": "0.1.0", "build": 1, "task": "text-classification",
        "architecture": {"family": "bert", "layers": 1, "hidden_size": WIDTH, "attention_heads": 1,
                         "intermediate_size": 8, "vocab_size": VOCABULARY, "parameters": 136},
        "languages": ["en"], "max_tokens": 16, "activation": "softmax",
        "inputs": [{"name": "input_ids", "type": "int32", "axes": ["batch", "length"]},
                   {"name": "attention_mask", "type": "int32", "axes": ["batch", "length"]}],
        "outputs": [{"name": "logits", "type": "float32", "axes": ["batch", "labels"]}],
        "batching": "padded", "opset": {"ai.onnx": 17}, "operators": ["ai.onnx:Gather", "ai.onnx:MatMul"],
        "requires": {"sdk": "0.1.0", "onnxruntime_api": 24},
        "tokenizer": {"library": "tokenizers", "version": "0.22.2", "pad_id": 0},
        "quality": {"metric": "accuracy", "split": "test", "value": 0.5, "low": 0.4, "high": 0.6, "examples": 10}
    })
}

pub fn tokenizer() -> Value {
    let mut vocabulary = serde_json::Map::new();
    for (id, token) in ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].into_iter().enumerate() {
        vocabulary.insert(token.to_owned(), json!(id));
    }
    for (i, letter) in ('a'..='z').enumerate() {
        vocabulary.insert(letter.to_string(), json!(4 + i));
    }
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary}
    })
}

pub fn weights() -> Vec<u8> {
    let values = VOCABULARY * WIDTH + WIDTH * LABELS.len();
    (0..values).flat_map(|i| ((i * 37 % 101) as f32 / 101.0 - 0.5).to_le_bytes()).collect()
}

/// The sections in the order in which [`BundleWriter::classifier`] puts them.
pub fn sections() -> Vec<Section> {
    sections_with_graph(GraphSpec::default().encode())
}

pub fn sections_with_graph(graph: Vec<u8>) -> Vec<Section> {
    // Through `Manifest`, because that decides the order of the keys.
    let manifest: Manifest = serde_json::from_value(manifest()).expect("the base manifest is valid");
    vec![
        Section::new("manifest.json", "manifest", serde_json::to_vec(&manifest).expect("a manifest is JSON")),
        Section::new("tokenizer.json", "tokenizer", tokenizer().to_string()),
        Section::new("labels.json", "labels", json!(LABELS).to_string()),
        Section::new("model.onnx", "graph", graph),
        Section { align: Some(16384), ..Section::new("model.onnx.data", "weights", weights()) },
    ]
}

/// The same bundle by the library's own writer.
pub fn written_by_the_library() -> Vec<u8> {
    let manifest: Manifest = serde_json::from_value(manifest()).expect("the base manifest is valid");
    let labels = LABELS.map(str::to_owned);
    BundleWriter::new(manifest)
        .classifier(tokenizer().to_string(), GraphSpec::default().encode(), weights(), &labels)
        .to_bytes()
        .expect("the base bundle is valid")
}
