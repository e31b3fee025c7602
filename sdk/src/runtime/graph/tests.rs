//! Graphs put together by hand, good and bad.

use proptest::prelude::*;

use super::*;

fn field(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128 * 128, "two bytes of length are enough here");
    let key = u64::from(number) << 3 | 2;
    let mut bytes = Vec::new();
    for mut value in [key, content.len() as u64] {
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A float tensor of 2 x 50 elements: 400 bytes.
fn tensor(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = vec![1 << 3, 2, 1 << 3, 50, 2 << 3, 1];
    bytes.extend(field(8, b"w"));
    for (key, value) in entries {
        bytes.extend(field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat()));
    }
    bytes
}

fn in_initializer(tensor: &[u8]) -> Vec<u8> {
    field(7, &field(5, tensor))
}

fn find(graph: &[u8]) -> Result<Vec<ExternalTensor>, BundleError> {
    read(graph, "model.onnx.data", 1000).map(|graph| graph.tensors)
}

fn message(graph: &[u8]) -> String {
    find(graph).unwrap_err().to_string()
}

#[test]
fn data_inside_the_weights_are_found() {
    let w = |range| ExternalTensor {
        name: "w".into(),
        element: 1,
        shape: vec![2, 50],
        range,
        folded: false,
        multiplied: false,
    };
    let exact = tensor(&[("location", "model.onnx.data"), ("offset", "600"), ("length", "400"), ("checksum", "x")]);
    assert_eq!(find(&in_initializer(&exact)), Ok(vec![w(600..1000)]));
    let short = tensor(&[("location", "model.onnx.data")]);
    assert_eq!(find(&in_initializer(&short)), Ok(vec![w(0..400)]));
    assert_eq!(find(&in_initializer(&tensor(&[]))), Ok(vec![]));
    // The dimensions as one packed list.
    let packed = [field(1, &[2, 50]), short[4..].to_vec()].concat();
    assert_eq!(find(&in_initializer(&packed)), Ok(vec![w(0..400)]));
}

#[test]
fn other_places_are_refused() {
    for place in ["/etc/passwd", "../model.onnx.data", "*/_ORT_MEM_ADDR_/*", ""] {
        let text = message(&in_initializer(&tensor(&[("location", place), ("length", "400")])));
        assert!(text.contains("only `model.onnx.data` is allowed"), "{text}");
    }
    assert!(message(&in_initializer(&tensor(&[("length", "400")]))).contains("`no place`"));
    let only_says_so = [tensor(&[]), vec![14 << 3, 1]].concat();
    assert!(message(&in_initializer(&only_says_so)).contains("`no place`"));
}

#[test]
fn tensors_are_found_wherever_they_hide() {
    let node = |attribute: &[u8]| field(1, &field(5, attribute));
    let hide = |tensor: &[u8]| {
        [
            field(7, &node(&field(5, tensor))),
            field(7, &node(&field(10, tensor))),
            field(7, &node(&field(6, &field(5, tensor)))),
            field(7, &node(&field(11, &node(&field(5, tensor))))),
            field(7, &field(15, &field(1, tensor))),
            field(7, &node(&field(22, &field(2, tensor)))),
            field(25, &field(7, &field(5, &field(5, tensor)))),
            field(20, &field(2, &field(5, tensor))),
        ]
    };
    let bad = tensor(&[("location", "/etc/passwd")]);
    for graph in hide(&bad) {
        assert!(message(&graph).contains("/etc/passwd"));
    }
    assert!(message(&[field(7, b""), in_initializer(&bad)].concat()).contains("/etc/passwd"));
    for graph in hide(&tensor(&[("location", "model.onnx.data")])) {
        assert!(message(&graph).contains("only the initializers"));
    }
}

