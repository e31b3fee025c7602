//! Which weights a stage ends with, and when dev is scored.

use super::*;
use crate::train::Keep;

/// A run of 12 steps that moves each weight by -0.001 a step; `scores` are given in turn. Gives how far the kept
/// weights and those that were scored are from the start, and the outcome.
fn run_scored(options: &TrainOptions, scores: &[f64]) -> (f64, Vec<f64>, Outcome) {
    let _turn = crate::seeded(18);
    let (folder, params, data) = (tempfile::tempdir().unwrap(), new_params(), examples());
    let before = params.deep_clone();
    let far = || {
        let name = "head.output.weight";
        (before.get(name).unwrap() - params.get(name).unwrap()).mean(Kind::Double).double_value(&[])
    };
    let mut options =
        TrainOptions { epochs: 2, learning_rate: 1e-3, warmup: 0.0, schedule: Schedule::Constant, ..options.clone() };
    options.optimizer = OptimizerOptions { weight_decay: 0.0, clip_norm: 0.0, ..Default::default() };
    let stage = stage(folder.path(), &params, &data, &options, &Conditions::default());
    let scored = RefCell::new(Vec::new());
    let loss =
        |_: &Batch, _: f64| Ok(Loss { total: params.iter().map(|(_, t)| t.sum(Kind::Float)).sum(), parts: vec![] });
    let score = || {
        scored.borrow_mut().push(far());
        Ok(scores[scored.borrow().len() - 1])
    };
    let outcome = train(&stage, &Reporter::new(Output::Silent), &loss, &score).unwrap();
    (far(), scored.into_inner(), outcome)
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-6, "{a} {b}");
}

#[test]
fn the_best_by_dev_the_earliest_of_equals() {
    let options = TrainOptions { score_every: Some(4), ..options() };
    let (kept, scored, outcome) = run_scored(&options, &[0.5, 0.7, 0.7]);
    near(kept, 0.008);
    [0.004, 0.008, 0.012].into_iter().zip(scored).for_each(|(a, b)| near(a, b));
    assert_eq!((outcome.best_dev, outcome.best_epoch), (0.7, 2));
}

#[test]
fn the_last() {
    let (kept, _, outcome) = run_scored(&TrainOptions { keep: Keep::Last, ..options() }, &[0.9, 0.1]);
    near(kept, 0.012);
    assert_eq!((outcome.best_dev, outcome.best_epoch), (0.1, 2));
}

#[test]
fn the_best_of_averages() {
    for decay in [0.3, 0.999] {
        let options = TrainOptions { keep: Keep::Ema, ema_decay: decay, score_every: Some(4), ..options() };
        let (kept, scored, outcome) = run_scored(&options, &[0.5, 0.7, 0.6]);
        let mut average = 0.0;
        let averages: Vec<f64> = (1..=12)
            .map(|step| {
                let step = f64::from(step);
                let d = f64::min(decay, (1.0 + step) / (10.0 + step));
                average = d * average + (1.0 - d) * step * 1e-3;
                average
            })
            .collect();
        for (own, step) in scored.into_iter().zip([4, 8, 12]) {
            near(own, averages[step - 1]);
        }
        near(kept, averages[7]);
        assert_eq!(outcome.best_dev, 0.7);
    }
}

#[test]
fn dev_is_scored_each_epoch_or_as_often_as_asked() {
    let steps = |score_every| {
        let (_, scored, outcome) = run_scored(&TrainOptions { score_every, ..options() }, &[0.1; 12]);
        assert_eq!(scored.len(), outcome.history.len());
        outcome.history.iter().map(|r| (r.step, r.epoch)).collect::<Vec<_>>()
    };
    assert_eq!(steps(None), [(6, 1), (12, 2)]);
    assert_eq!(steps(Some(5)), [(5, 1), (10, 2), (12, 2)]);
    assert_eq!(steps(Some(6)), [(6, 1), (12, 2)]);
    assert_eq!(steps(Some(100)), [(12, 2)]);
}

/// A point of the curve is the mean of its steps, also where a run was stopped within it.
#[test]
fn a_curve_of_the_loss_in_a_hundred_points() {
    let options = TrainOptions { epochs: 40, ..options() };
    let folder = tempfile::tempdir().unwrap();
    let outcome = run(folder.path(), &options, &Conditions::default()).1.unwrap();
    let steps: Vec<u64> = outcome.curve.iter().map(|point| point.step).collect();
    assert_eq!(steps, (1..=80).map(|point| point * 3).collect::<Vec<_>>(), "240 steps, 3 a point");
    let of_epoch = |from: usize| outcome.curve[from..from + 2].iter().map(|point| point.loss).sum::<f64>() / 2.0;
    for (epoch, record) in outcome.history.iter().enumerate() {
        assert!((of_epoch(2 * epoch) - record.loss).abs() < 1e-12, "{record:?}");
    }
    let broken = tempfile::tempdir().unwrap();
    let stopped = Conditions { stop_before: Some(100), checkpoint_every: Duration::ZERO, ..Default::default() };
    assert!(run(broken.path(), &options, &stopped).1.is_err());
    assert_eq!(run(broken.path(), &options, &Conditions::default()).1.unwrap().curve, outcome.curve);
}
