//! Graphs of every architecture before the checker of PyPI `onnx`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::graph::{BuiltGraph, GraphOptions, Profile, WEIGHTS_NAME, WeightMode, build};
use limbeck_tests::models::{architectures, arrays, draw, heads, tiny};
use limbeck_tests::seeded;

fn write(folder: &Path, name: &str, graph: &BuiltGraph) {
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("model.onnx"), &graph.model).unwrap();
    std::fs::write(folder.join(WEIGHTS_NAME), &graph.weights).unwrap();
}

/// The checker's answer; `None` where this machine does not have it.
fn check(folder: &Path) -> Option<Output> {
    let Some(packages) = std::env::var_os("LIMBECK_ONNX_PYTHONPATH") else {
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

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
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
                let mut variants = vec![("masked", GraphOptions { mask: true, ..plain })];
                // The other options change nothing that depends on the head.
                if matches!(head, Head::None | Head::MaskedLm | Head::CausalLm) {
                    let token_types = config.token_types > 1;
                    variants.push(("plain", GraphOptions { token_types, ..plain }));
                    variants.push(("int8", GraphOptions { weights: WeightMode::DynamicInt8, ..plain }));
                }
                if head == Head::CausalLm {
                    variants.push(("cache", GraphOptions { mask: true, cache: true, ..plain }));
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

#[test]
fn the_onnx_checker_finds_faults() {
    use prost::Message;
    let _turn = seeded(72);
    let config = tiny("bert-base-uncased");
    let options = GraphOptions { profile: Profile::Portable, ..GraphOptions::default() };
    let built = graph(&config, Head::Span, options);
    type Change = fn(&mut limbeck_export::graph::proto::Graph);
    let changes: [(&str, Change); 4] = [
        ("nothing", |graph| graph.node[5].input[0] = "nothing".to_owned()),
        ("NoSuchOperator", |graph| graph.node[5].op_type = "NoSuchOperator".to_owned()),
        ("are not used", |graph| {
            let mut tensor = graph.initializer[0].clone();
            tensor.name = "twice".to_owned();
            graph.initializer.push(tensor);
        }),
        ("start_logits", |graph| {
            let shape = graph.output[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
            shape.shape.as_mut().unwrap().dim.pop();
        }),
    ];
    for (fault, change) in changes {
        let mut model = limbeck_export::graph::proto::Model::decode(built.model.as_slice()).unwrap();
        change(model.graph.as_mut().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let broken = BuiltGraph { model: model.encode_to_vec(), weights: built.weights.clone(), ..Default::default() };
        write(folder.path(), "broken", &broken);
        let Some(output) = check(folder.path()) else { return };
        let text = text(&output);
        assert!(!output.status.success() && text.contains("FAIL broken") && text.contains(fault), "{fault}: {text}");
    }
}
