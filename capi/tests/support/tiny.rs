//! Bundles of a few kilobytes, one a task, with a real tokenizer and a real graph,
//! whose answers can be worked out by hand: each word has a row of a table, and that
//! is all that a token says. Models of whole texts give the mean of the rows.

#[path = "tiny_teller.rs"]
mod teller;

use std::path::Path;

use limbeck_sdk::bundle::{
    Activation, Architecture, Batching, ElementType, EmbeddingSpec, EntailmentSpec, GenerationSpec, Manifest, Pooling,
    Requires, SelfTest, SelfTestVector, TagScheme, Task, TensorSpec, TokenizerSpec,
};
use limbeck_sdk::{BundleWriter, Calibration, SectionKind, SigningKey};
use serde_json::json;

/// The most tokens of one text, special tokens included.
const MAX_TOKENS: usize = 64;

const WORDS: [&str; 18] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "the", "film", ".", "🙂", "[MASK]", "who", "wrote", "it", "?",
    "ada", "lovelace", "london",
];

/// Writes a bundle for every task to a folder: `tiny.limbeck` (a classifier),
/// `aspects` (one whose labels do not exclude each other), `pairs`, `entities`,
/// `reader`, `embedder`, `masks`, `order`, `replaced`, `writer` and `teller`. Beside them a later build
/// of the classifier, `later`, one signed by [`signing_key`], `signed`, and one
/// whose self-test cannot pass, `failing`, and one whose weights and labels are
/// encrypted, each byte XOR 0x5a, `hidden`.
pub fn write_all(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let at = |name: &str| folder.join(format!("{name}.limbeck"));
    write(&at("tiny"));
    classifier(8, -8.0 / 3.0).write(at("later")).unwrap();
    classifier(8, 1.0).write(at("failing")).unwrap();
    classifier(7, -8.0 / 3.0).sign(&signing_key()).write(at("signed")).unwrap();

    let hide = |_: &str, _: &SectionKind, content: &[u8]| Ok(content.iter().map(|byte| byte ^ 0x5a).collect());
    let hidden = classifier(7, -8.0 / 3.0).encrypt([SectionKind::Weights, SectionKind::Labels], hide);
    hidden.write(at("hidden")).unwrap();

    let mut aspects = manifest("aspects", Task::TextClassification, &["batch", "labels"], 1);
    aspects.activation = Activation::Sigmoid;
    let rows = [("good", vec![6., 0., -3.]), ("film", vec![-1., 3., 0.]), ("bad", vec![6., -3., 3.])];
    let calibration = Calibration { thresholds: vec![0.5, 0.6, 0.25], ..Calibration::default() };
    let aspects = made(aspects, &rows, mean(), &["opinion", "film", "complaint"]).calibration(&calibration);
    aspects.write(at("aspects")).unwrap();

    let mut pairs = manifest("pairs", Task::PairClassification, &["batch", "labels"], 1);
    pairs.entailment = Some(EntailmentSpec { entailment: 1, contradiction: 0 });
    let labels = ["contradiction", "entailment"];
    made(pairs, &SENTIMENT.map(|(word, row)| (word, row.to_vec())), mean(), &labels).write(at("pairs")).unwrap();

    let mut entities = manifest("entities", Task::TokenClassification, &["batch", "length", "labels"], 1);
    entities.tagging = Some(TagScheme::Bio);
    let rows = [("ada", vec![0., 6., 0., 0.]), ("lovelace", vec![0., 0., 6., 0.]), ("london", vec![0., 0., 0., 6.])];
    let outside = vec![6., 0., 0., 0.];
    let labels = ["O", "B-PER", "I-PER", "B-LOC"];
    made_with(entities, &rows, &outside, each(), &labels).write(at("entities")).unwrap();

    let reader = manifest("reader", Task::QuestionAnswering, &["batch", "length"], 2);
    let rows = [("ada", vec![8., 0.]), ("lovelace", vec![0., 8.])];
    made(reader, &rows, start_and_end(), &[]).write(at("reader")).unwrap();

    let mut embedder = manifest("embedder", Task::SentenceEmbedding, &["batch", "hidden"], 1);
    embedder.embedding = Some(EmbeddingSpec { dimensions: 2, pooling: Pooling::Mean, normalize: true });
    made(embedder, &SENTIMENT.map(|(word, row)| (word, row.to_vec())), mean(), &[]).write(at("embedder")).unwrap();

    let mut masks = manifest("masks", Task::FillMask, &["batch", "length", "vocabulary"], 1);
    masks.tokenizer.mask_id = Some(id("[MASK]") as u32);
    let mut guesses = vec![0.; WORDS.len()];
    (guesses[id("good")], guesses[id("bad")]) = (5., 4.);
    made(masks, &[("[MASK]", guesses)], each(), &[]).write(at("masks")).unwrap();

    writer().write(at("writer")).unwrap();
    teller::teller().write(at("teller")).unwrap();
    write_order(&at("order"));
    write_replaced(&at("replaced"));
}

