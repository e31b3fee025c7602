mod cuda;
mod keep;
mod parallel;
mod rates;
mod resume;

use std::cell::RefCell;
use std::time::Duration;

use serde_json::json;
use tch::{Device, Kind};

use super::*;
use crate::arch::{Capture, Head, Model, ModelConfig, Params, parameter_layout};
use crate::data::EncodedExample;
use crate::objective::cross_entropy;
use crate::progress::Output;
use crate::quantize::FakeQuantization;
use crate::train::{Alone, Group, OptimizerKind, OptimizerOptions, Precision, Schedule, TrainOptions};

fn config(dropout: f64) -> ModelConfig {
    ModelConfig::from_hf(&json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 40, "hidden_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": 16,
        "type_vocab_size": 2, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
        "initializer_range": 0.05}))
    .unwrap()
}

/// Texts whose label is whether token 7 occurs.
fn examples() -> Vec<EncodedExample> {
    (0..48usize)
        .map(|i| {
            let label = i % 2;
            let mut ids: Vec<i64> = (0..4 + i % 5).map(|j| 10 + ((i * 7 + j * 3) % 25) as i64).collect();
            if label == 1 {
                ids[i % 4] = 7;
            }
            EncodedExample::new(ids, crate::data::Target::Class(label))
        })
        .collect()
}

const HEAD: Head = Head::Classification { labels: 2 };
const NEVER: Duration = Duration::from_secs(3600);

fn options() -> TrainOptions {
    TrainOptions { epochs: 12, batch_size: 8, learning_rate: 5e-3, ..TrainOptions::default() }
}

fn new_params() -> Params {
    Params::initialise(&parameter_layout(&config(0.0), HEAD), Device::Cpu)
}

/// How a run is disturbed, and with whom it runs.
struct Conditions<'a> {
    stop_before: Option<u64>,
    checkpoint_every: Duration,
    dropout: f64,
    rounding: Option<FakeQuantization>,
    group: &'a dyn Group,
}

impl Default for Conditions<'_> {
    fn default() -> Self {
        Self { stop_before: None, checkpoint_every: NEVER, dropout: 0.05, rounding: None, group: &Alone }
    }
}

fn stage<'a>(
    folder: &'a Path,
    params: &'a Params,
    data: &'a [EncodedExample],
    options: &'a TrainOptions,
    conditions: &Conditions<'a>,
) -> Stage<'a> {
    Stage {
        name: "tiny",
        folder,
        params,
        examples: data,
        encoder: None,
        pad_id: 0,
        options,
        seed: 5,
        identity: "test",
        checkpoint_every: conditions.checkpoint_every,
        stop_before: conditions.stop_before,
        group: conditions.group,
    }
}

/// Trains the classifier of [`examples`] from `params`.
fn run_from(params: &Params, folder: &Path, options: &TrainOptions, conditions: &Conditions) -> Result<Outcome> {
    tch::set_num_threads(1);
    let model = Model::new(&params.fake_quantized(conditions.rounding), &config(conditions.dropout), HEAD)
        .in_precision(options.precision);
    let data = examples();
    let forward =
        |batch: &Batch, train| model.forward(&batch.ids, &batch.mask, None, &Capture::default(), train).logits;
    train(
        &stage(folder, params, &data, options, conditions),
        &Reporter::new(Output::Silent),
        &|batch, _| {
            let total = cross_entropy(&forward(batch, true), &batch.targets);
            Ok(Loss { parts: vec![("hard", total.detach())], total })
        },
        &|| {
            let all = Batch::new(&data, (0..data.len()).collect(), 0, params.device());
            Ok(crate::objective::accuracy(&forward(&all, false), &all.targets))
        },
    )
}

fn run(folder: &Path, options: &TrainOptions, conditions: &Conditions) -> (Params, Result<Outcome>) {
    let _turn = crate::seeded(11);
    let params = new_params();
    let outcome = run_from(&params, folder, options, conditions);
    (params, outcome)
}

fn same_bits(a: &Params, b: &Params) {
    for (name, tensor) in a.iter() {
        assert_eq!(tensor, b.get(name).unwrap(), "{name}");
    }
}

