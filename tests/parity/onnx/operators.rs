//! The list of operators for a small build, against what ONNX Runtime's profiler saw running.

use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::graph::{GraphOptions, WEIGHTS_NAME, WeightMode, build};
use limbeck_export::quantize::{Bits, Blocks};
use limbeck_export::shrink::Operators;
use limbeck_tests::models::{arrays, draw, tiny};
use limbeck_tests::{bare_runtime, seeded};
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

#[test]
fn what_runs_is_in_the_list() {
    let eight = WeightMode::Blocks(Blocks::new(Bits::Eight, 32, false).unwrap());
    let cases: [(&str, Head, WeightMode); 5] = [
        ("bert-base-uncased", Head::Classification { labels: 3 }, WeightMode::Float),
        ("distilbert-base-uncased", Head::MaskedLm, WeightMode::DynamicInt8),
        ("all-mpnet-base-v2", Head::TokenClassification { labels: 3 }, WeightMode::Half),
        ("gpt2", Head::CausalLm, eight),
        ("electra-small", Head::ReplacedToken, eight),
    ];
    for (name, head, weights) in cases {
        let _turn = seeded(90);
        let config: ModelConfig = tiny(name);
        let options = GraphOptions { weights, mask: true, ..GraphOptions::default() };
        let built = build(&arrays(&draw(&config, head)), &config, head, options).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        std::fs::write(file("model.onnx"), &built.model).unwrap();
        std::fs::write(file(WEIGHTS_NAME), &built.weights).unwrap();
        let mut rewritten = vec![built.model.clone()];
        let levels = [GraphOptimizationLevel::Level1, GraphOptimizationLevel::Level2, GraphOptimizationLevel::Level3];
        for level in levels {
            let builder = bare_runtime::builder().with_optimization_level(level).unwrap();
            let mut builder = builder.with_optimized_model_path(file("optimized.onnx")).unwrap();
            drop(builder.commit_from_file(file("model.onnx")).unwrap());
            rewritten.push(std::fs::read(file("optimized.onnx")).unwrap());
        }
        let list = Operators::of(rewritten.iter().map(Vec::as_slice)).unwrap();

        let mut session = bare_runtime::builder()
            .with_profiling(file("profile"))
            .unwrap()
            .commit_from_file(file("model.onnx"))
            .unwrap();
        let tensor = |value: i32| Tensor::from_array(([2usize, 7], vec![value; 14])).unwrap();
        session.run(ort::inputs!["input_ids" => tensor(5), "attention_mask" => tensor(1)]).unwrap();
        let profile = session.end_profiling().unwrap();
        let events: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(profile).unwrap()).unwrap();
        let ran: std::collections::BTreeSet<&str> =
            events.as_array().unwrap().iter().filter_map(|event| event["args"]["op_name"].as_str()).collect();
        assert!(ran.len() > 5, "{name}: {ran:?}");
        for operator in ran {
            let listed = ["ai.onnx", "com.microsoft"].iter().any(|domain| list.has(domain, operator));
            assert!(listed, "{name}, {weights:?}: {operator} ran and is not in {list:?}");
        }
    }
}
