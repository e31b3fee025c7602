//! Bundles of every kind of damage, each with its own error.

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
        tokenizer: TokenizerSpec { library: "tokenizers".into(), version: "0.22.2".into(), pad_id: 0 },
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

fn writer() -> BundleWriter {
    BundleWriter::new(manifest()).classifier(*b"{}", *b"graph", vec![7; 100], &labels())
}

fn sample() -> Vec<u8> {
    writer().to_bytes().unwrap()
}

fn problem(bytes: Vec<u8>) -> BundleError {
    match Bundle::from_bytes(bytes) {
        Err(Error::Bundle { problem, .. }) => problem,
        other => panic!("an error of the bundle was expected, not {other:?}"),
    }
}

/// A bundle around a header of one's own, hash and lengths made right.
fn forge(header: &str, body: &[u8]) -> Vec<u8> {
    let length = layout::PREFIX + header.len() as u64 + body.len() as u64;
    [&layout::prefix(header.as_bytes(), length)[..], header.as_bytes(), body].concat()
}

/// The sample with its header edited and everything that depends on it, but
/// not on where the sections lie, made right again.
fn edit_header(edit: impl Fn(&str) -> String) -> Vec<u8> {
    let sample = sample();
    let length = u64::from_le_bytes(sample[16..24].try_into().unwrap()) as usize;
    let end = 64 + length;
    let header = edit(std::str::from_utf8(&sample[64..end]).unwrap());
    // The header may grow only into the gap after it.
    let first = sample.iter().skip(end).position(|&byte| byte != 0).unwrap() + end;
    let first = first / 64 * 64;
    assert!(64 + header.len() <= first, "the edited header still ends before the first section");
    let prefix = layout::prefix(header.as_bytes(), sample.len() as u64);
    let mut bytes = [&prefix[..], header.as_bytes()].concat();
    bytes.resize(first, 0);
    bytes.extend_from_slice(&sample[first..]);
    bytes
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
fn foreign_files() {
    for bytes in [&b"PK\x03\x04 and so on"[..], b"{}", &[0; 500], b"\x08\x08ONNX", b"version https://git-lfs/v1\n"] {
        let problem = problem(bytes.to_vec());
        assert!(matches!(problem, BundleError::NotABundle(_)), "{problem:?}");
        assert_eq!(problem.code(), Code::NotABundle);
    }
    let text_mode: Vec<u8> = String::from_utf8_lossy(&sample()).replace("\r\n", "\n").bytes().collect();
    assert!(matches!(problem(text_mode), BundleError::NotABundle(_)));
    // Only the line end was changed, which is what text mode does to the rest.
    let unix = [b"\x89LBK\n\x1a\n", &sample()[8..]].concat();
    assert!(problem(unix).to_string().contains("text mode"));
}

#[test]
fn every_cut_is_called_truncated() {
    let sample = sample();
    for length in (0..sample.len()).filter(|&n| n < 1500 || n % 97 == 0 || n + 200 > sample.len()) {
        let problem = problem(sample[..length].to_vec());
        assert!(matches!(problem, BundleError::Truncated { .. }), "cut to {length}: {problem:?}");
        assert_eq!(problem.code(), Code::Truncated);
    }
}

#[test]
fn appended_bytes() {
    for extra in [1, 64, 5000] {
        let problem = problem([sample(), vec![0; extra]].concat());
        assert_eq!(problem, BundleError::TrailingBytes { extra: extra as u64 });
    }
}

#[test]
fn other_versions() {
    let mut newer = sample();
    newer[8] = 2;
    let newer = problem(newer);
    assert_eq!(newer, BundleError::UnsupportedVersion { found: 2, supported: 1 });
    assert_eq!(newer.code(), Code::Incompatible);
    assert!(newer.to_string().contains("update the library"));
    let mut older = sample();
    older[8] = 0;
    assert!(problem(older).to_string().contains("pack the model again"));
}

#[test]
fn a_later_minor_version_is_read() {
    let mut bytes = sample();
    bytes[12] = 9;
    let length = u64::from_le_bytes(bytes[16..24].try_into().unwrap()) as usize;
    let hash = layout::header_hash(&bytes[..64], &bytes[64..64 + length]);
    bytes[32..64].copy_from_slice(&hash);
    assert_eq!(Bundle::from_bytes(bytes).unwrap().manifest(), &manifest());
}

#[test]
fn absurd_lengths() {
    for length in [1 << 21, 1 << 40, u64::MAX] {
        let mut bytes = sample();
        bytes[16..24].copy_from_slice(&length.to_le_bytes());
        assert!(matches!(problem(bytes), BundleError::LimitExceeded { .. }), "header of {length}");
    }
    for length in ["18446744073709551615", "9223372036854775807", "99999999999"] {
        let header = |offset| {
            format!(
                r#"{{"sections":[{{"name":"a","kind":"report","offset":{offset},"length":{length},"sha256":"{}","required":false,"compression":"none"}}]}}"#,
                "0".repeat(64)
            )
        };
        let header = header((64 + header(100).len()).next_multiple_of(64));
        let problem = problem(forge(&header, &[0; 64]));
        assert!(matches!(problem, BundleError::LimitExceeded { .. }), "section of {length}: {problem:?}");
    }
    let many: Vec<String> = (0..65)
        .map(|i| format!(r#"{{"name":"s{i}","kind":"report","offset":0,"length":0,"sha256":"","required":false,"compression":"none"}}"#))
        .collect();
    let problem = problem(forge(&format!(r#"{{"sections":[{}]}}"#, many.join(",")), &[]));
    assert!(matches!(problem, BundleError::LimitExceeded { found: 65, limit: 64, .. }), "{problem:?}");
}

#[test]
fn headers_that_break_a_rule() {
    type Check = fn(&BundleError) -> bool;
    let cases: &[(&str, &str, Check)] = &[
        (r#""offset":"#, r#""offset":6"#, |e| matches!(e, BundleError::SectionOffset { .. })),
        (r#""offset":"#, r#""offset":-"#, |e| matches!(e, BundleError::Json { .. })),
        (r#""kind":"labels""#, r#""kind":"lab""#, |e| matches!(e, BundleError::UnknownRequiredSection { .. })),
        (r#""kind":"labels""#, r#""kind":"graph""#, |e| matches!(e, BundleError::RepeatedSection { .. })),
        (r#""name":"labels.json""#, r#""name":"labels""#, |e| matches!(e, BundleError::MissingSection { .. })),
        (r#""name":"labels.json""#, r#""name":"../x""#, |e| matches!(e, BundleError::SectionName { .. })),
        (r#""name":"labels.json""#, r#""name":"model.onnx""#, |e| matches!(e, BundleError::SectionName { .. })),
        (r#""compression":"none""#, r#""compression":"zstd""#, |e| {
            matches!(e, BundleError::UnsupportedCompression { .. })
        }),
        (r#""align":16384"#, r#""align":16383"#, |e| matches!(e, BundleError::Alignment { .. })),
        (r#""align":16384"#, r#""align":32"#, |e| matches!(e, BundleError::Alignment { .. })),
        (r#""align":16384"#, r#""align":0"#, |e| matches!(e, BundleError::Alignment { .. })),
        (r#""required":true"#, r#""requires":true"#, |e| matches!(e, BundleError::Json { .. })),
        (r#""required":true"#, r#""required":1"#, |e| matches!(e, BundleError::Json { .. })),
        (
            r#""length":"#,
            r#""kind":"x","length":"#,
            |e| matches!(e, BundleError::DuplicateKey { key, .. } if key == "kind"),
        ),
        (r#"{"sections":"#, r#"{"a":0,"sections":"#, |e| matches!(e, BundleError::Json { .. })),
        (r#"{"sections":"#, r#"{"sections"  "#, |e| matches!(e, BundleError::Json { .. })),
    ];
    for (from, to, check) in cases {
        let bytes = edit_header(|header| {
            assert!(header.contains(from), "{from} is in {header}");
            header.replacen(from, to, 1)
        });
        let problem = problem(bytes);
        assert!(check(&problem), "{from} -> {to}: {problem:?}");
        assert!([Code::Malformed, Code::Incompatible].contains(&problem.code()));
    }
}

#[test]
fn a_section_left_out_of_the_header_leaves_a_hole() {
    let bytes = edit_header(|header| {
        let start = header.find(r#",{"name":"labels.json""#).unwrap();
        let end = start + header[start..].find('}').unwrap() + 1;
        // Spaces at the end are JSON too, and keep the header as long as it was.
        format!("{}{}{}", &header[..start], &header[end..], " ".repeat(end - start))
    });
    // Found by its place, before anybody asks what is missing.
    assert!(matches!(problem(bytes), BundleError::SectionOffset { .. }));
    let last = edit_header(|header| {
        let start = header.find(r#",{"name":"model.onnx.data""#).unwrap();
        format!("{}]}}{}", &header[..start], " ".repeat(header.len() - start - 2))
    });
    assert!(matches!(problem(last), BundleError::FileLength { .. }));
}

#[test]
fn nothing_hides_between_sections() {
    let sample = sample();
    let bundle = Bundle::from_bytes(sample.clone()).unwrap();
    let header = u64::from_le_bytes(sample[16..24].try_into().unwrap()) as usize;
    let mut end = 64 + header;
    let mut gaps = 0;
    for section in bundle.sections() {
        let gap = end..section.offset as usize;
        for at in gap.clone().step_by(29).chain(gap.last()) {
            let mut bytes = sample.clone();
            bytes[at] = 1;
            assert_eq!(problem(bytes), BundleError::GapBytes { name: section.name.clone() });
            gaps += 1;
        }
        end = (section.offset + section.length) as usize;
    }
    assert!(gaps > 100);
}

#[test]
fn damaged_sections_are_named() {
    let sample = sample();
    for section in Bundle::from_bytes(sample.clone()).unwrap().sections() {
        let mut bytes = sample.clone();
        bytes[(section.offset + section.length / 2) as usize] ^= 0x10;
        let problem = problem(bytes);
        assert_eq!(problem, BundleError::HashMismatch { what: format!("the section `{}`", section.name) });
        assert_eq!(problem.code(), Code::Corrupt);
    }
}

#[test]
fn sections_a_classifier_needs() {
    let all = [
        (SectionKind::Tokenizer, TOKENIZER, &b"{}"[..]),
        (SectionKind::Graph, GRAPH, b"g"),
        (SectionKind::Weights, WEIGHTS, b"w"),
        (SectionKind::Labels, LABELS, br#"["a","b"]"#),
    ];
    for missing in 0..all.len() {
        let mut writer = BundleWriter::new(manifest());
        for (i, (kind, name, bytes)) in all.iter().enumerate() {
            if i != missing {
                writer = writer.section(kind.clone(), *name, *bytes);
            }
        }
        let error = writer.to_bytes().unwrap_err();
        let Error::Bundle { problem: BundleError::MissingSection { name, .. }, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(name, all[missing].1);
    }
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

/// Bit after bit of a whole bundle.
#[test]
fn every_flipped_bit_is_an_error() {
    let sample = sample();
    let header = u64::from_le_bytes(sample[16..24].try_into().unwrap()) as usize;
    let mut bytes = sample.clone();
    let header_end = 64 + header;
    // All of prefix and header, and of the rest some bytes with one bit each:
    // enough to meet every section and gap.
    for at in (0..header_end).chain((header_end..sample.len()).step_by(7)).chain([sample.len() - 1]) {
        let bits = if at < header_end { 0..8 } else { at % 8..at % 8 + 1 };
        for bit in bits {
            bytes[at] ^= 1 << bit;
            assert!(Bundle::check_bytes(&bytes).is_err(), "bit {bit} of byte {at}");
            bytes[at] = sample[at];
        }
    }
    Bundle::check_bytes(&bytes).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Bundle::check_bytes(&bytes).is_err());
    }

    #[test]
    fn arbitrary_headers_never_panic(header in ".{0,400}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Bundle::check_bytes(&forge(&header, &body)).is_err());
    }

    #[test]
    fn arbitrary_sections_never_panic(
        sections in proptest::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 1..5),
        small in any::<bool>(),
    ) {
        let sections: Vec<String> = sections
            .iter()
            .enumerate()
            .map(|(i, (offset, length, align))| {
                let (offset, length) = if small { (offset % 4096, length % 4096) } else { (*offset, *length) };
                let align = 1u64 << (align % 64);
                format!(
                    r#"{{"name":"s{i}","kind":"report","offset":{offset},"length":{length},"sha256":"{}","align":{align},"required":false,"compression":"none"}}"#,
                    "a".repeat(64)
                )
            })
            .collect();
        let header = format!(r#"{{"sections":[{}]}}"#, sections.join(","));
        prop_assert!(Bundle::check_bytes(&forge(&header, &[0; 1000])).is_err());
    }

    #[test]
    fn several_flipped_bits_are_an_error(flips in proptest::collection::hash_set((0usize..1 << 20, 0u8..8), 1..6)) {
        let sample = sample();
        let mut bytes = sample.clone();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        prop_assume!(bytes != sample);
        prop_assert!(Bundle::check_bytes(&bytes).is_err());
    }

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
