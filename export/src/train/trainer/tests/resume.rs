//! A run that was stopped ends with the bits of one that was not.

use super::*;
use crate::train::Keep;

fn ends_with_the_same_bits(what: &str, options: &TrainOptions, rounding: Option<FakeQuantization>) {
    let whole = tempfile::tempdir().unwrap();
    let (expected, outcome) = run(whole.path(), options, &Conditions { rounding, ..Default::default() });
    let outcome = outcome.unwrap();
    let broken = tempfile::tempdir().unwrap();
    let always = || Conditions { checkpoint_every: Duration::ZERO, rounding, ..Default::default() };
    let mut last = 0;
    for stop in [1, 7, 13].into_iter().filter(|&stop| stop < outcome.steps) {
        let conditions = Conditions { stop_before: Some(stop), ..always() };
        let error = run(broken.path(), options, &conditions).1.unwrap_err().to_string();
        assert!(error.contains("stopped before"), "{what}: {error}");
        last = stop;
    }
    assert!(last >= 7, "{what}: too short to be stopped");
    let (resumed, second) = run(broken.path(), options, &always());
    let second = second.unwrap();
    assert_eq!(second.resumed_at, last, "{what}");
    assert_eq!(second.history, outcome.history, "{what}: losses and scores to the bit");
    assert_eq!((second.best_dev, second.best_epoch), (outcome.best_dev, outcome.best_epoch), "{what}");
    same_bits(&expected, &resumed);
}

#[test]
fn with_every_option() {
    let base = TrainOptions { epochs: 3, ..options() };
    let lamb = OptimizerOptions { kind: OptimizerKind::Lamb, bias_correction: false, ..Default::default() };
    for (what, options) in [
        ("defaults", base.clone()),
        ("accumulate", TrainOptions { batch_size: 3, accumulate: 3, ..base.clone() }),
        ("batch_tokens", TrainOptions { batch_tokens: Some(50), accumulate: 2, ..base.clone() }),
        ("cosine", TrainOptions { schedule: Schedule::Cosine, min_factor: 0.1, ..base.clone() }),
        ("constant and last", TrainOptions { schedule: Schedule::Constant, keep: Keep::Last, ..base.clone() }),
        ("ema", TrainOptions { keep: Keep::Ema, ema_decay: 0.8, ..base.clone() }),
        ("lamb", TrainOptions { optimizer: lamb, learning_rate: 1e-2, ..base.clone() }),
        ("steps across epochs", TrainOptions { steps: Some(19), ..base.clone() }),
        ("layer_decay and score_every", TrainOptions { layer_decay: 0.8, score_every: Some(5), ..base.clone() }),
        ("unfreeze", TrainOptions { unfreeze: 0.7, ..base.clone() }),
        ("bf16", TrainOptions { precision: Precision::Bf16, ..base.clone() }),
        (
            "all at once",
            TrainOptions {
                batch_tokens: Some(40),
                accumulate: 2,
                schedule: Schedule::Cosine,
                layer_decay: 0.9,
                keep: Keep::Ema,
                precision: Precision::Bf16,
                score_every: Some(4),
                optimizer: lamb,
                ..base
            },
        ),
    ] {
        ends_with_the_same_bits(what, &options, None);
    }
}

/// What is kept are the fp32 weights, and they are what goes on.
#[test]
fn with_weights_that_are_rounded_in_each_step() {
    for rounding in [FakeQuantization::Int8, FakeQuantization::Ternary] {
        let options = TrainOptions { epochs: 3, keep: Keep::Ema, ema_decay: 0.8, ..options() };
        ends_with_the_same_bits(&format!("{rounding:?}"), &options, Some(rounding));
    }
    let folder = tempfile::tempdir().unwrap();
    let rounded = |rounding| run(folder.path(), &options(), &Conditions { rounding, ..Default::default() });
    let (params, outcome) = rounded(Some(FakeQuantization::Ternary));
    assert!(outcome.unwrap().best_dev > 0.9, "ternary weights learn the task");
    let name = "encoder.ffn.0.up.weight";
    let own = params.get(name).unwrap();
    assert_ne!(*own, FakeQuantization::Ternary.of_weights(own), "what is trained stays fp32");
}

