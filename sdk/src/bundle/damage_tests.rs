//! Bundles of every kind of damage, each with its own error.

use proptest::prelude::*;

use super::tests::{manifest, problem, sample};
use super::*;
use crate::{Code, Error};

fn check_bytes(bytes: &[u8]) -> crate::Result<()> {
    Bundle::check_bytes(bytes, &BundleOptions::default())
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
            assert!(check_bytes(&bytes).is_err(), "bit {bit} of byte {at}");
            bytes[at] = sample[at];
        }
    }
    check_bytes(&bytes).unwrap();
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(check_bytes(&bytes).is_err());
    }

    #[test]
    fn arbitrary_headers_never_panic(header in ".{0,400}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(check_bytes(&forge(&header, &body)).is_err());
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
        prop_assert!(check_bytes(&forge(&header, &[0; 1000])).is_err());
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
        prop_assert!(check_bytes(&bytes).is_err());
    }
}
