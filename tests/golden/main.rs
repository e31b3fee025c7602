//! Bundles of every format version that was ever written open, and answer as they did.

#[path = "../support/cache.rs"]
#[allow(dead_code)]
mod cache;

use std::path::Path;

use limbeck::Model;
use serde_json::Value;

/// fp32 kernels differ between processors in the last digits.
const TOLERANCE: f64 = 1e-4;

#[test]
fn golden_bundles_answer_as_when_they_were_made() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).unwrap().flatten().filter(|e| e.path().is_dir()) {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(entry.path().join("expected.json")).unwrap()).unwrap();
        let bundle = entry.path().join(expected["bundle"].as_str().unwrap());
        let model = Model::builder().runtime_path(cache::onnxruntime()).open(&bundle).unwrap();
        for case in expected["cases"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let answer = model.classify(text).unwrap();
            assert_eq!(answer.usage.tokens_used as u64, case["tokens_used"].as_u64().unwrap(), "{text:?}");
            for (got, want) in answer.labels.iter().zip(case["labels"].as_array().unwrap()) {
                assert_eq!(got.label, want["label"].as_str().unwrap(), "{text:?}");
                let difference = (f64::from(got.logit) - want["logit"].as_f64().unwrap()).abs();
                assert!(difference <= TOLERANCE, "{}: {text:?}: {difference}", bundle.display());
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "only {seen} golden answers");
}
