//! Right files with a manifest or labels that make no sense.

use limbeck::Code;
use serde_json::{Value, json};

use crate::base;
use crate::case::Cases;
use crate::raw::{Section, build};

pub fn add(cases: &mut Cases, sections: &[Section]) {
    manifest_values(cases, sections);
    manifest_fields(cases, sections);
    manifest_text(cases, sections);
    labels(cases, sections);
}

fn with_bytes(sections: &[Section], at: usize, bytes: impl Into<Vec<u8>>) -> Vec<u8> {
    let mut sections = sections.to_vec();
    sections[at].bytes = bytes.into();
    build(&sections).bytes
}

fn with_value(sections: &[Section], pointer: &str, value: Value) -> Vec<u8> {
    let mut manifest = base::manifest();
    *manifest.pointer_mut(pointer).unwrap_or_else(|| panic!("the base manifest has no {pointer}")) = value;
    with_bytes(sections, 0, manifest.to_string())
}

fn manifest_values(cases: &mut Cases, sections: &[Section]) {
    let input = |name: &str, element: &str, axes: &[&str]| json!({"name": name, "type": element, "axes": axes});
    let ids = input("input_ids", "int32", &["batch", "length"]);
    let mask = input("attention_mask", "int32", &["batch", "length"]);
    let logits = input("logits", "float32", &["batch", "labels"]);
    let long = "x".repeat(2000);
    let nine_axes = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let wrong: Vec<(&str, &str, Vec<Value>)> = vec![
        (
            "/id",
            "id",
            vec![
                json!(""),
                json!("a/b"),
                json!("../x"),
                json!("a b"),
                json!("\u{e9}"),
                json!("a\0"),
                json!(&long[..129]),
            ],
        ),
        ("/version", "version", vec![json!(""), json!(long)]),
        ("/task", "task", vec![json!(""), json!(long)]),
        ("/architecture/family", "architecture.family", vec![json!(""), json!(long)]),
        ("/architecture/layers", "architecture.layers", vec![json!(0), json!(1025), json!(u64::MAX)]),
        ("/architecture/hidden_size", "architecture.hidden_size", vec![json!(0), json!(1 << 25)]),
        ("/architecture/attention_heads", "architecture.attention_heads", vec![json!(0), json!(5)]),
        ("/architecture/intermediate_size", "architecture.intermediate_size", vec![json!(0), json!(1 << 25)]),
        ("/architecture/vocab_size", "architecture.vocab_size", vec![json!(0), json!(1u64 << 31), json!(u64::MAX)]),
        ("/languages", "languages", vec![json!([""]), json!([long]), json!(vec!["en"; 5000])]),
        ("/max_tokens", "max_tokens", vec![json!(0), json!((1 << 20) + 1), json!(u64::MAX)]),
        ("/tokenizer/pad_id", "tokenizer.pad_id", vec![json!(base::VOCABULARY), json!(u32::MAX)]),
        ("/tokenizer/library", "tokenizer.library", vec![json!("")]),
        ("/tokenizer/version", "tokenizer.version", vec![json!("")]),
        ("/opset", "opset", vec![json!({}), json!({"ai.onnx": 0}), json!({"": 17})]),
        ("/operators", "operators", vec![json!([""]), json!(vec!["ai.onnx:Add"; 5000])]),
        (
            "/inputs",
            "inputs",
            vec![
                json!([]),
                json!([mask]),
                json!([ids, ids]),
                json!([input("input_ids", "float32", &["batch", "length"]), mask]),
                json!([input("input_ids", "int32", &["length", "batch"]), mask]),
                json!([input("input_ids", "int32", &["batch"]), mask]),
                json!([input("input_ids", "int32", &[]), mask]),
                json!([input("", "int32", &["batch", "length"]), ids, mask]),
                json!([input("input_ids", "int32", &nine_axes), mask]),
                json!(vec![ids.clone(); 65]),
            ],
        ),
        ("/inputs", "batching", vec![json!([ids])]),
        (
            "/outputs",
            "outputs",
            vec![
                json!([]),
                json!([logits, logits]),
                json!([input("logits", "int32", &["batch", "labels"])]),
                json!([input("logits", "float32", &["labels", "batch"])]),
                json!([input("", "float32", &["batch", "labels"])]),
            ],
        ),
        (
            "/requires/sdk",
            "requires.sdk",
            vec![
                json!(""),
                json!("1"),
                json!("0.1"),
                json!("0.1.0.0"),
                json!("a.b.c"),
                json!("-1.0.0"),
                json!("+1.0.0"),
                json!("0.1.0-beta"),
                json!("0.1. 0"),
                json!("4294967296.0.0"),
                json!(".."),
            ],
        ),
        ("/quality/low", "quality.low", vec![json!(0.7)]),
    ];
    for (pointer, field, values) in wrong {
        for (index, value) in values.into_iter().enumerate() {
            let shown: String = value.to_string().chars().take(60).collect();
            let bytes = with_value(sections, pointer, value);
            let name = format!("manifest: wrong {field} {index}: {shown}");
            cases.refused(name, bytes, Code::Malformed).naming(field);
        }
    }
    let foreign = json!([ids, mask, input("image", "float32", &["batch", "length"])]);
    cases
        .refused("manifest: an input of a later version", with_value(sections, "/inputs", foreign), Code::Incompatible)
        .naming("image");
    // A later version may have values that this one cannot parse; then that version is the news.
    let mut later = base::manifest();
    later["activation"] = json!("hypermax");
    cases
        .refused("manifest: an unknown activation", with_bytes(sections, 0, later.to_string()), Code::Malformed)
        .naming("manifest");
    later["requires"]["sdk"] = json!("9.0.0");
    let bytes = with_bytes(sections, 0, later.to_string());
    cases.refused("manifest: an unknown activation of version 9", bytes, Code::Incompatible).naming("9.0.0");
}

