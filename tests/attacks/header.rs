//! Headers with a right digest and wrong content: made, not damaged.

use limbeck::Code;
use serde_json::{Value, json};

use crate::case::Cases;
use crate::raw::{self, Built, PREFIX, Section, build, build_changed, build_with};

pub fn add(cases: &mut Cases, sections: &[Section], base: &Built) {
    prefix(cases, base);
    numbers(cases, sections);
    places(cases, sections, base);
    json_text(cases, sections);
    fields(cases, sections);
    names_and_kinds(cases, sections);
    hashes(cases, sections);
    presence(cases, sections);
}

fn prefix(cases: &mut Cases, base: &Built) {
    let (header, size, end) = ((base.header_end - PREFIX) as u64, base.bytes.len() as u64, base.header_end);
    for major in [0u32, 2, 256, u32::MAX] {
        let bytes = raw::with_prefix(base, 8, &major.to_le_bytes(), end);
        cases.refused(format!("major version {major}"), bytes, Code::Incompatible).naming(format!("version {major}"));
    }
    for minor in [1u32, 7, u32::MAX] {
        cases.opens(format!("minor version {minor}"), raw::with_prefix(base, 12, &minor.to_le_bytes(), end));
    }
    for (length, code) in [
        (u64::MAX, Code::Malformed),
        (u64::MAX - 63, Code::Malformed),
        (1 << 63, Code::Malformed),
        (1 << 32, Code::Malformed),
        ((1 << 20) + 1, Code::Malformed),
        (1 << 20, Code::Truncated),
        (size, Code::Truncated),
        (size - PREFIX as u64 + 1, Code::Truncated),
    ] {
        let bytes = raw::with_prefix(base, 16, &length.to_le_bytes(), end);
        cases.refused(format!("header length {length}"), bytes, code).naming("header");
    }
    // Lengths inside the file, with the digest of what they span: only the JSON can tell.
    for length in [0, 1, header - 1, header + 1, size - PREFIX as u64] {
        let bytes = raw::with_prefix(base, 16, &length.to_le_bytes(), PREFIX + length as usize);
        cases.refused(format!("header length {length}, sealed"), bytes, Code::Malformed).naming("header");
    }
    for (length, code) in [
        (u64::MAX, Code::Truncated),
        (1 << 63, Code::Truncated),
        (size + 1, Code::Truncated),
        (size - 1, Code::Malformed),
        (end as u64, Code::Malformed),
        (0, Code::Malformed),
    ] {
        cases.refused(format!("file length {length}"), raw::with_prefix(base, 24, &length.to_le_bytes(), end), code);
    }
    let mut zeroed = base.bytes.clone();
    zeroed[32..64].fill(0);
    cases.refused("digest of zeros", zeroed, Code::Corrupt).naming("header");
}

/// The JSON text of `header` with the value of one field of the section `at` replaced by any text.
fn replaced(mut header: Value, at: usize, field: &str, text: &str) -> Vec<u8> {
    const MARK: &str = "@@@";
    header["sections"][at][field] = json!(MARK);
    header.to_string().replacen(&format!("\"{MARK}\""), text, 1).into_bytes()
}

/// Numbers that JSON can write and an offset, length or alignment cannot be.
fn numbers(cases: &mut Cases, sections: &[Section]) {
    for field in ["offset", "length", "align"] {
        for text in [
            "-1",
            "-0.0",
            "64.5",
            "64.0",
            "1e3",
            "1e400",
            "18446744073709551616",
            "-9223372036854775809",
            "\"64\"",
            "[64]",
            "{}",
            "true",
            "0x40",
            "064",
            "+64",
            "NaN",
            "Infinity",
            "1_000",
        ] {
            let built = build_with(sections, |header| replaced(header, 1, field, text));
            cases.refused(format!("{field} is {text}"), built.bytes, Code::Malformed).naming("header");
        }
    }
    for align in [0u64, 1, 3, 32, 63, 65, 96, 100, 131_072, 1 << 63, u64::MAX] {
        let built = build_changed(sections, |list| list[1]["align"] = json!(align));
        cases.refused(format!("alignment {align}"), built.bytes, Code::Malformed).naming("tokenizer.json");
    }
    for align in [64, 128, 4096, 65536] {
        let mut sections = sections.to_vec();
        sections[1].align = Some(align);
        cases.opens(format!("alignment {align} kept"), build(&sections).bytes);
    }
    let built = build_changed(sections, |list| list[1]["align"] = json!(65536));
    cases.refused("alignment stated and not kept", built.bytes, Code::Malformed).naming("tokenizer.json");
}

