//! `limbeck check`: what it says of a world in order, and of one that is not.

use serde_json::Value;

use crate::world::{World, device, stderr, stdout};

#[test]
fn what_is_in_order_is_ready() {
    let world = World::new();
    let output = world.check().output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    assert!(text.contains("Ready. Next: limbeck distill"), "{text}");
    assert!(!text.contains("warning:") && !text.contains("PROBLEM"), "{text}");
    // Two teachers and another start, as JSON.
    let teacher = world.teacher();
    let output =
        world.check().arg("--teacher").arg(&teacher).arg("--student").arg(&teacher).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let facts = findings["facts"].as_array().unwrap();
    let teachers =
        facts.iter().filter(|fact| fact.as_str().unwrap().starts_with("teacher: tiny-teacher, bert")).count();
    assert_eq!(teachers, 2, "{facts:#?}");
    assert!(findings["problems"].as_array().unwrap().is_empty(), "{findings}");
}

#[test]
fn a_finished_teacher_with_its_labels_mixed_up_is_found_out() {
    let world = World::new();
    let (teacher, data, out) = (world.teacher(), world.data("all.csv"), world.out("finished"));
    let (teacher, data, made) = (teacher.to_str().unwrap(), data.to_str().unwrap(), out.to_str().unwrap());
    let arguments = ["finetune", "--task", "text-classification", "--model", teacher, "--train", data, "--out", made];
    let more =
        ["--epochs", "4", "--batch-size", "16", "--learning-rate", "3e-3", "--max-tokens", "16", "--device", device()];
    let output = world.limbeck(&[&arguments[..], &more].concat()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let recipe = std::fs::read_to_string(world.recipe()).unwrap();
    std::fs::write(
        world.recipe(),
        recipe.replace("[teacher.train]", "[teacher]\nsource = \"finished\"\n[teacher.train]"),
    )
    .unwrap();
    let check = || {
        let mut command = world.limbeck(&["check", "--teacher", made]);
        command.arg("--recipe").arg(world.recipe()).arg("--data").arg(world.data("all.csv").parent().unwrap());
        command.output().unwrap()
    };
    let output = check();
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("teacher: finished has accuracy"), "{}", stdout(&output));

    let config = out.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let rename = |first: &str, second: &str| {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value["id2label"] = serde_json::json!({"0": first, "1": second});
        value["label2id"] = serde_json::json!({first: 0, second: 1});
        std::fs::write(&config, value.to_string()).unwrap();
    };
    // The names are the data's, but each stands for the other.
    rename("positive", "negative");
    let output = check();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("far better in another order") && text.contains("should be negative, positive"), "{text}");
    // Other names: its answers tell which is which.
    rename("LABEL_0", "LABEL_1");
    let text = stdout(&check());
    assert!(text.contains("only the teacher has LABEL_0, LABEL_1") && text.contains("negative, positive"), "{text}");
    assert!(text.contains("write the data's names as id2label"), "{text}");
}
