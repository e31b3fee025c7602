//! Bundles that are right as files and cannot be run: tokenizers and graphs that are garbage or traps.

#[allow(dead_code)]
#[path = "../support/cache.rs"]
mod cache;

use limbeck::{Code, Model};
use serde_json::{Value, json};

use crate::base::{self, sections, sections_with_graph};
use crate::case::{Case, Cases, Outcome};
use crate::onnx::{self, GraphSpec, bytes, number};
use crate::raw::build;

type Change<'a, T> = &'a dyn Fn(&mut T);

fn with_bytes(at: usize, content: impl Into<Vec<u8>>) -> Vec<u8> {
    let mut sections = sections();
    sections[at].bytes = content.into();
    build(&sections).bytes
}

fn with_manifest(change: impl Fn(&mut Value)) -> Vec<u8> {
    let mut manifest = base::manifest();
    change(&mut manifest);
    with_bytes(0, manifest.to_string())
}

fn with_graph(change: impl Fn(&mut GraphSpec)) -> Vec<u8> {
    let mut spec = GraphSpec::default();
    change(&mut spec);
    build(&sections_with_graph(spec.encode())).bytes
}

fn manifests(cases: &mut Cases) {
    for (name, field, value, names) in [
        ("a later library", "/requires/sdk", json!("99.0.0"), "99.0.0"),
        ("a later ONNX Runtime", "/requires/onnxruntime_api", json!(99), "1.99"),
        ("an unknown tokenizer library", "/tokenizer/library", json!("bpe-of-tomorrow"), "bpe-of-tomorrow"),
        ("an unknown task", "/task", json!("mind-reading"), "mind-reading"),
        ("a task in other letters", "/task", json!("Text-Classification"), "Text-Classification"),
    ] {
        let bytes = with_manifest(|m| {
            if let Some(place) = m.pointer_mut(field) {
                *place = value.clone();
            }
        });
        cases.refused(format!("model needs {name}"), bytes, Code::Incompatible).naming(names);
    }
    for tokens in [1, 2] {
        let bytes = with_manifest(|m| m["max_tokens"] = json!(tokens));
        cases.refused(format!("model of {tokens} tokens"), bytes, Code::Malformed).naming("max_tokens");
    }
    let more = json!({"name": "token_type_ids", "type": "int32", "axes": ["batch", "length"]});
    let bytes = with_manifest(|m| m["inputs"].as_array_mut().into_iter().for_each(|list| list.push(more.clone())));
    cases.refused("manifest lists an input that the graph lacks", bytes, Code::Malformed).naming("token_type_ids");
    let bytes = with_manifest(|m| m["outputs"][0]["name"] = json!("scores"));
    cases.refused("manifest names another output", bytes, Code::Malformed).naming("scores");
}

fn tokenizers(cases: &mut Cases) {
    let text = base::tokenizer().to_string();
    for (name, content) in [
        ("no bytes", Vec::new()),
        ("zeros", vec![0; 256]),
        ("cut off", text.as_bytes()[..text.len() - 2].to_vec()),
        ("a vocabulary file", b"[PAD]\n[UNK]\n[CLS]\n".to_vec()),
        (
            "not UTF-8",
            text.replacen("BertNormalizer", "Bert\u{1}", 1)
                .replace('\u{1}', "x")
                .into_bytes()
                .iter()
                .map(|&b| if b == b'z' { 0xFF } else { b })
                .collect(),
        ),
        ("a protobuf", b"\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0".to_vec()),
        ("keys twice", text.replacen("\"model\"", "\"model\":null,\"model\"", 1).into_bytes()),
        ("50000 nested arrays", "[".repeat(50_000).into_bytes()),
    ] {
        cases.refused(format!("tokenizer: {name}"), with_bytes(1, content), Code::Malformed).naming("tokenizer.json");
    }
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut tokenizer = base::tokenizer();
        change(&mut tokenizer);
        with_bytes(1, tokenizer.to_string())
    };
    let kinds: [(&str, Change<Value>); 12] = [
        ("null", &|t| *t = Value::Null),
        ("an empty object", &|t| *t = json!({})),
        ("an array", &|t| *t = json!([])),
        ("no model", &|t| t["model"] = Value::Null),
        ("an unknown model", &|t| t["model"] = json!({"type": "Telepathy"})),
        ("an unknown normalizer", &|t| t["normalizer"] = json!({"type": "Upside-Down"})),
        ("a vocabulary of texts", &|t| t["model"]["vocab"] = json!({"a": "0"})),
        ("negative ids", &|t| t["model"]["vocab"]["a"] = json!(-1)),
        ("a post-processor without its tokens", &|t| {
            t["post_processor"] = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
                "pair": [], "special_tokens": {}});
        }),
        ("a special token beyond the vocabulary", &|t| t["post_processor"]["cls"] = json!(["[CLS]", base::VOCABULARY])),
        ("a special token of the highest id", &|t| t["post_processor"]["sep"] = json!(["[SEP]", u32::MAX])),
        ("a post-processor that repeats the text", &|t| {
            let text = json!({"Sequence": {"id": "A", "type_id": 0}});
            t["post_processor"] = json!({"type": "TemplateProcessing", "single": [text, text], "pair": [text, text], "special_tokens": {}});
        }),
    ];
    for (name, change) in kinds {
        cases.refused(format!("tokenizer: {name}"), changed(change), Code::Tokenizer).naming("tokenizer");
    }
}

