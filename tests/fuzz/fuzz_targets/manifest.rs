//! Manifest, labels, calibration and self-test as JSON of any kind, in a bundle that is otherwise sound. The input is
//! cut at line ends into the four.
#![no_main]

use libfuzzer_sys::fuzz_target;
use limbeck::{Bundle, Manifest};

#[allow(dead_code)]
#[path = "../../attacks/raw.rs"]
mod raw;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(4, |&byte| byte == b'\n');
    let mut part = || parts.next().unwrap_or_default();
    let (manifest, labels, calibration, self_test) = (part(), part(), part(), part());
    let made = raw::build(&[
        raw::Section::new("manifest.json", "manifest", manifest),
        raw::Section::new("tokenizer.json", "tokenizer", "{}"),
        raw::Section::new("labels.json", "labels", labels),
        raw::Section::new("model.onnx", "graph", "graph"),
        raw::Section::new("model.onnx.data", "weights", "weights"),
        raw::Section::optional("calibration.json", "calibration", calibration),
        raw::Section::optional("selftest.json", "selftest", self_test),
    ]);
    if let Ok(bundle) = Bundle::from_bytes(made.bytes) {
        let _ = bundle.self_test();
        // What was accepted can be written and read again.
        let again = serde_json::to_vec(bundle.manifest()).expect("a manifest as JSON");
        let again: Manifest = serde_json::from_slice(&again).expect("the same manifest");
        assert_eq!(&again, bundle.manifest());
        assert!(bundle.labels().iter().all(|label| !label.is_empty()));
    }
});