/// Questions come first and London last; for what they are, a pair as given looks a little more in order than not.
fn write_order(path: &Path) {
    let mut order = manifest("order", Task::Order, &["batch", "orders"], 1);
    let types = TensorSpec { name: "token_type_ids".to_owned(), ..order.inputs[0].clone() };
    order.inputs.push(types);
    let rows = [("[CLS]", vec![1., -1.]), ("who", vec![3., -3.]), ("london", vec![-3., 3.])];
    made(order, &rows, first_less_second(), &[]).write(path).unwrap();
}

/// What the tokenizer does not know was replaced, most likely; so was "bad", perhaps.
fn write_replaced(path: &Path) {
    let mut replaced = manifest("replaced", Task::Replaced, &["batch", "length"], 1);
    replaced.activation = Activation::Sigmoid;
    made_with(replaced, &[("[UNK]", vec![3.]), ("bad", vec![0.5])], &[-4.], column(), &[]).write(path).unwrap();
}

/// What the model for generation writes after each byte: it goes round in `ab🙂.`, and a line end ends a text.
const NEXT: &[u8] = "ab🙂.a".as_bytes();
/// The token that ends a text; the first 256 are the bytes.
const END: usize = 256;

/// The manifest of a model for generation of one layer, whose keys and values are one number each.
fn causal(id: &str, vocabulary: usize) -> Manifest {
    let mut manifest = manifest(id, Task::Generation, &["batch", "wanted", "vocabulary"], 1);
    let tensor = |name: &str, element, axes: &[&str]| TensorSpec {
        name: name.to_owned(),
        element,
        axes: axes.iter().map(|axis| (*axis).to_owned()).collect(),
    };
    let kept = |name| tensor(name, ElementType::Float32, &["batch", "heads", "room", "head_size"]);
    manifest.activation = Activation::None;
    manifest.generation = Some(GenerationSpec { head_size: 1, eos_ids: vec![END as u32], bos_id: Some(END as u32) });
    manifest.inputs[1].name = "position_ids".to_owned();
    manifest.inputs.push(tensor("logits_from", ElementType::Int64, &["one"]));
    manifest.inputs.extend([kept("past_key.0"), kept("past_value.0")]);
    manifest.outputs.extend([kept("present_key.0"), kept("present_value.0")]);
    manifest.architecture.vocab_size = vocabulary;
    manifest
}

/// A model for generation whose next token depends on the last one alone. Its context holds 64 tokens.
fn writer() -> BundleWriter {
    let vocabulary = END + 1;
    let mut manifest = causal("writer", vocabulary);
    let a = &mut manifest.architecture;
    (a.hidden_size, a.parameters) = (vocabulary, (vocabulary * vocabulary) as u64);

    let mut table = vec![0f32; vocabulary * vocabulary];
    for pair in NEXT.windows(2) {
        table[usize::from(pair[0]) * vocabulary + usize::from(pair[1])] = 5.0;
    }
    table[usize::from(b'\n') * vocabulary + END] = 5.0;
    // After the token that texts begin with.
    table[END * vocabulary + usize::from(b'a')] = 5.0;
    let weights: Vec<u8> = table.iter().flat_map(|value| value.to_le_bytes()).collect();
    let nodes = following();
    manifest.operators = nodes.operators.iter().map(|operator| format!("ai.onnx:{operator}")).collect();
    let graph = graph(&manifest, vocabulary, weights.len(), &nodes.bytes);
    BundleWriter::new(manifest).model(bytes_tokenizer(&[]), graph, weights)
}

