//! `limbeck distill` with stages that round the student's weights, and what becomes of its folder.

use serde_json::Value;

use crate::distill::{distil, recipe, score, texts};
use crate::world::{World, stderr};

fn stages(rest: &str) -> String {
    format!(
        "[[stages]]\nname = \"answers\"\nlosses = [{{ loss = \"soft-targets\" }}, {{ loss = \"labels\" }}]\n\
         [[stages]]\nname = \"rounded\"\nlosses = [{{ loss = \"attention-scores\" }}, {{ loss = \"soft-cross-entropy\" }}]\n\
         {rest}\n"
    )
}

fn json(path: &std::path::Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_ternary_student_is_shipped_as_it_was_trained() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let made = recipe("texts.csv", "", "", "layers = 1", &stages("quantize = \"ternary\""));
    let report = distil(&world, &made, &["--ablate"]);
    assert_eq!(report["quantization"]["mode"], "ternary");
    assert!(score(&report, "student ternary") > 0.85 && score(&report, "student fp32") > 0.85, "{report}");
    // Seeds are compared in the form that they were trained for.
    assert_eq!(report["seeds"][0]["student"], score(&report, "student ternary"));
    let names: Vec<&str> =
        report["ablation"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"without the stage answers") && names.contains(&"without rounded, attention-scores"),
        "{names:?}"
    );

    // The folder keeps fp32 weights, knows what they are for, and holds the student before.
    let (student, bundle) = (world.out("student"), world.out("tiny.limbeck"));
    assert_eq!(json(&student.join("config.json"))["limbeck"]["quantize"], "ternary");
    let before = json(&student.join("fp32/config.json"));
    assert!(before.get("limbeck").is_none() && student.join("fp32/model.safetensors").is_file(), "{before}");
    let shipped = world.json(&["inspect", bundle.to_str().unwrap(), "--json"]);
    let contract = &shipped["manifest"]["quantization"];
    assert_eq!(contract["mode"], "ternary");
    let drop = report["quantization"]["dev_drop_points"].as_f64().unwrap();
    assert!((contract["measured_drop"].as_f64().unwrap() - drop / 100.0).abs() < 1e-9);

    let (student, dev, again) = (student.to_str().unwrap(), world.data("texts.csv"), world.data("again.limbeck"));
    let (dev, again) = (dev.to_str().unwrap(), again.to_str().unwrap());
    let tokens = ["--max-tokens", "24"];
    let quantize = ["quantize", student, "-o", again, "--data", dev, "--max-drop", "30", "--json"];
    let found = world.json(&[&quantize[..], &tokens].concat());
    assert_eq!((&found["mode"], found["units"].as_array().unwrap().len()), (&"ternary".into(), 0), "{found}");
    let accuracy = |bundle: &str| world.json(&["eval", bundle, dev, "--json"])["metrics"]["accuracy"].as_f64().unwrap();
    assert_eq!(accuracy(again), accuracy(bundle.to_str().unwrap()));
    let lost = accuracy(world.out("tiny.fp32.limbeck").to_str().unwrap()) - accuracy(again);
    assert!((found["drop_points"].as_f64().unwrap() - lost * 100.0).abs() < 1e-9, "{found}: {lost}");

    // In any other form it is another model, which nobody has trained.
    let other = world.data("other.limbeck");
    let other = other.to_str().unwrap();
    for arguments in [
        &["pack", student, "-o", other][..],
        &["quantize", student, "-o", other, "--data", dev, "--mode", "int8"],
        &["quantize", student, "-o", other, "--data", dev, "--table", "int8"],
        &["quantize", student, "-o", other, "--data", dev, "--keep-float", "0"],
        &["export", student, "--out", other],
    ] {
        let output = world.limbeck(arguments).output().unwrap();
        let text = stderr(&output);
        let told = text.contains("trained with") || text.contains("stored as a whole");
        assert!(!output.status.success() && told, "{arguments:?}: {text}");
        assert!(!std::path::Path::new(other).exists());
    }
    std::fs::remove_dir_all(world.out("student/fp32")).unwrap();
    let output = world.limbeck(&quantize).output().unwrap();
    assert!(stderr(&output).contains("--against"), "{}", stderr(&output));
    let teacher = world.out("teacher");
    let against = [&quantize[..], &["--against", teacher.to_str().unwrap()], &tokens].concat();
    assert_eq!(world.json(&against)["mode"], "ternary");

    // A finished run is not trained again.
    let output = world.distill(&[]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("rounded: done before"), "{}", stderr(&output));
    // What it is measured against was made again from what its stage left, and the next run finds it.
    assert!(world.out("student/fp32/model.safetensors").exists());
    let output = world.distill(&[]).output().unwrap();
    assert!(stderr(&output).contains("student: done before"), "{}", stderr(&output));
    // Of the recipe without fewer bits nothing is measured against it.
    std::fs::write(world.recipe(), recipe("texts.csv", "", "", "layers = 1", &stages(""))).unwrap();
    let output = world.distill(&[]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!world.out("student/fp32").exists());
}

#[test]
fn int8_in_training_and_ternary_without() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let stage = "[[stages]]\nname = \"answers\"\nquantize = \"int8\"\nlosses = [{ loss = \"soft-targets\" }]\n";
    let report = distil(&world, &recipe("texts.csv", "", "", "layers = 1", stage), &[]);
    assert!(score(&report, "student int8") > 0.85 && report["quantization"]["mode"] == "int8-by-token", "{report}");
    let (student, dev, bundle) = (world.out("student"), world.data("texts.csv"), world.data("ternary.limbeck"));
    assert_eq!(json(&student.join("config.json"))["limbeck"]["quantize"], "int8");
    let arguments = |budget: &'static str| {
        let mut command = world.limbeck(&["quantize", "--mode", "ternary", "--max-tokens", "24", "--json", budget]);
        command.arg(&student).arg("--data").arg(&dev).arg("-o").arg(&bundle);
        command.output().unwrap()
    };
    // Nothing is better than fp32 by so much.
    let refused = arguments("--max-drop=-20");
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing was written") && !bundle.exists(), "{}", stderr(&refused));
    let made = arguments("--max-drop=100");
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!((&made["mode"], &made["units"][0]["mode"]), (&"ternary".into(), &"ternary".into()), "{made}");
    assert!(made["units"][0]["sqnr_db"].as_f64().unwrap() < 15.0, "{made}");
}

#[test]
fn stages_that_would_be_in_vain_are_refused() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let alone = "[[stages]]\nname = \"a\"\nquantize = \"ternary\"\nlosses = [{ loss = \"labels\" }]\n";
    let coarser_first = stages("").replace("name = \"answers\"", "name = \"answers\"\nquantize = \"int8\"");
    for (rest, expected) in [
        (alone.to_owned(), "student that was trained before"),
        (coarser_first, "fewer bits"),
        (stages("quantize = \"int3\""), "int3"),
    ] {
        std::fs::write(world.recipe(), recipe("texts.csv", "", "", "layers = 1", &rest)).unwrap();
        let output = world.distill(&[]).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(expected), "{}", stderr(&output));
    }
}