fn manifest_fields(cases: &mut Cases, sections: &[Section]) {
    for pointer in [
        "/id",
        "/version",
        "/build",
        "/task",
        "/architecture",
        "/languages",
        "/max_tokens",
        "/activation",
        "/inputs",
        "/outputs",
        "/batching",
        "/opset",
        "/operators",
        "/requires",
        "/tokenizer",
        "/architecture/layers",
        "/architecture/vocab_size",
        "/architecture/parameters",
        "/requires/sdk",
        "/requires/onnxruntime_api",
        "/tokenizer/pad_id",
        "/inputs/0/name",
        "/inputs/0/type",
        "/inputs/0/axes",
        "/quality/value",
    ] {
        let (parent, field) = pointer.rsplit_once('/').unwrap_or_default();
        let mut manifest = base::manifest();
        manifest.pointer_mut(parent).and_then(Value::as_object_mut).map(|object| object.remove(field));
        let bytes = with_bytes(sections, 0, manifest.to_string());
        cases.refused(format!("manifest: no {pointer}"), bytes, Code::Malformed).naming("manifest");
        let bytes = with_value(sections, pointer, Value::Null);
        cases.refused(format!("manifest: {pointer} is null"), bytes, Code::Malformed).naming("manifest");
    }
    for (pointer, value) in [
        ("/build", json!(-1)),
        ("/build", json!(1.5)),
        ("/build", json!("1")),
        ("/max_tokens", json!(-16)),
        ("/max_tokens", json!(16.0)),
        ("/max_tokens", json!("16")),
        ("/architecture/layers", json!(-1)),
        ("/architecture/vocab_size", json!(1e300)),
        ("/architecture/parameters", json!(-136)),
        ("/tokenizer/pad_id", json!(-1)),
        ("/tokenizer/pad_id", json!(1u64 << 32)),
        ("/requires/onnxruntime_api", json!(-24)),
        ("/opset", json!({"ai.onnx": -17})),
        ("/opset", json!({"ai.onnx": 1u64 << 32})),
        ("/opset", json!([17])),
        ("/inputs", json!({})),
        ("/inputs/0/type", json!("int128")),
        ("/inputs/0/axes", json!("batch")),
        ("/activation", json!("Softmax")),
        ("/batching", json!("Padded")),
        ("/languages", json!("en")),
        ("/id", json!(["tiny"])),
        ("/quality/value", json!("0.5")),
    ] {
        let name = format!("manifest: {pointer} is {value}");
        cases.refused(name, with_value(sections, pointer, value), Code::Malformed).naming("manifest");
    }
    let mut grown = base::manifest();
    grown["a_field_of_tomorrow"] = json!({"deep": [1, {"x": null}]});
    cases.opens("manifest: unknown fields", with_bytes(sections, 0, grown.to_string()));
}