/// Sections that overlap, leave holes, lie outside, or stand in another order.
fn places(cases: &mut Cases, sections: &[Section], base: &Built) {
    for (at, section) in sections.iter().enumerate() {
        let (start, end) = base.places[at];
        let (offset, length) = (start as u64, (end - start) as u64);
        let file = base.bytes.len() as u64;
        for wrong in
            [0, 1, 63, 64, offset - 64, offset - 1, offset + 1, offset + 64, file, file + 64, 1 << 63, u64::MAX]
        {
            let built = build_changed(sections, |list| list[at]["offset"] = json!(wrong));
            // A longer number may move the section to where the number says it is.
            if built.places[at].0 as u64 != wrong {
                let case = cases.refused(format!("{} at offset {wrong}", section.name), built.bytes, Code::Malformed);
                case.naming(section.name.as_str());
            }
        }
        for wrong in [0, file, file + 1, 1 << 63, u64::MAX - 63, u64::MAX - offset + 1, u64::MAX] {
            let built = build_changed(sections, |list| list[at]["length"] = json!(wrong));
            cases.refused(format!("{} of length {wrong}", section.name), built.bytes, Code::Malformed);
        }
        // One byte less leaves a byte that no section holds; one more takes a zero byte of the gap in,
        // which the hash tells unless there is no gap.
        let built = build_changed(sections, |list| list[at]["length"] = json!(length - 1));
        cases.refused(format!("{} one byte short", section.name), built.bytes, Code::Malformed);
        let built = build_changed(sections, |list| list[at]["length"] = json!(length + 1));
        let no_gap = built.places.get(at + 1).is_none_or(|next| next.0 == built.places[at].1);
        let code = if no_gap { Code::Malformed } else { Code::Corrupt };
        cases.refused(format!("{} one byte long", section.name), built.bytes, code);
    }
    for (a, b) in [(0, 1), (1, 2), (2, 3), (0, 4), (3, 4)] {
        let built = build_changed(sections, |list| list.swap(a, b));
        cases.refused(format!("sections {a} and {b} in the other order"), built.bytes, Code::Malformed);
        let built = build_changed(sections, |list| {
            let place = list[a]["offset"].clone();
            list[a]["offset"] = list[b]["offset"].clone();
            list[b]["offset"] = place;
        });
        cases.refused(format!("offsets of the sections {a} and {b} exchanged"), built.bytes, Code::Malformed);
    }
    // A hole is one even if it is zero and aligned.
    let mut holed = sections.to_vec();
    holed.insert(2, Section::optional("hole", "report", vec![0; 64]));
    let built = build_changed(&holed, |list| drop(list.remove(2)));
    cases.refused("a hole of one aligned block", built.bytes, Code::Malformed).naming("labels.json");
    // Two entries that share their bytes.
    let built = build_changed(sections, |list| {
        let mut alias = list[4].clone();
        alias["name"] = json!("alias");
        alias["kind"] = json!("report");
        alias["required"] = json!(false);
        list.push(alias);
    });
    cases.refused("two sections over the same bytes", built.bytes, Code::Malformed).naming("alias");
}