fn graphs(cases: &mut Cases) {
    let graph = GraphSpec::default().encode();
    let whole = |graph: Vec<u8>| build(&sections_with_graph(graph)).bytes;
    for (name, content) in [
        ("text", b"This is not a graph.".to_vec()),
        ("ones", vec![0xFF; 256]),
        ("zip", b"PK\x03\x04\x14\0\0\0\x08\0".to_vec()),
        ("cut off by one byte", graph[..graph.len() - 1].to_vec()),
        ("cut in half", graph[..graph.len() / 2].to_vec()),
        ("a length without its bytes", vec![0x3A, 0x7F]),
        ("a length of 2^63", [&[0x3A][..], &[0xFF; 8], &[0x7F]].concat()),
        ("a number without end", vec![0x3A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]),
        ("an ORT file", [&b"\x18\0\0\0ORTM"[..], &[0; 100]].concat()),
    ] {
        cases.refused(format!("graph: {name}"), whole(content), Code::Malformed).naming("graph");
    }
    for (name, content) in
        [("no bytes", Vec::new()), ("no graph inside", [number(1, 9), bytes(8, number(2, 17))].concat())]
    {
        cases.refused(format!("graph: {name}"), whole(content), Code::Inference).naming("load the model");
    }

    let weights = base::weights().len();
    let at = |location: &str, offset: &str, length: &str| {
        let table = onnx::External { location: location.into(), offset: offset.into(), length: length.into() };
        with_graph(|spec| spec.table = table.clone())
    };
    for place in [
        "/etc/passwd",
        "../model.onnx.data",
        "./model.onnx.data",
        "model.onnx.data\0",
        "MODEL.ONNX.DATA",
        "",
        "*/_ORT_MEM_ADDR_/*",
        "file:///etc/passwd",
    ] {
        cases.refused(format!("graph: data in {place:?}"), at(place, "0", "512"), Code::Malformed).naming("graph");
    }
    for (offset, length) in [
        (weights.to_string(), "512".into()),
        ("0".into(), (weights + 1).to_string()),
        ((weights - 511).to_string(), "512".into()),
        ("18446744073709551615".into(), "512".into()),
        ("18446744073709551104".into(), "512".into()),
        ("-512".into(), "512".into()),
        ("0".into(), "-1".into()),
        ("0x0".into(), "512".into()),
        ("1e1".into(), "512".into()),
        ("zero".into(), "512".to_owned()),
    ] {
        cases
            .refused(
                format!("graph: data at {offset}, {length} bytes"),
                at("model.onnx.data", &offset, &length),
                Code::Malformed,
            )
            .naming("graph");
    }
    for (name, weights) in [("one byte short", base::weights()[..weights - 1].to_vec()), ("of one byte", vec![0])] {
        cases.refused(format!("weights {name}"), with_bytes(4, weights), Code::Malformed).naming("graph");
    }

    let nested = (0..200).fold(Vec::new(), |inner, _| bytes(1, bytes(5, bytes(6, inner))));
    let attention = |ends: &str| bytes(1, onnx::attention(ends));
    let inside = bytes(1, bytes(5, bytes(6, attention("elsewhere"))));
    let changes: [(&str, Code, &str, Change<GraphSpec>); 17] = [
        ("subgraphs nested too deeply", Code::Malformed, "graph", &|g| g.more = nested.clone()),
        ("places of keys from elsewhere", Code::Malformed, "position_ids", &|g| g.more = attention("elsewhere")),
        ("places of keys from an input", Code::Malformed, "position_ids", &|g| g.more = attention("input_ids")),
        ("places of keys in a subgraph", Code::Malformed, "position_ids", &|g| g.more = inside.clone()),
        ("an input of another name", Code::Malformed, "token_ids", &|g| g.ids_name = "token_ids"),
        ("an input of another type", Code::Malformed, "input_ids", &|g| g.ids_type = onnx::INT64_TYPE),
        ("an output of another name", Code::Malformed, "logits", &|g| g.output_name = "answers"),
        ("ids that are no integers", Code::Inference, "load the model", &|g| g.ids_type = onnx::FLOAT_TYPE),
        ("an unknown operator", Code::Inference, "load the model", &|g| g.last_operator = "Teleport"),
        ("an operator set of the future", Code::Inference, "load the model", &|g| g.opset = 9999),
        ("operator set 0", Code::Inference, "load the model", &|g| g.opset = 0),
        ("a negative operator set", Code::Inference, "load the model", &|g| g.opset = -1),
        ("a node that needs itself", Code::Inference, "load the model", &|g| g.last_input = "logits"),
        ("a node that needs what nobody makes", Code::Inference, "load the model", &|g| g.last_input = "nothing"),
        ("more rows than data", Code::Malformed, "`table`", &|g| g.table_rows = 33),
        ("rows beyond any memory", Code::Malformed, "`table`", &|g| g.table_rows = 1 << 60),
        ("a negative number of rows", Code::Malformed, "`table`", &|g| g.table_rows = -1),
    ];
    for (name, code, names, change) in changes {
        cases.refused(format!("graph: {name}"), with_graph(change), code).naming(names);
    }
    let mut wide = sections_with_graph(GraphSpec { columns: 3, head_columns: 3, ..GraphSpec::default() }.encode());
    wide[4].bytes.extend([0; 16]);
    cases.refused("three columns for two labels", build(&wide).bytes, Code::Malformed).naming("3 columns for 2 labels");
    let mut three = sections();
    three[2].bytes = json!(["a", "b", "c"]).to_string().into_bytes();
    cases
        .refused("three labels for two columns", build(&three).bytes, Code::Malformed)
        .naming("2 columns for 3 labels");

    // Bytes 4 to 8 of an ORT file are "ORTM"; here they are part of a text in a right ONNX file.
    let disguised = with_graph(|spec| spec.producer = format!("xxORTM{}", "y".repeat(40)));
    cases.opens("graph: right ONNX that looks like an ORT file", disguised);
}

