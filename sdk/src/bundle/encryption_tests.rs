//! Encrypted sections. The cipher here is a toy: it hides nothing from anybody.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::tests::{manifest, problem, writer};
use super::*;
use crate::{Code, Error, Result};

type Hooked = std::result::Result<Vec<u8>, String>;

/// A toy that stands in for a cipher: XOR with one byte, and one byte in front
/// by which a wrong key is noticed.
fn toy_xor(key: u8) -> impl Fn(&str, &SectionKind, &[u8]) -> Hooked + Send + Sync + Clone {
    move |_: &str, _: &SectionKind, content: &[u8]| {
        Ok(std::iter::once(key).chain(content.iter().map(|byte| byte ^ key)).collect())
    }
}

fn toy_unxor(key: u8) -> impl Fn(&SectionInfo, &[u8]) -> Hooked + Send + Sync + Clone {
    move |_: &SectionInfo, stored: &[u8]| match stored.split_first() {
        Some((first, rest)) if *first == key => Ok(rest.iter().map(|byte| byte ^ key).collect()),
        _ => Err("the key does not fit".to_owned()),
    }
}

const SECRET: [SectionKind; 3] = [SectionKind::Labels, SectionKind::Graph, SectionKind::Weights];

fn encrypted() -> BundleWriter {
    writer().encrypt(SECRET, toy_xor(0x55))
}

fn key() -> SigningKey {
    SigningKey::from_text(&format!("limbeck signing key v1\n{}", "07".repeat(32))).unwrap()
}

fn problem_of<T: std::fmt::Debug>(result: Result<T>) -> BundleError {
    match result {
        Err(Error::Bundle { problem, .. }) => problem,
        other => panic!("an error of the bundle was expected, not {other:?}"),
    }
}

#[test]
fn what_is_encrypted_is_decrypted() {
    let bytes = encrypted().to_bytes().unwrap();
    let header_end = 64 + u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    for content in [&b"graph"[..], b"negative"] {
        assert!(!bytes[header_end..].windows(content.len()).any(|window| window == content));
    }
    let bundle = Bundle::options().decrypt(toy_unxor(0x55)).open_bytes(bytes).unwrap();
    assert_eq!(bundle.labels(), ["negative", "positive"]);
    assert_eq!(bundle.section(GRAPH).unwrap().as_ref(), b"graph");
    assert_eq!(bundle.section(WEIGHTS).unwrap().as_ref(), [7; 100]);
    assert_eq!(bundle.section(TOKENIZER).unwrap().as_ref(), b"{}");
    let marked: Vec<_> = bundle.sections().iter().filter(|s| s.encrypted).map(|s| s.name.as_str()).collect();
    assert_eq!(marked, [LABELS, GRAPH, WEIGHTS]);
    // The header is about what is stored.
    assert_eq!(bundle.sections().iter().find(|s| s.name == WEIGHTS).unwrap().length, 101);
    assert!(!format!("{bundle:?}").contains("[7, 7"), "what was decrypted is not for logs");
}

#[test]
fn the_hook_gets_each_encrypted_section_once() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    let bundle = Bundle::options()
        .decrypt(move |section, stored| {
            assert_eq!(section.length, stored.len() as u64);
            seen.lock().unwrap().push(section.name.clone());
            toy_unxor(0x55)(section, stored)
        })
        .open_bytes(encrypted().to_bytes().unwrap())
        .unwrap();
    for _ in 0..3 {
        bundle.clone().section(GRAPH).unwrap();
    }
    assert_eq!(*calls.lock().unwrap(), [LABELS, GRAPH, WEIGHTS]);
}

#[test]
fn without_a_way_to_decrypt() {
    let none = problem(encrypted().to_bytes().unwrap());
    assert_eq!((&none, none.code()), (&BundleError::Encrypted { name: LABELS.into() }, Code::Incompatible));
    let wrong = problem_of(Bundle::options().decrypt(toy_unxor(0x66)).open_bytes(encrypted().to_bytes().unwrap()));
    let expected = BundleError::Decryption { name: LABELS.into(), reason: "the key does not fit".into() };
    assert_eq!((&wrong, wrong.code()), (&expected, Code::Incompatible));
    // A hook that makes rubbish of the labels is found out as rubbish is.
    let rubbish = Bundle::options().decrypt(|_, _| Ok(b"[1]".to_vec())).open_bytes(encrypted().to_bytes().unwrap());
    assert!(matches!(problem_of(rubbish), BundleError::Json { .. }));
}

