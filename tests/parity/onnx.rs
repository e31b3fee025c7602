//! The ONNX graphs that limbeck writes give what the tch model gives.
//!
//! Runs the graph files themselves (ids in, logits out) in ONNX Runtime, at lengths 1 to 512 and batches 1
//! to 8, with padding, with and without mask, types and hidden output.

use std::path::Path;

use limbeck_export::arch::{Capture, Classifier, Head, ModelConfig, Params, parameter_layout};
use limbeck_export::checkpoint::{read_arrays, write_tensors};
use limbeck_export::graph::{Arrays, GraphOptions, LAST_HIDDEN, LOGITS, WEIGHTS_NAME, WeightMode, build_classifier};
use limbeck_tests::seeded;
use ort::session::Session;
use ort::value::Tensor as OrtTensor;
use tch::{Device, Kind, Tensor};

const LABELS: usize = 3;
/// Large enough that attention and gelu leave their linear range.
const WIDE: f64 = 0.15;
/// Like that of trained weights, for which int8 is meant.
const USUAL: f64 = 0.05;

fn config() -> ModelConfig {
    ModelConfig::from_hf(&serde_json::json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 200,
        "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96,
        "max_position_embeddings": 512, "type_vocab_size": 2}))
    .unwrap()
}

struct Case {
    params: Params,
    arrays: Arrays,
}

/// A model drawn from libtorch's generator: see [`seeded`].
fn case(std: f64) -> Case {
    let layout = parameter_layout(&config(), Head::Classification { labels: LABELS });
    let params = Params::initialise(&layout, std, Device::Cpu);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors: Vec<_> = params.iter().map(|(n, t)| (n.to_owned(), t.shallow_clone())).collect();
    write_tensors(&path, &tensors, &Default::default()).unwrap();
    Case { arrays: read_arrays(&path).unwrap(), params }
}

fn session(folder: &Path, arrays: &Arrays, options: GraphOptions) -> Session {
    let graph = build_classifier(arrays, &config(), LABELS, options).unwrap();
    std::fs::write(folder.join("model.onnx"), &graph.model).unwrap();
    std::fs::write(folder.join(WEIGHTS_NAME), &graph.weights).unwrap();
    limbeck_tests::bare_runtime::session(&folder.join("model.onnx"))
}

struct Input {
    ids: Tensor,
    mask: Tensor,
    types: Tensor,
}

fn input(batch: i64, length: i64, padded: bool) -> Input {
    let int = (Kind::Int64, Device::Cpu);
    let ids = Tensor::randint(200, [batch, length], int);
    let mask = Tensor::ones([batch, length], int);
    if padded {
        for row in 1..batch {
            let keep = (length * (batch - row) / batch).max(1);
            let _ = mask.get(row).narrow(0, keep, length - keep).fill_(0);
        }
    }
    Input { ids, mask, types: Tensor::randint(2, [batch, length], int) }
}

fn int32(t: &Tensor) -> ort::value::DynValue {
    let values: Vec<i32> = Vec::<i64>::try_from(t.flatten(0, -1)).unwrap().into_iter().map(|v| v as i32).collect();
    let shape: Vec<usize> = t.size().iter().map(|&d| d as usize).collect();
    OrtTensor::from_array((shape, values)).unwrap().into_dyn()
}

fn run(session: &mut Session, input: &Input, options: GraphOptions) -> (Tensor, Option<Tensor>) {
    let mut feeds = vec![("input_ids", int32(&input.ids))];
    if options.mask {
        feeds.push(("attention_mask", int32(&input.mask)));
    }
    if options.token_types {
        feeds.push(("token_type_ids", int32(&input.types)));
    }
    let outputs = session.run(feeds).unwrap();
    let read = |name: &str| {
        let (shape, values) = outputs[name].try_extract_tensor::<f32>().unwrap();
        Tensor::from_slice(values).view(&shape[..])
    };
    (read(LOGITS), options.hidden_output.then(|| read(LAST_HIDDEN)))
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a - b).abs().max().double_value(&[])
}

#[test]
fn fp32_graphs_equal_tch() {
    let _turn = seeded(21);
    let case = case(WIDE);
    let model = Classifier::new(&case.params, &config());
    let _guard = tch::no_grad_guard();
    for (mask, token_types, hidden_output) in
        [(true, false, false), (true, true, true), (false, false, false), (false, false, true), (true, false, true)]
    {
        let options = GraphOptions { weights: WeightMode::Float, mask, token_types, hidden_output };
        let folder = tempfile::tempdir().unwrap();
        let mut session = session(folder.path(), &case.arrays, options);
        for length in [1, 2, 3, 7, 16, 33, 64, 127, 128, 255, 511, 512] {
            for batch in [1, 2, 3, 8] {
                if batch > 3 && length > 128 {
                    continue;
                }
                let input = input(batch, length, mask);
                let types = token_types.then_some(&input.types);
                let want = model.forward(&input.ids, &input.mask, types, Capture::default(), false);
                let (logits, hidden) = run(&mut session, &input, options);
                let difference = largest_difference(&logits, &want.logits);
                assert!(difference <= 1e-4, "logits of {batch} x {length} differ by {difference} ({options:?})");
                if let Some(hidden) = hidden {
                    let keep = input.mask.unsqueeze(-1);
                    let difference = largest_difference(&(hidden * &keep), &(want.encoded.last_hidden * &keep));
                    assert!(difference <= 1e-4, "hidden of {batch} x {length} differ by {difference} ({options:?})");
                }
            }
        }
    }
}

#[test]
fn padding_and_batch_mates_change_nothing_in_fp32() {
    let _turn = seeded(21);
    let case = case(WIDE);
    let options = GraphOptions { weights: WeightMode::Float, mask: true, token_types: false, hidden_output: false };
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path(), &case.arrays, options);
    let together = input(8, 40, true);
    let (batch, _) = run(&mut session, &together, options);
    for row in 0..8 {
        let length = together.mask.get(row).sum(Kind::Int64).int64_value(&[]);
        let cut = |t: &Tensor| t.get(row).narrow(0, 0, length).unsqueeze(0);
        let alone = Input { ids: cut(&together.ids), mask: cut(&together.mask), types: cut(&together.types) };
        let (single, _) = run(&mut session, &alone, options);
        let difference = largest_difference(&single.get(0), &batch.get(row));
        assert!(difference <= 1e-5, "row {row} differs by {difference}");
    }
}

/// Over 60 seeds the error was 0.9% to 2.4%. An untrained head's few logits are small against the noise, so the
/// hidden states are compared.
#[test]
fn int8_graphs_stay_close() {
    let _turn = seeded(21);
    let case = case(USUAL);
    let model = Classifier::new(&case.params, &config());
    let options =
        GraphOptions { weights: WeightMode::DynamicInt8, mask: false, token_types: false, hidden_output: true };
    let folder = tempfile::tempdir().unwrap();
    let mut session = session(folder.path(), &case.arrays, options);
    let _guard = tch::no_grad_guard();
    let squares = |t: &Tensor| t.square().sum(Kind::Double).double_value(&[]);
    let (mut error, mut size) = (0.0, 0.0);
    for length in [1, 2, 5, 16, 64, 200, 512] {
        let input = input(1, length, false);
        let want = model.forward(&input.ids, &input.mask, None, Capture::default(), false).encoded.last_hidden;
        let (_, hidden) = run(&mut session, &input, options);
        error += squares(&(hidden.unwrap() - &want));
        size += squares(&want);
    }
    let relative = f64::sqrt(error / size);
    assert!(relative < 0.05, "relative error {relative}");
}
