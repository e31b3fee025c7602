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
