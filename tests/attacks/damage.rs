//! What happens to files by accident: cut off, flipped bits, appended bytes, another file altogether.

use std::collections::BTreeSet;

use limbeck::Code;

use crate::case::Cases;
use crate::raw::{self, Built, PREFIX};

const LIMIT_OF_HEADER: u64 = 1 << 20;

pub fn add(cases: &mut Cases, base: &Built, names: &[String]) {
    truncations(cases, base);
    flips(cases, base, names);
    appended(cases, base);
    foreign(cases, base);
    text_mode(cases, base);
}

fn truncations(cases: &mut Cases, base: &Built) {
    let size = base.bytes.len();
    let mut lengths: Vec<usize> = (0..=PREFIX).collect();
    let mut borders = vec![base.header_end, size];
    borders.extend(base.places.iter().flat_map(|&(start, end)| [start, end]));
    for border in borders {
        lengths.extend([border.saturating_sub(1), border, border + 1]);
    }
    lengths.extend((1..40).map(|i| size * i / 40));
    lengths.retain(|&length| length < size);
    lengths.sort_unstable();
    lengths.dedup();
    for length in lengths {
        let case = cases.refused(format!("cut to {length} bytes"), &base.bytes[..length], Code::Truncated);
        case.naming(format!("{length} bytes"));
    }
}

/// The code for bit `bit` of byte `at` turned over.
fn flipped_code(base: &Built, at: usize, bit: usize) -> Code {
    match at {
        0..8 => Code::NotABundle,
        8..12 => Code::Incompatible,
        16..24 => {
            let header = (base.header_end - PREFIX) as u64 ^ 1 << ((at - 16) * 8 + bit);
            match header {
                _ if header > LIMIT_OF_HEADER => Code::Malformed,
                _ if PREFIX as u64 + header > base.bytes.len() as u64 => Code::Truncated,
                _ => Code::Corrupt,
            }
        }
        _ if base.gaps().iter().any(|&(start, end, _)| (start..end).contains(&at)) => Code::Malformed,
        _ => Code::Corrupt,
    }
}

fn flips(cases: &mut Cases, base: &Built, names: &[String]) {
    let flip = |cases: &mut Cases, what: &str, at: usize, bit: usize, named: Option<&str>| {
        let mut bytes = base.bytes.clone();
        bytes[at] ^= 1 << bit;
        let case = cases.refused(format!("bit {bit} of byte {at} flipped, {what}"), bytes, flipped_code(base, at, bit));
        if let Some(name) = named {
            case.naming(name);
        }
    };
    for at in 0..PREFIX {
        for bit in 0..8 {
            flip(cases, "prefix", at, bit, None);
        }
    }
    for at in (PREFIX..base.header_end).step_by(7) {
        flip(cases, "header", at, at % 8, Some("header"));
    }
    for (start, end, next) in base.gaps() {
        for at in distinct([start, start + (end - start) / 2, end - 1]) {
            flip(cases, "gap", at, at % 8, Some(&names[next]));
        }
    }
    for (&(start, end), name) in base.places.iter().zip(names) {
        let step = ((end - start) / 12).max(1);
        for at in distinct((start..end).step_by(step).chain([end - 1])) {
            flip(cases, name, at, (at + 3) % 8, Some(name));
        }
    }
}

fn distinct(places: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    places.into_iter().collect()
}

fn appended(cases: &mut Cases, base: &Built) {
    let with = |tail: &[u8]| [&base.bytes, tail].concat();
    let zip = b"PK\x03\x04rest of a zip PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (name, tail) in [
        ("a zero byte", &b"\0"[..]),
        ("a line end", b"\n"),
        ("64 zero bytes", &[0; 64]),
        ("16384 zero bytes", &[0; 16384]),
        ("a zip archive", zip),
        ("a script", b"\n#!/bin/sh\necho gotcha\n"),
        ("a second bundle", &base.bytes),
    ] {
        let case = cases.refused(format!("{name} appended"), with(tail), Code::Malformed);
        case.naming(format!("{} bytes follow", tail.len()));
        // The same with the stated length adapted, so that only the sections tell.
        let mut longer = base.clone();
        longer.bytes = with(tail);
        let length = (longer.bytes.len() as u64).to_le_bytes();
        let bytes = raw::with_prefix(&longer, 24, &length, base.header_end);
        cases.refused(format!("{name} appended, stated length adapted"), bytes, Code::Malformed);
    }
}