fn open(case: &Case, path: &std::path::Path) -> [(&'static str, std::thread::Result<limbeck::Result<Model>>); 2] {
    let builder = Model::builder().runtime_path(cache::onnxruntime());
    let (from_file, from_memory) = (builder.clone(), builder);
    [
        ("file", std::panic::catch_unwind(move || from_file.open(path))),
        ("memory", std::panic::catch_unwind(move || from_memory.open_bytes(case.bytes.clone()))),
    ]
}

#[test]
fn bundles_that_cannot_run_are_refused_when_opened() {
    let mut cases = Cases::default();
    cases.opens("the base bundle", build(&sections()).bytes);
    manifests(&mut cases);
    tokenizers(&mut cases);
    graphs(&mut cases);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut wrong = Vec::new();
    for (index, case) in cases.0.iter().enumerate() {
        // A file of its own each: a model maps its file as long as it lives.
        let path = folder.path().join(format!("{index}.limbeck"));
        std::fs::write(&path, &case.bytes).expect("the temporary folder can be written");
        for (source, result) in open(case, &path) {
            // Errors of the engines name the engine's part, not the file.
            let of_an_engine = matches!(case.outcome, Outcome::Refused(Code::Tokenizer | Code::Inference));
            let file = match source {
                _ if of_an_engine => String::new(),
                "file" => path.display().to_string(),
                _ => "<memory>".to_owned(),
            };
            if let Ok(Ok(model)) = &result {
                let answer = model.classify("a b c");
                assert!(answer.is_ok(), "{}: it opened and cannot run: {answer:?}", case.name);
            }
            let complaint = crate::complaint(case, &file, result);
            wrong.extend(complaint.map(|text| format!("{} ({source}): {text}", case.name)));
        }
    }
    println!("{} models", cases.0.len());
    assert!(wrong.is_empty(), "{} wrong outcomes:\n{}", wrong.len(), wrong.join("\n"));
}

/// With every hash right, each bit of the graph turned over: whatever ONNX Runtime makes of it, the process
/// goes on, and what opens can be asked.
#[test]
fn no_flipped_bit_of_a_graph_ends_the_process() {
    let graph = GraphSpec::default().encode();
    let (mut opened, mut refused) = (0, 0);
    for at in 0..graph.len() {
        let mut flipped = graph.clone();
        flipped[at] ^= 1 << (at % 8);
        let bytes = build(&sections_with_graph(flipped)).bytes;
        match Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bytes) {
            Ok(model) => {
                opened += 1;
                if let Err(error) = model.classify("a b c") {
                    assert!(!error.to_string().is_empty());
                }
            }
            Err(error) => {
                refused += 1;
                let code = error.code();
                assert!(matches!(code, Code::Malformed | Code::Incompatible | Code::Inference), "byte {at}: {error}");
            }
        }
    }
    println!("{opened} graphs opened, {refused} were refused");
    assert!(opened > 0 && refused > opened, "{opened} opened, {refused} refused");
}

