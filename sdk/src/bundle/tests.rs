//! Bundles written and read, and manifests of every kind.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::layout::{self, MAGIC};
use super::*;
use crate::{Code, Error};

pub(crate) fn manifest() -> Manifest {
    let ints = |name: &str| TensorSpec {
        name: name.into(),
        element: ElementType::Int32,
        axes: vec!["batch".into(), "length".into()],
    };
    Manifest {
        id: "tiny".into(),
        version: "1.0".into(),
        build: 3,
        task: Task::TextClassification,
        architecture: Architecture {
            family: "bert".into(),
            layers: 2,
            hidden_size: 8,
            attention_heads: 2,
            intermediate_size: 16,
            vocab_size: 100,
            parameters: 5000,
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
        operators: vec!["ai.onnx:MatMul".into()],
        requires: Requires { sdk: "0.1.0".into(), onnxruntime_api: 24 },
        tokenizer: TokenizerSpec { library: "tokenizers".into(), version: "0.22.2".into(), pad_id: 0, mask_id: None },
        provenance: None,
        quality: Some(Quality {
            metric: "accuracy".into(),
            split: "test".into(),
            value: 0.9,
            low: 0.8,
            high: 1.0,
            examples: 10,
        }),
        latency: None,
        quantization: None,
    }
}

fn labels() -> Vec<String> {
    vec!["negative".into(), "positive".into()]
}

pub(super) fn writer() -> BundleWriter {
    BundleWriter::new(manifest()).classifier(*b"{}", *b"graph", vec![7; 100], &labels())
}

pub(super) fn sample() -> Vec<u8> {
    writer().to_bytes().unwrap()
}

pub(super) fn problem(bytes: Vec<u8>) -> BundleError {
    match Bundle::from_bytes(bytes) {
        Err(Error::Bundle { problem, .. }) => problem,
        other => panic!("an error of the bundle was expected, not {other:?}"),
    }
}

#[test]
fn what_is_written_is_read() {
    let writer = writer().section(SectionKind::Report, "report.json", *b"[]").section(
        SectionKind::Other("hologram".into()),
        "x",
        *b"new",
    );
    let bundle = Bundle::from_bytes(writer.to_bytes().unwrap()).unwrap();
    assert_eq!(bundle.manifest(), &manifest());
    assert_eq!(bundle.labels(), labels());
    assert_eq!(bundle.section(WEIGHTS).unwrap().as_ref(), [7; 100]);
    assert_eq!(bundle.section("x").unwrap().as_ref(), b"new");
    assert!(bundle.section("y").is_none());
    assert_eq!(bundle.name(), "<memory>");
    let weights = bundle.sections().iter().find(|section| section.name == WEIGHTS).unwrap();
    assert_eq!(weights.offset % 16384, 0);
    for section in bundle.sections() {
        assert_eq!(section.offset % 64, 0);
        let bytes = bundle.section(&section.name).unwrap();
        assert_eq!(section.sha256, <[u8; 32]>::from(Sha256::digest(bytes)));
    }
    let hologram = bundle.sections().last().unwrap();
    assert_eq!((hologram.kind.name(), hologram.required), ("hologram", false));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(sample(), sample());
}

#[test]
fn files_are_replaced_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.limbeck");
    let size = writer().write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), sample());
    assert_eq!(Bundle::open(&path).unwrap().size(), size);
    assert_eq!(Bundle::open(&path).unwrap().name(), path.display().to_string());

    // A second bundle that is not valid leaves the first one there, and no litter.
    let error = BundleWriter::new(manifest()).write(&path).unwrap_err();
    assert_eq!(error.code(), Code::Malformed);
    assert!(error.to_string().contains("a.limbeck"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), sample());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    let error = writer().write(dir.path().join("no/such/folder/b.limbeck")).unwrap_err();
    assert_eq!(error.code(), Code::Io);
}

#[test]
fn paths_that_are_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let error = Bundle::open(dir.path().join("none.limbeck")).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("none.limbeck"));
    assert_eq!(Bundle::open(dir.path()).unwrap_err().code(), Code::Io);
    let empty = dir.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    assert_eq!(Bundle::open(&empty).unwrap_err().code(), Code::Truncated);
}

