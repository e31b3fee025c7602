//! Graphs whose encoder layers or tables are not what they should be: an error that says so, and nothing else.

use limbeck::Code;
use limbeck_export::graph::WeightMode;
use limbeck_export::graph::proto::{Attribute, Model, Node, TensorProto};
use limbeck_tests::bundles::{Recipe, logits, open_changed};
use limbeck_tests::seeded;
use prost::Message;

const GRAPH: &str = "model.onnx";
const WEIGHTS: &str = "model.onnx.data";

/// A graph and its weights, to be spoilt.
struct Parts {
    model: Model,
    weights: Vec<u8>,
}

/// What is wrong, how it is made so, and what the error must say.
type Change = (&'static str, fn(&mut Parts), &'static str);

impl Parts {
    fn nodes(&mut self) -> &mut Vec<Node> {
        &mut self.model.graph.as_mut().unwrap().node
    }

    fn node(&mut self, operator: &str) -> &mut Node {
        self.nodes().iter_mut().find(|node| node.op_type.ends_with(operator)).unwrap()
    }

    /// The first layer.
    fn layer(&mut self) -> &mut Node {
        self.node("EncoderLayer")
    }

    /// The lookup of the table.
    fn rows(&mut self) -> &mut Node {
        self.node("TernaryRows")
    }

    fn constant(&mut self, name: &str) -> &mut TensorProto {
        self.model.graph.as_mut().unwrap().initializer.iter_mut().find(|constant| constant.name == name).unwrap()
    }

    /// A constant of the first layer, by the number of its input.
    fn of_layer(&mut self, input: usize) -> &mut TensorProto {
        let name = self.layer().input[input].clone();
        self.constant(&name)
    }

    fn of_rows(&mut self, input: usize) -> &mut TensorProto {
        let name = self.rows().input[input].clone();
        self.constant(&name)
    }

