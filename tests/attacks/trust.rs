//! Bundles by somebody who can make hashes right and has no key: tampered with, signed wrongly, encrypted oddly.
//!
//! Signatures are made here by the words of `docs/bundle-format.md` and not by the library.

use ed25519_dalek::{Signer, SigningKey};
use limbeck::{Bundle, Code, PublicKey};
use serde_json::{Value, json};

use crate::base;
use crate::case::Cases;
use crate::raw::{Section, build, build_changed, build_with, hex};

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn id(key: &SigningKey) -> String {
    hex(key.verifying_key().as_bytes())[..16].to_owned()
}

/// The text that is signed.
fn message(sections: &[Section]) -> String {
    let lines = sections.iter().filter(|section| section.kind != "signature").map(|section| {
        format!(
            "{} {} {} {} {} {} {} {}\n",
            section.name,
            section.kind,
            section.bytes.len(),
            hex(&section.bytes),
            section.align.unwrap_or(64),
            section.required,
            section.compression,
            section.encryption.as_ref().and_then(Value::as_str).unwrap_or("none")
        )
    });
    std::iter::once("limbeck bundle signature v1\n".to_owned()).chain(lines).collect()
}

fn entry(key: &SigningKey, message: &str) -> Value {
    json!({"algorithm": "ed25519", "key_id": id(key), "signature": digits(&key.sign(message.as_bytes()).to_bytes())})
}

/// The section with these signatures.
fn section(entries: &[Value]) -> Section {
    Section::new("signature.json", "signature", json!({ "signatures": entries }).to_string())
}

fn signed_by(sections: &[Section], seed: u8) -> Vec<Section> {
    let signature = section(&[entry(&key(seed), &message(sections))]);
    sections.iter().cloned().chain([signature]).collect()
}

/// What a reader without keys makes of odd signatures and encryption.
pub fn add(cases: &mut Cases, sections: &[Section]) {
    let signed = signed_by(sections, 1);
    cases.opens("signed", build(&signed).bytes);
    for at in 0..sections.len() {
        let mut moved = signed.clone();
        moved.swap(at, sections.len());
        cases
            .refused(format!("signature in place {at}"), build(&moved).bytes, Code::Signature)
            .naming("signature.json");
    }
    for (name, extra) in [
        ("a report behind the signature", Section::optional("report.json", "report", "{}")),
        ("a second signature", Section { name: "again.json".into(), ..signed[sections.len()].clone() }),
    ] {
        let bytes = build(&[&signed[..], &[extra]].concat()).bytes;
        cases.refused(name, bytes, Code::Signature).naming("signature");
    }
    let mut renamed = signed.clone();
    renamed[sections.len()].name = "sig.json".into();
    cases.refused("signature under another name", build(&renamed).bytes, Code::Signature).naming("sig.json");
    let mut twice = renamed;
    twice[sections.len()].name = "labels.json".into();
    cases.refused("signature under the name of another section", build(&twice).bytes, Code::Malformed);

    let encrypted = |at: usize, value: Value| {
        let mut sections = signed.clone();
        sections[at].encryption = Some(value);
        build(&sections).bytes
    };
    for (at, section) in sections.iter().enumerate().skip(1) {
        let name = section.name.as_str();
        cases.refused(format!("{name} encrypted"), encrypted(at, json!("caller")), Code::Incompatible).naming(name);
    }
    for (at, name) in [(0, "manifest.json"), (sections.len(), "signature.json")] {
        cases.refused(format!("{name} encrypted"), encrypted(at, json!("caller")), Code::Malformed).naming(name);
    }
    for value in ["none", "Caller", "caller ", "aes-256-gcm", ""] {
        let case = cases.refused(format!("encryption {value:?}"), encrypted(2, json!(value)), Code::Incompatible);
        case.naming("labels.json");
    }
    for value in [Value::Null, json!(true), json!(["caller"]), json!({})] {
        cases.refused(format!("encryption {value}"), encrypted(2, value), Code::Malformed).naming("header");
    }
    let twice = build_with(&signed, |header| {
        let text = header.to_string();
        let places = text.replacen(
            r#""compression":"none""#,
            r#""encryption":"caller","encryption":"caller","compression":"none""#,
            1,
        );
        places.into_bytes()
    });
    cases.refused("encryption twice", twice.bytes, Code::Malformed).naming("`encryption` twice");
}

