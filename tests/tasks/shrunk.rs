//! Lists of operators for small builds of ONNX Runtime.

use limbeck::Bundle;
use limbeck::runtime::{GraphFormat, Optimization, save_optimized};
use limbeck_export::arch::{Head, ModelConfig};
use limbeck_export::data::{Example, Rows};
use limbeck_export::graph::{WeightMode, describe};
use limbeck_export::progress::{Output, Reporter};
use limbeck_export::quantize::{Bits, Blocks, Observer, calibrate};
use limbeck_export::shrink::{OPERATORS_NAME, ORT_NAME, Platform, shrink};
use limbeck_tests::bundles::Recipe;
use limbeck_tests::models::tiny;
use limbeck_tests::seeded;

fn texts() -> Rows {
    let example =
        |text: &str| Example { text: text.to_owned(), pair: None, label: String::new(), source: String::new() };
    Rows::Texts(["the battery is good", "a bad screen"].map(example).to_vec())
}

/// Every node of the graph that was packed and of what ONNX Runtime makes of it is in the list, in each mode; those that
/// this library computes are not.
#[test]
fn every_node_is_in_the_list() {
    let blocks = WeightMode::Blocks(Blocks::new(Bits::Four, 32, true).unwrap());
    let mpnet: fn(ModelConfig) -> ModelConfig = |config| {
        let family = tiny("all-mpnet-base-v2");
        let (vocab_size, pad_id) = (config.vocab_size, config.pad_id);
        ModelConfig { vocab_size, position_rows: config.position_rows + family.first_position, pad_id, ..family }
    };
    let classifier = Recipe::classifier(&["a", "b"]);
    let recipes = [
        classifier.clone(),
        Recipe { weights: WeightMode::Int8Layers, ..classifier.clone() },
        Recipe { weights: WeightMode::Ternary, ..classifier.clone() },
        Recipe { weights: WeightMode::Int8Layers, table: Some(blocks), ..classifier.clone() },
        Recipe { weights: WeightMode::StaticInt8, ..classifier.clone() },
        Recipe { weights: WeightMode::DynamicInt8, ..classifier.clone() },
        Recipe { weights: WeightMode::Half, ..Recipe::new(Head::MaskedLm, &[]) },
        Recipe { weights: blocks, ..Recipe::new(Head::TokenClassification { labels: 2 }, &["O", "B-A"]) },
        Recipe { config: mpnet, ..Recipe::new(Head::None, &[]) },
    ];
    for recipe in recipes {
        let _turn = seeded(180);
        let made = match recipe.weights {
            WeightMode::StaticInt8 => recipe.make_calibrated(|folder, model| {
                let silent = Reporter::new(Output::Silent);
                calibrate(folder, model, &texts(), 4, Observer::MinMax, &silent).unwrap()
            }),
            _ => recipe.make(),
        };
        // ONNX Runtime is loaded with the first model.
        let model = made.open();
        let bundle = Bundle::from_bytes(made.bundle.clone()).unwrap();
        let out = tempfile::tempdir().unwrap();
        let report = shrink(&bundle, made.bundle.len() as u64, out.path()).unwrap();
        let path = out.path().join("again.onnx");
        save_optimized(&bundle, &path, Optimization::All, GraphFormat::Onnx).unwrap();
        let again = describe(&std::fs::read(&path).unwrap()).unwrap();
        let own = |name: &str| name.starts_with("ai.limbeck:");
        for name in model.bundle().manifest().operators.iter().chain(again.operators.keys()) {
            let (domain, operator) = name.split_once(':').unwrap();
            assert_eq!(report.operators.has(domain, operator), !own(name), "{:?}: {name}", recipe.weights);
        }
        let text = std::fs::read_to_string(out.path().join(OPERATORS_NAME)).unwrap();
        assert!(text.contains("\nai.onnx;17;Add,") && !text.contains("limbeck"), "{text}");
        let full = report.full_library_bytes.unwrap();
        let platforms: Vec<Platform> = report.expected.iter().map(|size| size.platform).collect();
        assert_eq!(platforms, Platform::ALL);
        for size in &report.expected {
            // Twenty operators of some 260 are less than the whole, and the graph's own machinery remains.
            assert!(full / 3 < size.at_least && size.at_most < full * 4 / 5, "{size:?} of {full}");
            let script = out.path().join(format!("build-{}.sh", size.platform.name()));
            assert!(std::fs::read_to_string(script).unwrap().contains(&size.words()));
        }
        let ort = std::fs::read(out.path().join(ORT_NAME)).unwrap();
        assert_eq!((&ort[4..8], Some(ort.len() as u64)), (&b"ORTM"[..], report.ort_bytes));
        let files: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files.len(), 3 + Platform::ALL.len(), "what is temporary is gone: {files:?}");
    }
}
