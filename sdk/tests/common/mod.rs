//! The tiny model of these tests, and where ONNX Runtime is.

// Each test program uses another part of this file.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use limbeck::bundle::{
    Activation, Architecture, Batching, ElementType, Manifest, Requires, Task, TensorSpec, TokenizerSpec,
};
use limbeck::{BundleWriter, Model, ModelBuilder};

/// Rows of the token table of `wide.onnx`.
pub const WIDE: usize = 400_000;
/// Width of its hidden states.
pub const HIDDEN: usize = 32;

/// The ONNX Runtime library: `ORT_DYLIB_PATH`, else the one in limbeck's cache
/// that `cargo xtask fetch` puts there.
pub fn runtime() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return path.into();
    }
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("LIMBECK_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("limbeck")))
        .or_else(|| Some(set("HOME")?.join(".cache/limbeck")))
        .expect("LIMBECK_CACHE or HOME is set");
    let name = if cfg!(windows) {
        "onnxruntime.dll"
    } else if cfg!(target_os = "macos") {
        "libonnxruntime.1.24.4.dylib"
    } else {
        "libonnxruntime.so.1.24.4"
    };
    let path = cache.join("onnxruntime-1.24.4").join(name);
    assert!(path.is_file(), "no ONNX Runtime at {}: run `cargo xtask fetch` or set ORT_DYLIB_PATH", path.display());
    path
}

pub fn data(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn labels() -> Vec<String> {
    ["bad", "good", "mixed"].map(str::to_owned).to_vec()
}

/// The manifest of the tiny model.
pub fn manifest() -> Manifest {
    let ints = |name: &str| TensorSpec {
        name: name.into(),
        element: ElementType::Int32,
        axes: vec!["batch".into(), "length".into()],
    };
    Manifest {
        id: "tiny".into(),
        version: "1".into(),
        build: 1,
        task: Task::TextClassification,
        architecture: Architecture {
            family: "bert".into(),
            layers: 1,
            hidden_size: HIDDEN,
            attention_heads: 1,
            intermediate_size: HIDDEN,
            vocab_size: vocab_size(),
            parameters: 1,
        },
        languages: vec!["en".into()],
        max_tokens: 64,
        activation: Activation::Softmax,
        tagging: None,
        embedding: None,
        entailment: None,
        generation: None,
        inputs: vec![ints("input_ids"), ints("attention_mask")],
        outputs: vec![TensorSpec {
            name: "logits".into(),
            element: ElementType::Float32,
            axes: vec!["batch".into(), "labels".into()],
        }],
        batching: Batching::Padded,
        opset: BTreeMap::from([("ai.onnx".into(), 17)]),
        operators: ["Cast", "Div", "Gather", "MatMul", "Mul", "ReduceSum", "Tanh", "Unsqueeze"]
            .map(|name| format!("ai.onnx:{name}"))
            .to_vec(),
        requires: Requires { sdk: "0.1.0".into(), onnxruntime_api: 24 },
        tokenizer: TokenizerSpec { library: "tokenizers".into(), version: "0.22.2".into(), pad_id: 0, mask_id: None },
        provenance: None,
        quality: None,
        latency: None,
        quantization: None,
    }
}

/// Rows of the tiny model's token table.
pub fn vocab_size() -> usize {
    (data("tiny.data").len() / 4 - HIDDEN * HIDDEN - HIDDEN * 3) / HIDDEN
}

/// The tiny model, after a change to its manifest.
pub fn writer(change: impl FnOnce(&mut Manifest)) -> BundleWriter {
    let mut manifest = manifest();
    change(&mut manifest);
    BundleWriter::new(manifest).classifier(data("tokenizer.json"), data("tiny.onnx"), data("tiny.data"), &labels())
}

pub fn builder() -> ModelBuilder {
    Model::builder().runtime_path(runtime())
}

/// The tiny model, opened, after a change to its manifest.
pub fn open(change: impl FnOnce(&mut Manifest)) -> Model {
    builder().open_bytes(writer(change).to_bytes().unwrap()).unwrap()
}

/// Logits of an answer in the order of the model's labels.
pub fn logits(answer: &limbeck::Classification) -> Vec<f32> {
    let mut logits = vec![0.0; answer.labels.len()];
    for label in &answer.labels {
        logits[label.index] = label.logit;
    }
    logits
}

pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
