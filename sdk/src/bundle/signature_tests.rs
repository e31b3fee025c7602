//! Signed bundles, and bundles somebody tampered with who can make hashes right
//! but has no key.

use sha2::{Digest, Sha256};

use super::tests::{manifest, sample, writer};
use super::*;
use crate::{Code, Error, Result};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_text(&format!("limbeck signing key v1\n{}", hex::encode(&[seed; 32]))).unwrap()
}

fn signed(seed: u8) -> Vec<u8> {
    writer().sign(&key(seed)).to_bytes().unwrap()
}

fn trusting(seeds: &[u8]) -> BundleOptions {
    Bundle::options().trusted_keys(seeds.iter().map(|&seed| key(seed).public_key()))
}

fn problem<T: std::fmt::Debug>(result: Result<T>) -> BundleError {
    match result {
        Err(Error::Bundle { problem, .. }) => problem,
        other => panic!("an error of the bundle was expected, not {other:?}"),
    }
}

fn header_end(bytes: &[u8]) -> usize {
    64 + u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize
}

/// Makes the header's hash right again.
fn seal(bytes: &mut [u8]) {
    let hash = layout::header_hash(&bytes[..64], &bytes[64..header_end(bytes)]);
    bytes[32..64].copy_from_slice(&hash);
}

/// The bundle with another text as its signatures, hashes right.
fn with_signatures(text: &str) -> Vec<u8> {
    writer().section(SectionKind::Signature, SIGNATURE, text).to_bytes().unwrap()
}

/// The text of a bundle's signatures.
fn signatures(bytes: &[u8]) -> String {
    let bundle = Bundle::from_bytes(bytes.to_vec()).unwrap();
    String::from_utf8(bundle.section(SIGNATURE).unwrap().into_owned()).unwrap()
}

#[test]
fn a_signed_bundle_is_verified() {
    let bundle = Bundle::from_bytes(signed(1)).unwrap();
    let id = key(1).id();
    assert_eq!(bundle.signers().unwrap(), [id.as_str()]);
    assert_eq!(bundle.verify(&[key(2).public_key(), key(1).public_key()]).unwrap(), id);
    let last = bundle.sections().last().unwrap();
    assert_eq!((last.name.as_str(), last.kind.name(), last.required), ("signature.json", "signature", true));
    trusting(&[1]).open_bytes(signed(1)).unwrap();
    assert_eq!(signed(1), signed(1), "the same input gives the same bytes");
}

