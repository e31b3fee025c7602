//! Seeds of one recipe that are trained apart, and measured together.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::distill::{distil, recipe, texts};
use crate::world::{World, device, stderr};

#[test]
fn seeds_that_are_trained_apart() {
    let (whole, apart) = (World::new(), World::new());
    let made = recipe("texts.csv", "", "", "layers = 1", "");
    for world in [&whole, &apart] {
        std::fs::write(world.data("texts.csv"), texts()).unwrap();
        std::fs::write(world.recipe(), &made).unwrap();
    }
    let seeds = ["--seeds", "5,6"];
    let want = distil(&whole, &made, &seeds);
    let run = |more: &[&str]| {
        let output = apart.distill(&[&seeds, more].concat()).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let (code, text) = run(&["--only-seed", "7"]);
    assert!(code == Some(1) && text.contains("--only-seed 7: the recipe's seeds are [5, 6]"), "{text}");
    let (code, text) = run(&["--only-seed", "6", "--require", "size=20"]);
    assert!(code == Some(2) && text.contains("cannot be used with"), "{text}");

    // As another machine would, beginning with the second seed.
    let (code, text) = run(&["--only-seed", "6"]);
    assert!(code == Some(0) && text.contains("not measured"), "{text}");
    for (name, there) in
        [("student-seed-6", true), ("control-seed-6", true), ("student", false), ("report.json", false)]
    {
        assert_eq!(apart.out(name).exists(), there, "{name}");
    }
    let own = distil(&apart, &made, &seeds);
    let log = std::fs::read_to_string(apart.out("train.log")).unwrap();
    assert!(log.contains("student-seed-6: done before") && !log.contains("student: done before"), "{log}");
    assert_eq!(own["seeds"], want["seeds"]);
    for folder in ["student", "student-seed-6", "control-seed-6"] {
        let weights = |world: &World| std::fs::read(world.out(folder).join("model.safetensors")).unwrap();
        assert!(weights(&apart) == weights(&whole), "{folder}");
    }
}

#[test]
fn seeds_that_are_trained_side_by_side() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    std::fs::write(world.recipe(), recipe("texts.csv", "", "", "layers = 1", "")).unwrap();
    let run = |teacher: &Path| {
        let limbeck = world.limbeck(&[]);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recipes/side_by_side.py");
        let mut python = Command::new("python3");
        python.arg(script).arg("--limbeck").arg(limbeck.get_program()).args(["--seeds", "5,6", "--out"]);
        python.arg(world.out("")).arg("--").arg("--recipe").arg(world.recipe()).arg("--teacher").arg(teacher);
        python.arg("--data").arg(world.recipe().parent().unwrap()).args(["--device", device()]);
        python.envs(limbeck.get_envs().filter_map(|(name, value)| Some((name, value?))));
        python.output().expect("python3 is not installed")
    };
    let failed = run(Path::new("/nonexistent"));
    assert!(failed.status.code() == Some(1) && stderr(&failed).contains("seed 5 failed"), "{}", stderr(&failed));
    let done = run(&world.teacher());
    assert!(done.status.success(), "{}", stderr(&done));
    let report: Value = serde_json::from_slice(&std::fs::read(world.out("report.json")).unwrap()).unwrap();
    assert_eq!(report["seeds"].as_array().unwrap().len(), 2);
    let log = std::fs::read_to_string(world.out("train.log")).unwrap();
    for name in ["  student: epoch 1", "  student-seed-6: epoch 1", "  control-seed-6: epoch 1"] {
        assert_eq!(log.matches(name).count(), 1, "{name}: {log}");
    }
    assert_eq!(log.matches("  teacher: epoch 1 ").count(), 1, "{log}");
    assert!(!world.data("out-seed-6").exists());
}