#[test]
fn ranges_outside_of_the_weights_are_refused() {
    for (offset, length, why) in [
        ("604", "400", "lie outside"),
        ("18446744073709551612", "400", "lie outside"),
        ("0", "399", "its shape needs 400"),
        ("2", "400", "not aligned"),
        ("18446744073709551616", "400", "no number"),
        ("-1", "400", "no number"),
        ("+1", "400", "no number"),
        ("x", "400", "no number"),
    ] {
        let entries = [("location", "model.onnx.data"), ("offset", offset), ("length", length)];
        let text = message(&in_initializer(&tensor(&entries)));
        assert!(text.contains(why), "{offset} {length}: {text}");
    }
    let twice = tensor(&[("location", "model.onnx.data"), ("offset", "0"), ("offset", "8")]);
    assert!(message(&in_initializer(&twice)).contains("twice"));
    let huge =
        [vec![1 << 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], tensor(&[("location", "model.onnx.data")])];
    assert!(message(&in_initializer(&huge.concat())).contains("makes no sense"));
    let negative = [vec![1 << 3], vec![0xff; 9], vec![1], tensor(&[("location", "model.onnx.data")])];
    assert!(message(&in_initializer(&negative.concat())).contains("makes no sense"));
    let text = [tensor(&[("location", "model.onnx.data")]), vec![2 << 3, 8]].concat();
    assert!(message(&in_initializer(&text)).contains("element type 8"));
}

#[test]
fn references_are_made_to_point_nowhere() {
    let graph = in_initializer(&tensor(&[("location", "model.onnx.data"), ("offset", "0")]));
    let (one, two) = (read(&graph, "model.onnx.data", 1000).unwrap(), read(&graph, "model.onnx.data", 1000).unwrap());
    assert_eq!(one.bytes.len(), graph.len());
    assert!(!String::from_utf8_lossy(&one.bytes).contains("model.onnx.data"));
    assert_ne!(one.bytes, two.bytes, "the name cannot be guessed");
    // All else is as it was.
    let changed = one.bytes.iter().zip(&graph).filter(|(a, b)| a != b).count();
    assert!((10..=15).contains(&changed), "{changed}");
}

#[test]
fn constants_that_are_folded_are_told_apart() {
    let named = |name: &str| {
        let tensor = tensor(&[("location", "model.onnx.data")]);
        [&tensor[..], &field(8, name.as_bytes())].concat()
    };
    let node = |inputs: &[&str], output: &str| {
        let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
        field(1, &[inputs, field(2, output.as_bytes())].concat())
    };
    // a -> c; c and b -> d, all constant; e meets the input x.
    let graph = [
        node(&["a", ""], "c"),
        node(&["c", "b"], "d"),
        node(&["x", "e", "d"], "y"),
        field(5, &named("a")),
        field(5, &named("b")),
        field(5, &named("e")),
    ];
    let found = find(&field(7, &graph.concat())).unwrap();
    let folded: Vec<_> = found.iter().map(|tensor| (tensor.name.as_str(), tensor.folded)).collect();
    assert_eq!(folded, [("a", true), ("b", true), ("e", false)]);
}

/// A number of any size as a field.
fn value(number: u8, mut value: u64) -> Vec<u8> {
    let mut bytes = vec![number << 3];
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A node; its name may begin with a domain and `:`.
fn node(operator: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, i64)]) -> Vec<u8> {
    let (domain, operator) = operator.split_once(':').unwrap_or(("", operator));
    let mut bytes: Vec<u8> = inputs.iter().flat_map(|input| field(1, input.as_bytes())).collect();
    bytes.extend(outputs.iter().flat_map(|output| field(2, output.as_bytes())));
    bytes.extend([field(4, operator.as_bytes()), field(7, domain.as_bytes())].concat());
    for (name, number) in attributes {
        bytes.extend(field(5, &[field(1, name.as_bytes()), value(3, *number as u64)].concat()));
    }
    field(1, &bytes)
}

/// A whole number, or zeros of a shape.
fn constant(name: &str, shape: &[u64], number: i64) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&dim| value(1, dim)).collect();
    field(5, &[dims, value(2, 7), field(8, name.as_bytes()), field(9, &number.to_le_bytes())].concat())
}

const QUERIES: &str = "com.microsoft:GroupQueryAttention";

