//! Models of bundles that are signed, encrypted, too old, or no file of their own.

mod common;

use std::io::Write;

use common::{builder, data, labels, manifest, writer};
use limbeck::{Bundle, BundleWriter, Code, ModelBuilder, Result, SectionInfo, SectionKind, SigningKey};

const TEXT: &str = "a good film";

/// A toy that stands in for a cipher: it hides nothing from anybody.
fn toy_xor(bytes: &[u8]) -> std::result::Result<Vec<u8>, String> {
    Ok(bytes.iter().map(|byte| byte ^ 0x5A).collect())
}

fn unhide(_: &SectionInfo, stored: &[u8]) -> std::result::Result<Vec<u8>, String> {
    toy_xor(stored)
}

fn hidden() -> BundleWriter {
    let kinds = [SectionKind::Tokenizer, SectionKind::Graph, SectionKind::Weights, SectionKind::Labels];
    writer(|_| {}).encrypt(kinds, |_, _, content| toy_xor(content))
}

/// What the model answers, or the code of the error.
fn logits(model: Result<limbeck::Model>) -> std::result::Result<Vec<f32>, Code> {
    model.and_then(|model| model.classify(TEXT)).map(|answer| common::logits(&answer)).map_err(|error| error.code())
}

fn expected() -> Vec<f32> {
    logits(Ok(common::open(|_| {}))).unwrap()
}

#[test]
fn every_way_to_open_a_model_asks_for_the_signature() {
    let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let bytes = writer(|_| {}).sign(&key).to_bytes().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signed.limbeck");
    std::fs::write(&path, &bytes).unwrap();
    type Way<'a> = &'a dyn Fn(ModelBuilder) -> Result<limbeck::Model>;
    let ways: [Way; 5] = [
        &|builder| builder.open(&path),
        &|builder| builder.open_bytes(bytes.clone()),
        &|builder| builder.open_bundle(Bundle::from_bytes(bytes.clone())?),
        &|builder| builder.open_file(std::fs::File::open(&path).unwrap(), 0, None),
        &|builder| builder.open_reader(bytes.as_slice(), Some(bytes.len() as u64)),
    ];
    let expected = expected();
    for open in ways {
        assert_eq!(logits(open(builder())).unwrap(), expected);
        assert_eq!(logits(open(builder().trusted_keys([other.public_key(), key.public_key()]))).unwrap(), expected);
        assert_eq!(logits(open(builder().trusted_keys([other.public_key()]))), Err(Code::Signature));
        assert_eq!(logits(open(builder().trusted_keys([]))), Err(Code::InvalidArgument));
        assert_eq!(logits(open(builder().minimum_build(1))).unwrap(), expected);
        assert_eq!(logits(open(builder().minimum_build(2))), Err(Code::Rollback));
    }
}

/// Tokenizer and graph are traps that must not be walked into.
#[test]
fn nothing_is_parsed_before_the_signature_and_the_build_are_right() {
    let key = SigningKey::generate().unwrap();
    let garbage = BundleWriter::new(manifest()).classifier(*b"{\"a\":1,\"a\":2}", *b"graph", *b"weights", &labels());
    let bytes = garbage.to_bytes().unwrap();
    assert_eq!(logits(builder().open_bytes(bytes.clone())), Err(Code::Malformed));
    assert_eq!(logits(builder().trusted_keys([key.public_key()]).open_bytes(bytes.clone())), Err(Code::Signature));
    assert_eq!(logits(builder().minimum_build(2).open_bytes(bytes)), Err(Code::Rollback));
}

#[test]
fn an_encrypted_model_answers_as_the_open_one() {
    let bytes = hidden().to_bytes().unwrap();
    for _ in 0..2 {
        let model = builder().sessions(2).decrypt(unhide).open_bytes(bytes.clone());
        assert_eq!(logits(model).unwrap(), expected());
    }
    assert_eq!(logits(builder().open_bytes(bytes.clone())), Err(Code::Incompatible));
    let kept = Bundle::options().keep_encrypted().open_bytes(bytes.clone()).unwrap();
    // Too late for the hook: the bundle is open already.
    assert_eq!(logits(builder().decrypt(unhide).open_bundle(kept)), Err(Code::Incompatible));
    let error = builder().decrypt(|section, _| Err(format!("no key for {}", section.kind.name()))).open_bytes(bytes);
    let message = error.unwrap_err().to_string();
    assert!(message.contains("tokenizer.json") && message.contains("no key for tokenizer"), "{message}");
    // Decrypted to something else than it was.
    let wrong = builder().decrypt(|section, stored| match section.kind {
        SectionKind::Graph => Ok(stored.to_vec()),
        _ => toy_xor(stored),
    });
    assert!(logits(wrong.open_bytes(hidden().to_bytes().unwrap())).is_err());
}

#[test]
fn a_model_inside_another_file() {
    let bytes = writer(|_| {}).to_bytes().unwrap();
    let graph = data("tiny.onnx");
    let expected = expected();
    for offset in [64_usize, 100] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; offset]).unwrap();
        file.write_all(&bytes).unwrap();
        file.write_all(&graph).unwrap();
        let model = builder().open_file(file, offset as u64, Some(bytes.len() as u64));
        assert_eq!(logits(model).unwrap(), expected);
    }
}