fn foreign(cases: &mut Cases, base: &Built) {
    let mut safetensors = 16u64.to_le_bytes().to_vec();
    safetensors.extend(b"{\"__metadata__\":{}}");
    let mut tar = vec![0; 1024];
    tar[257..263].copy_from_slice(b"ustar\0");
    let files: [(&str, Vec<u8>); 24] = [
        ("zip", b"PK\x03\x04\x14\0\0\0\x08\0".repeat(20)),
        ("empty zip", [&b"PK\x05\x06"[..], &[0; 18]].concat()),
        ("ELF", [&b"\x7fELF\x02\x01\x01"[..], &[0; 100]].concat()),
        ("PE", [&b"MZ\x90\0"[..], &[0; 200]].concat()),
        ("Mach-O", [&b"\xcf\xfa\xed\xfe"[..], &[7; 100]].concat()),
        ("PNG", [&b"\x89PNG\r\n\x1a\n"[..], &[1; 100]].concat()),
        ("JPEG", b"\xff\xd8\xff\xe0\0\x10JFIF\0".repeat(9)),
        ("gzip", b"\x1f\x8b\x08\0\0\0\0\0".repeat(9)),
        ("zstd", b"\x28\xb5\x2f\xfd".repeat(20)),
        ("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n".to_vec()),
        ("safetensors", safetensors),
        ("GGUF", [&b"GGUF\x03\0\0\0"[..], &[0; 100]].concat()),
        ("ONNX", crate::onnx::GraphSpec::default().encode()),
        ("ORT", [&b"\x18\0\0\0ORTM"[..], &[0; 100]].concat()),
        ("tar", tar),
        ("JSON", b"{\"sections\": []}".to_vec()),
        ("HTML", b"<!DOCTYPE html><title>404 Not Found</title>".to_vec()),
        ("text", b"This is not a bundle.\n".repeat(10)),
        ("Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec()),
        ("one byte", b"x".to_vec()),
        ("all zero", vec![0; 4096]),
        ("all ones", vec![0xFF; 4096]),
        ("zip before a bundle", [b"PK\x03\x04", &base.bytes[..]].concat()),
        ("script before a bundle", [b"#!/bin/sh\nexit\n", &base.bytes[..]].concat()),
    ];
    for (name, bytes) in files {
        cases.refused(format!("foreign file: {name}"), bytes, Code::NotABundle);
    }
    // A whole prefix is missing: as for any shorter file, the end came too early.
    cases.refused("empty file", Vec::new(), Code::Truncated);
    let body = base.bytes[8..].to_vec();
    for (name, magic) in
        [("PNG", *b"\x89PNG\r\n\x1a\n"), ("ELF", *b"\x7fELF\x02\x01\x01\0"), ("lower case", *b"\x89lbk\r\n\x1a\n")]
    {
        let bytes = [&magic[..], &body].concat();
        cases.refused(format!("bundle with the magic of {name}"), bytes, Code::NotABundle);
    }
    let mut shifted = base.bytes.clone();
    shifted.insert(0, 0);
    cases.refused("bundle shifted by one byte", shifted, Code::NotABundle);
    cases.refused("bundle without its first byte", &base.bytes[1..], Code::NotABundle);
    cases.refused("bundle backwards", base.bytes.iter().rev().copied().collect::<Vec<_>>(), Code::NotABundle);
    let swapped: Vec<u8> = base.bytes.chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
    cases.refused("bundle with bytes swapped in pairs", swapped, Code::NotABundle);
}

/// Copies through programs that take a bundle for text.
fn text_mode(cases: &mut Cases, base: &Built) {
    let replaced = |from: &[u8], to: &[u8]| {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < base.bytes.len() {
            if base.bytes[at..].starts_with(from) {
                out.extend_from_slice(to);
                at += from.len();
            } else {
                out.push(base.bytes[at]);
                at += 1;
            }
        }
        out
    };
    let utf8: String = base.bytes.iter().map(|&b| char::from(b)).collect();
    let utf16: Vec<u8> = utf8.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (name, bytes) in [
        ("CR LF became LF", replaced(b"\r\n", b"\n")),
        ("LF became CR LF", replaced(b"\n", b"\r\n")),
        ("CR removed", replaced(b"\r", b"")),
        ("cut at the end-of-text mark, then LF", replaced(b"\x1a", b"")),
        ("high bits cleared", base.bytes.iter().map(|b| b & 0x7F).collect()),
        ("Latin-1 became UTF-8", utf8.into_bytes()),
        ("Latin-1 became UTF-16", utf16),
        ("invalid UTF-8 replaced", String::from_utf8_lossy(&base.bytes).into_owned().into_bytes()),
        ("UTF-8 mark in front", [b"\xef\xbb\xbf", &base.bytes[..]].concat()),
    ] {
        cases.refused(format!("text mode: {name}"), bytes, Code::NotABundle);
    }
}
