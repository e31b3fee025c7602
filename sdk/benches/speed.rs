//! Tokenizing, post-processing and whole calls by length and batch. Run by `cargo xtask bench`.

mod common;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use limbeck::bundle::TagScheme;
use limbeck::{Aggregation, EmbedOptions, internals};

use common::{bundles, open, text_of, words};

const MODELS: [&str; 2] = ["minilm-fp32.limbeck", "minilm-int8.limbeck"];

fn tokenizing(criterion: &mut Criterion) {
    let model = open(MODELS[0]);
    let mut group = criterion.benchmark_group("tokenize");
    for count in [10, 100, 1000] {
        let text = words(count);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_with_input(BenchmarkId::new("words", count), &text, |bencher, text| {
            bencher.iter(|| model.tokenize(black_box(text)).expect("tokens"));
        });
    }
    group.finish();
}

/// Values that look like logits, the same in every run.
fn values(count: usize) -> Vec<f32> {
    (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 1e6 - 8.0).collect()
}

fn post_processing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("post");
    for labels in [3, 150] {
        let logits = values(labels);
        group.bench_function(BenchmarkId::new("softmax", labels), |bencher| {
            bencher.iter(|| internals::softmax(black_box(&logits)));
        });
    }
    let (start, end) = (values(384), values(384));
    group.bench_function(BenchmarkId::new("spans", 384), |bencher| {
        bencher.iter(|| internals::candidates(black_box(&start), black_box(&end), 30, 20));
    });
    let vectors = values(128 * 384);
    group.bench_function(BenchmarkId::new("mean_vector", "128x384"), |bencher| {
        bencher.iter(|| internals::mean_vector(black_box(&vectors), 384));
    });
    let names: Vec<String> = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"].map(str::to_owned).into();
    let logits = values(128 * names.len());
    let word_of: Vec<usize> = (0..128).map(|token| token / 2).collect();
    group.bench_function(BenchmarkId::new("entities", 128), |bencher| {
        bencher.iter(|| internals::decode(black_box(&logits), &word_of, &names, TagScheme::Bio, Aggregation::First));
    });
    let text = words(200).replace("phone", "\u{1F4F1}\u{FE0F} t\u{e9}l\u{e9}phone");
    let ranges = text.split(' ').map(|word| {
        let start = word.as_ptr() as usize - text.as_ptr() as usize;
        start..start + word.len()
    });
    let ranges: Vec<_> = ranges.collect();
    group.bench_function(BenchmarkId::new("offsets", 200), |bencher| {
        bencher.iter(|| internals::locate(black_box(&text), black_box(&ranges)));
    });
    group.finish();
}

fn whole_calls(criterion: &mut Criterion) {
    for name in MODELS {
        let model = open(name);
        let mut group = criterion.benchmark_group(format!("embed/{}", name.trim_end_matches(".limbeck")));
        group.sample_size(40);
        for tokens in [8, 32, 128] {
            for batch in [1, 8] {
                let text = text_of(&model, tokens);
                let texts = vec![text.as_str(); batch];
                group.throughput(Throughput::Elements((tokens * batch) as u64));
                group.bench_function(BenchmarkId::new(tokens.to_string(), batch), |bencher| {
                    bencher.iter(|| model.embed_batch(black_box(&texts), &EmbedOptions::new()).expect("vectors"));
                });
            }
        }
        group.finish();
    }
}

fn main() {
    if bundles().is_none() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    tokenizing(&mut criterion);
    post_processing(&mut criterion);
    whole_calls(&mut criterion);
    criterion.final_summary();
}