#[test]
fn a_bundle_left_encrypted_can_be_looked_at_and_signed() {
    let bundle = Bundle::options().keep_encrypted().open_bytes(encrypted().to_bytes().unwrap()).unwrap();
    assert_eq!(bundle.manifest(), &manifest());
    assert!(bundle.labels().is_empty());
    assert!(bundle.section(GRAPH).is_none() && bundle.section(TOKENIZER).is_some());
    let error = crate::Model::builder().open_bundle(bundle.clone()).unwrap_err();
    assert!(matches!(problem_of::<()>(Err(error)), BundleError::Encrypted { .. }));

    let signed = BundleWriter::from_bundle(&bundle).sign(&key()).to_bytes().unwrap();
    let options = Bundle::options().trusted_keys([key().public_key()]).decrypt(toy_unxor(0x55));
    assert_eq!(options.open_bytes(signed).unwrap().section(GRAPH).unwrap().as_ref(), b"graph");

    // A second call of `encrypt` does not encrypt what is encrypted.
    let more = BundleWriter::from_bundle(&bundle).encrypt([SectionKind::Graph, SectionKind::Tokenizer], toy_xor(0x55));
    let more = Bundle::options().decrypt(toy_unxor(0x55)).open_bytes(more.to_bytes().unwrap()).unwrap();
    assert_eq!(more.section(GRAPH).unwrap().as_ref(), b"graph");
    assert_eq!(more.section(TOKENIZER).unwrap().as_ref(), b"{}");
    assert_eq!(more.sections().iter().filter(|s| s.encrypted).count(), 4);
}

/// Nothing that nobody signed reaches the hook, nor anything too old.
#[test]
fn the_hook_sees_only_what_passed() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = {
        let calls = Arc::clone(&calls);
        move |section: &SectionInfo, stored: &[u8]| {
            calls.fetch_add(1, Ordering::Relaxed);
            toy_unxor(0x55)(section, stored)
        }
    };
    let options = Bundle::options().decrypt(counted);
    let trusting = options.clone().trusted_keys([key().public_key()]);
    assert_eq!(trusting.open_bytes(encrypted().to_bytes().unwrap()).unwrap_err().code(), Code::Signature);
    let signed = encrypted().sign(&key()).to_bytes().unwrap();
    assert_eq!(trusting.clone().minimum_build(4).open_bytes(signed.clone()).unwrap_err().code(), Code::Rollback);
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    trusting.open_bytes(signed).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

/// A signature of the clear text is none of the encrypted one, and the other
/// way round: the header says which it is, and the signature covers that.
#[test]
fn signatures_cover_what_is_stored() {
    let clear = Bundle::from_bytes(writer().sign(&key()).to_bytes().unwrap()).unwrap();
    let moved = encrypted().section(SectionKind::Signature, SIGNATURE, clear.section(SIGNATURE).unwrap());
    let options = Bundle::options().trusted_keys([key().public_key()]).decrypt(toy_unxor(0x55));
    assert!(matches!(problem_of(options.open_bytes(moved.to_bytes().unwrap())), BundleError::WrongSignature { .. }));
    // The same stored bytes, once said to be encrypted and once not.
    let same = |_: &str, _: &SectionKind, content: &[u8]| Ok(content.to_vec());
    let marked = writer().encrypt([SectionKind::Graph], same);
    let moved = marked.section(SectionKind::Signature, SIGNATURE, clear.section(SIGNATURE).unwrap());
    assert!(matches!(problem_of(options.open_bytes(moved.to_bytes().unwrap())), BundleError::WrongSignature { .. }));
}

#[test]
fn the_writer_refuses_what_cannot_be_read() {
    let refused = |writer: BundleWriter| writer.to_bytes().map(drop).unwrap_err();
    for kind in [SectionKind::Manifest, SectionKind::Signature] {
        let error = refused(writer().encrypt([SectionKind::Labels, kind.clone()], toy_xor(1)).sign(&key()));
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().contains(kind.name()), "{error}");
    }
    let failing = refused(writer().encrypt([SectionKind::Graph], |_, _, _| Err("no key".to_owned())));
    assert_eq!(failing.code(), Code::InvalidArgument);
    assert!(failing.to_string().contains("model.onnx") && failing.to_string().contains("no key"), "{failing}");
    // Wrong labels are found although nobody can read them any more.
    let labels = ["a".to_owned(), "a".to_owned()];
    let wrong = BundleWriter::new(manifest()).classifier(*b"{}", *b"g", *b"w", &labels);
    assert!(matches!(problem_of(wrong.encrypt(SECRET, toy_xor(1)).to_bytes()), BundleError::Labels(_)));
    let calibration = Calibration { thresholds: vec![0.5], ..Calibration::default() };
    let wrong = writer().calibration(&calibration).encrypt([SectionKind::Calibration], toy_xor(1));
    assert!(matches!(problem_of(wrong.to_bytes()), BundleError::ManifestField { .. }));
}

#[test]
fn labels_left_encrypted_do_not_spoil_the_calibration() {
    let calibration = Calibration { thresholds: vec![0.5, 0.6], ..Calibration::default() };
    let bytes = encrypted().calibration(&calibration).to_bytes().unwrap();
    let kept = Bundle::options().keep_encrypted().open_bytes(bytes.clone()).unwrap();
    assert_eq!(kept.calibration(), &calibration);
    let open = Bundle::options().decrypt(toy_unxor(0x55)).open_bytes(bytes).unwrap();
    assert_eq!(open.calibration(), &calibration);
}