/// The parts of a graph that keeps keys and values as limbeck writes it.
struct Keeping {
    inputs: Vec<&'static str>,
    constants: Vec<Vec<u8>>,
    /// Up to the product.
    before: Vec<Vec<u8>>,
    places: Vec<Vec<u8>>,
    attention: [Vec<&'static str>; 2],
    after: Vec<u8>,
}

impl Keeping {
    fn new() -> Self {
        let matrix = |name| constant(name, &[4, 4], 0);
        Self {
            inputs: vec!["input_ids", "position_ids", "past_key.0", "past_value.0"],
            constants: vec![
                matrix("words"),
                matrix("places"),
                matrix("weight"),
                constant("bias", &[12], 0),
                constant("last", &[], -1),
                constant("one", &[], 1),
            ],
            before: vec![
                node("Gather", &["words", "input_ids"], &["word"], &[]),
                node("Gather", &["places", "position_ids"], &["place"], &[("axis", 0)]),
                node("Add", &["word", "place"], &["sum"], &[]),
                node("LayerNormalization", &["sum", "bias"], &["norm"], &[("axis", -1)]),
                node("Transpose", &["weight"], &["turned"], &[]),
                node("MatMul", &["norm", "turned"], &["raw"], &[]),
                node("Add", &["bias", "raw"], &["product"], &[]),
            ],
            places: vec![
                node("Gather", &["position_ids", "last"], &["ends"], &[("axis", 1)]),
                node("ReduceMax", &["ends"], &["highest"], &[("keepdims", 0)]),
                node("Add", &["highest", "one"], &["total"], &[]),
            ],
            attention: [
                vec!["product", "", "", "past_key.0", "past_value.0", "ends", "total"],
                vec!["context", "present_key.0", "present_value.0"],
            ],
            after: Vec::new(),
        }
    }