/// A byte-level tokenizer: the bytes, the end of text, and these words, each with the words that it grows from byte by
/// byte.
fn bytes_tokenizer(words: &[&[u8]]) -> Vec<u8> {
    let printable = |byte: u32| matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let mut others = 0x100..;
    let character = |byte: u32| char::from_u32(if printable(byte) { byte } else { others.next().unwrap() }).unwrap();
    let characters: Vec<char> = (0..256).map(character).collect();
    let mut vocab: serde_json::Map<_, _> =
        characters.iter().enumerate().map(|(id, c)| (c.to_string(), json!(id))).collect();
    let end = "<|endoftext|>";
    vocab.insert(end.to_owned(), json!(END));
    let mut merges = Vec::new();
    for word in words {
        let mut bytes = word.iter().map(|&byte| characters[usize::from(byte)]);
        let mut grown: String = bytes.by_ref().take(1).collect();
        for c in bytes {
            merges.push(format!("{grown} {c}"));
            grown.push(c);
            vocab.insert(grown.clone(), json!(vocab.len()));
        }
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{"id": END, "content": end, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges}
    })
    .to_string()
    .into_bytes()
}

/// output0 = rows from `logits_from` on; a token follows from the one before it, so that keys and values stay what they are.
fn following() -> Nodes {
    let bytes = [
        bytes(1, &node("Slice", &["rows", "logits_from", "large", "second"], "output0", &[])),
        bytes(1, &node("Identity", &["past_key.0"], "present_key.0", &[])),
        bytes(1, &node("Identity", &["past_value.0"], "present_value.0", &[])),
    ]
    .concat();
    Nodes { bytes, operators: vec!["Gather", "Identity", "Slice"] }
}

/// Writes the classifier.
pub fn write(path: &Path) {
    classifier(7, -8.0 / 3.0).write(path).unwrap();
}

/// The key by which `signed.limbeck` is signed: the same in every run.
pub fn signing_key() -> SigningKey {
    SigningKey::from_text(&format!("limbeck signing key v1\n{}\n", "07".repeat(32))).unwrap()
}

/// Word and its logits for `negative` and `positive`; others have none.
const SENTIMENT: [(&str, [f32; 2]); 6] = [
    ("[PAD]", [100.0, -100.0]), // would be noticed in any answer
    ("good", [-8.0, 8.0]),
    ("bad", [8.0, -8.0]),
    ("the", [0.5, 0.0]),
    ("film", [0.0, 0.25]),
    ("🙂", [-4.0, 4.0]),
];

/// `negative` is what the self-test expects for "good".
fn classifier(build: u64, negative: f32) -> BundleWriter {
    let manifest = Manifest { build, ..manifest("tiny", Task::TextClassification, &["batch", "labels"], 1) };
    let rows = SENTIMENT.map(|(word, row)| (word, row.to_vec()));
    let vector = SelfTestVector {
        texts: vec!["good".to_owned()],
        ids: ["[CLS]", "good", "[SEP]"].map(|word| id(word) as u32).to_vec(),
        outputs: vec![vec![negative, 8.0 / 3.0]],
    };
    let self_test = SelfTest { tolerance: 1e-3, vectors: vec![vector] };
    made(manifest, &rows, mean(), &["negative", "positive"]).self_test(&self_test)
}

fn id(word: &str) -> usize {
    WORDS.iter().position(|known| *known == word).unwrap()
}

fn made(manifest: Manifest, rows: &[(&str, Vec<f32>)], nodes: Nodes, labels: &[&str]) -> BundleWriter {
    let others = vec![0.; rows[0].1.len()];
    made_with(manifest, rows, &others, nodes, labels)
}

/// A bundle whose table has these rows, and for all other words the row `others`.
fn made_with(
    mut manifest: Manifest,
    rows: &[(&str, Vec<f32>)],
    others: &[f32],
    nodes: Nodes,
    labels: &[&str],
) -> BundleWriter {
    let row = |word: &&str| rows.iter().find(|(known, _)| known == word).map_or(others, |(_, row)| row);
    let weights: Vec<u8> = WORDS.iter().flat_map(row).flat_map(|value| value.to_le_bytes()).collect();
    let columns = others.len();
    manifest.architecture.hidden_size = columns;
    manifest.architecture.parameters = (columns * WORDS.len()) as u64;
    manifest.operators = nodes.operators.iter().map(|operator| format!("ai.onnx:{operator}")).collect();
    let graph = graph(&manifest, columns, weights.len(), &nodes.bytes);
    let writer = BundleWriter::new(manifest).model(tokenizer(), graph, weights);
    let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
    if labels.is_empty() { writer } else { writer.labels(&labels) }
}