fn manifest_text(cases: &mut Cases, sections: &[Section]) {
    let text = base::manifest().to_string();
    let inside = |more: &str| text.replacen('{', &format!("{{{more},"), 1).into_bytes();
    let mut not_utf8 = text.clone().into_bytes();
    not_utf8[8] = 0xFF;
    let deep = |depth: usize| format!("\"x\":{}{}", "[".repeat(depth), "]".repeat(depth));
    let wrong: Vec<(&str, Vec<u8>)> = vec![
        ("no bytes", Vec::new()),
        ("null", b"null".to_vec()),
        ("an array", b"[]".to_vec()),
        ("an empty object", b"{}".to_vec()),
        ("a text", b"\"manifest\"".to_vec()),
        ("zeros", vec![0; 64]),
        ("YAML", b"id: tiny\nversion: 0.1.0\n".to_vec()),
        ("cut off", text.as_bytes()[..text.len() - 1].to_vec()),
        ("cut in the middle", text.as_bytes()[..text.len() / 2].to_vec()),
        ("something behind", format!("{text} {{}}").into_bytes()),
        ("UTF-8 mark in front", format!("\u{feff}{text}").into_bytes()),
        ("a byte that is not UTF-8", not_utf8),
        ("half a surrogate pair", text.replacen("tiny", "\\udfff", 1).into_bytes()),
        ("a number too large for any float", inside("\"x\":1e999")),
        ("NaN", inside("\"x\":NaN")),
        ("200 nested arrays", inside(&deep(200))),
        ("50000 nested arrays", inside(&deep(50_000))),
        ("more than 1 MiB", inside(&format!("\"x\":\"{}\"", "y".repeat(1 << 20)))),
    ];
    for (name, bytes) in wrong {
        cases
            .refused(format!("manifest text: {name}"), with_bytes(sections, 0, bytes), Code::Malformed)
            .naming("manifest");
    }
    for (name, bytes) in [
        ("`id` twice, alike", inside("\"id\":\"tiny\"")),
        ("`id` twice, different", inside("\"id\":\"other\"")),
        ("`id` twice, one escaped", inside("\"\\u0069d\":\"other\"")),
        ("`layers` twice", text.replacen("\"layers\"", "\"layers\":9,\"layers\"", 1).into_bytes()),
        ("`ai.onnx` twice", text.replacen("\"ai.onnx\"", "\"ai.onnx\":9,\"ai.onnx\"", 1).into_bytes()),
        ("`x` twice in an unknown field", inside("\"later\":[{\"x\":1,\"x\":1}]")),
    ] {
        cases
            .refused(format!("manifest text: {name}"), with_bytes(sections, 0, bytes), Code::Malformed)
            .naming("twice");
    }
}

fn labels(cases: &mut Cases, sections: &[Section]) {
    let long = "x".repeat(1025);
    let many: Vec<String> = (0..100_001).map(|i| i.to_string()).collect();
    for (name, labels) in [
        ("none", json!([])),
        ("one for softmax", json!(["only"])),
        ("two alike", json!(["a", "a"])),
        ("one without letters", json!(["a", ""])),
        ("one too long", json!(["a", long])),
        ("too many", json!(many)),
        ("a number", json!(["a", 1])),
        ("null", json!(["a", null])),
        ("nested", json!([["a", "b"]])),
        ("an object", json!({"0": "a", "1": "b"})),
        ("a text", json!("ab")),
        ("null alone", json!(null)),
    ] {
        let bytes = with_bytes(sections, 2, labels.to_string());
        cases.refused(format!("labels: {name}"), bytes, Code::Malformed).naming("labels");
    }
    for (name, text) in [
        ("no bytes", &b""[..]),
        ("not JSON", b"negative\npositive\n"),
        ("cut off", b"[\"a\",\"b\""),
        ("comma at the end", b"[\"a\",\"b\",]"),
        ("not UTF-8", b"[\"a\",\"\xff\"]"),
        ("zeros", &[0; 16]),
        ("half a surrogate pair", b"[\"a\",\"\\ud800\"]"),
        ("something behind", b"[\"a\",\"b\"]]"),
    ] {
        cases.refused(format!("labels text: {name}"), with_bytes(sections, 2, text), Code::Malformed).naming("labels");
    }
    let emoji = json!(["\u{1f642}", "\u{1f641}\0"]).to_string();
    cases.opens("labels: emoji and a zero character", with_bytes(sections, 2, emoji));
}