fn json_text(cases: &mut Cases, sections: &[Section]) {
    let mut wrong = |name: &str, render: &dyn Fn(String) -> Vec<u8>| {
        let built = build_with(sections, |header| render(header.to_string()));
        cases.refused(format!("header JSON: {name}"), built.bytes, Code::Malformed).naming("header");
    };
    for text in [
        "",
        " ",
        "null",
        "true",
        "0",
        "[]",
        "{}",
        "\"sections\"",
        "{\"sections\"",
        "{\"sections\":",
        "{\"sections\":[}",
        "}",
        "nul",
        "{\"sections\":{}}",
        "{\"sections\":null}",
        "{\"sections\":\"\"}",
        "{\"sections\":[null]}",
        "{\"sections\":[[]]}",
        "{\"sections\":[{}]}",
        "{\"Sections\":[]}",
        "{\"sections\":[],\"sections\":[]}",
        "{\"sections\":[],\"more\":1}",
        "{'sections':[]}",
        "{sections:[]}",
    ] {
        wrong(&format!("`{text}`"), &|_| text.as_bytes().to_vec());
    }
    wrong("UTF-8 mark in front", &|text| format!("\u{feff}{text}").into_bytes());
    wrong("zero byte at the end", &|text| format!("{text}\0").into_bytes());
    wrong("second object behind", &|text| format!("{text}{text}").into_bytes());
    wrong("comment", &|text| format!("/* */{text}").into_bytes());
    wrong("comma at the end", &|text| text.replace("}]", "},]").into_bytes());
    wrong("UTF-16", &|text| text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    wrong("byte that is not UTF-8", &|text| {
        let mut bytes = text.into_bytes();
        let at = bytes.windows(8).position(|w| w == b"manifest").unwrap_or(0);
        bytes[at] = 0xFF;
        bytes
    });
    wrong("overlong UTF-8", &|text| {
        let mut bytes = text.into_bytes();
        let at = bytes.windows(8).position(|w| w == b"manifest").unwrap_or(0);
        bytes.splice(at..at + 1, [0xC1, 0xAD]);
        bytes
    });
    wrong("half a surrogate pair", &|text| text.replacen("manifest.json", "\\ud800", 1).into_bytes());
    wrong("line end in a text", &|text| text.replacen("manifest.json", "manifest\n", 1).into_bytes());
    wrong("unknown field of the header", &|text| text.replacen('{', "{\"extra\":[],", 1).into_bytes());
    wrong("key of the header twice", &|text| text.replacen('{', "{\"sections\":[],", 1).into_bytes());
    for (name, open, close) in [("arrays", "[", "]"), ("objects", "{\"a\":", "}")] {
        for depth in [200, 10_000] {
            let nested = [&open.repeat(depth), "0", &close.repeat(depth)].concat();
            wrong(&format!("{depth} nested {name}"), &|_| nested.clone().into_bytes());
            wrong(&format!("{depth} nested {name} in a field"), &|text| {
                text.replacen('{', &format!("{{\"x\":{nested},"), 1).into_bytes()
            });
        }
        wrong(&format!("100000 {name} never closed"), &|_| open.repeat(100_000).into_bytes());
    }
    // White space is JSON too; a reader must not go by the text.
    let spaced =
        build_with(sections, |header| format!(" \n{}\t ", header.to_string().replace(':', " : ")).into_bytes());
    cases.opens("header JSON with white space", spaced.bytes);
    let escaped =
        build_with(sections, |header| header.to_string().replacen("\"name\"", "\"\\u006eame\"", 1).into_bytes());
    cases.opens("header JSON with an escaped key", escaped.bytes);
}

fn fields(cases: &mut Cases, sections: &[Section]) {
    for field in ["name", "kind", "offset", "length", "sha256", "required", "compression"] {
        let built = build_changed(sections, |list| {
            list[1].as_object_mut().map(|entry| entry.remove(field));
        });
        cases.refused(format!("no `{field}`"), built.bytes, Code::Malformed).naming("header");
        let built = build_with(sections, |header| replaced(header, 1, field, "null"));
        cases.refused(format!("`{field}` is null"), built.bytes, Code::Malformed).naming("header");
        for key in [field.to_owned(), format!("\\u{:04x}{}", u32::from(field.as_bytes()[0]), &field[1..])] {
            let built = build_with(sections, |header| {
                let value = header["sections"][1][field].to_string();
                let text = header.to_string();
                let at = text.rfind("{\"name\":\"labels.json\"").unwrap_or(0);
                // Into the entry before: `..., "compression":"none"` and the pair again.
                let close = text[..at].rfind('}').unwrap_or(0);
                format!("{},\"{key}\":{value}{}", &text[..close], &text[close..]).into_bytes()
            });
            cases.refused(format!("`{key}` twice"), built.bytes, Code::Malformed).naming(format!("`{field}` twice"));
        }
    }
    for (field, value) in
        [("required", json!(1)), ("required", json!("true")), ("name", json!(7)), ("kind", json!(["graph"]))]
    {
        let built = build_changed(sections, |list| list[1][field] = value.clone());
        cases.refused(format!("`{field}` is {value}"), built.bytes, Code::Malformed).naming("header");
    }
    for field in ["Name", "extra", "sha-256", "", "encryption"] {
        let built = build_changed(sections, |list| list[1][field] = json!(0));
        cases.refused(format!("unknown field `{field}`"), built.bytes, Code::Malformed).naming("header");
    }
}

fn names_and_kinds(cases: &mut Cases, sections: &[Section]) {
    let with = |section: Section| [sections, &[section]].concat();
    let long = "x".repeat(129);
    for name in [
        "",
        ".",
        "..",
        "../../etc/passwd",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:evil",
        ".hidden",
        "a b",
        "caf\u{e9}",
        "a\0b",
        "\u{202e}txt",
        "a\nb",
        "*",
        "~",
        "\u{ff0e}",
        &long,
    ] {
        let built = build(&with(Section::optional(name, "report", "{}")));
        cases.refused(format!("section named {name:?}"), built.bytes, Code::Malformed).naming("section name");
    }
    cases.opens("section name of 128 characters", build(&with(Section::optional(&long[1..], "report", "{}"))).bytes);
    for name in ["manifest.json", "model.onnx.data", "labels.json"] {
        let built = build(&with(Section::optional(name, "report", "{}")));
        cases.refused(format!("two sections named {name}"), built.bytes, Code::Malformed).naming(name);
    }
    for kind in ["hologram", "", "Manifest", "graph ", "weights\0", "\u{1f642}"] {
        let built = build(&with(Section::new("extra", kind, "data")));
        cases.refused(format!("unknown required kind {kind:?}"), built.bytes, Code::Incompatible).naming("extra");
        cases.opens(
            format!("unknown optional kind {kind:?}"),
            build(&with(Section::optional("extra", kind, "data"))).bytes,
        );
    }
    for compression in ["zstd", "", "None", "none ", "gzip"] {
        let section = Section { compression: compression.into(), ..Section::optional("extra", "report", "data") };
        let built = build(&with(section));
        cases.refused(format!("compression {compression:?}"), built.bytes, Code::Incompatible).naming("extra");
    }
    for (count, opens) in [(64, true), (65, false), (2000, false)] {
        let mut many = sections.to_vec();
        many.extend((sections.len()..count).map(|i| Section::optional(&format!("extra-{i}"), "later", [i as u8])));
        let bytes = build(&many).bytes;
        match opens {
            true => drop(cases.opens(format!("{count} sections"), bytes)),
            false => cases.refused(format!("{count} sections"), bytes, Code::Malformed).naming("number of sections"),
        }
    }
    cases
        .opens("optional section of no bytes at the end", build(&with(Section::optional("extra", "report", ""))).bytes);
    cases.opens(
        "zip inside an optional section",
        build(&with(Section::optional("x.zip", "report", "PK\x05\x06"))).bytes,
    );
    let mut long_header = with(Section::optional("extra", "report", "data"));
    let last = long_header.len() - 1;
    long_header[last].kind = "k".repeat(1 << 20);
    cases.refused("header of more than 1 MiB", build(&long_header).bytes, Code::Malformed).naming("header");
}

fn hashes(cases: &mut Cases, sections: &[Section]) {
    for (at, section) in sections.iter().enumerate() {
        let built = build_changed(sections, |list| list[at]["sha256"] = json!(raw::hex(b"something else")));
        cases
            .refused(format!("hash of other bytes for {}", section.name), built.bytes, Code::Corrupt)
            .naming(section.name.as_str());
        // The content changes and the header still has the old hash.
        let mut changed = sections.to_vec();
        changed[at].bytes.reverse();
        let built = build_changed(&changed, |list| list[at]["sha256"] = json!(raw::hex(&section.bytes)));
        cases
            .refused(format!("bytes of {} reversed", section.name), built.bytes, Code::Corrupt)
            .naming(section.name.as_str());
        for (name, text) in [
            ("upper case", raw::hex(&section.bytes).to_uppercase()),
            ("63 digits", raw::hex(&section.bytes)[1..].to_owned()),
            ("65 digits", format!("{}0", raw::hex(&section.bytes))),
            ("no digits", String::new()),
            ("other letters", "g".repeat(64)),
            ("two-byte letters", "\u{e9}".repeat(32)),
            ("a sign", format!("+{}", &raw::hex(&section.bytes)[1..])),
        ] {
            let built = build_changed(sections, |list| list[at]["sha256"] = json!(text));
            cases
                .refused(format!("hash of {} with {name}", section.name), built.bytes, Code::Malformed)
                .naming(section.name.as_str());
        }
    }
    let mut swapped = sections.to_vec();
    let manifest = std::mem::replace(&mut swapped[0].bytes, sections[2].bytes.clone());
    swapped[2].bytes = manifest;
    cases
        .refused("manifest and labels exchanged, hashes right", build(&swapped).bytes, Code::Malformed)
        .naming("manifest");
}

fn presence(cases: &mut Cases, sections: &[Section]) {
    for (at, section) in sections.iter().enumerate() {
        let mut fewer = sections.to_vec();
        fewer.remove(at);
        cases
            .refused(format!("no {}", section.name), build(&fewer).bytes, Code::Malformed)
            .naming(section.name.as_str());

        let mut renamed = sections.to_vec();
        renamed[at].name = "other-name".into();
        let case =
            cases.refused(format!("{} under another name", section.name), build(&renamed).bytes, Code::Malformed);
        case.naming(section.name.as_str());

        let twice = [sections, &[Section { name: "again".into(), ..section.clone() }]].concat();
        let case = cases.refused(format!("two of the kind {}", section.kind), build(&twice).bytes, Code::Malformed);
        case.naming(section.kind.as_str());

        let mut as_report = sections.to_vec();
        as_report[at].kind = "report".into();
        let case = cases.refused(format!("{} called a report", section.name), build(&as_report).bytes, Code::Malformed);
        case.naming(section.name.as_str());
    }
    cases.refused("no sections", build(&[]).bytes, Code::Malformed).naming("manifest.json");
    cases.refused("a manifest alone", build(&sections[..1]).bytes, Code::Malformed).naming("tokenizer.json");
    let mut reversed = sections.to_vec();
    reversed.reverse();
    cases.opens("sections in the opposite order", build(&reversed).bytes);
    let reports = [sections, &[Section::optional("a", "report", "1"), Section::optional("b", "report", "2")]].concat();
    cases.opens("two reports", build(&reports).bytes);
}