    /// Overwrites the first bytes of a constant.
    fn write(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let constant = self.constant(name);
        let offset = constant.external_data.iter().find(|entry| entry.key == "offset").map(|entry| entry.value.parse());
        match (offset, &mut constant.raw_data) {
            (Some(offset), _) => {
                let offset: usize = offset.unwrap();
                self.weights[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            (None, Some(raw)) => raw[..bytes.len()].copy_from_slice(bytes),
            (None, None) => panic!("`{name}` has no values"),
        }
    }

    fn write_to_layer(&mut self, input: usize, bytes: impl AsRef<[u8]>) {
        let name = self.layer().input[input].clone();
        self.write(&name, bytes);
    }

    fn write_to_rows(&mut self, input: usize, bytes: impl AsRef<[u8]>) {
        let name = self.rows().input[input].clone();
        self.write(&name, bytes);
    }

    fn attribute(&mut self, name: &str) -> &mut Attribute {
        self.layer().attribute.iter_mut().find(|attribute| attribute.name == name).unwrap()
    }

    fn without(&mut self, name: &str) {
        self.layer().attribute.retain(|attribute| attribute.name != name);
    }

    /// Gives the first layer's heads a width of their own.
    fn heads(&mut self, heads: i64, size: i64) {
        self.attribute("heads").i = heads;
        let size = Attribute { name: "head_size".to_owned(), i: size, r#type: 2, ..Attribute::default() };
        self.layer().attribute.push(size);
    }

    /// Puts a node between an input of the first node with that operator and what it was.
    fn between(&mut self, operator: &str, input: usize, made_of: fn(&str) -> (Node, Option<TensorProto>)) {
        let node = self.node(operator);
        let before = std::mem::replace(&mut node.input[input], "between".to_owned());
        let (node, constant) = made_of(&before);
        let at = self.nodes().iter().position(|node| node.op_type.ends_with(operator)).unwrap();
        self.nodes().insert(at, Node { name: "between".to_owned(), output: vec!["between".to_owned()], ..node });
        self.model.graph.as_mut().unwrap().initializer.extend(constant);
    }

    /// Adds a number to all ids.
    fn add_to_ids(&mut self, number: i32) {
        self.between("TernaryRows", 0, |ids| {
            let constant = TensorProto {
                name: "far".to_owned(),
                data_type: 6,
                raw_data: Some(0i32.to_le_bytes().to_vec()),
                ..TensorProto::default()
            };
            let input = vec![ids.to_owned(), "far".to_owned()];
            (Node { op_type: "Add".to_owned(), input, ..Node::default() }, Some(constant))
        });
        self.write("far", number.to_le_bytes());
    }
}

/// The same values twice, side by side along an axis.
fn doubled(before: &str, axis: i64) -> (Node, Option<TensorProto>) {
    let axis = Attribute { name: "axis".to_owned(), i: axis, r#type: 2, ..Attribute::default() };
    let input = vec![before.to_owned(), before.to_owned()];
    (Node { op_type: "Concat".to_owned(), input, attribute: vec![axis], ..Node::default() }, None)
}

/// A value times the first layer's hidden states.
fn times_hidden(before: &str) -> (Node, Option<TensorProto>) {
    let input = vec![before.to_owned(), "embeddings.normed".to_owned()];
    (Node { op_type: "Mul".to_owned(), input, ..Node::default() }, None)
}

/// A constant with another size on an axis, and as many values.
fn sized(constant: &mut TensorProto, axis: usize, size: i64) {
    let values = |dims: &[i64]| dims.iter().product::<i64>() as usize;
    let before = values(&constant.dims);
    constant.dims[axis] = size;
    let after = values(&constant.dims);
    for entry in constant.external_data.iter_mut().filter(|entry| entry.key == "length") {
        entry.value = (entry.value.parse::<usize>().unwrap() / before * after).to_string();
    }
    constant.raw_data.iter_mut().for_each(|raw| raw.truncate(raw.len() / before * after));
}

/// A constant without any value.
fn emptied(constant: &mut TensorProto, axis: usize) {
    sized(constant, axis, 0);
}

/// One without its last row.
fn shortened(constant: &mut TensorProto) {
    sized(constant, 0, constant.dims[0] - 1);
}

/// Of both operators.
const LAYERS: [Change; 41] = [
    ("heads that do not divide", |p| p.attribute("heads").i = 5, "5 heads in a hidden size of 32"),
    ("no heads", |p| p.attribute("heads").i = 0, "0 heads"),
    ("negative heads", |p| p.attribute("heads").i = -4, "no attribute heads, or one below 0"),
    ("more heads than can be counted", |p| p.attribute("heads").i = i64::MAX, "heads in a hidden size of 32"),
    ("heads missing", |p| p.without("heads"), "no attribute heads"),
    ("heads that are a text", |p| (p.attribute("heads").r#type, p.attribute("heads").s) = (3, b"4".to_vec()), "heads"),
    ("heads of a width that overflows", |p| p.heads(4, i64::MAX), "4 heads of"),
    ("heads whose product overflows", |p| p.heads(1 << 33, 1 << 33), "heads of"),
    ("heads of no width", |p| p.heads(4, 0), "4 heads of 0"),
    ("heads of a negative width", |p| p.heads(4, -8), "a head size of -8"),
    ("heads of another width", |p| p.heads(4, 16), "4 heads of 16"),
    ("an unknown activation", |p| p.attribute("activation").s = b"swish".to_vec(), "activation swish"),
    ("an activation that is no text", |p| p.attribute("activation").s = vec![0xFF, 0xFE], "activation"),
    ("activation missing", |p| p.without("activation"), "activation missing"),
    ("epsilon missing", |p| p.without("epsilon"), "no attribute epsilon"),
    ("an epsilon that is no number", |p| p.attribute("epsilon").f = f32::NAN, "an epsilon of NaN"),
    ("a negative epsilon", |p| p.attribute("epsilon").f = -1.0, "an epsilon of -1"),
    ("first_only missing", |p| p.without("first_only"), "first_only"),
    ("matrices swapped", |p| p.layer().input.swap(11, 15), "up: "),
    ("scales in place of sums", |p| p.layer().input[5] = p.layer().input[4].clone(), ""),
    ("a false sum", |p| p.write_to_layer(5, 1_000_000i32.to_le_bytes()), "query_key_value: sums with 1000000"),
    ("a sum that overflows", |p| p.write_to_layer(17, i32::MIN.to_le_bytes()), "down: sums with -2147483648"),
    ("fewer scales than columns", |p| p.layer().input.swap(4, 12), "query_key_value: 48 scales"),
    ("a scale that is no number", |p| p.write_to_layer(4, f32::NAN.to_le_bytes()), "query_key_value: scales with NaN"),
    ("an infinite scale", |p| p.write_to_layer(12, f32::INFINITY.to_le_bytes()), "up: scales with inf"),
    ("a bias that is no number", |p| p.write_to_layer(18, f32::NAN.to_le_bytes()), "down: biases with NaN"),
    ("an infinite gain", |p| p.write_to_layer(19, f32::INFINITY.to_le_bytes()), "attention_norm has a gain or bias"),
    ("norms of two lengths", |p| p.layer().input[19] = p.layer().input[12].clone(), "48"),
    ("codes of a shape that overflows", |p| p.of_layer(3).dims[0] = i64::MAX, "makes no sense"),
    ("codes of a negative shape", |p| p.of_layer(3).dims[0] = -6, "makes no sense"),
    ("more codes than data", |p| p.of_layer(3).dims[1] += 1, "its shape needs"),
    ("no rows of codes", |p| emptied(p.of_layer(3), 1), "0 codes for the shape"),
    ("no columns of codes", |p| emptied(p.of_layer(3), 0), "0 codes for the shape"),
    ("no gains", |p| emptied(p.of_layer(19), 0), ""),
    ("codes that are no codes", |p| p.layer().input[3] = "input_ids".to_owned(), ""),
    (
        "gains that are not a constant",
        |p| p.between("EncoderLayer", 19, times_hidden),
        "input 19: input is not constant",
    ),
    ("a matrix missing", |p| p.layer().input.truncate(15), ""),
    ("hidden states of two axes", |p| p.layer().input[0] = "attention_mask".to_owned(), ""),
    ("wider hidden states", |p| p.between("EncoderLayer", 0, |x| doubled(x, 2)), "a hidden size of 64 in place of 32"),
    ("a longer mask", |p| p.between("EncoderLayer", 1, |mask| doubled(mask, 1)), "a mask of the shape"),
    ("a bias that is not square", |p| p.layer().input[2] = p.layer().input[4].clone(), "a bias of the shape"),
];

/// Of layers with codes of 8 bits.
const BYTES: [Change; 5] = [
    ("a code of -128", |p| p.write_to_layer(3, [0x80]), "query_key_value: codes with -128"),
    ("a later code of -128", |p| p.write_to_layer(15, [0, 1, 0x80]), "down: codes with -128"),
    ("another code", |p| p.write_to_layer(11, [0x7F, 0x7F, 0x7F, 0x7F]), "up: sums with"),
    ("codes of three axes", |p| p.of_layer(3).dims = vec![6, 8, 64], "has not four axes"),
    ("codes the wrong way round", |p| p.of_layer(3).dims.swap(2, 3), "does not end with 16 and 4"),
];

/// Of a bundle with ternary weights, which a library from before its operators refuses.
const TERNARY: [Change; 24] = [
    ("codes with an axis more", |p| p.of_layer(3).dims.push(1), "has not three axes"),
    ("codes with an axis less", |p| p.of_layer(3).dims = vec![48, 16], "has not three axes"),
    ("codes the wrong way round", |p| p.of_layer(3).dims.swap(0, 2), "does not end with 16"),
    ("codes of another map", |p| p.layer().input.swap(3, 11), "query_key_value: 96 scales"),
    ("a code of -2", |p| p.write_to_layer(3, [0b10]), "query_key_value: ternary codes with -2"),
    ("a later code of -2", |p| p.write_to_layer(15, [0, 0, 0b0111_1000]), "down: ternary codes with -2"),
    ("a layer of bytes with codes of 2 bits", |p| p.layer().op_type = "EncoderLayer".to_owned(), ""),
    ("rows without a width", |p| p.rows().attribute.clear(), "width"),
    ("rows of another width", |p| p.rows().attribute[0].i += 4, ""),
    ("rows of a width that overflows", |p| p.rows().attribute[0].i = i64::MAX, ""),
    ("rows of no width", |p| p.rows().attribute[0].i = 0, "not above 0"),
    ("no rows", |p| p.rows().attribute[0].i = -8, ""),
    ("a width that is a text", |p| (p.rows().attribute[0].r#type, p.rows().attribute[0].s) = (3, vec![b'8']), "width"),
    ("a table in one row", |p| p.of_rows(1).dims = vec![p.of_rows(1).dims.iter().product()], "codes of the shape"),
    ("a table of fewer rows than scales", |p| shortened(p.of_rows(1)), "codes of the shape"),
    ("fewer scales than rows", |p| shortened(p.of_rows(2)), "codes of the shape"),
    ("a table of no rows", |p| [1, 2].into_iter().for_each(|part| emptied(p.of_rows(part), 0)), "0 scales"),
    ("a table of more rows than data", |p| p.of_rows(1).dims[0] += 1, "its shape needs"),
    ("a code of -2 in the table", |p| p.write_to_rows(1, [0, 0b1000_0000]), "TernaryRows: codes with -2"),
    ("a row's scale that is no number", |p| p.write_to_rows(2, f32::NAN.to_le_bytes()), "TernaryRows: scales with NaN"),
    ("a row's infinite scale", |p| p.write_to_rows(2, f32::INFINITY.to_le_bytes()), "TernaryRows: scales with inf"),
    ("an id beyond the table", |p| p.add_to_ids(1 << 20), "was asked for row 1048"),
    ("a negative id", |p| p.add_to_ids(-1 << 20), "was asked for row -1048"),
    ("ids that are no integers", |p| p.rows().input[0] = p.rows().input[2].clone(), ""),
];

/// What is odd and can be computed all the same, on every processor alike.
const HARMLESS: [Change; 4] = [
    ("a negative scale", |p| p.write_to_layer(4, (-0.5f32).to_le_bytes()), ""),
    ("a scale of 0", |p| p.write_to_layer(4, 0f32.to_le_bytes()), ""),
    ("a negative scale of a row", |p| p.write_to_rows(2, (-0.5f32).to_le_bytes()), ""),
    ("an epsilon of 0", |p| p.attribute("epsilon").f = 0.0, ""),
];

#[test]
fn a_wrong_layer_is_an_error() {
    refuses(WeightMode::Int8Layers, 1, &[&LAYERS[..], &BYTES].concat());
}

#[test]
fn wrong_ternary_layers_and_tables_are_an_error() {
    refuses(WeightMode::Ternary, 2, &[&LAYERS[..], &TERNARY].concat());
}

fn bundle(weights: WeightMode) -> Vec<u8> {
    let _turn = seeded(134);
    Recipe { weights, ..Recipe::classifier(&["a", "b"]) }.make().bundle
}

fn section(bundle: &[u8], name: &str) -> Vec<u8> {
    limbeck::Bundle::from_bytes(bundle.to_vec()).unwrap().section(name).unwrap().into_owned()
}

/// The bundle with another graph and other weights, its hashes right.
fn open(bundle: &[u8], version: u32, graph: &[u8], weights: &[u8]) -> limbeck::Result<limbeck::Model> {
    let manifest = |manifest: &mut limbeck::Manifest| {
        manifest.opset.insert("ai.limbeck".to_owned(), version);
    };
    open_changed(bundle, manifest, |name, bytes| match name {
        GRAPH => *bytes = graph.to_vec(),
        WEIGHTS => *bytes = weights.to_vec(),
        _ => {}
    })
}

fn classify(model: limbeck::Result<limbeck::Model>) -> limbeck::Result<Vec<f32>> {
    model?.classify("the fox").map(|answer| logits(&answer))
}

fn refuses(weights: WeightMode, version: u32, changes: &[Change]) {
    let bundle = bundle(weights);
    let manifest = limbeck::Bundle::from_bytes(bundle.clone()).unwrap().manifest().clone();
    assert_eq!(manifest.opset["ai.limbeck"], version, "no more than is needed");
    let (graph, weights) = (section(&bundle, GRAPH), section(&bundle, WEIGHTS));
    let changed = |change: fn(&mut Parts)| {
        let mut parts = Parts { model: Model::decode(graph.as_slice()).unwrap(), weights: weights.clone() };
        change(&mut parts);
        open(&bundle, version, &parts.model.encode_to_vec(), &parts.weights)
    };
    assert!(classify(changed(|_| {})).is_ok());
    for &(name, change, says) in changes {
        let model = changed(change);
        // What no call could compute is found before the first one.
        let odd = ["with NaN", "with inf", "with -", "sums with"].iter().any(|words| says.contains(words));
        assert!(!odd || model.is_err(), "{name}: opened");
        let error = classify(model).expect_err(name);
        println!("{name}: {error}");
        assert!([Code::Inference, Code::Malformed].contains(&error.code()), "{name}: {error}");
        assert!(error.to_string().contains(says), "{name}: {error}");
    }
    let newer = open(&bundle, 3, &graph, &weights).map(|_| ()).unwrap_err();
    assert_eq!(newer.code(), Code::Incompatible, "{newer}");
    assert!(newer.to_string().contains("version 3 of limbeck's own operators"), "{newer}");
    if version == 2 {
        for (name, change, _) in HARMLESS {
            let logits = classify(changed(change)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(logits.iter().all(|logit| logit.is_finite()), "{name}: {logits:?}");
        }
    }
}

/// A logit above all numbers is an error, and one below them that of a label that cannot be.
#[test]
fn logits_that_are_not_finite() {
    let bundle = bundle(WeightMode::Int8Layers);
    let (graph, weights) = (section(&bundle, GRAPH), section(&bundle, WEIGHTS));
    let ask = |bias: [f32; 2]| {
        let mut parts = Parts { model: Model::decode(graph.as_slice()).unwrap(), weights: weights.clone() };
        let constants = &parts.model.graph.as_ref().unwrap().initializer;
        let of_head = |constant: &&TensorProto| constant.name.starts_with("head.") && constant.dims == [2];
        let name = constants.iter().find(of_head).expect("the head's bias").name.clone();
        parts.write(&name, bias.map(f32::to_le_bytes).concat());
        open(&bundle, 1, &parts.model.encode_to_vec(), &parts.weights)?.classify("the fox")
    };
    for (bias, says) in [
        ([f32::INFINITY, 0.0], "`logits` holds an infinite value"),
        ([f32::INFINITY, f32::INFINITY], "`logits` holds an infinite value"),
        ([0.0, f32::NAN], "`logits` holds a value that is not a number"),
    ] {
        let error = ask(bias).unwrap_err();
        assert_eq!(error.code(), Code::Inference, "{error}");
        assert!(error.to_string().contains(says), "{bias:?}: {error}");
    }
    let probabilities = |bias| -> Vec<(String, f32)> {
        let answer = ask(bias).unwrap();
        answer.labels.iter().map(|label| (label.label.clone(), label.probability)).collect()
    };
    assert_eq!(probabilities([0.0, f32::NEG_INFINITY]), [("a".to_owned(), 1.0), ("b".to_owned(), 0.0)]);
    let neither = probabilities([f32::NEG_INFINITY; 2]);
    assert!(neither.iter().all(|(_, probability)| *probability == 0.5), "{neither:?}");
    let largest = probabilities([f32::MAX, f32::MIN]);
    assert_eq!(largest[0], ("a".to_owned(), 1.0), "{largest:?}");
}

/// Whatever is cut off or turned over, hashes being right, the process goes on, and what opens can be asked.
#[test]
fn damaged_ternary_graphs_and_weights_end_no_process() {
    let bundle = bundle(WeightMode::Ternary);
    let (graph, weights) = (section(&bundle, GRAPH), section(&bundle, WEIGHTS));
    let (mut answered, mut refused) = (0, 0);
    let mut ask = |graph: &[u8], weights: &[u8], what: &str| match classify(open(&bundle, 2, graph, weights)) {
        Ok(_) => answered += 1,
        Err(error) => {
            refused += 1;
            let code = error.code();
            assert!([Code::Malformed, Code::Incompatible, Code::Inference].contains(&code), "{what}: {error}");
        }
    };
    for part in 0..40 {
        let length = graph.len() * part / 40;
        ask(&graph[..length], &weights, &format!("{length} bytes of the graph"));
        let length = weights.len() * part / 40;
        ask(&graph, &weights[..length], &format!("{length} bytes of the weights"));
    }
    for turn in 0..120 {
        for flip_graph in [true, false] {
            let (mut graph, mut weights) = (graph.clone(), weights.clone());
            let bytes = if flip_graph { &mut graph } else { &mut weights };
            let at = bytes.len() * turn / 120 + turn % 7;
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 1 << (turn % 8);
            ask(&graph, &weights, &format!("byte {at}, graph: {flip_graph}"));
        }
    }
    println!("{answered} answered, {refused} were refused");
    assert!(answered > 0 && refused > 80, "{answered} answered, {refused} refused");
}