/// What `docs/bundle-format.md` says, in other words.
#[test]
fn the_signed_text_is_what_the_page_says() {
    let bundle = Bundle::from_bytes(signed(1)).unwrap();
    let hash = |name: &str| hex::encode(&Sha256::digest(bundle.section(name).unwrap()));
    let manifest = bundle.section(MANIFEST).unwrap().len();
    let expected = format!(
        "limbeck bundle signature v1\n\
         manifest.json manifest {manifest} {} 64 true none none\n\
         tokenizer.json tokenizer 2 {} 64 true none none\n\
         labels.json labels 23 {} 64 true none none\n\
         model.onnx graph 5 {} 64 true none none\n\
         model.onnx.data weights 100 {} 16384 true none none\n",
        hash(MANIFEST),
        hash(TOKENIZER),
        hash(LABELS),
        hash(GRAPH),
        hash(WEIGHTS)
    );
    assert_eq!(String::from_utf8(signature::message(bundle.sections()).unwrap()).unwrap(), expected);
    let text = signatures(&signed(1));
    let signature = hex::encode(&key(1).sign(expected.as_bytes()));
    let id = key(1).id();
    assert_eq!(
        text,
        format!(r#"{{"signatures":[{{"algorithm":"ed25519","key_id":"{id}","signature":"{signature}"}}]}}"#)
    );
}

#[test]
fn keys_that_did_not_sign() {
    let unsigned = problem(trusting(&[1]).open_bytes(sample()));
    assert_eq!((&unsigned, unsigned.code()), (&BundleError::NotSigned, Code::Signature));
    let other = problem(trusting(&[2, 3]).open_bytes(signed(1)));
    assert_eq!((&other, other.code()), (&BundleError::NoTrustedSignature { signers: key(1).id() }, Code::Signature));
    assert_eq!(problem(Bundle::from_bytes(sample()).unwrap().verify(&[key(1).public_key()])), BundleError::NotSigned);
    assert_eq!(Bundle::from_bytes(sample()).unwrap().signers().unwrap(), Vec::<String>::new());

    // Nobody is trusted: that is no way to say that everybody is.
    assert_eq!(trusting(&[]).open_bytes(signed(1)).unwrap_err().code(), Code::InvalidArgument);
    let bundle = Bundle::from_bytes(signed(1)).unwrap();
    assert_eq!(bundle.verify(&[]).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn several_keys_sign() {
    let both = writer().sign(&key(1)).sign(&key(2)).sign(&key(1)).to_bytes().unwrap();
    let bundle = Bundle::from_bytes(both.clone()).unwrap();
    // A key that signs twice has one signature.
    assert_eq!(bundle.signers().unwrap(), [key(2).id(), key(1).id()]);
    for seed in [1, 2] {
        assert_eq!(bundle.verify(&[key(seed).public_key()]).unwrap(), key(seed).id());
    }
    let none = problem(trusting(&[3]).open_bytes(both.clone()));
    assert_eq!(none, BundleError::NoTrustedSignature { signers: format!("{}, {}", key(2).id(), key(1).id()) });

    // One broken signature does not spoil the other, and helps nobody.
    let text = signatures(&both).replacen("\"signature\":\"", "\"signature\":\"00", 1);
    let end = text.find("\"}").unwrap();
    let broken = with_signatures(&format!("{}{}", &text[..end - 2], &text[end..]));
    trusting(&[1]).open_bytes(broken.clone()).unwrap();
    trusting(&[2, 1]).open_bytes(broken.clone()).unwrap();
    assert_eq!(problem(trusting(&[2]).open_bytes(broken)), BundleError::WrongSignature { key_id: key(2).id() });

    let many = |count: u8| (0..count).fold(writer(), |writer, seed| writer.sign(&key(seed))).to_bytes();
    many(16).unwrap();
    assert!(matches!(problem(many(17)), BundleError::MalformedSignature(_)));
}

#[test]
fn signatures_of_another_bundle_or_key() {
    let mut other = manifest();
    other.build += 1;
    let labels = ["negative".to_owned(), "positive".to_owned()];
    let other = BundleWriter::new(other).classifier(*b"{}", *b"graph", vec![7; 100], &labels).sign(&key(1));
    let swapped = with_signatures(&signatures(&other.to_bytes().unwrap()));
    let wrong = problem(trusting(&[1]).open_bytes(swapped));
    assert_eq!((&wrong, wrong.code()), (&BundleError::WrongSignature { key_id: key(1).id() }, Code::Signature));

    // A signature by one key under the id of another.
    let renamed = with_signatures(&signatures(&signed(2)).replace(&key(2).id(), &key(1).id()));
    assert_eq!(problem(trusting(&[1]).open_bytes(renamed)), BundleError::WrongSignature { key_id: key(1).id() });
    // An id alone finds nothing under another algorithm.
    let later = with_signatures(&signatures(&signed(1)).replace("ed25519", "ed25520"));
    assert!(matches!(problem(trusting(&[1]).open_bytes(later)), BundleError::NoTrustedSignature { .. }));
    // But a signature of a later version beside a known one is no obstacle.
    let both = signatures(&signed(1))
        .replace('[', &format!(r#"[{{"algorithm":"later","key_id":"{}","signature":"?"}},"#, key(1).id()));
    trusting(&[1]).open_bytes(with_signatures(&both)).unwrap();
}

/// The signature is all there is between these and a good bundle: the hashes
/// are right wherever a flipped bit leaves a header that can be read.
#[test]
fn every_flipped_bit_of_header_and_signature_is_refused() {
    let good = signed(1);
    let options = trusting(&[1]);
    options.open_bytes(good.clone()).unwrap();
    let refused = |bytes: &[u8], what: &str| {
        assert!(options.open_bytes(bytes).is_err(), "{what}");
    };
    let header = 64..header_end(&good);
    // The minor version, bytes 12 to 15, is not looked at and means nothing.
    for at in (0..12).chain(16..32).chain(header.clone()) {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            refused(&bytes, &format!("bit {bit} of byte {at}"));
            if header.contains(&at) {
                seal(&mut bytes);
                refused(&bytes, &format!("bit {bit} of byte {at}, sealed"));
            }
        }
    }
    let text = signatures(&good);
    let start = good.len() - text.len();
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[start + at] ^= 1 << bit;
            refused(&bytes, &format!("bit {bit} of byte {at} of the signature"));
            let hashes = [text.as_bytes(), &bytes[start..]].map(|bytes| hex::encode(&Sha256::digest(bytes)));
            let place = bytes.windows(64).position(|digits| digits == hashes[0].as_bytes()).unwrap();
            bytes[place..place + 64].copy_from_slice(hashes[1].as_bytes());
            seal(&mut bytes);
            Bundle::from_bytes(bytes.clone()).expect("all hashes are right");
            refused(&bytes, &format!("bit {bit} of byte {at} of the signature, sealed"));
        }
    }
}

/// Each change of content that leaves the bundle a valid one.
#[test]
fn changed_content_is_refused() {
    let text = signatures(&signed(1));
    let labels = |first: &str| [first.to_owned(), "positive".to_owned()];
    let mut renamed = manifest();
    renamed.id = "other".to_owned();
    let plain = |manifest: Manifest| BundleWriter::new(manifest);
    let good = labels("negative");
    let changed = [
        plain(renamed).classifier(*b"{}", *b"graph", vec![7; 100], &good),
        plain(manifest()).classifier(*b"[]", *b"graph", vec![7; 100], &good),
        plain(manifest()).classifier(*b"{}", *b"graph", vec![7; 100], &labels("bad")),
        plain(manifest()).classifier(*b"{}", *b"grapH", vec![7; 100], &good),
        plain(manifest()).classifier(*b"{}", *b"graph", vec![7; 101], &good),
        writer().section(SectionKind::Report, "report.json", "{}"),
        writer().section(SectionKind::Report, "report.json", ""),
    ];
    for writer in changed {
        let bytes = writer.section(SectionKind::Signature, SIGNATURE, text.clone()).to_bytes().unwrap();
        assert_eq!(problem(trusting(&[1]).open_bytes(bytes)), BundleError::WrongSignature { key_id: key(1).id() });
    }
    trusting(&[1]).open_bytes(with_signatures(&text)).unwrap();
}

#[test]
fn signature_sections_of_another_form() {
    let good = signatures(&signed(1));
    let id = key(1).id();
    let entry = &good[good.find('[').unwrap() + 1..good.rfind(']').unwrap()];
    let digits = entry.rsplit('"').nth(1).unwrap();
    let texts = [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"signatures":[]}"#.to_owned(),
        format!("[{entry}]"),
        good.replacen('{', r#"{"later":1,"#, 1),
        good.replacen(r#"{"algorithm""#, r#"{"later":1,"algorithm""#, 1),
        good.replacen(r#""key_id""#, r#""key_id":"00","key_id""#, 1),
        good.replace(&id, &id[1..]),
        good.replace(&id, &id.to_uppercase()),
        good.replace(digits, &digits[1..]),
        good.replace(digits, &digits[2..]),
        good.replace(digits, &format!("{digits}00")),
        good.replace(digits, &digits.to_uppercase()),
        good.replace(digits, ""),
        good.replace(&format!("\"{digits}\""), "null"),
        good.replace(entry, &format!("{entry},{entry}")),
        format!("{good} {}", " ".repeat(1 << 14)),
        format!("{good}x"),
    ];
    for text in texts {
        let bytes = with_signatures(&text);
        let problem = problem(trusting(&[1]).open_bytes(bytes.clone()));
        assert!(matches!(problem, BundleError::MalformedSignature(_)), "{text:.80}: {problem:?}");
        assert_eq!(problem.code(), Code::Signature);
        assert!(problem.to_string().len() < 300, "{problem}");
        // Without keys signatures are nobody's business.
        assert!(Bundle::from_bytes(bytes).unwrap().signers().is_err());
    }
}

#[test]
fn signatures_stand_at_the_end_once() {
    let text = signatures(&signed(1));
    let put = |writer: BundleWriter, name: &str| writer.section(SectionKind::Signature, name, text.clone());
    for writer in [
        put(writer(), SIGNATURE).section(SectionKind::Report, "report.json", "{}"),
        put(put(writer(), "first.json"), SIGNATURE),
        put(writer(), "first.json").sign(&key(1)),
        put(writer(), "signature"),
    ] {
        let problem = problem(writer.to_bytes());
        assert!(matches!(problem, BundleError::MalformedSignature(_)), "{problem:?}");
        assert_eq!(problem.code(), Code::Signature);
    }
}

/// Such a kind could write lines of its own into the signed text.
#[test]
fn kinds_that_could_pose_as_something_else_are_not_signed() {
    for kind in ["a b", "a\nb", "", "é", "graph "] {
        let writer = writer().section(SectionKind::Other(kind.to_owned()), "extra", "");
        writer.to_bytes().unwrap();
        let refused = problem(writer.clone().sign(&key(1)).to_bytes());
        assert!(matches!(refused, BundleError::MalformedSignature(_)), "{kind:?}: {refused:?}");
        let bytes = writer.section(SectionKind::Signature, SIGNATURE, signatures(&signed(1))).to_bytes().unwrap();
        assert!(matches!(problem(trusting(&[1]).open_bytes(bytes)), BundleError::MalformedSignature(_)));
    }
}

#[test]
fn the_signature_comes_before_anything_else() {
    let mut odd = manifest();
    odd.max_tokens = 0;
    let bytes = BundleWriter::new(odd).sign(&key(1));
    // The writer would notice: so the bytes are taken as they come.
    let Err(Error::Bundle { problem: BundleError::ManifestField { .. }, .. }) = bytes.to_bytes() else {
        panic!("the manifest is no good");
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let bytes = bytes.unchecked_bytes();
    std::fs::write(file.path(), &bytes).unwrap();
    assert!(matches!(problem(trusting(&[1]).open(file.path())), BundleError::ManifestField { .. }));
    assert!(matches!(problem(trusting(&[2]).open(file.path())), BundleError::NoTrustedSignature { .. }));
}

#[test]
fn a_bundle_is_signed_again() {
    let text = serde_json::to_string(&manifest()).unwrap();
    let text = text.replacen('{', r#"{"later":1,"#, 1);
    let odd = BundleWriter::from_bundle(&Bundle::from_bytes(sample()).unwrap()).with_manifest_text(&text);
    let odd = odd.section(SectionKind::Other("hologram".into()), "hologram", "x");
    let first = Bundle::from_bytes(odd.sign(&key(1)).to_bytes().unwrap()).unwrap();

    let again = |bundle: &Bundle, seed| {
        let bytes = BundleWriter::from_bundle(bundle).sign(&key(seed)).to_bytes().unwrap();
        Bundle::from_bytes(bytes).unwrap()
    };
    let second = again(&first, 2);
    assert_eq!(second.signers().unwrap(), [key(1).id(), key(2).id()]);
    assert_eq!(second.verify(&[key(1).public_key()]).unwrap(), key(1).id());
    assert_eq!(second.verify(&[key(2).public_key()]).unwrap(), key(2).id());
    // All that was there still is, to the byte; fields of later versions too.
    let places = |bundle: &Bundle| -> Vec<_> {
        let named = |s: &SectionInfo| (s.name.clone(), s.kind.clone(), s.length, s.sha256, s.align, s.required);
        bundle.sections().iter().filter(|s| s.name != SIGNATURE).map(named).collect()
    };
    assert_eq!(places(&first), places(&second));
    assert_eq!(second.section(MANIFEST).unwrap(), text.as_bytes());
    assert_eq!(again(&second, 2).signers().unwrap(), [key(1).id(), key(2).id()]);

    // Without a key the copy is unsigned, and with other content the old
    // signatures, which would not fit, are gone.
    let copy = BundleWriter::from_bundle(&first);
    let unsigned = Bundle::from_bytes(copy.to_bytes().unwrap()).unwrap();
    assert!(unsigned.signers().unwrap().is_empty());
    let changed = copy.section(SectionKind::Report, "report.json", "{}").sign(&key(2)).to_bytes().unwrap();
    assert_eq!(Bundle::from_bytes(changed).unwrap().signers().unwrap(), [key(2).id()]);
}

#[test]
fn older_builds_are_refused() {
    for (minimum, opens) in [(0, true), (2, true), (3, true), (4, false), (u64::MAX, false)] {
        let outcome = Bundle::options().minimum_build(minimum).open_bytes(sample());
        if opens {
            outcome.unwrap();
        } else {
            let error = outcome.unwrap_err();
            assert!(matches!(error, Error::Rollback { build: 3, minimum: m, .. } if m == minimum), "{error:?}");
            assert_eq!(error.code(), Code::Rollback);
        }
    }
    // A signature that does not fit is the greater news.
    let both = trusting(&[2]).minimum_build(9).open_bytes(signed(1));
    assert_eq!(problem(both).code(), Code::Signature);
}
