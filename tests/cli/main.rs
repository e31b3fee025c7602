//! The `limbeck` program from end to end, on a teacher so small that a whole distillation takes seconds.

mod adb;
mod augment;
// Not through the crate `limbeck-tests`, which depends on this one.
#[path = "../support/cache.rs"]
#[allow(dead_code)]
mod cache;
mod check;
mod distill;
mod general;
mod generation;
#[cfg(feature = "mpi")]
mod parallel;
mod pretrain;
mod quantize;
mod rounded_training;
mod seeds;
mod students;
mod tasks;
mod trim;
mod trust;
mod tune;
mod unlabelled;
mod world;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use world::{World, stderr, stdout};

#[test]
fn a_teacher_becomes_a_measured_bundle_that_runs() {
    let world = World::new();
    let output = world.distill(&[]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    for expected in ["teacher", "control", "student fp32", "student int8", "int8 against fp32", "report.html"] {
        assert!(text.contains(expected), "no `{expected}` in:\n{text}");
    }
    let report: Value = serde_json::from_slice(&std::fs::read(world.out("report.json")).unwrap()).unwrap();
    let models = report["models"].as_array().unwrap();
    assert_eq!(models.len(), 4);
    for model in models {
        let file = world.out(model["file"].as_str().unwrap());
        assert_eq!(model["file_bytes"].as_u64().unwrap(), std::fs::metadata(file).unwrap().len());
        assert!(model["latency_p50_ms"].as_f64().unwrap() > 0.0);
        let confusion = model["classes"]["confusion"].as_array().unwrap();
        let counted: u64 = confusion.iter().flat_map(|r| r.as_array().unwrap()).map(|n| n.as_u64().unwrap()).sum();
        assert_eq!(counted, model["examples"].as_u64().unwrap());
    }
    assert!(models[0]["score"]["value"].as_f64().unwrap() > 0.9, "the task is easy: {}", models[0]["score"]);
    let html = std::fs::read_to_string(world.out("report.html")).unwrap();
    assert!(html.matches("<svg").count() == 5 && !html.contains("http-equiv") && !html.contains("<script"));

    let bundle = world.out("tiny.limbeck");
    let bundle = bundle.to_str().unwrap();
    let run = world.limbeck(&["run", bundle, "the film great very place", "it food awful was phone"]).output().unwrap();
    assert!(run.status.success(), "{}", stderr(&run));
    let text = stdout(&run);
    let first = |heading: &str| {
        let after = text.split(heading).nth(1).unwrap_or_default().trim_start();
        after.split(' ').next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        (first("the film great very place\n").as_str(), first("it food awful was phone\n").as_str()),
        ("positive", "negative"),
        "{text}"
    );

    let json = world.json(&["eval", bundle, world.data("all.csv").to_str().unwrap(), "--json"]);
    assert!(json["metrics"]["accuracy"].as_f64().unwrap() > 0.9);
    let json = world.json(&["inspect", bundle, "--json"]);
    assert_eq!(json["manifest"]["batching"], "padded");
    assert_eq!(json["manifest"]["quality"]["split"], "test");
    let json = world.json(&["verify", bundle, "--json"]);
    assert_eq!((json["ok"].as_bool(), json["ran"].as_bool()), (Some(true), Some(true)));
    let json = world.json(&["bench", bundle, "--json", "--lengths", "4,8", "--runs", "5", "--warm-up", "1"]);
    assert_eq!(json["cases"][1]["tokens"], 8);
    for arguments in [
        &["run", bundle, "--aggregation", "max", "fine"][..],
        &["run", bundle, "--temperature", "0.5", "fine"],
        &["bench", bundle, "--contexts", "8"],
    ] {
        let refused = stderr(&world.limbeck(arguments).output().unwrap());
        assert!(refused.contains(arguments[2]), "{refused}");
        assert!(refused.contains("this one is for text-classification"), "{refused}");
    }
    let student = world.out("student");
    let json = world.json(&["params", student.to_str().unwrap(), "--json"]);
    assert_eq!(json["parameters"]["total"].as_u64(), models[2]["parameters"].as_u64());
}

/// What a checkpoint must hold is more than weights here: averages, LAMB's moments, the place in batches of unequal
/// number an epoch.
const TO_BE_KILLED: [(&str, &str); 2] = [
    ("[teacher.train]\nepochs = 6\n", "[teacher.train]\nepochs = 3\nkeep = \"ema\"\nema_decay = 0.9\naccumulate = 2\n"),
    (
        "[student.train]\nepochs = 4\n",
        "[student.train]\nepochs = 3\nbatch_tokens = 112\nschedule = \"cosine\"\nscore_every = 9\nlayer_decay = 0.9\n\
         optimizer = { kind = \"lamb\", bias_correction = false }\n",
    ),
];

#[test]
fn killed_runs_end_with_the_same_weights() {
    const KILLS: u64 = 20;
    const STAGES: [&str; 3] = ["teacher", "student", "control"];
    let new_world = || {
        let world = World::new();
        let recipe = std::fs::read_to_string(world.recipe()).unwrap();
        let changed = TO_BE_KILLED.iter().fold(recipe, |recipe, (old, new)| {
            assert!(recipe.contains(old), "{recipe}");
            recipe.replace(old, new)
        });
        std::fs::write(world.recipe(), changed).unwrap();
        world
    };
    let start = |world: &World| {
        let mut command = world.distill(&["--checkpoint-seconds", "0", "--threads", "1", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let weights = |world: &World| {
        STAGES.map(|stage| std::fs::read(world.out(stage).join("model.safetensors")).expect("a stage without a result"))
    };
    let world = new_world();
    assert!(start(&world).wait_with_output().unwrap().status.success());
    let expected = weights(&world);

    // Moments count in lines of progress and then in milliseconds, so that they fall into training whatever the
    // machine's speed. A run that its moments let come to its end is compared, and another begun.
    let mut broken = new_world();
    let (mut killed, mut under_way) = (0, 0);
    for moment in 0..3 * KILLS {
        let random = world::hash(moment);
        let mut child = start(&broken);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let met = lines.by_ref().take(3 + (random % 4) as usize).count();
        std::thread::sleep(Duration::from_millis(random / 4 % 60));
        if met < 3 || child.try_wait().unwrap().is_some() {
            assert!(child.wait().unwrap().success(), "after {killed} kills");
            assert!(weights(&broken) == expected, "other weights after {killed} kills");
            broken = new_world();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        under_way += u64::from(STAGES.iter().any(|stage| broken.out(stage).join("resume.safetensors").exists()));
        if killed == KILLS {
            break;
        }
    }
    assert_eq!(killed, KILLS);
    assert!(under_way >= KILLS / 4, "only {under_way} kills met a stage under way");
    let last = broken.distill(&["--checkpoint-seconds", "0", "--threads", "1"]).output().unwrap();
    assert!(last.status.success(), "{}", stderr(&last));
    assert!(weights(&broken) == expected, "other weights after {killed} kills");
}

#[test]
fn one_folder_takes_one_run_at_a_time() {
    let world = World::new();
    let mut first = world.distill(&[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !world.out("recipe.toml").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = world.distill(&[]).output().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert!(!second.status.success());
    assert!(stderr(&second).contains("another limbeck is working in"), "{}", stderr(&second));
}

#[test]
fn int8_beyond_its_budget_is_refused() {
    let world = World::new();
    let made = world.distill(&[]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let student = world.out("student");
    let output = world.out("again.limbeck");
    let data = world.data("all.csv");
    let arguments = |budget: &'static str| {
        let mut arguments = vec!["quantize", student.to_str().unwrap(), "-o", output.to_str().unwrap()];
        arguments.extend(["--max-tokens", "16", "--data", data.to_str().unwrap(), "--max-drop", budget]);
        arguments
    };
    // No quantization gains a hundred points, so a budget of -100 is one that cannot be kept.
    let mut refusal = arguments("-100");
    let index = refusal.iter().position(|a| *a == "--max-drop").unwrap();
    refusal.splice(index..=index + 1, ["--max-drop=-100"]);
    let refused = world.limbeck(&refusal).output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing was written") && !output.exists());
    let kept = world.limbeck(&arguments("5")).output().unwrap();
    assert!(kept.status.success(), "{}", stderr(&kept));
    assert!(output.exists());
}

#[test]
fn mistakes_get_one_clear_line() {
    let world = World::new();
    let teacher = world.teacher();
    let teacher = teacher.to_str().unwrap();
    let missing = world.out("nowhere.limbeck");
    for (arguments, expected) in [
        (vec!["run", missing.to_str().unwrap(), "x"], "nowhere.limbeck"),
        (vec!["run", teacher, "x"], "tiny-teacher"),
        (vec!["params", "/nonexistent"], "/nonexistent is not a folder"),
        (vec!["params", "bert-tiny"], "see `limbeck params --list`"),
        (vec!["params", "gpt2", "--head", "masked-lm"], "gpt2 has no masked-lm head"),
        (vec!["params", "gpt2", "--head", "classification"], "give --labels N"),
        (vec!["params", "gpt2", "--labels", "3"], "belong to --head"),
        (vec!["params", "gpt2", "--length", "0"], "at least 1 token"),
        (vec!["export", "/nonexistent", "--out", "x"], "/nonexistent is not a folder"),
        (
            vec!["export", teacher, "--head", "span", "--out", missing.to_str().unwrap()],
            "`qa_outputs.weight` is missing",
        ),
        (vec!["export", teacher, "--cache", "--out", missing.to_str().unwrap()], "no key/value cache"),
        (vec!["inspect", "/nonexistent/model.onnx"], "cannot read /nonexistent/model.onnx"),
        (
            vec!["pack", teacher, "--task", "token-classification", "-o", missing.to_str().unwrap()],
            "has no head, not one for token-classification",
        ),
        (vec!["pack", teacher, "--max-tokens", "33", "-o", missing.to_str().unwrap()], "the model's 32 positions"),
        (vec!["bench", missing.to_str().unwrap(), "--runs", "0"], "--runs"),
        (vec!["verify", missing.to_str().unwrap(), "--runtime", "/nonexistent/libonnxruntime.so"], "nowhere.limbeck"),
    ] {
        let output = world.limbeck(&arguments).output().unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains(expected), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
    }
    std::fs::write(world.data("bad.csv"), "text,label\nfine,positive\n,negative\n").unwrap();
    let recipe = std::fs::read_to_string(world.recipe()).unwrap().replace("all.csv", "bad.csv");
    std::fs::write(world.recipe(), recipe).unwrap();
    let output = world.distill(&[]).output().unwrap();
    assert!(stderr(&output).contains("bad.csv, line 3: field `text` is empty"), "{}", stderr(&output));
    let check = world.check().output().unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(stdout(&check).contains("PROBLEM: data:"), "{}", stdout(&check));
}

#[test]
fn every_verb_has_help_with_an_example() {
    let world = World::new();
    for verb in "check distill finetune eval calibrate quantize pack export inspect verify keygen sign run bench params"
        .split(' ')
    {
        let output = world.limbeck(&[verb, "--help"]).output().unwrap();
        let text = stdout(&output);
        assert!(output.status.success() && text.contains("Example") && text.contains("--json"), "{verb}:\n{text}");
    }
}

#[test]
fn published_shapes_are_counted() {
    let world = World::new();
    for (name, count) in [("all-minilm-l6-v2", "22713216"), ("albert-e128-all", "11683584"), ("gpt2-xl", "1557611200")]
    {
        let output = world.limbeck(&["params", name, "--total"]).output().unwrap();
        assert_eq!(stdout(&output), format!("{count}\n"), "{name}");
    }
    let json = world.json(&["params", "bert-base-uncased", "--head", "classification", "--labels", "3", "--json"]);
    assert_eq!(json["parameters"]["total"], 109_484_547);
    assert_eq!(json["flops"], 22_347_251_712u64);
    let json = world.json(&["params", "--list", "--json"]);
    assert_eq!(json.as_array().unwrap().len(), 46);
    for (name, words) in [("gpt3-xl", "24 heads of 128 are 3072, not 2048"), ("gpt3-13b", "40 heads of 128 are 5120")] {
        let output = world.limbeck(&["params", name]).output().unwrap();
        assert!(output.status.success() && stdout(&output).contains(words), "{}", stdout(&output));
    }
}

#[test]
fn a_folder_becomes_a_graph_that_says_what_it_is() {
    let world = World::new();
    let (teacher, out) = (world.teacher(), world.out("onnx"));
    let (teacher, out) = (teacher.to_str().unwrap(), out.to_str().unwrap());
    let output = world.limbeck(&["export", teacher, "--head", "embedding", "--mask", "--out", out]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let graph = world.out("onnx").join("model.onnx");
    let described = world.limbeck(&["inspect", graph.to_str().unwrap(), "--markdown"]).output().unwrap();
    let described = stdout(&described);
    assert!(described.contains("| `sentence_embedding` | float32 | batch x 32 |"), "{described}");
    let beside = std::fs::read_to_string(world.out("onnx").join("model.onnx.md")).unwrap();
    assert!(beside.ends_with(&described), "{beside}");
    let json = world.json(&["inspect", graph.to_str().unwrap(), "--json"]);
    assert_eq!(json["inputs"][1]["name"], "attention_mask");
    let json = world.json(&["export", teacher, "--profile", "portable", "--int8", "--out", out, "--json"]);
    let operators = json["description"]["operators"].as_object().unwrap();
    assert!(operators.keys().all(|name| name.starts_with("ai.onnx:")), "{operators:?}");
    std::fs::write(&graph, "not a graph").unwrap();
    let output = world.limbeck(&["inspect", graph.to_str().unwrap()]).output().unwrap();
    assert!(stderr(&output).contains("not an ONNX model"), "{}", stderr(&output));
}

#[test]
fn json_progress_is_one_object_a_line() {
    let world = World::new();
    let output = world.distill(&["--json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let names: std::collections::BTreeSet<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert!(["note", "epoch", "step", "report"].iter().all(|n| names.contains(n)), "{names:?}");
    assert_eq!(events.last().unwrap()["event"], "report");
}

/// Makes `tests/golden/int8-1.0` and `ternary-1.0`; see the README there.
#[test]
#[ignore = "golden bundles are made once for each version of the format"]
fn make_golden_layers() {
    let world = World::new();
    let made = world.distill(&[]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let student = world.out("student");
    for mode in ["int8", "ternary"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/golden/{mode}-1.0"));
        std::fs::create_dir_all(&folder).unwrap();
        let bundle = format!("tiny.{mode}.limbeck");
        let file = folder.join(&bundle);
        let (student, file) = (student.to_str().unwrap(), file.to_str().unwrap());
        world.json(&["quantize", student, "-o", file, "--mode", mode, "--unproven", "--json"]);
        write_golden(&world, &folder, &bundle);
    }
}

/// Makes `tests/golden/bundle-1.0`; see the README there.
#[test]
#[ignore = "golden bundles are made once for each version of the format"]
fn make_golden() {
    let world = World::new();
    let made = world.distill(&[]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/bundle-1.0");
    let bundle = "tiny.fp32.limbeck";
    std::fs::copy(world.out(bundle), folder.join(bundle)).unwrap();
    write_golden(&world, &folder, bundle);
}

/// What a golden bundle answers.
fn write_golden(world: &World, folder: &std::path::Path, bundle: &str) {
    let file = folder.join(bundle);
    let texts = ["the film great very place", "it food awful was phone", "", "\u{1F642} GOOD bad", "unknown wörds"];
    let cases: Vec<Value> = texts
        .iter()
        .map(|text| world.json(&["run", file.to_str().unwrap(), "--json", text]))
        .map(|c| serde_json::json!({"text": c["text"], "tokens_used": c["tokens_used"], "labels": c["labels"]}))
        .collect();
    let expected = serde_json::json!({"bundle": bundle, "cases": cases});
    std::fs::write(folder.join("expected.json"), format!("{expected:#}\n")).unwrap();
}
