use serde_json::json;
use tch::Device;

use super::*;
use crate::arch::{Capture, Head, Model, ModelConfig, parameter_layout};
use crate::objective::cross_entropy;
use crate::progress::Output;

fn config() -> ModelConfig {
    ModelConfig::from_hf(&json!({"model_type": "bert", "hidden_act": "gelu", "vocab_size": 40, "hidden_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32, "max_position_embeddings": 16,
        "type_vocab_size": 2, "hidden_dropout_prob": 0.05, "initializer_range": 0.05}))
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

fn options() -> TrainOptions {
    TrainOptions { epochs: 12, batch_size: 8, learning_rate: 5e-3, ..TrainOptions::default() }
}

fn run(folder: &Path, stop_before: Option<u64>, checkpoint_every: Duration) -> (Params, Result<Outcome>) {
    tch::set_num_threads(1);
    let _turn = crate::seeded(11);
    let config = config();
    let params = Params::initialise(&parameter_layout(&config, HEAD), Device::Cpu);
    let model = Model::new(&params, &config, HEAD);
    let data = examples();
    let options = options();
    let stage = Stage {
        name: "tiny",
        folder,
        params: &params,
        examples: &data,
        pad_id: 0,
        options: &options,
        seed: 5,
        identity: "test",
        checkpoint_every,
        stop_before,
    };
    let forward =
        |batch: &Batch, train| model.forward(&batch.ids, &batch.mask, None, &Capture::default(), train).logits;
    let outcome = train(
        &stage,
        &Reporter::new(Output::Silent),
        &|batch| Ok(Loss { total: cross_entropy(&forward(batch, true), &batch.targets), parts: vec![] }),
        &|| {
            let all = Batch::new(&data, (0..data.len()).collect(), 0, Device::Cpu);
            Ok(crate::objective::accuracy(&forward(&all, false), &all.targets))
        },
    );
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
    let outcome = run(folder.path(), None, Duration::from_secs(3600)).1.unwrap();
    assert!(outcome.best_dev > 0.9, "{outcome:?}");
    assert!(outcome.history[0].loss > outcome.history[11].loss);
    discard_checkpoint(folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_interrupted_run_ends_with_the_same_bits() {
    let whole = tempfile::tempdir().unwrap();
    let (expected, outcome) = run(whole.path(), None, Duration::from_secs(3600));
    let outcome = outcome.unwrap();
    let broken = tempfile::tempdir().unwrap();
    for stop in [1, 2, 5, 6, 7, 20, 31, 70] {
        assert!(run(broken.path(), Some(stop), Duration::ZERO).1.is_err());
    }
    let (resumed, second) = run(broken.path(), None, Duration::ZERO);
    let second = second.unwrap();
    assert_eq!(second.resumed_at, 70);
    assert_eq!(second.history, outcome.history, "losses and scores to the bit");
    same_bits(&expected, &resumed);
}

#[test]
fn a_checkpoint_of_another_run_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), Some(9), Duration::ZERO).1.is_err());
    let path = folder.path().join("resume.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    let error = format!("{:#}", run(folder.path(), None, Duration::ZERO).1.unwrap_err());
    assert!(error.contains("cannot resume from") && error.contains("delete it"), "{error}");
}

#[test]
fn a_loss_that_is_not_finite_stops_with_the_batch_named() {
    let _turn = crate::seeded(11);
    let folder = tempfile::tempdir().unwrap();
    let config = config();
    let params = Params::initialise(&parameter_layout(&config, HEAD), Device::Cpu);
    let options = options();
    let data = examples();
    let stage = Stage {
        name: "tiny",
        folder: folder.path(),
        params: &params,
        examples: &data,
        pad_id: 0,
        options: &options,
        seed: 5,
        identity: "nan",
        checkpoint_every: Duration::from_secs(9),
        stop_before: None,
    };
    let nan = |_: &Batch| {
        let sum: Tensor = params.iter().map(|(_, t)| t.sum(tch::Kind::Float)).sum();
        Ok(Loss { total: sum * f64::NAN, parts: vec![] })
    };
    let error = train(&stage, &Reporter::new(Output::Silent), &nan, &|| Ok(0.0)).unwrap_err().to_string();
    assert!(error.contains("step 0") && error.contains("examples ["), "{error}");
}
