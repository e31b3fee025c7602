//! `limbeck distill` in two processes under `mpirun`, for programs built with the feature.

use std::process::Command;

use serde_json::Value;

use crate::distill::{recipe, texts};
use crate::world::{World, stderr};

/// A world without dropout, which each process would draw by itself.
fn world(batch_size: usize) -> World {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let path = world.teacher().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for name in ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"] {
        config[name] = 0.0.into();
    }
    std::fs::write(path, config.to_string()).unwrap();
    let made = recipe("texts.csv", "method = \"tinybert\"", "", "layers = 1", "");
    let made = made.replace("batch_size = 16", &format!("batch_size = {batch_size}")).replace("3e-3", "1e-3");
    std::fs::write(world.recipe(), made).unwrap();
    world
}

fn report(world: &World, command: &mut Command) -> Value {
    let output = command.output().expect("mpirun is not installed");
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&std::fs::read(world.out("report.json")).unwrap()).unwrap()
}

/// The losses of all epochs, by stage.
fn losses(report: &Value) -> Vec<(String, Vec<f64>)> {
    let stages = report["stages"].as_array().unwrap().iter();
    let of = |stage: &Value| {
        stage["history"].as_array().unwrap().iter().map(|epoch| epoch["loss"].as_f64().unwrap()).collect()
    };
    stages.map(|stage| (stage["name"].as_str().unwrap().to_owned(), of(stage))).collect()
}

#[test]
fn two_processes_distil_as_one_with_the_double_batch() {
    let alone = world(16);
    let one = report(&alone, &mut alone.distill(&["--threads", "1"]));
    let both = world(8);
    let program = both.distill(&["--threads", "1", "--parallel", "mpi"]);
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-np", "2"]);
    command.arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let two = report(&both, &mut command);
    assert_eq!((&one["training"]["processes"], &two["training"]["processes"]), (&1.into(), &2.into()));
    for ((name, own), (_, want)) in losses(&two).into_iter().zip(losses(&one)) {
        assert_eq!(own.len(), want.len(), "{name}");
        for (own, want) in own.iter().zip(&want) {
            assert!((own - want).abs() < 2e-3 * want.abs().max(1.0), "{name}: {own} {want}");
        }
    }
}
