//! Memory: weights stay where they are mapped, and lengths that vary do not
//! make the process grow. Alone in its program, so that nothing else allocates.
#![cfg(target_os = "linux")]

mod common;

use common::{HIDDEN, WIDE, builder, data, labels, manifest, writer};
use limbeck::{BundleWriter, ClassifyOptions, Overflow};

/// Private memory of this process in kilobytes: not that of mapped files.
fn private_kb() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_stays_where_it_should() {
    external_weights_are_not_copied();
    two_thousand_calls_of_random_lengths_do_not_grow();
}

/// A bundle with 49 MB of weights in the one table that ONNX Runtime reads as
/// it is: opening it must cost a small part of that in private memory, and a
/// second session hardly anything.
fn external_weights_are_not_copied() {
    let floats = WIDE * HIDDEN + HIDDEN * HIDDEN + HIDDEN * 3;
    let weights: Vec<u8> = (0..floats).flat_map(|i| ((i % 1013) as f32 / 1013.0 - 0.5).to_le_bytes()).collect();
    let megabytes = weights.len() as i64 / 1024 / 1024;
    assert!(megabytes >= 48);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("wide.limbeck");
    let mut manifest = manifest();
    manifest.architecture.vocab_size = WIDE;
    BundleWriter::new(manifest)
        .classifier(data("tokenizer.json"), data("wide.onnx"), weights, &labels())
        .write(&path)
        .unwrap();
    // The library itself, and what the writer has used, are not what is measured.
    builder().open_bytes(writer(|_| {}).to_bytes().unwrap()).unwrap().warm_up().unwrap();

    let before = private_kb();
    let model = builder().sessions(2).open(&path).unwrap();
    model.warm_up().unwrap();
    let opened = private_kb();
    let texts =
        ["the film was great !", "a very bad film .", "it", "a slow and awful screen or a quick one"].repeat(40);
    for _ in 0..10 {
        model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
    }
    let both = private_kb();
    println!("{megabytes} MB of weights: {} kB to open, {} kB for a second session", opened - before, both - opened);
    assert!(opened - before < 1024 * megabytes / 4, "{} kB", opened - before);
    assert!(both - opened < 1024 * megabytes / 4, "{} kB", both - opened);
}

fn two_thousand_calls_of_random_lengths_do_not_grow() {
    let model = builder().open_bytes(writer(|m| m.max_tokens = 4096).to_bytes().unwrap()).unwrap();
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    let mut call = |most: usize| {
        let text = "fox ".repeat(random(most));
        if random(4) == 0 {
            let texts: Vec<&str> = (0..random(9)).map(|i| &text[..text.len() / (i + 1) / 4 * 4]).collect();
            model.classify_batch(&texts, &ClassifyOptions::new()).unwrap();
        } else {
            let window = ClassifyOptions::new().overflow(Overflow::Window { stride: 10 });
            model.classify_with(&text, &window).unwrap();
        }
    };
    // The longest first: what it needs once it may need again.
    (0..20).for_each(|_| call(400));
    call(6000);
    let (mut lowest, mut highest) = (i64::MAX, 0);
    let mut at_quarters = Vec::new();
    for i in 0..2000 {
        call(if i % 50 == 49 { 6000 } else { 400 });
        let now = private_kb();
        (lowest, highest) = (lowest.min(now), highest.max(now));
        if i % 500 == 499 {
            at_quarters.push(now);
        }
    }
    println!("private memory in kB: {lowest} to {highest}, at the quarters {at_quarters:?}");
    let growth = at_quarters[3] - at_quarters[0];
    assert!(growth < 2048, "{growth} kB more after 2,000 calls than after 500: {at_quarters:?}");
}
