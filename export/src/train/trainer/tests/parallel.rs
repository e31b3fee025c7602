//! Processes that train together, played by threads.

use super::*;
use crate::train::threads::{Thread, pair};

/// Trains with two threads from unequal weights, each with a folder of its own; gives what each ended with.
fn two(folders: [&Path; 2], options: &TrainOptions, stop_before: Option<u64>) -> [(Params, Result<Outcome>); 2] {
    let _turn = crate::seeded(11);
    let params = [new_params(), new_params()];
    let [first, second] = params;
    let start = |group: Thread, params: Params| {
        let (folder, options) = (folders[group.rank()].to_owned(), options.clone());
        std::thread::spawn(move || {
            let checkpoint_every = Duration::ZERO;
            let conditions = Conditions { stop_before, checkpoint_every, dropout: 0.0, rounding: None, group: &group };
            let outcome = run_from(&params, &folder, &options, &conditions);
            (params, outcome)
        })
    };
    let [leader, other] = pair();
    [start(leader, first), start(other, second)].map(|thread| thread.join().unwrap())
}

#[test]
fn two_processes_train_as_one_with_the_double_batch() {
    for options in [
        TrainOptions { batch_size: 8, epochs: 3, learning_rate: 1e-3, ..options() },
        // 48 rows: the last step has a micro-batch for one process, none for the other.
        TrainOptions { batch_size: 10, epochs: 3, learning_rate: 1e-3, ..options() },
        TrainOptions { batch_size: 4, accumulate: 2, epochs: 3, learning_rate: 1e-3, ..options() },
    ] {
        let alone = tempfile::tempdir().unwrap();
        let double = TrainOptions { batch_size: options.batch_size * 2, ..options.clone() };
        let outcome = run(alone.path(), &double, &Conditions { dropout: 0.0, ..Default::default() }).1.unwrap();
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [(first, a), (second, b)] = two([one.path(), other.path()], &options, None);
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.history, b.history, "both know the same");
        same_bits(&first, &second);
        for (own, want) in a.history.iter().zip(&outcome.history) {
            assert!(own.step == want.step && (own.loss - want.loss).abs() < 1e-5, "{own:?} {want:?}");
        }
        assert!(one.path().join(format!("best-{}.safetensors", best_step(&a))).is_file());
        assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0, "process 0 alone writes");
    }
}

#[test]
fn processes_that_were_stopped_end_with_the_same_bits() {
    let options = TrainOptions { batch_size: 4, epochs: 3, keep: crate::train::Keep::Ema, ..options() };
    let folders: Vec<tempfile::TempDir> = (0..4).map(|_| tempfile::tempdir().unwrap()).collect();
    let [(want, outcome), _] = two([folders[0].path(), folders[1].path()], &options, None);
    for stop in [1, 7, 13] {
        for (_, outcome) in two([folders[2].path(), folders[3].path()], &options, Some(stop)) {
            assert!(outcome.unwrap_err().to_string().contains("stopped before"));
        }
    }
    let [(first, a), (second, b)] = two([folders[2].path(), folders[3].path()], &options, None);
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.resumed_at, b.resumed_at), (13, 13));
    assert_eq!(a.history, outcome.unwrap().history);
    same_bits(&want, &first);
    same_bits(&want, &second);
}

/// Under `mpirun`, as [`two_processes_under_mpirun`] starts it.
#[cfg(feature = "mpi")]
#[test]
#[ignore = "one of the processes of two_processes_under_mpirun"]
fn process() {
    let Some(folder) = std::env::var_os("LIMBECK_TEST_FOLDER").map(std::path::PathBuf::from) else { return };
    let group = crate::train::Mpi::start().unwrap();
    assert_eq!(group.size(), 2);
    let _turn = crate::seeded(11 + group.rank() as i64);
    let params = new_params();
    let own = folder.join(group.rank().to_string());
    std::fs::create_dir(&own).unwrap();
    let options = TrainOptions { batch_size: 8, epochs: 3, learning_rate: 1e-3, ..options() };
    let fails = std::env::var_os("LIMBECK_TEST_FAILS").is_some() && group.rank() == 1;
    let stop_before = fails.then_some(3);
    let conditions = Conditions { stop_before, dropout: 0.0, group: &group, ..Default::default() };
    let outcome = run_from(&params, &own, &options, &conditions).unwrap();
    crate::files::write_json(&own.join("history.json"), &outcome.history).unwrap();
    let weights: Vec<_> = params.iter().map(|(name, t)| (name.to_owned(), t.shallow_clone())).collect();
    crate::checkpoint::write_tensors(&own.join("end.safetensors"), &weights, &Default::default()).unwrap();
    group.barrier().unwrap();
    group.finish();
}

#[cfg(feature = "mpi")]
fn mpirun(folder: &Path) -> std::process::Command {
    let mut command = std::process::Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-np", "2"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "train::trainer::tests::parallel::process", "--ignored", "--nocapture"]);
    command.env("LIMBECK_TEST_FOLDER", folder);
    command
}

/// Process 0 waits for process 1, which is no more: `mpirun` ends it, or this test would not end.
#[cfg(feature = "mpi")]
#[test]
fn a_process_that_fails_ends_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let output = mpirun(folder.path()).env("LIMBECK_TEST_FAILS", "1").output().expect("mpirun is not installed");
    assert!(!output.status.success());
    assert!(!folder.path().join("0/history.json").exists());
}

#[cfg(feature = "mpi")]
#[test]
fn two_processes_under_mpirun() {
    let folder = tempfile::tempdir().unwrap();
    let output = mpirun(folder.path()).output().expect("mpirun is not installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let histories: Vec<Vec<EpochRecord>> = (0..2)
        .map(|rank| crate::files::read_json(&folder.path().join(rank.to_string()).join("history.json")).unwrap())
        .collect();
    assert_eq!(histories[0], histories[1]);
    let ends: Vec<Vec<u8>> = (0..2)
        .map(|rank| std::fs::read(folder.path().join(rank.to_string()).join("end.safetensors")).unwrap())
        .collect();
    assert!(ends[0] == ends[1], "both end with the same weights");
    // The initial weights are those of process 0, whose seed is that of `run`.
    let alone = tempfile::tempdir().unwrap();
    let options = TrainOptions { batch_size: 16, epochs: 3, learning_rate: 1e-3, ..options() };
    let outcome = run(alone.path(), &options, &Conditions { dropout: 0.0, ..Default::default() }).1.unwrap();
    for (own, want) in histories[0].iter().zip(&outcome.history) {
        assert!(own.step == want.step && (own.loss - want.loss).abs() < 1e-5, "{own:?} {want:?}");
    }
}

/// The step in which the best weights were scored.
fn best_step(outcome: &Outcome) -> u64 {
    let best = outcome.history.iter().find(|record| record.dev == outcome.best_dev);
    best.map_or(0, |record| record.step)
}