#[test]
fn label_lists() {
    for labels in
        [&br#"["a"]"#[..], b"[]", br#"["a","a"]"#, br#"["a",""]"#, br#"["a",3]"#, br#"{"0":"a","1":"b"}"#, b"", b"\xff"]
    {
        let error = BundleWriter::new(manifest())
            .section(SectionKind::Tokenizer, TOKENIZER, *b"{}")
            .section(SectionKind::Graph, GRAPH, *b"g")
            .section(SectionKind::Weights, WEIGHTS, *b"w")
            .section(SectionKind::Labels, LABELS, labels)
            .to_bytes()
            .unwrap_err();
        assert_eq!(error.code(), Code::Malformed, "{labels:?}");
    }
}

#[test]
fn manifest_fields_out_of_range() {
    let field_of = |change: fn(&mut Manifest)| {
        let mut manifest = manifest();
        change(&mut manifest);
        let error = BundleWriter::new(manifest).classifier(*b"{}", *b"g", *b"w", &labels()).to_bytes().unwrap_err();
        match error {
            Error::Bundle { problem: BundleError::ManifestField { field, .. }, .. } => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(field_of(|m| m.id = String::new()), "id");
    assert_eq!(field_of(|m| m.id = "a b".into()), "id");
    assert_eq!(field_of(|m| m.id = "x".repeat(129)), "id");
    assert_eq!(field_of(|m| m.version = String::new()), "version");
    assert_eq!(field_of(|m| m.max_tokens = 0), "max_tokens");
    assert_eq!(field_of(|m| m.max_tokens = usize::MAX), "max_tokens");
    assert_eq!(field_of(|m| m.architecture.layers = 0), "architecture.layers");
    assert_eq!(field_of(|m| m.architecture.hidden_size = 1 << 40), "architecture.hidden_size");
    assert_eq!(field_of(|m| m.architecture.attention_heads = 9), "architecture.attention_heads");
    assert_eq!(field_of(|m| m.architecture.vocab_size = 0), "architecture.vocab_size");
    assert_eq!(field_of(|m| m.architecture.vocab_size = 1 << 31), "architecture.vocab_size");
    assert_eq!(field_of(|m| m.tokenizer.pad_id = 100), "tokenizer.pad_id");
    assert_eq!(field_of(|m| m.opset.clear()), "opset");
    assert_eq!(field_of(|m| m.requires.sdk = "1.0".into()), "requires.sdk");
    assert_eq!(field_of(|m| m.requires.sdk = "1.0.+1".into()), "requires.sdk");
    assert_eq!(field_of(|m| m.inputs.clear()), "inputs");
    assert_eq!(field_of(|m| m.inputs.remove(0).axes.clear()), "inputs");
    assert_eq!(field_of(|m| m.inputs.push(m.inputs[0].clone())), "inputs");
    assert_eq!(field_of(|m| m.inputs[0].element = ElementType::Float32), "inputs");
    assert_eq!(field_of(|m| m.outputs[0].axes.reverse()), "outputs");
    assert_eq!(field_of(|m| m.outputs.clear()), "outputs");
    assert_eq!(field_of(|m| m.inputs.truncate(1)), "batching");
    assert_eq!(field_of(|m| m.quality.as_mut().unwrap().low = 2.0), "quality.low");
}

/// The sample with another text as its manifest.
fn with_manifest(text: &str) -> BundleError {
    let other = writer().section(SectionKind::Report, "report.json", text).to_bytes().unwrap();
    // The text is taken in as a report, and then the two sections change roles.
    let length = u64::from_le_bytes(other[16..24].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&other[64..64 + length]).unwrap();
    let header = header
        .replace(r#""manifest.json","kind":"manifest""#, r#""report_.json","kind":"xxxxxx_x""#)
        .replace(r#""required":true"#, r#""required":!!!!"#)
        .replace(r#""report.json","kind":"report""#, r#""manifest.json","kind":"manifest""#)
        .replace(r#""required":!!!!"#, r#""required":false"#);
    let gap_end = other.iter().skip(64 + length).position(|&byte| byte != 0).unwrap() + 64 + length;
    let gap_end = gap_end / 64 * 64;
    assert!(64 + header.len() <= gap_end, "there is room for a longer header");
    let mut bytes = [&layout::prefix(header.as_bytes(), other.len() as u64)[..], header.as_bytes()].concat();
    bytes.resize(gap_end, 0);
    bytes.extend_from_slice(&other[gap_end..]);
    problem(bytes)
}

#[test]
fn manifests_of_another_form() {
    let good = serde_json::to_string(&manifest()).unwrap();
    assert!(matches!(with_manifest("[]"), BundleError::Json { .. }));
    assert!(matches!(with_manifest("{}"), BundleError::Json { .. }));
    let twice = good.replacen(r#""build":3"#, r#""build":3,"build":4"#, 1);
    assert!(matches!(with_manifest(&twice), BundleError::DuplicateKey { key, .. } if key == "build"));
    let nested = good.replacen(r#""ai.onnx":17"#, r#""ai.onnx":17,"ai.onnx":18"#, 1);
    assert!(matches!(with_manifest(&nested), BundleError::DuplicateKey { key, .. } if key == "ai.onnx"));
    for (from, to) in [
        (r#""build":3"#, r#""build":-3"#),
        (r#""build":3"#, r#""build":1e400"#),
        (r#""max_tokens":64"#, r#""max_tokens":"64""#),
        (r#""activation":"softmax""#, r#""activation":"argmax""#),
        (r#""low":0.8"#, r#""low":null"#),
    ] {
        assert!(good.contains(from));
        assert!(matches!(with_manifest(&good.replacen(from, to, 1)), BundleError::Json { .. }), "{to}");
    }
    // The same unknown word in a bundle that says it needs a later library.
    let newer = good.replacen(r#""activation":"softmax""#, r#""activation":"argmax""#, 1).replacen(
        r#""sdk":"0.1.0""#,
        r#""sdk":"7.0.0""#,
        1,
    );
    let newer = with_manifest(&newer);
    assert!(matches!(&newer, BundleError::NeedsNewer { needed, .. } if needed == "7.0.0"), "{newer:?}");
    assert_eq!(newer.code(), Code::Incompatible);
}

#[test]
fn unknown_fields_and_tasks_of_the_manifest_are_kept_out_of_the_way() {
    let text = serde_json::to_string(&manifest()).unwrap();
    let text = text.replacen('{', r#"{"later":{"a":[1,2]},"#, 1);
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest());
    let mut other = manifest();
    other.task = Task::Other("translation".into());
    let bundle = Bundle::from_bytes(BundleWriter::new(other).to_bytes().unwrap()).unwrap();
    assert_eq!(bundle.manifest().task.name(), "translation");
    assert!(bundle.labels().is_empty());
}

#[test]
fn the_magic_is_what_the_page_says() {
    assert_eq!(MAGIC, [0x89, 0x4c, 0x42, 0x4b, 0x0d, 0x0a, 0x1a, 0x0a]);
}

proptest! {
    #[test]
    fn manifests_round_trip(
        id in "[A-Za-z0-9._-]{1,128}",
        version in ".{1,100}",
        build in any::<u64>(),
        max_tokens in 1usize..1 << 20,
        value in -1e300f64..1e300,
        operators in proptest::collection::vec(".{1,40}", 0..20),
    ) {
        let mut manifest = manifest();
        (manifest.id, manifest.version, manifest.build, manifest.max_tokens) = (id, version, build, max_tokens);
        manifest.operators = operators;
        let quality = manifest.quality.as_mut().unwrap();
        (quality.value, quality.low, quality.high) = (value, value, value);
        let bytes = BundleWriter::new(manifest.clone()).classifier(*b"{}", *b"g", *b"w", &labels()).to_bytes().unwrap();
        let bundle = Bundle::from_bytes(bytes).unwrap();
        prop_assert_eq!(bundle.manifest(), &manifest);
    }
}