#[test]
fn a_damaged_checkpoint_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let stopped = Conditions { stop_before: Some(9), checkpoint_every: Duration::ZERO, ..Default::default() };
    assert!(run(folder.path(), &options(), &stopped).1.is_err());
    let path = folder.path().join("resume.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 3]).unwrap();
    let error = format!("{:#}", run(folder.path(), &options(), &Conditions::default()).1.unwrap_err());
    assert!(error.contains("cannot resume from") && error.contains("delete it"), "{error}");
}

#[test]
fn a_checkpoint_of_other_settings_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let stopped = Conditions { stop_before: Some(9), checkpoint_every: Duration::ZERO, ..Default::default() };
    assert!(run(folder.path(), &options(), &stopped).1.is_err());
    for other in [
        TrainOptions { schedule: Schedule::Constant, ..options() },
        TrainOptions { layer_decay: 0.9, ..options() },
        TrainOptions { unfreeze: 0.1, ..options() },
        TrainOptions { keep: Keep::Ema, ..options() },
        TrainOptions { precision: Precision::Bf16, ..options() },
    ] {
        let outcome = run(folder.path(), &TrainOptions { epochs: 1, ..other }, &Conditions::default()).1.unwrap();
        assert_eq!(outcome.resumed_at, 0);
    }
    // The best weights so far are gone, and with them the use of the checkpoint.
    assert!(run(folder.path(), &options(), &stopped).1.is_err());
    std::fs::remove_file(folder.path().join("best-6.safetensors")).unwrap();
    let again = run(folder.path(), &options(), &stopped).1.unwrap_err().to_string();
    assert!(again.contains("stopped before step 9"), "{again}");
    assert_eq!(best_files(folder.path()), ["best-6.safetensors"], "written anew, from the first epoch on");
}

/// A run of other settings leaves its best weights under the same name, and no checkpoint: killed before its first.
#[test]
fn the_best_weights_of_another_run_are_not_taken() {
    let options = options();
    let whole = tempfile::tempdir().unwrap();
    let (expected, outcome) = run(whole.path(), &options, &Conditions::default());
    let folder = tempfile::tempdir().unwrap();
    let saving = Conditions { stop_before: Some(9), checkpoint_every: Duration::ZERO, ..Default::default() };
    assert!(run(folder.path(), &options, &saving).1.is_err());
    let other = TrainOptions { learning_rate: options.learning_rate * 2.0, ..options.clone() };
    assert!(run(folder.path(), &other, &Conditions { stop_before: Some(9), ..Default::default() }).1.is_err());
    assert_eq!(best_files(folder.path()), ["best-6.safetensors"]);
    let (found, again) = run(folder.path(), &options, &Conditions::default());
    let (outcome, again) = (outcome.unwrap(), again.unwrap());
    assert_eq!((again.resumed_at, again.history), (0, outcome.history));
    same_bits(&expected, &found);
}

/// Where the same steps give other bits, a run may not come by a new best again that it had when it was killed.
#[test]
fn a_new_best_does_not_take_the_place_of_the_one_that_the_checkpoint_names() {
    let folder = tempfile::tempdir().unwrap();
    let stopped = |stop, every| Conditions { stop_before: Some(stop), checkpoint_every: every, ..Default::default() };
    assert!(run(folder.path(), &options(), &stopped(9, Duration::ZERO)).1.is_err());
    assert_eq!(best_files(folder.path()), ["best-6.safetensors"]);
    let (_, outcome) = run(tempfile::tempdir().unwrap().path(), &options(), &Conditions::default());
    let history = outcome.unwrap().history;
    let better: Vec<_> = history.iter().filter(|record| record.dev > history[0].dev).take(2).collect();
    // Two that are better, one after the other, and no checkpoint: only the last of them is kept beside the old one.
    let stop = better[1].step + 1;
    assert!(better[1].dev > better[0].dev && stop < 72, "the scores of this test's task: {history:?}");
    assert!(run(folder.path(), &options(), &stopped(stop, NEVER)).1.is_err());
    let newest = format!("best-{}.safetensors", better[1].step);
    assert_eq!(best_files(folder.path()), sorted(["best-6.safetensors", &newest]));
    assert!(run(folder.path(), &options(), &stopped(stop, Duration::ZERO)).1.is_err());
    assert_eq!(best_files(folder.path()), [newest], "a checkpoint names the new one");
}

fn sorted(names: [&str; 2]) -> Vec<String> {
    let mut names = names.map(str::to_owned).to_vec();
    names.sort();
    names
}

fn best_files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with("best"));
    names.sort();
    names
}
