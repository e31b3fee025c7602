//! What finding scales on 512 texts needs, which is what its longest texts need: the others add to counts of fixed size.

use std::path::Path;
use std::process::Command;

use limbeck::Model;
use limbeck_export::data::{Example, Rows};
use limbeck_export::graph::WeightMode;
use limbeck_export::progress::{Output, Reporter};
use limbeck_export::quantize::{CALIBRATION_SAMPLES, Observer, calibrate};
use limbeck_tests::cache;

use crate::child::status;

/// The folder with the model's bundle, in the child.
const BUNDLE: &str = "LIMBECK_CALIBRATION_TEST_BUNDLE";
/// The promise.
const MOST: u64 = 2_000_000_000;

#[test]
fn scales_from_512_texts_take_less_than_2_gb() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = crate::bundle(folder.path(), &cache::minilm(), WeightMode::Float);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "calibration::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(BUNDLE, &bundle)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let measured = text.lines().find_map(|line| line.strip_prefix("measured ")).and_then(|bytes| bytes.parse().ok());
    let measured: u64 = measured.unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    println!("512 texts, 8 of them of 512 tokens: {:.0} MB more at the peak", measured as f64 / 1e6);
    assert!(measured > 10_000_000 && measured < MOST, "{measured} bytes");
}

#[test]
#[ignore = "run by the other test in a process of its own"]
fn child() {
    let Some(bundle) = std::env::var_os(BUNDLE) else { return };
    let model = Model::builder().runtime_path(cache::onnxruntime()).open(Path::new(&bundle)).unwrap();
    // A batch of the longest, and the rest short so that the test is.
    let words = |i: usize| if i.is_multiple_of(64) { 510 } else { 1 + i % 4 };
    let example =
        |i: usize| Example { text: "a ".repeat(words(i)), pair: None, label: String::new(), source: String::new() };
    let rows = Rows::Texts((0..CALIBRATION_SAMPLES).map(example).collect());
    let before = status("VmRSS");
    let silent = Reporter::new(Output::Silent);
    calibrate(&cache::minilm(), &model, &rows, CALIBRATION_SAMPLES, Observer::Percentile(99.99), &silent).unwrap();
    println!("\nmeasured {}", status("VmHWM").saturating_sub(before));
}