/// Bundles opened by somebody who trusts the key 1 and has build 1 already.
fn tampered() -> Cases {
    let sections = base::sections();
    let right = entry(&key(1), &message(&sections));
    let with = |entries: &[Value]| build(&[&sections[..], &[section(entries)]].concat()).bytes;
    let mut cases = Cases::default();
    cases.opens("signed by the trusted key", with(std::slice::from_ref(&right)));
    cases.opens("and by another", with(&[entry(&key(2), &message(&sections)), right.clone()]));
    let mut refused = |name: &str, bytes: Vec<u8>, names: &str| {
        cases.refused(name, bytes, Code::Signature).naming(names);
    };
    refused("not signed", build(&sections).bytes, "not signed");
    refused("signed by another key", with(&[entry(&key(2), &message(&sections))]), &id(&key(2)));
    let mut posing = entry(&key(2), &message(&sections));
    posing["key_id"] = json!(id(&key(1)));
    refused("signed by another key under the trusted one's id", with(&[posing]), &id(&key(1)));
    refused("the same signature twice", with(&[right.clone(), right.clone()]), "twice");
    for (name, text) in [
        ("no text", String::new()),
        (
            "the text without its first line",
            message(&sections).lines().skip(1).map(|line| format!("{line}\n")).collect(),
        ),
        ("another first line", message(&sections).replacen("v1", "v2", 1)),
        ("line ends of another system", message(&sections).replace('\n', "\r\n")),
        ("hashes in upper case", message(&sections).to_uppercase()),
        ("all but the last line", message(&sections[..4])),
        ("other alignments", message(&sections).replace(" 16384 ", " 64 ")),
    ] {
        refused(&format!("signature over {name}"), with(&[entry(&key(1), &text)]), &id(&key(1)));
    }
    // The same signature over a bundle that is another now, in each of its parts.
    let mut changed = |name: &str, change: &dyn Fn(&mut Vec<Section>)| {
        let mut sections = sections.clone();
        change(&mut sections);
        sections.push(section(std::slice::from_ref(&right)));
        refused(&format!("{name} since it was signed"), build(&sections).bytes, &id(&key(1)));
    };
    for at in 0..sections.len() {
        changed(&format!("section {at} longer"), &|sections| sections[at].bytes.push(b' '));
        changed(&format!("section {at} other bytes"), &|sections| sections[at].bytes[3] ^= 1);
        changed(&format!("section {at} other alignment"), &|sections| sections[at].align = Some(4096));
        changed(&format!("section {at} not required"), &|sections| sections[at].required = false);
        changed(&format!("section {at} gone"), &|sections| drop(sections.remove(at)));
    }
    changed("sections in another order", &|sections| sections.swap(1, 2));
    changed("a section more", &|sections| sections.push(Section::optional("more", "report", "")));
    changed("tokenizer said to be encrypted", &|sections| sections[1].encryption = Some(json!("caller")));
    changed("a kind", &|sections| sections[1].kind = "report".into());
    changed("a name", &|sections| sections[1].name = "tokenizer".into());
    // Lines inside of a kind: the text would be that of two sections.
    let hidden = Section::optional("b", "report", "x");
    let line = message(std::slice::from_ref(&hidden)).lines().nth(1).unwrap_or_default().to_owned();
    let a = Section::optional("a", "report", "x");
    let rest = format!("1 {} 64 false none none\n{line}", hex(b"x"));
    let two = message(&[&sections[..], &[a.clone(), hidden]].concat());
    let posing = Section { kind: format!("report {rest}").replacen(&line, "b report", 1), ..a };
    let one = [&sections[..], &[posing]].concat();
    assert_eq!(message(&one), two, "one section poses as two");
    refused(
        "a kind that poses as lines",
        build(&[&one[..], &[section(&[entry(&key(1), &two)])]].concat()).bytes,
        "kind",
    );

    // A signature that is no JSON of the right form.
    let good = right["signature"].as_str().unwrap_or_default().to_owned();
    let text = json!({ "signatures": [right] }).to_string();
    for (name, text) in [
        ("empty", String::new()),
        ("cut off", text[..text.len() - 1].to_owned()),
        ("of no signatures", r#"{"signatures":[]}"#.to_owned()),
        ("with a key more", text.replacen('{', r#"{"a":0,"#, 1)),
        ("with a key twice", text.replacen(r#""key_id""#, r#""algorithm":"ed25519","key_id""#, 1)),
        ("with a digit less", text.replacen(&good, &good[1..], 1)),
        ("in upper case", text.to_uppercase()),
        ("of a megabyte", format!("{text}{}", " ".repeat(1 << 20))),
    ] {
        let bytes = build(&[&sections[..], &[Section::new("signature.json", "signature", text)]].concat()).bytes;
        refused(&format!("signature section {name}"), bytes, "signature");
    }
    // The order and the group of the curve's points: small changes of a signature that weaker checks let pass.
    for (name, from, to) in [("the first half", 0, 64), ("the second half", 64, 128)] {
        let mut other = right.clone();
        other["signature"] = json!(format!("{}{}{}", &good[..from], "0".repeat(64), &good[to..]));
        refused(&format!("zeros for {name} of the signature"), with(&[other]), &id(&key(1)));
    }
    let mut other = right.clone();
    other["signature"] = json!(format!("{}{}", &good[..64], plus_group_order(&good[64..])));
    refused("the second half plus the order of the group", with(&[other]), &id(&key(1)));

    cases.refused("an older build by nobody", build(&older()).bytes, Code::Signature);
    let changed = build_changed(&signed_by(&sections, 1), |list| list[0]["sha256"] = json!(hex(b"")));
    cases.refused("a wrong hash comes first", changed.bytes, Code::Corrupt).naming("manifest.json");
    cases
}

/// The sections of build 0.
fn older() -> Vec<Section> {
    let mut manifest = base::manifest();
    manifest["build"] = json!(0);
    let mut sections = base::sections();
    sections[0].bytes = manifest.to_string().into_bytes();
    sections
}

/// `s + L` for a signature's `s`, little-endian hex: the same number to a check that does not ask for the
/// smallest.
fn plus_group_order(s: &str) -> String {
    let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
    let byte = |text: &str, at: usize| u16::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap_or_default();
    let mut carry = 0;
    (0..32)
        .map(|at| {
            let sum = byte(s, at) + byte(order, at) + carry;
            carry = sum >> 8;
            format!("{:02x}", sum & 0xFF)
        })
        .collect()
}

#[test]
fn tampered_bundles_are_refused_by_who_has_the_key() {
    let trusted = PublicKey::from_hex(&digits(key(1).verifying_key().as_bytes())).expect("a key");
    let options = Bundle::options().trusted_keys([trusted]).minimum_build(1);
    let refused = crate::try_cases(&tampered().0, &options);
    assert!(refused >= 50, "only {refused} cases");
    let error = options.open_bytes(build(&signed_by(&older(), 1)).bytes).expect_err("the build is too low");
    assert_eq!(error.code(), Code::Rollback);
    assert!(error.to_string().contains("build 0"), "{error}");
}