fn manifest(id: &str, task: Task, axes: &[&str], outputs: usize) -> Manifest {
    let tensor = |name: String, element, axes: &[&str]| TensorSpec {
        name,
        element,
        axes: axes.iter().map(|axis| (*axis).to_owned()).collect(),
    };
    let input = |name: &str| tensor(name.to_owned(), ElementType::Int32, &["batch", "length"]);
    Manifest {
        id: id.to_owned(),
        version: "0.1.0".to_owned(),
        build: 7,
        task,
        architecture: Architecture {
            family: "bag-of-words".to_owned(),
            layers: 1,
            hidden_size: 2,
            attention_heads: 1,
            intermediate_size: 2,
            vocab_size: WORDS.len(),
            parameters: 2 * WORDS.len() as u64,
        },
        languages: vec!["en".to_owned()],
        max_tokens: MAX_TOKENS,
        activation: Activation::Softmax,
        tagging: None,
        embedding: None,
        entailment: None,
        generation: None,
        inputs: vec![input("input_ids"), input("attention_mask")],
        outputs: (0..outputs).map(|i| tensor(format!("output{i}"), ElementType::Float32, axes)).collect(),
        batching: Batching::Padded,
        opset: [("ai.onnx".to_owned(), 17)].into(),
        operators: Vec::new(),
        requires: Requires { sdk: "0.1.0".to_owned(), onnxruntime_api: 24 },
        tokenizer: TokenizerSpec {
            library: "tokenizers".to_owned(),
            version: "0.22.2".to_owned(),
            pad_id: 0,
            mask_id: None,
        },
        provenance: None,
        quality: None,
        latency: None,
        quantization: None,
    }
}

fn tokenizer() -> Vec<u8> {
    let vocab: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, word)| ((*word).to_owned(), json!(id))).collect();
    let mask = json!({"id": id("[MASK]"), "content": "[MASK]", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true});
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [mask],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}
    })
    .to_string()
    .into_bytes()
}

/// The nodes of a graph over `rows`, the rows of the tokens, and the operators that they use.
struct Nodes {
    bytes: Vec<u8>,
    operators: Vec<&'static str>,
}

/// output0 = sum(rows * mask) / sum(mask), over the tokens.
fn mean() -> Nodes {
    let whole = |name: &str, value: u64| bytes(5, &[text(1, name), int(3, value), int(20, 2)].concat());
    let bytes = [
        bytes(1, &node("Cast", &["attention_mask"], "mask", &whole("to", FLOAT))),
        bytes(1, &node("Unsqueeze", &["mask", "last"], "column", &[])),
        bytes(1, &node("Mul", &["rows", "column"], "kept", &[])),
        bytes(1, &node("ReduceSum", &["kept", "second"], "sum", &whole("keepdims", 0))),
        bytes(1, &node("ReduceSum", &["mask", "second"], "count", &whole("keepdims", 1))),
        bytes(1, &node("Div", &["sum", "count"], "output0", &[])),
    ]
    .concat();
    Nodes { bytes, operators: vec!["Cast", "Div", "Gather", "Mul", "ReduceSum", "Unsqueeze"] }
}

/// output0 = rows; the product with the mask keeps that input in the graph.
fn each() -> Nodes {
    let to = bytes(5, &[text(1, "to"), int(3, FLOAT), int(20, 2)].concat());
    let bytes = [
        bytes(1, &node("Cast", &["attention_mask"], "mask", &to)),
        bytes(1, &node("Unsqueeze", &["mask", "last"], "column", &[])),
        bytes(1, &node("Mul", &["rows", "column"], "output0", &[])),
    ]
    .concat();
    Nodes { bytes, operators: vec!["Cast", "Gather", "Mul", "Unsqueeze"] }
}

/// output0 and output1 are the columns of the masked rows.
fn start_and_end() -> Nodes {
    let Nodes { bytes: mut masked, operators } = each();
    let axis = bytes(5, &[text(1, "axis"), int(3, 2), int(20, 2)].concat());
    let at = masked.windows(7).position(|window| window == b"output0").unwrap();
    masked[at..at + 7].copy_from_slice(b"maskedr");
    masked.extend(bytes(1, &node("Gather", &["maskedr", "zero"], "output0", &axis)));
    masked.extend(bytes(1, &node("Gather", &["maskedr", "one"], "output1", &axis)));
    Nodes { bytes: masked, operators }
}

