//! A bundle of a few kilobytes with a real tokenizer and a real graph, whose
//! answers can be worked out by hand: each word has a row of two logits, and a
//! text has the mean of the rows of its tokens.

use std::path::Path;

use limbeck_sdk::BundleWriter;
use limbeck_sdk::bundle::{
    Activation, Architecture, Batching, ElementType, Manifest, Requires, Task, TensorSpec, TokenizerSpec,
};
use serde_json::json;

/// The most tokens of one text, special tokens included.
const MAX_TOKENS: usize = 64;

/// Word and its logits for `negative` and `positive`.
const WORDS: &[(&str, [f32; 2])] = &[
    ("[PAD]", [100.0, -100.0]), // would be noticed in any answer
    ("[UNK]", [0.0, 0.0]),
    ("[CLS]", [0.0, 0.0]),
    ("[SEP]", [0.0, 0.0]),
    ("good", [-8.0, 8.0]),
    ("bad", [8.0, -8.0]),
    ("the", [0.5, 0.0]),
    ("film", [0.0, 0.25]),
    (".", [0.0, 0.0]),
    ("🙂", [-4.0, 4.0]),
];

/// Writes the bundle.
pub fn write(path: &Path) {
    let labels = ["negative".to_owned(), "positive".to_owned()];
    let weights: Vec<u8> = WORDS.iter().flat_map(|(_, row)| row).flat_map(|value| value.to_le_bytes()).collect();
    BundleWriter::new(manifest()).classifier(tokenizer(), graph(weights.len()), weights, &labels).write(path).unwrap();
}

fn manifest() -> Manifest {
    let tensor = |name: &str, element, axes: [&str; 2]| TensorSpec {
        name: name.to_owned(),
        element,
        axes: axes.map(str::to_owned).to_vec(),
    };
    Manifest {
        id: "tiny".to_owned(),
        version: "0.1.0".to_owned(),
        build: 7,
        task: Task::TextClassification,
        architecture: Architecture {
            family: "bag-of-words".to_owned(),
            layers: 1,
            hidden_size: 2,
            attention_heads: 1,
            intermediate_size: 2,
            vocab_size: WORDS.len(),
            parameters: 2 * WORDS.len() as u64,
        },
        languages: vec!["en".to_owned()],
        max_tokens: MAX_TOKENS,
        activation: Activation::Softmax,
        tagging: None,
        embedding: None,
        entailment: None,
        inputs: vec![
            tensor("input_ids", ElementType::Int32, ["batch", "length"]),
            tensor("attention_mask", ElementType::Int32, ["batch", "length"]),
        ],
        outputs: vec![tensor("logits", ElementType::Float32, ["batch", "labels"])],
        batching: Batching::Padded,
        opset: [("ai.onnx".to_owned(), 17)].into(),
        operators: ["Cast", "Div", "Gather", "Mul", "ReduceSum", "Unsqueeze"]
            .map(|op| format!("ai.onnx:{op}"))
            .to_vec(),
        requires: Requires { sdk: "0.1.0".to_owned(), onnxruntime_api: 24 },
        tokenizer: TokenizerSpec {
            library: "tokenizers".to_owned(),
            version: "0.22.2".to_owned(),
            pad_id: 0,
            mask_id: None,
        },
        provenance: None,
        quality: None,
        latency: None,
        quantization: None,
    }
}

fn tokenizer() -> Vec<u8> {
    let vocab: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, (word, _))| ((*word).to_owned(), json!(id))).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    })
    .to_string()
    .into_bytes()
}

/// logits = sum(table[input_ids] * mask) / sum(mask), over the tokens.
fn graph(table_bytes: usize) -> Vec<u8> {
    const FLOAT: u64 = 1;
    const INT32: u64 = 6;
    const INT64: u64 = 7;
    let table = [
        ints(1, &[WORDS.len() as u64, 2]),
        int(2, FLOAT),
        text(8, "table"),
        bytes(13, &pair("location", "model.onnx.data")),
        bytes(13, &pair("offset", "0")),
        bytes(13, &pair("length", &table_bytes.to_string())),
        int(14, 1), // data lie outside of the graph
    ]
    .concat();
    let axis =
        |name: &str, value: i64| [ints(1, &[1]), int(2, INT64), text(8, name), bytes(9, &value.to_le_bytes())].concat();
    let tensor = |name: &str, element: u64, second: &str| {
        let axes = [bytes(1, &text(2, "batch")), bytes(1, &text(2, second))].concat();
        [text(1, name), bytes(2, &bytes(1, &[int(1, element), bytes(2, &axes)].concat()))].concat()
    };
    let whole = |name: &str, value: u64| bytes(5, &[text(1, name), int(3, value), int(20, 2)].concat());
    let graph = [
        bytes(1, &node("Gather", &["table", "input_ids"], "rows", &[])),
        bytes(1, &node("Cast", &["attention_mask"], "mask", &whole("to", FLOAT))),
        bytes(1, &node("Unsqueeze", &["mask", "last"], "column", &[])),
        bytes(1, &node("Mul", &["rows", "column"], "kept", &[])),
        bytes(1, &node("ReduceSum", &["kept", "second"], "sum", &whole("keepdims", 0))),
        bytes(1, &node("ReduceSum", &["mask", "second"], "count", &whole("keepdims", 1))),
        bytes(1, &node("Div", &["sum", "count"], "logits", &[])),
        text(2, "tiny"),
        bytes(5, &table),
        bytes(5, &axis("last", -1)),
        bytes(5, &axis("second", 1)),
        bytes(11, &tensor("input_ids", INT32, "length")),
        bytes(11, &tensor("attention_mask", INT32, "length")),
        bytes(12, &tensor("logits", FLOAT, "labels")),
    ]
    .concat();
    [int(1, 8), bytes(7, &graph), bytes(8, &[text(1, ""), int(2, 17)].concat())].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|input| text(1, input)).collect();
    node.extend([text(2, output), text(4, operator), attributes.to_vec()].concat());
    node
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    [text(1, key), text(2, value)].concat()
}

// Protocol buffers, as far as a small graph needs them.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn int(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn ints(field: u64, values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| int(field, *value)).collect()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}
