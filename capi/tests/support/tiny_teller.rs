//! A model for generation whose next token depends on the last one, and on the mood of all before it: each ` good` lifts
//! it by 1, each ` bad` lowers it, and so the cache of values is needed for every answer.

use limbeck_sdk::BundleWriter;
use limbeck_sdk::bundle::{SelfTest, SelfTestVector};

use super::{END, FLOAT, INT64, Nodes, bytes, bytes_tokenizer, causal, graph, int, ints, node, text};

/// The most tokens of prompt and what is written.
const CONTEXT: usize = 32;
/// What is one token beside the bytes: the first half of an emoji, and two words; and the tokens that they grow from.
const WORDS: [&[u8]; 3] = [b"\xF0\x9F", b" good", b" bad"];
const HALF: usize = END + 1;
const GOOD: usize = HALF + 4;
const BAD: usize = GOOD + 3;
const VOCABULARY: usize = BAD + 1;

/// A token that follows, with its probability.
type Next = (usize, f64);

/// Tokens, and what follows them with which probability; all else follows one time in a milliard, but for the mood.
/// After tokens that are not here comes what the last line says.
const FOLLOWING: [(&[usize], &[Next]); KINDS] = [
    (&[END], &[(b'a' as usize, 0.6), (b'b' as usize, 0.4)]),
    (&[b'a' as usize], &[(b'b' as usize, 0.6), (b':' as usize, 0.4)]),
    (&[b'b' as usize], &[(HALF, 0.7), (b':' as usize, 0.3)]),
    (&[HALF], &[(0x99, 0.75), (0x98, 0.25)]),
    (&[0x99], &[(0x82, 1.0)]),
    (&[0x98], &[(0x80, 1.0)]),
    (&[0x82, 0x80], &[(b'.' as usize, 0.8), (b'!' as usize, 0.2)]),
    (&[b'.' as usize], &[(b'a' as usize, 0.5), (END, 0.3), (b'\n' as usize, 0.2)]),
    (&[b':' as usize], &[(GOOD, 0.5), (BAD, 0.25), (HALF, 0.25)]),
    (&[GOOD, BAD], &[(b'.' as usize, 0.6), (b'\n' as usize, 0.4)]),
    (&[b'\n' as usize], &[(END, 0.75), (b'a' as usize, 0.25)]),
    (&[b'c' as usize], &[(0xC3, 1.0)]),
    (&[0xC3], &[(0xA9, 1.0)]),
    (&[0xA9], &[(END, 0.9), (b'.' as usize, 0.1)]),
    (&[], &[(b':' as usize, 0.75), (b'.' as usize, 0.25)]),
];
const KINDS: usize = 15;
/// Kinds of tokens, and the mood.
const COLUMNS: usize = KINDS + 1;

/// The model, with a self-test.
pub(super) fn teller() -> BundleWriter {
    let mut manifest = causal("teller", VOCABULARY);
    manifest.max_tokens = CONTEXT;
    (manifest.architecture.hidden_size, manifest.architecture.parameters) =
        (COLUMNS, (2 * COLUMNS * VOCABULARY) as u64);

    let weights = little_endian((0..VOCABULARY).flat_map(hidden));
    let nodes = nodes();
    manifest.operators = nodes.operators.iter().map(|operator| format!("ai.onnx:{operator}")).collect();
    let graph = graph(&manifest, COLUMNS, weights.len(), &nodes.bytes);
    let ids = [usize::from(b':'), BAD];
    let vector = SelfTestVector {
        texts: vec![": bad".to_owned()],
        ids: ids.map(|id| id as u32).to_vec(),
        outputs: vec![SelfTest::sample(&logits(&ids))],
    };
    let self_test = SelfTest { tolerance: 1e-3, vectors: vec![vector] };
    BundleWriter::new(manifest).model(bytes_tokenizer(&WORDS), graph, weights).self_test(&self_test)
}

/// What the model knows of a token: its kind, and by how much it moves the mood.
fn hidden(id: usize) -> [f32; COLUMNS] {
    let mut row = [0.0; COLUMNS];
    let kind = FOLLOWING.iter().position(|(tokens, _)| tokens.contains(&id)).unwrap_or(KINDS - 1);
    row[kind] = 1.0;
    row[KINDS] = match id {
        GOOD => 1.0,
        BAD => -1.0,
        _ => 0.0,
    };
    row
}