#[test]
fn training_learns() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), &options(), &Conditions::default()).1.unwrap();
    assert!(outcome.best_dev > 0.9, "{outcome:?}");
    assert!(outcome.history[0].loss > outcome.history[11].loss);
    discard_checkpoint(folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn micro_batches_give_the_gradient_of_the_large_batch() {
    let _turn = crate::seeded(12);
    let (folder, params, data, options) = (tempfile::tempdir().unwrap(), new_params(), examples(), options());
    let model = Model::new(&params, &config(0.0), HEAD);
    let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
    params.set_requires_grad(true);
    let weights: Vec<Tensor> = params.iter().map(|(_, t)| t.shallow_clone()).collect();
    let loss = |batch: &Batch, _: f64| {
        let logits = model.forward(&batch.ids, &batch.mask, None, &Capture::default(), true).logits;
        let total = cross_entropy(&logits, &batch.targets);
        Ok(Loss { parts: vec![("hard", total.detach())], total })
    };
    let all: Vec<usize> = (0..weights.len()).collect();
    let indices: Vec<usize> = (0..20).collect();
    let gradient = |micro: &[Vec<usize>]| {
        let Gradient { tensors, numbers, tokens, .. } = gradient(&stage, &weights, &all, (0, 1), micro, &loss).unwrap();
        (tensors, numbers.see(&stage).unwrap(), tokens)
    };
    let (large, large_numbers, large_tokens) = gradient(std::slice::from_ref(&indices));
    assert!(large.iter().any(|g| g.norm().double_value(&[]) > 1e-2), "no gradient proves nothing");
    for rows in [5, 8, 1] {
        let micro: Vec<Vec<usize>> = indices.chunks(rows).map(<[usize]>::to_vec).collect();
        let (small, numbers, tokens) = gradient(&micro);
        assert!((large_numbers.loss - numbers.loss).abs() < 1e-6, "{} {}", large_numbers.loss, numbers.loss);
        assert!((large_numbers.parts["hard"] - numbers.parts["hard"]).abs() < 1e-6);
        assert_eq!(large_tokens, tokens);
        for ((name, _), (a, b)) in params.iter().zip(large.iter().zip(&small)) {
            let difference = (a - b).abs().max().double_value(&[]);
            assert!(difference < 1e-6, "{name}, {rows} rows: {difference}");
        }
    }
}

#[test]
fn accumulation_trains_as_the_large_batch_does() {
    let history = |batch_size, accumulate| {
        let folder = tempfile::tempdir().unwrap();
        let options = TrainOptions { batch_size, accumulate, epochs: 2, learning_rate: 1e-3, ..options() };
        run(folder.path(), &options, &Conditions { dropout: 0.0, ..Default::default() }).1.unwrap().history
    };
    // 48 rows are four steps of 10 and one of 8: micro-batches of 5 and of 3 rows.
    let (large, small) = (history(10, 1), history(5, 2));
    assert_eq!(large.iter().map(|r| r.step).collect::<Vec<_>>(), [5, 10]);
    for (a, b) in large.iter().zip(&small) {
        assert!(a.step == b.step && (a.loss - b.loss).abs() < 1e-5, "{a:?} {b:?}");
    }
}

#[test]
fn a_budget_of_tokens_shows_every_example_once_an_epoch() {
    let _turn = crate::seeded(13);
    let (folder, params, data) = (tempfile::tempdir().unwrap(), new_params(), examples());
    let options = TrainOptions { batch_tokens: Some(30), epochs: 3, ..options() };
    let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
    let seen = RefCell::new(Vec::new());
    let loss = |batch: &Batch, _: f64| {
        assert!(batch.ids.numel() <= 30, "{:?}", batch.ids.size());
        seen.borrow_mut().extend(batch.indices.clone());
        Ok(Loss { total: params.iter().map(|(_, t)| t.sum(Kind::Float)).sum(), parts: vec![] })
    };
    let outcome = train(&stage, &Reporter::new(Output::Silent), &loss, &|| Ok(0.5)).unwrap();
    let seen = seen.into_inner();
    assert_eq!(seen.len(), 3 * 48);
    for epoch in seen.chunks(48) {
        let mut epoch = epoch.to_vec();
        epoch.sort_unstable();
        assert_eq!(epoch, (0..48).collect::<Vec<_>>());
    }
    assert_eq!(outcome.history.len(), 3);
    assert_eq!(outcome.history[2].step, outcome.steps);
}

#[test]
fn bf16_is_close_to_fp32_and_is_not_fp32() {
    let train_in = |precision| {
        let folder = tempfile::tempdir().unwrap();
        let options = TrainOptions { precision, epochs: 3, ..options() };
        let (params, outcome) = run(folder.path(), &options, &Conditions::default());
        assert!(params.iter().all(|(_, t)| t.kind() == Kind::Float), "master weights");
        outcome.unwrap().history
    };
    let (full, half) = (train_in(Precision::Fp32), train_in(Precision::Bf16));
    for (a, b) in full.iter().zip(&half) {
        assert!((a.loss - b.loss).abs() < 0.03 * a.loss && a.loss != b.loss, "{a:?} {b:?}");
    }
}

#[test]
fn a_model_that_was_not_told_of_bf16_is_noticed() {
    let _turn = crate::seeded(14);
    let (folder, params, data) = (tempfile::tempdir().unwrap(), new_params(), examples());
    let options = TrainOptions { precision: Precision::Bf16, ..options() };
    let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
    let loss =
        |_: &Batch, _: f64| Ok(Loss { total: params.iter().map(|(_, t)| t.sum(Kind::Float)).sum(), parts: vec![] });
    let error = train(&stage, &Reporter::new(Output::Silent), &loss, &|| Ok(0.0)).unwrap_err().to_string();
    assert!(error.contains("precision is bf16"), "{error}");
}

#[test]
fn what_is_not_finite_stops_with_the_batch_named_and_the_weights_untouched() {
    let _turn = crate::seeded(15);
    let (params, data, options) = (new_params(), examples(), TrainOptions { warmup: 0.0, ..options() });
    let before = params.deep_clone();
    let sum = || params.iter().map(|(_, t)| t.sum(Kind::Float)).sum::<Tensor>();
    let calls = RefCell::new(0);
    type Bad<'a> = (&'a str, &'a dyn Fn() -> Tensor);
    let cases: [Bad; 3] = [
        ("the loss is NaN", &|| sum() * f64::NAN),
        ("the loss is inf", &|| sum().exp() * f64::INFINITY),
        // The root's slope at 0.
        ("the gradient norm is NaN", &|| (sum() * 0.0).sqrt()),
    ];
    for (expected, bad) in cases {
        let folder = tempfile::tempdir().unwrap();
        let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
        *calls.borrow_mut() = 0;
        let loss = |_: &Batch, _: f64| {
            *calls.borrow_mut() += 1;
            // A gradient of zero moves nothing without weight decay. What follows the bad one would, and is under way before
            // anybody has looked at the numbers of that.
            let total = match *calls.borrow() {
                1 | 2 => sum() * 0.0,
                3 => bad(),
                _ => sum(),
            };
            Ok(Loss { total, parts: vec![] })
        };
        let mut plain = options.clone();
        plain.optimizer.weight_decay = 0.0;
        let stage = Stage { options: &plain, ..stage };
        let error = train(&stage, &Reporter::new(Output::Silent), &loss, &|| Ok(0.0)).unwrap_err();
        let error = format!("{error:#}");
        let named = ["tiny: ", "step 2", "examples [", expected].iter().all(|part| error.contains(part));
        assert!(named, "{error}");
        assert_eq!(*calls.borrow(), 4);
        same_bits(&before, &params);
    }
}

#[test]
fn a_score_that_is_not_finite_is_refused() {
    let _turn = crate::seeded(16);
    let (folder, params, data, options) = (tempfile::tempdir().unwrap(), new_params(), examples(), options());
    let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
    let loss =
        |_: &Batch, _: f64| Ok(Loss { total: params.iter().map(|(_, t)| t.sum(Kind::Float)).sum(), parts: vec![] });
    let error = train(&stage, &Reporter::new(Output::Silent), &loss, &|| Ok(f64::NAN)).unwrap_err().to_string();
    assert!(error.contains("score on dev is NaN after step 6"), "{error}");
}