    fn graph(&self) -> Vec<u8> {
        let mut graph: Vec<u8> = self.inputs.iter().flat_map(|name| field(11, &field(1, name.as_bytes()))).collect();
        graph.extend(self.constants.concat());
        graph.extend([self.before.concat(), self.places.concat()].concat());
        graph.extend(node(QUERIES, &self.attention[0], &self.attention[1], &[("num_heads", 2)]));
        graph.extend(&self.after);
        field(7, &graph)
    }
}

#[test]
fn keys_and_values_are_written_where_the_sdk_has_room() {
    let good = Keeping::new();
    assert_eq!(find(&good.graph()), Ok(vec![]));
    // The second layer's product is of what the first one gives.
    let mut two = Keeping::new();
    two.inputs.extend(["past_key.1", "past_value.1"]);
    let inputs = ["more", "", "", "past_key.1", "past_value.1", "ends", "total"];
    two.after = [
        node("MatMul", &["context", "weight"], &["more"], &[]),
        node(QUERIES, &inputs, &["second", "present_key.1", "present_value.1"], &[]),
    ]
    .concat();
    assert_eq!(find(&two.graph()), Ok(vec![]));

    // A table in blocks.
    let list = |name, numbers: &[i64]| {
        let raw: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        field(5, &[value(1, numbers.len() as u64), value(2, 7), field(8, name), field(9, &raw)].concat())
    };
    let in_blocks = |shape: &[i64], axis: i64| {
        let mut graph = Keeping::new();
        graph.constants.extend([constant("codes", &[4, 2, 2], 0), list(b"shape", shape), list(b"axis", &[axis])]);
        let gather = "com.microsoft:GatherBlockQuantized";
        graph.before[0] = node(gather, &["codes", "input_ids", "scales"], &["blocks"], &[("gather_axis", 0)]);
        graph.before.insert(1, node("Reshape", &["blocks", "shape"], &["filled"], &[]));
        graph.before.insert(2, node("Slice", &["filled", "one", "one", "axis"], &["word"], &[]));
        graph.graph()
    };
    assert_eq!(find(&in_blocks(&[0, 0, 4], 2)), Ok(vec![]));
    for bad in
        [in_blocks(&[0, 8, 4], 2), in_blocks(&[0, -1, 4], 2), in_blocks(&[0, 0, 4, 1], 2), in_blocks(&[0, 0, 4], 1)]
    {
        assert!(message(&bad).contains("a GroupQueryAttention does not"));
    }

    type Attack<'a> = (&'a str, &'a dyn Fn(&mut Keeping));
    let attacks: [Attack; 20] = [
        ("places that a node makes", &|g| {
            g.inputs.retain(|input| *input != "position_ids");
            g.before.insert(0, node("Split", &["words"], &["position_ids", "rest"], &[]));
        }),
        ("places that are no input", &|g| g.inputs.retain(|input| *input != "position_ids")),
        ("places that are an initializer too", &|g| g.constants.push(constant("position_ids", &[1, 1], 0))),
        ("a number that is made by a node of two outputs", &|g| {
            g.places.insert(0, node("Split", &["words"], &["one", "rest"], &[]));
        }),
        ("a number that is there in another form", &|g| g.after = field(15, &field(1, &field(8, b"one")))),
        ("another number", &|g| g.constants.push(constant("one", &[], 2))),
        ("more tokens than the run has", &|g| {
            g.before.push(node("Concat", &["product"; 4], &["long"], &[("axis", 1)]));
            g.attention[0][0] = "long";
        }),
        ("an axis that is named twice", &|g| {
            g.before.push(node("Concat", &["product"; 4], &["long"], &[("axis", 2), ("axis", 1)]));
            g.attention[0][0] = "long";
        }),
        ("more tokens by a sum", &|g| {
            g.constants.push(constant("wide", &[4, 1], 0));
            g.before.push(node("Add", &["product", "wide"], &["long"], &[]));
            g.attention[0][0] = "long";
        }),
        ("more texts by a product", &|g| {
            g.constants.push(constant("many", &[4, 4, 4], 0));
            g.before.push(node("MatMul", &["product", "many"], &["long"], &[]));
            g.attention[0][0] = "long";
        }),
        ("rows for other numbers", &|g| g.before[0] = node("Gather", &["words", "last"], &["word"], &[])),
        ("a product that comes later", &|g| {
            let last = g.before.pop().unwrap();
            g.after = last;
        }),
        ("keys by themselves", &|g| g.attention[0][1] = "product"),
        ("places of a rotation", &|g| g.attention[0].extend(["", "", "position_ids"])),
        ("too many inputs", &|g| g.attention[0].extend(["", "", "", "", "product"])),
        ("a past of its own", &|g| {
            g.constants.push(constant("small", &[1, 2, 1, 2], 0));
            g.attention[0][3] = "small";
        }),
        ("another layer's past", &|g| {
            g.inputs.extend(["past_key.1", "past_value.1"]);
            g.attention[0][3] = "past_key.1";
        }),
        ("a past that is no input", &|g| g.inputs.retain(|input| *input != "past_value.0")),
        ("a present of its own", &|g| g.attention[1][1] = "present"),
        ("no present", &|g| g.attention[1].truncate(1)),
    ];
    for (name, attack) in attacks {
        let mut graph = Keeping::new();
        attack(&mut graph);
        assert!(message(&graph.graph()).contains("a GroupQueryAttention does not"), "{name}");
    }
    let called = [good.graph(), field(25, b"")].concat();
    assert!(message(&called).contains("a GroupQueryAttention does not"), "with functions of its own");
}

#[test]
fn operators_that_no_bundle_needs_are_refused() {
    let own = format!("{DOMAIN}:Any");
    let of = |operator: &str, inputs: usize| field(7, &node(operator, &vec!["x"; inputs], &["y"], &[]));
    for (operator, inputs) in
        [("Softmax", 1), ("ai.onnx:Add", 2), ("com.microsoft:MultiHeadAttention", 8), (own.as_str(), 1)]
    {
        assert_eq!(find(&of(operator, inputs)), Ok(vec![]), "{operator}");
    }
    for (operator, inputs) in [
        ("com.microsoft:SparseAttention", 9),
        ("com.microsoft:DecoderMaskedMultiHeadAttention", 9),
        ("com.microsoft:MultiHeadAttention", 9),
        ("com.microsoft.nchwc:Conv", 2),
        ("com.ms.internal.nhwc:Conv", 2),
    ] {
        let text = message(&of(operator, inputs));
        assert!(text.contains("is none that a bundle may have"), "{text}");
        // Wherever it stands.
        let inner = node(operator, &vec!["x"; inputs], &["y"], &[]);
        assert!(message(&field(7, &field(1, &field(5, &field(6, &inner))))).contains("none that a bundle may have"));
        assert!(message(&field(25, &field(7, &inner[2..]))).contains("none that a bundle may have"));
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut graph = field(5, &tensor(&[]));
    for _ in 0..MAX_DEPTH {
        graph = field(1, &field(5, &field(6, &graph)));
    }
    assert!(message(&field(7, &graph)).contains("too deeply"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = find(&bytes);
        for tensor in find(&in_initializer(&bytes)).unwrap_or_default() {
            prop_assert!(tensor.range.end <= 1000);
        }
    }
}