/// output0 = (sum(rows of the first text) - sum(rows of the second)) / all tokens.
fn first_less_second() -> Nodes {
    let whole = |name: &str, value: u64| bytes(5, &[text(1, name), int(3, value), int(20, 2)].concat());
    let bytes = [
        bytes(1, &node("Cast", &["attention_mask"], "mask", &whole("to", FLOAT))),
        bytes(1, &node("Cast", &["token_type_ids"], "types", &whole("to", FLOAT))),
        bytes(1, &node("Sub", &["mask", "types"], "first", &[])),
        bytes(1, &node("Sub", &["first", "types"], "sign", &[])),
        bytes(1, &node("Unsqueeze", &["sign", "last"], "column", &[])),
        bytes(1, &node("Mul", &["rows", "column"], "signed", &[])),
        bytes(1, &node("ReduceSum", &["signed", "second"], "sum", &whole("keepdims", 0))),
        bytes(1, &node("ReduceSum", &["mask", "second"], "count", &whole("keepdims", 1))),
        bytes(1, &node("Div", &["sum", "count"], "output0", &[])),
    ]
    .concat();
    Nodes { bytes, operators: vec!["Cast", "Div", "Gather", "Mul", "ReduceSum", "Sub", "Unsqueeze"] }
}

/// output0 = the one column of the masked rows.
fn column() -> Nodes {
    let whole = |name: &str, value: u64| bytes(5, &[text(1, name), int(3, value), int(20, 2)].concat());
    let bytes = [
        bytes(1, &node("Cast", &["attention_mask"], "mask", &whole("to", FLOAT))),
        bytes(1, &node("Unsqueeze", &["mask", "last"], "column", &[])),
        bytes(1, &node("Mul", &["rows", "column"], "kept", &[])),
        bytes(1, &node("ReduceSum", &["kept", "last"], "output0", &whole("keepdims", 0))),
    ]
    .concat();
    Nodes { bytes, operators: vec!["Cast", "Gather", "Mul", "ReduceSum", "Unsqueeze"] }
}

const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;

/// rows = table[input_ids], and then the nodes.
fn graph(manifest: &Manifest, columns: usize, table_bytes: usize, nodes: &[u8]) -> Vec<u8> {
    let table = [
        ints(1, &[(table_bytes / 4 / columns) as u64, columns as u64]),
        int(2, FLOAT),
        text(8, "table"),
        bytes(13, &pair("location", "model.onnx.data")),
        bytes(13, &pair("offset", "0")),
        bytes(13, &pair("length", &table_bytes.to_string())),
        int(14, 1), // data lie outside of the graph
    ]
    .concat();
    let constant = |name: &str, dims: &[u64], value: i64| {
        bytes(5, &[ints(1, dims), int(2, INT64), text(8, name), bytes(9, &value.to_le_bytes())].concat())
    };
    let tensor = |field: u64, spec: &TensorSpec, element: u64| {
        let axes: Vec<u8> = spec.axes.iter().flat_map(|axis| bytes(1, &text(2, axis))).collect();
        bytes(field, &[text(1, &spec.name), bytes(2, &bytes(1, &[int(1, element), bytes(2, &axes)].concat()))].concat())
    };
    let mut graph = [bytes(1, &node("Gather", &["table", "input_ids"], "rows", &[])), nodes.to_vec()].concat();
    graph.extend([text(2, "tiny"), bytes(5, &table)].concat());
    for (name, dims, value) in
        [("last", &[1][..], -1), ("second", &[1], 1), ("zero", &[], 0), ("one", &[], 1), ("large", &[1], i64::MAX)]
    {
        graph.extend(constant(name, dims, value));
    }
    let outer: Vec<u8> = [1i64, 3].iter().flat_map(|axis| axis.to_le_bytes()).collect();
    graph.extend(bytes(5, &[ints(1, &[2]), int(2, INT64), text(8, "outer"), bytes(9, &outer)].concat()));
    graph.extend(manifest.inputs.iter().flat_map(|input| {
        let element = match input.element {
            ElementType::Float32 => FLOAT,
            ElementType::Int64 => INT64,
            _ => INT32,
        };
        tensor(11, input, element)
    }));
    graph.extend(manifest.outputs.iter().flat_map(|output| tensor(12, output, FLOAT)));
    [int(1, 8), bytes(7, &graph), bytes(8, &[text(1, ""), int(2, 17)].concat())].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|input| text(1, input)).collect();
    node.extend([text(2, output), text(4, operator), attributes.to_vec()].concat());
    node
}

fn pair(key: &str, value: &str) -> Vec<u8> {
    [text(1, key), text(2, value)].concat()
}

// Protocol buffers, as far as a small graph needs them.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn int(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn ints(field: u64, values: &[u64]) -> Vec<u8> {
    values.iter().flat_map(|value| int(field, *value)).collect()
}

fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.len() as u64), value.to_vec()].concat()
}

fn text(field: u64, value: &str) -> Vec<u8> {
    bytes(field, value.as_bytes())
}