/// The logits that each column of [`hidden`] stands for, `[COLUMNS, VOCABULARY]`: natural logs of probabilities, and
/// what one of mood adds.
fn following() -> Vec<f32> {
    // Rounded from more digits, to the same on every machine.
    let log = |probability: f64| probability.ln() as f32;
    let mut rows = vec![log(1e-9); COLUMNS * VOCABULARY];
    for ((_, next), row) in FOLLOWING.iter().zip(rows.chunks_exact_mut(VOCABULARY)) {
        next.iter().for_each(|&(id, probability)| row[id] = log(probability));
    }
    let mood = &mut rows[KINDS * VOCABULARY..];
    mood.fill(0.0);
    (mood[GOOD], mood[BAD]) = (1.0, -1.0);
    rows
}

/// What the graph computes: the logits after each of some tokens.
fn logits(ids: &[usize]) -> Vec<f32> {
    let (following, mut mood) = (following(), 0.0);
    let after = |&id: &usize| {
        let mut hidden = hidden(id);
        mood += hidden[KINDS];
        hidden[KINDS] = mood;
        (0..VOCABULARY)
            .map(|next| hidden.iter().enumerate().map(|(i, value)| value * following[i * VOCABULARY + next]).sum())
            .collect::<Vec<f32>>()
    };
    ids.iter().flat_map(after).collect()
}

/// output0 = (kinds of the rows from `logits_from` on, the sum of all moods so far) x following. Values are the moods of
/// tokens, keys their ids.
fn nodes() -> Nodes {
    let number = |name: &str, value: u64| bytes(5, &[text(1, name), int(3, value), int(20, 2)].concat());
    let to = number("to", FLOAT);
    let axis = number("axis", 2);
    let constant = |name: &str, dims: &[u64], value: i64| {
        bytes(5, &[ints(1, dims), int(2, INT64), text(8, name), bytes(9, &value.to_le_bytes())].concat())
    };
    let size = [COLUMNS as u64, VOCABULARY as u64];
    let following = little_endian(following());
    let parts = [
        bytes(5, &[ints(1, &size), int(2, FLOAT), text(8, "following"), bytes(9, &following)].concat()),
        constant("start", &[1], 0),
        constant("third", &[1], 2),
        constant("two", &[], 2),
        constant("kinds", &[1], KINDS as i64),
        bytes(1, &node("Cast", &["input_ids"], "ids", &to)),
        bytes(1, &node("Unsqueeze", &["ids", "outer"], "new_key", &[])),
        bytes(1, &node("Concat", &["past_key.0", "new_key"], "present_key.0", &axis)),
        bytes(1, &node("Slice", &["rows", "kinds", "large", "third"], "new_moods", &[])),
        bytes(1, &node("Unsqueeze", &["new_moods", "second"], "new_value", &[])),
        bytes(1, &node("Concat", &["past_value.0", "new_value"], "present_value.0", &axis)),
        bytes(1, &node("Cast", &["attention_mask"], "mask", &to)),
        bytes(1, &node("Unsqueeze", &["mask", "outer"], "seen", &[])),
        bytes(1, &node("Mul", &["present_value.0", "seen"], "heard", &[])),
        bytes(1, &node("CumSum", &["heard", "two"], "moods", &[])),
        bytes(1, &node("Shape", &["past_value.0"], "past", &[number("start", 2), number("end", 3)].concat())),
        bytes(1, &node("Add", &["past", "logits_from"], "from", &[])),
        bytes(1, &node("Slice", &["moods", "from", "large", "third"], "late_moods", &[])),
        bytes(1, &node("Squeeze", &["late_moods", "second"], "mood", &[])),
        bytes(1, &node("Slice", &["rows", "logits_from", "large", "second"], "late_rows", &[])),
        bytes(1, &node("Slice", &["late_rows", "start", "kinds", "third"], "kind", &[])),
        bytes(1, &node("Concat", &["kind", "mood"], "hidden", &axis)),
        bytes(1, &node("MatMul", &["hidden", "following"], "output0", &[])),
    ];
    let operators =
        vec!["Add", "Cast", "Concat", "CumSum", "Gather", "MatMul", "Mul", "Shape", "Slice", "Squeeze", "Unsqueeze"];
    Nodes { bytes: parts.concat(), operators }
}

fn little_endian(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}
