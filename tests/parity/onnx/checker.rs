//! Graphs of every architecture before the checker of PyPI `onnx`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::graph::proto::{Dimension, Graph, Model, TensorProto};
use limbeck_export::graph::{BuiltGraph, GraphOptions, Profile, WEIGHTS_NAME, WeightMode, build};
use limbeck_export::quantize::{Bits, Blocks};
use limbeck_tests::models::{architectures, arrays, draw, heads, tiny};
use limbeck_tests::seeded;
use prost::Message;

fn write(folder: &Path, name: &str, graph: &BuiltGraph) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.onnx"), &graph.model).unwrap();
    std::fs::write(folder.join(WEIGHTS_NAME), &graph.weights).unwrap();
}

/// The checker's answer; `None` where this machine does not have it.
fn check(folder: &Path) -> Option<Output> {
    let packages = std::env::var_os("LIMBECK_ONNX_PYTHONPATH").filter(|folder| !folder.is_empty());
    let Some(packages) = packages else {
        // Not by a macro: the test runner would keep it to itself.
        let reason = "LIMBECK_ONNX_PYTHONPATH is not set (cargo xtask test sets it): no graph was checked";
        let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {reason} ***");
        return None;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/check_onnx.py");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages).env("PYTHONDONTWRITEBYTECODE", "1").arg(script).arg(folder);
    Some(python.output().expect("python3"))
}

/// What the checker says, without the files that it has no complaint about.
fn text(output: &Output) -> String {
    let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let lines = said.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with("ok "));
    lines.collect::<Vec<_>>().join("\n")
}

fn graph(config: &ModelConfig, head: Head, options: GraphOptions) -> BuiltGraph {
    build(&arrays(&draw(config, head)), config, head, options).unwrap()
}

#[test]
fn the_onnx_checker_has_no_complaint() {
    let _turn = seeded(71);
    let folder = tempfile::tempdir().unwrap();
    let mut written = 0;
    for (name, config) in architectures() {
        for head in heads(&config) {
            for profile in [Profile::Ort, Profile::Portable] {
                let plain = GraphOptions { profile, ..GraphOptions::default() };
                let token_types = config.token_types > 1;
                let mut variants = vec![
                    ("masked", GraphOptions { mask: true, ..plain }),
                    ("plain", GraphOptions { token_types, ..plain }),
                    ("int8", GraphOptions { mask: true, weights: WeightMode::DynamicInt8, ..plain }),
                ];
                variants.push(("fp16", GraphOptions { mask: true, weights: WeightMode::Half, ..plain }));
                if profile == Profile::Ort {
                    let blocks = WeightMode::Blocks(Blocks::new(Bits::Four, 32, true).unwrap());
                    variants.push(("int4", GraphOptions { mask: true, weights: blocks, ..plain }));
                }
                if head == Head::CausalLm {
                    variants.push(("cache", GraphOptions { cache: true, ..plain }));
                    if profile == Profile::Portable {
                        variants.push(("cache with mask", GraphOptions { mask: true, cache: true, ..plain }));
                    }
                }
                for (variant, options) in variants {
                    let name = format!("{name} {head:?} {profile:?} {variant}");
                    write(folder.path(), &name, &graph(&config, head, options));
                    written += 1;
                }
            }
        }
    }
    let Some(output) = check(folder.path()) else { return };
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("{written} files")), "{text}");
}

/// The axes that the first output declares.
fn output_axes(graph: &mut Graph) -> &mut Vec<Dimension> {
    &mut graph.output[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap().dim
}

#[test]
fn the_onnx_checker_finds_faults() {
    let _turn = seeded(72);
    let config = tiny("bert-base-uncased");
    let options = GraphOptions { profile: Profile::Portable, ..GraphOptions::default() };
    let built = graph(&config, Head::TokenClassification { labels: 5 }, options);
    type Change = fn(&mut Graph, &mut Vec<u8>);
    // What is broken, and a word of the complaint.
    let changes: [(&str, &str, Change); 8] = [
        ("an input", "nothing", |graph, _| graph.node[5].input[0] = "nothing".to_owned()),
        ("an operator", "NoSuchOperator", |graph, _| graph.node[5].op_type = "NoSuchOperator".to_owned()),
        ("an unused constant", "['twice'] are not used", |graph, _| {
            let tensor = TensorProto { name: "twice".to_owned(), ..graph.initializer[0].clone() };
            graph.initializer.push(tensor);
        }),
        ("an axis too few", "logits", |graph, _| drop(output_axes(graph).pop())),
        ("swapped axes", "logits is declared", |graph, _| output_axes(graph).swap(0, 1)),
        ("a wrong size", "logits is declared", |graph, _| output_axes(graph)[2] = output_axes(graph)[0].clone()),
        ("an axis without name", "neither size nor name", |graph, _| output_axes(graph)[0] = Dimension::default()),
        ("short weights", "ends at byte", |_, weights| weights.truncate(weights.len() - 1)),
    ];
    for (what, fault, change) in changes {
        let mut model = Model::decode(built.model.as_slice()).unwrap();
        let mut weights = built.weights.clone();
        change(model.graph.as_mut().unwrap(), &mut weights);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "broken", &BuiltGraph { model: model.encode_to_vec(), weights, ..Default::default() });
        let Some(output) = check(folder.path()) else { return };
        let text = text(&output);
        let named = text.contains("FAIL ") && text.contains("broken/model.onnx: ");
        assert!(!output.status.success() && named && text.contains(fault), "{what}: {text}");
    }
}