/// Weights are hashed beside all else that opening does: whatever else is wrong, their damage is what is told, and no
/// model is given away.
#[test]
fn damaged_weights_are_told_before_anything_else() {
    let good = base::sections();
    let weights = good.iter().position(|section| section.kind == "weights").expect("weights");
    let mut no_tokenizer = base::sections();
    no_tokenizer[1].bytes = b"{}".to_vec();
    for (sections, otherwise) in [(good, None), (no_tokenizer, Some(Code::Tokenizer))] {
        let built = build(&sections);
        let code = |bytes: Vec<u8>| {
            let opened = Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bytes);
            opened.err().map(|error| (error.code(), error.to_string()))
        };
        assert_eq!(code(built.bytes.clone()).map(|(code, _)| code), otherwise);
        let place = built.places[weights].0;
        for at in [0, sections[weights].bytes.len() / 2, sections[weights].bytes.len() - 1] {
            let mut damaged = built.bytes.clone();
            damaged[place + at] ^= 1;
            let (code, message) = code(damaged).expect("refused");
            assert_eq!(code, Code::Corrupt, "{message}");
            assert!(message.contains("model.onnx.data"), "{message}");
        }
    }
}

/// Ids beyond the model's table, from a tokenizer whose vocabulary is larger than it should be.
#[test]
fn ids_beyond_the_table_never_reach_the_graph() {
    let mut tokenizer = base::tokenizer();
    tokenizer["model"]["vocab"]["q"] = json!(base::VOCABULARY);
    let bytes = with_bytes(1, tokenizer.to_string());
    let model = match Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bytes) {
        Ok(model) => model,
        Err(error) => return assert_eq!(error.code(), Code::Tokenizer, "{error}"),
    };
    assert!(model.classify("a").is_ok());
    let error = model.classify("a q").expect_err("the id is beyond the table");
    assert_eq!(error.code(), Code::Tokenizer, "{error}");
}

/// Every place in a JSON value, as pointers.
fn pointers(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                pointers(inner, format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(list) => {
            for (index, inner) in list.iter().enumerate() {
                pointers(inner, format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(at);
}

/// Each value of a tokenizer replaced or removed: it opens and answers or it is refused, without a panic.
#[test]
fn no_changed_value_of_a_tokenizer_panics() {
    let mut templates = base::tokenizer();
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    templates["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [special("[CLS]"), text("A", 0), special("[SEP]")],
        "pair": [special("[CLS]"), text("A", 0), special("[SEP]"), text("B", 1), special("[SEP]")],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                           "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}}});
    let values = [json!(null), json!(-1), json!(0), json!(u64::MAX), json!(""), json!("[X]"), json!([]), json!({})];
    let (mut tried, mut wrong) = (0, Vec::new());
    for tokenizer in [base::tokenizer(), templates] {
        let mut places = Vec::new();
        pointers(&tokenizer, String::new(), &mut places);
        // All letters of the vocabulary are alike.
        places.retain(|place| !place.starts_with("/model/vocab/") || place.ends_with('a') || place.ends_with(']'));
        for place in places {
            for value in values.iter().map(Some).chain([None]) {
                let mut changed = tokenizer.clone();
                match (value, place.rsplit_once('/')) {
                    (Some(value), _) => drop(changed.pointer_mut(&place).map(|old| *old = value.clone())),
                    (None, Some((parent, key))) => match changed.pointer_mut(parent) {
                        Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/"))),
                        Some(Value::Array(list)) => drop(key.parse().map(|index: usize| list.remove(index))),
                        _ => {}
                    },
                    (None, None) => {}
                }
                tried += 1;
                let bytes = with_bytes(1, changed.to_string());
                let outcome = std::panic::catch_unwind(|| {
                    let model = Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bytes)?;
                    ["", "a b c", "caf\u{e9} \u{1f642}"].into_iter().try_for_each(|text| model.classify(text).map(drop))
                });
                match outcome {
                    Ok(Ok(())) => {}
                    // The last is for a tokenizer that makes no token of an empty text.
                    Ok(Err(error))
                        if matches!(error.code(), Code::Tokenizer | Code::Malformed | Code::InvalidArgument) => {}
                    Ok(Err(error)) => wrong.push(format!("{place} = {value:?}: {:?} {error}", error.code())),
                    Err(_) => wrong.push(format!("{place} = {value:?}: it panicked")),
                }
            }
        }
    }
    println!("{tried} tokenizers");
    assert!(wrong.is_empty(), "{} of {tried} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
