//! With a gradient of 1 everywhere a step of Adam moves each weight by the learning rate: what a run did to the
//! weights tells which rates it used.

use super::*;
use crate::train::Keep;

/// How far each weight went in 12 steps, by name.
fn moved(options: &TrainOptions) -> Vec<(String, f64)> {
    let _turn = crate::seeded(17);
    let (folder, params, data) = (tempfile::tempdir().unwrap(), new_params(), examples());
    let before = params.deep_clone();
    let mut options = TrainOptions { epochs: 2, keep: Keep::Last, learning_rate: 1e-3, ..options.clone() };
    options.optimizer = OptimizerOptions { weight_decay: 0.0, clip_norm: 0.0, ..Default::default() };
    let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
    let loss =
        |_: &Batch, _: f64| Ok(Loss { total: params.iter().map(|(_, t)| t.sum(Kind::Float)).sum(), parts: vec![] });
    let outcome = train(&stage, &Reporter::new(Output::Silent), &loss, &|| Ok(0.0)).unwrap();
    assert_eq!(outcome.steps, 12);
    let far = |name, t: &Tensor| (before.get(name).unwrap() - t).mean(Kind::Double).double_value(&[]);
    params.iter().map(|(name, t)| (name.to_owned(), far(name, t))).collect()
}

#[test]
fn they_follow_the_schedule() {
    let least = 0.25;
    for (schedule, warmup) in [
        (Schedule::Linear, 0.0),
        (Schedule::Linear, 0.25),
        (Schedule::Constant, 0.25),
        (Schedule::Cosine, 0.0),
        (Schedule::Cosine, 0.25),
    ] {
        let moved = moved(&TrainOptions { schedule, warmup, min_factor: least, ..options() });
        let rising = (12.0 * warmup) as u64;
        let factor = |step: u64| match schedule {
            _ if step < rising => step as f64 / rising as f64,
            Schedule::Linear => (12 - step) as f64 / (12 - rising) as f64,
            Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let angle = std::f64::consts::PI * (step - rising) as f64 / (12 - rising) as f64;
                least + (1.0 - least) * 0.5 * (1.0 + angle.cos())
            }
        };
        let want = (0..12).map(factor).sum::<f64>() * 1e-3;
        for (name, far) in moved {
            assert!((far - want).abs() < 1e-6, "{schedule:?}, {name}: {far} for {want}");
        }
    }
}

#[test]
fn they_decay_by_layer() {
    let options = TrainOptions { schedule: Schedule::Constant, warmup: 0.0, layer_decay: 0.5, ..options() };
    for (name, far) in moved(&options) {
        let factor = match name.split('.').collect::<Vec<_>>()[..] {
            ["embeddings", ..] => 0.25,
            ["encoder", _, "0", ..] => 0.5,
            _ => 1.0,
        };
        assert!((far - 12e-3 * factor).abs() < 1e-6, "{name}: {far}");
    }
}

/// A layer that begins late also begins with steps of the learning rate: moments are corrected from its own first step on.
#[test]
fn they_wait_until_a_layer_is_unfrozen() {
    for unfreeze in [0.0, 0.5] {
        let options = TrainOptions { schedule: Schedule::Constant, warmup: 0.0, unfreeze, ..options() };
        for (name, far) in moved(&options) {
            let begins = match name.split('.').collect::<Vec<_>>()[..] {
                ["embeddings", ..] => 12.0 * unfreeze,
                ["encoder", _, "0", ..] => 8.0 * unfreeze,
                ["encoder", _, "1", ..] => 4.0 * unfreeze,
                _ => 0.0,
            };
            assert!((far - (12.0 - begins) * 1e-3).abs() < 1e-6, "{name}, {unfreeze}: {far}");
        }
    }
}
