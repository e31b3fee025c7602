//! Graphs whose encoder layers are not what they should be: an error that says so, and nothing else.

use limbeck::Code;
use limbeck_export::graph::WeightMode;
use limbeck_export::graph::proto::{Attribute, Model, Node};
use limbeck_tests::bundles::{Recipe, open_changed};
use limbeck_tests::seeded;
use prost::Message;

type Change = fn(&mut Model);

fn layer(model: &mut Model) -> &mut Node {
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|node| node.op_type.ends_with("EncoderLayer")).unwrap()
}

fn attribute<'a>(model: &'a mut Model, name: &str) -> &'a mut Attribute {
    layer(model).attribute.iter_mut().find(|attribute| attribute.name == name).unwrap()
}

/// The dimensions of a constant of the first layer, by the number of its input.
fn dims(model: &mut Model, input: usize) -> &mut Vec<i64> {
    let name = layer(model).input[input].clone();
    let constants = &mut model.graph.as_mut().unwrap().initializer;
    &mut constants.iter_mut().find(|constant| constant.name == name).unwrap().dims
}

const CHANGES: [(&str, Change); 15] = [
    ("heads that do not divide", |model| attribute(model, "heads").i = 5),
    ("no heads", |model| attribute(model, "heads").i = 0),
    ("negative heads", |model| attribute(model, "heads").i = -4),
    ("heads missing", |model| layer(model).attribute.retain(|attribute| attribute.name != "heads")),
    ("an unknown activation", |model| attribute(model, "activation").s = b"swish".to_vec()),
    ("an activation that is no text", |model| attribute(model, "activation").s = vec![0xFF, 0xFE]),
    ("epsilon missing", |model| layer(model).attribute.retain(|attribute| attribute.name != "epsilon")),
    ("matrices swapped", |model| layer(model).input.swap(11, 15)),
    ("scales in place of sums", |model| layer(model).input[5] = layer(model).input[4].clone()),
    ("codes of three axes", |model| *dims(model, 3) = vec![6, 8, 64]),
    ("codes the wrong way round", |model| dims(model, 3).swap(2, 3)),
    ("norms of two lengths", |model| layer(model).input[19] = layer(model).input[12].clone()),
    ("codes that are not a constant", |model| layer(model).input[3] = "input_ids".to_owned()),
    ("a matrix missing", |model| layer(model).input.truncate(15)),
    ("hidden states of two axes", |model| layer(model).input[0] = "attention_mask".to_owned()),
];

/// Changes of a bundle with ternary weights, which a library from before its operators refuses.
const TERNARY: [(&str, Change); 7] = [
    ("codes with an axis more", |model| dims(model, 3).push(1)),
    ("codes the wrong way round", |model| dims(model, 3).swap(0, 2)),
    ("codes of another map", |model| layer(model).input[3] = layer(model).input[11].clone()),
    ("a layer of bytes with codes of 2 bits", |model| layer(model).op_type = "EncoderLayer".to_owned()),
    ("rows without a width", |model| rows(model).attribute.clear()),
    ("rows of another width", |model| rows(model).attribute[0].i += 4),
    ("no rows", |model| rows(model).attribute[0].i = -8),
];

fn rows(model: &mut Model) -> &mut Node {
    let nodes = &mut model.graph.as_mut().unwrap().node;
    nodes.iter_mut().find(|node| node.op_type == "TernaryRows").unwrap()
}

#[test]
fn a_wrong_layer_is_an_error() {
    refuses(WeightMode::Int8Layers, 1, &CHANGES);
}

#[test]
fn wrong_ternary_codes_are_an_error() {
    refuses(WeightMode::Ternary, 2, &TERNARY);
}

fn refuses(weights: WeightMode, version: u32, changes: &[(&str, Change)]) {
    let _turn = seeded(134);
    let made = Recipe { weights, ..Recipe::classifier(&["a", "b"]) }.make();
    assert_eq!(made.open().bundle().manifest().opset["ai.limbeck"], version, "no more than is needed");
    let open = |change: Change, version: u32| {
        let manifest = |manifest: &mut limbeck::Manifest| {
            manifest.opset.insert("ai.limbeck".to_owned(), version);
        };
        open_changed(&made.bundle, manifest, |name, bytes| {
            if name == "model.onnx" {
                let mut model = Model::decode(bytes.as_slice()).unwrap();
                change(&mut model);
                *bytes = model.encode_to_vec();
            }
        })
    };
    assert!(open(|_| {}, version).unwrap().classify("the fox").is_ok());
    for &(name, change) in changes {
        let answer = open(change, version).and_then(|model| model.classify("the fox").map(|_| ()));
        let error = answer.expect_err(name);
        assert!([Code::Inference, Code::Malformed].contains(&error.code()), "{name}: {error}");
        println!("{name}: {error}");
    }
    let newer = open(|_| {}, 3).map(|_| ()).unwrap_err();
    assert_eq!(newer.code(), Code::Incompatible, "{newer}");
    assert!(newer.to_string().contains("version 3 of limbeck's own operators"), "{newer}");
}
