//! `limbeck distill` and `limbeck pretrain` in two processes under `mpirun`, for programs built with the feature.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::distill::{recipe, texts};
use crate::pretrain;
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

fn json(mut command: Command, file: &Path) -> Value {
    let output = command.output().expect("mpirun is not installed");
    assert!(output.status.success(), "{}", stderr(&output));
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The same command in two processes.
fn twice(mut program: Command) -> Command {
    program.args(["--parallel", "mpi"]);
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "-np", "2"]);
    command.arg(program.get_program()).args(program.get_args());
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
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
    let (alone, both) = (world(16), world(8));
    let one = json(alone.distill(&["--threads", "1"]), &alone.out("report.json"));
    let two = json(twice(both.distill(&["--threads", "1"])), &both.out("report.json"));
    assert_eq!((&one["training"]["processes"], &two["training"]["processes"]), (&1.into(), &2.into()));
    for ((name, own), (_, want)) in losses(&two).into_iter().zip(losses(&one)) {
        assert_eq!(own.len(), want.len(), "{name}");
        for (own, want) in own.iter().zip(&want) {
            assert!((own - want).abs() < 2e-3 * want.abs().max(1.0), "{name}: {own} {want}");
        }
    }
}

/// A causal model, whose losses draw nothing, learns the same; one whose tokens are replaced by what each process draws learns.
#[test]
fn two_processes_pretrain_as_one_with_the_double_batch() {
    let world = pretrain::world();
    let run = |out: &str, batch_size: usize, double: bool| {
        let recipe = format!(
            "teacher = {{ model = {:?}, control = false }}\nmax_tokens = 32\nmodel = {{ layers = 2, dropout = 0.0 }}\n\
             data = {{ train = [\"text.txt\"], documents = \"empty-lines\" }}\nobjective = {{ kind = \"clm\" }}\n\
             train = {{ steps = 30, batch_size = {batch_size}, learning_rate = 5e-3 }}\n",
            pretrain::causal()
        );
        std::fs::write(world.data("causal.toml"), recipe).unwrap();
        let command = pretrain::pretrain(&world, "causal.toml", out, &[]);
        json(if double { twice(command) } else { command }, &world.data(out).join("pretrain.json"))
    };
    let (one, two) = (run("one", 16, false), run("two", 8, true));
    assert_eq!(one["tokens_seen"], two["tokens_seen"]);
    let history = |done: &Value| -> Vec<f64> {
        done["outcome"]["history"].as_array().unwrap().iter().map(|row| row["loss"].as_f64().unwrap()).collect()
    };
    for (own, want) in history(&two).into_iter().zip(history(&one)) {
        assert!((own - want).abs() < 1e-3 * want, "{own} {want}");
    }

    let replaced = |out: &str, double: bool| {
        let command = pretrain::pretrain(&world, "electra.toml", out, &[]);
        json(if double { twice(command) } else { command }, &world.data(out).join("pretrain.json"))
    };
    let (one, two) = (replaced("electra-one", false), replaced("electra-two", true));
    assert_eq!(one["tokens_seen"], two["tokens_seen"]);
    for done in [one, two] {
        assert!(history(&done)[0] > *history(&done).last().unwrap(), "{done}");
    }
}
