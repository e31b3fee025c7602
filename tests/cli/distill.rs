//! `limbeck distill` for every task, with every published method, several teachers and seeds.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{NEGATIVE, NEUTRAL, POSITIVE, World, device, hash, stderr, stdout};

const ROWS: usize = 300;

pub fn word(list: &[&'static str], seed: usize) -> &'static str {
    list[(hash(seed as u64) % list.len() as u64) as usize]
}

pub fn polarity(row: usize) -> [&'static str; 4] {
    if row.is_multiple_of(2) { POSITIVE } else { NEGATIVE }
}

pub fn sentence(row: usize, words: &[&'static str]) -> String {
    format!("{} {} {}", word(&NEUTRAL, row * 8 + 1), word(words, row * 8 + 2), word(&NEUTRAL, row * 8 + 3))
}

/// A recipe on one file, with short trainings.
pub fn recipe(file: &str, head: &str, columns: &str, student: &str, rest: &str) -> String {
    format!(
        "id = \"tiny\"\nmax_tokens = 24\n{head}\n[data]\nfiles = [\"{file}\"]\n[data.columns]\n{columns}\n\
         [teacher.train]\nepochs = 8\nbatch_size = 16\nlearning_rate = 3e-3\n\
         [student]\n{student}\n[student.train]\nepochs = 4\nbatch_size = 16\nlearning_rate = 3e-3\n\
         [bundle]\nmax_drop = 30.0\n{rest}\n"
    )
}

/// Distils and gives the report.
pub fn distil(world: &World, recipe: &str, more: &[&str]) -> Value {
    std::fs::write(world.recipe(), recipe).unwrap();
    let output = world.distill(more).output().unwrap();
    assert!(output.status.success(), "{}\n{recipe}", stderr(&output));
    serde_json::from_slice(&std::fs::read(world.out("report.json")).unwrap()).unwrap()
}

pub fn score(report: &Value, model: &str) -> f64 {
    let models = report["models"].as_array().unwrap();
    let found = models.iter().find(|m| m["name"] == model).unwrap_or_else(|| panic!("no {model} in {report}"));
    found["score"]["value"].as_f64().unwrap()
}

pub fn texts() -> String {
    let mut data = String::from("text,label\n");
    for row in 0..ROWS {
        writeln!(data, "{},{}", sentence(row, &polarity(row)), ["positive", "negative"][row % 2]).unwrap();
    }
    data
}

pub const NARROW: &str = "layers = 1\nhidden_size = 16\nattention_heads = 4\nintermediate_size = 32";

#[test]
fn narrower_and_by_tinybert() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let made = recipe("texts.csv", "method = \"tinybert\"", "", NARROW, "");
    let report = distil(&world, &made, &["--require", "retention=80", "--require", "size=1"]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    assert_eq!((&report["measure"], &report["schema"]), (&json!("accuracy"), &json!(2)));
    let stages: Vec<&str> = report["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(stages, ["teacher", "control", "student, intermediate", "student, prediction"]);
    // A stage on layers is chosen by how like the teacher they are on dev.
    let layers = &report["stages"][2];
    assert!(layers["scored"] == false && layers["best_dev"].as_f64().unwrap() < 0.0, "{layers}");
    let history = layers["history"].as_array().unwrap();
    assert!(history[0]["dev"].as_f64() < history[3]["dev"].as_f64(), "{layers}");
    // The recipe that was written out says everything, and gives the same run, which is done.
    let written = world.out("recipe.toml");
    let text = std::fs::read_to_string(&written).unwrap();
    assert!(text.contains("soft-cross-entropy") && !text.contains("method"), "{text}");
    std::fs::copy(&written, world.recipe()).unwrap();
    let output = world.distill(&["--require", "latency=0.0001"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let text = stderr(&output);
    assert!(text.contains("student: done before") && text.contains("at most 0.0001 ms is required"), "{text}");
}

/// A student that is its teacher has nothing to learn of its layers.
#[test]
fn a_student_equal_to_its_teacher_has_no_loss() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let stages = "[[stages]]\nname = \"layers\"\nlosses = [{ loss = \"attention-scores\" }, { loss = \"hidden-states\" }, \
                  { loss = \"embeddings\" }, { loss = \"relations\" }, { loss = \"attention-distributions\" }, \
                  { loss = \"hidden-cosine\" }]\ntrain = { epochs = 1, learning_rate = 1e-9 }\n\
                  [[stages]]\nname = \"answers\"\nlosses = [{ loss = \"soft-targets\", temperature = { from = 4.0, to = 1.0 }, \
                  weight = { from = 1.0, to = 0.5 } }]\ntrain = { epochs = 1, learning_rate = 1e-9 }\n";
    let report = distil(&world, &recipe("texts.csv", "", "", "layers = 2\nstart = \"teacher\"", stages), &[]);
    let layers = report["stages"].as_array().unwrap().iter().find(|s| s["name"] == "student, layers").unwrap();
    let loss = -layers["best_dev"].as_f64().unwrap();
    // What remains is the half precision of the cache.
    assert!((0.0..1e-4).contains(&loss), "{layers}");
    assert_eq!(score(&report, "student fp32"), score(&report, "teacher"));
}

#[test]
fn seeds_and_what_each_part_is_worth() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let made = recipe("texts.csv", "", "", "layers = 1", "");
    let report = distil(&world, &made, &["--seeds", "5,6", "--ablate"]);
    let seeds = report["seeds"].as_array().unwrap();
    assert_eq!(seeds.iter().map(|s| s["seed"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 6]);
    let mean = seeds.iter().map(|s| s["student"].as_f64().unwrap()).sum::<f64>() / 2.0;
    assert!((score(&report, "student fp32") - mean).abs() < 1e-9);
    let names: Vec<&str> = report["ablation"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["without soft-targets", "without labels", "without hidden-cosine", "from new weights"]);
    assert!(report["ablation"].as_array().unwrap().iter().all(|row| row["seeds"].as_array().unwrap().len() == 2));
    assert!(world.out("student-seed-6/model.safetensors").exists());
    let read = |folder: &str| std::fs::read(world.out(folder).join("model.safetensors")).unwrap();
    assert!(read("student") != read("student-seed-6"), "seeds differ");

    // What is there is not trained again; only what is named is measured.
    let some = ["--seeds", "5,6", "--ablate=from new weights", "--ablate=labels"];
    let fewer = distil(&world, &made, &some);
    let names: Vec<&str> = fewer["ablation"].as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["without labels", "from new weights"]);
    assert_eq!(fewer["ablation"][0], report["ablation"][1]);
}

#[test]
fn layers_that_share_their_weights() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let student = "layers = 2\nsharing = \"all\"\nembedding_size = 16";
    let report = distil(&world, &recipe("texts.csv", "method = \"albert-shared\"", "", student, ""), &[]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    let bundle = world.out("tiny.limbeck");
    let shown = world.json(&["inspect", bundle.to_str().unwrap(), "--json"]);
    assert_eq!(shown["manifest"]["architecture"]["family"], "albert");
}

#[test]
fn tags_by_relations() {
    let world = World::new();
    let mut data = String::new();
    for row in 0..ROWS {
        for (index, word) in sentence(row, &polarity(row)).split(' ').enumerate() {
            let tag = if index == 1 { ["B-GOOD", "B-BAD"][row % 2] } else { "O" };
            writeln!(data, "{word}\t{tag}").unwrap();
        }
        data.push('\n');
    }
    std::fs::write(world.data("tags.conll"), data).unwrap();
    let head = "task = \"token-classification\"\nmethod = \"minilmv2\"";
    let report = distil(&world, &recipe("tags.conll", head, "", NARROW, ""), &[]);
    assert_eq!(report["measure"], "entity_f1");
    assert!(score(&report, "teacher") > 0.9 && score(&report, "student fp32") > 0.7, "{report}");
}

#[test]
fn answers() {
    let world = World::new();
    let mut paragraphs = vec![];
    for row in 0..ROWS {
        let context = format!("{} {}", sentence(row, &polarity(row)), word(&NEUTRAL, row * 8 + 4));
        let start = context.find(' ').unwrap() + 1;
        let answer = context.split(' ').nth(1).unwrap();
        let answers = json!([{"text": answer, "answer_start": start}]);
        paragraphs.push(json!({"context": context,
            "qas": [{"id": row.to_string(), "question": "the film", "answers": answers}]}));
    }
    let data = json!({"data": [{"paragraphs": paragraphs}]}).to_string();
    std::fs::write(world.data("squad.json"), data).unwrap();
    let head = "task = \"question-answering\"\nstride = 4\nmethod = \"distilbert-qa\"";
    let report = distil(&world, &recipe("squad.json", head, "", "layers = 1", ""), &[]);
    assert_eq!(report["measure"], "f1");
    assert!(score(&report, "teacher") > 0.9 && score(&report, "student fp32") > 0.8, "{report}");
}

fn pairs() -> String {
    let mut pairs = String::from("text,second,score,alike\n");
    for row in 0..ROWS {
        let (first, second) = (polarity(row), polarity(row / 2));
        let score = if second == POSITIVE { 2 } else { 0 } + usize::from(first == POSITIVE);
        let alike = if first == second { 5 } else { 0 };
        let (first, second) = (sentence(row, &first), sentence(row + 999, &second));
        writeln!(pairs, "{first},{second},{score},{alike}").unwrap();
    }
    pairs
}

#[test]
fn vectors_and_numbers() {
    let world = World::new();
    std::fs::write(world.data("pairs.csv"), pairs()).unwrap();
    let columns = "pair = \"second\"\nlabel = \"alike\"";
    let head = "task = \"sentence-embedding\"\nmethod = \"xtremedistil\"";
    let report = distil(&world, &recipe("pairs.csv", head, columns, NARROW, ""), &[]);
    assert_eq!(report["measure"], "spearman");
    assert!(score(&report, "teacher") > 0.7 && score(&report, "student fp32") > 0.6, "{report}");

    let world = World::new();
    std::fs::write(world.data("pairs.csv"), pairs()).unwrap();
    let columns = "pair = \"second\"\nlabel = \"score\"";
    let head = "task = \"pair-classification\"\nlabels = \"number\"\nmethod = \"minilm\"";
    let report = distil(&world, &recipe("pairs.csv", head, columns, "layers = 1", ""), &[]);
    assert!(score(&report, "teacher") > 0.7 && score(&report, "student fp32") > 0.5, "{report}");
}

/// Two teachers; then none, but its answers, which must be better than chance.
#[test]
fn several_teachers_and_none() {
    let (world, other) = (World::new(), World::new());
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let second = other.teacher();
    let two = ["--teacher", second.to_str().unwrap()];
    let made = recipe("texts.csv", "", "", "layers = 1", "");
    let report =
        distil(&world, &made.replace("[teacher.train]", "[teacher]\nweights = [3.0, 1.0]\n[teacher.train]"), &two);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    assert!(world.out("teacher-2/model.safetensors").exists());
    // Both are measured; retention is against the first.
    let models = report["models"].as_array().unwrap();
    assert_eq!((&models[0]["name"], &models[1]["name"], models.len()), (&json!("teacher"), &json!("teacher-2"), 5));
    let kept = score(&report, "teacher-2") / score(&report, "teacher");
    assert!((models[1]["retention"]["value"].as_f64().unwrap() - kept).abs() < 1e-9, "{report}");
    assert!(world.out("teacher-2.limbeck").exists());

    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let mut answers = String::new();
    for line in texts().lines().skip(1) {
        let (text, label) = line.split_once(',').unwrap();
        let sure = if label == "positive" { 0.9 } else { 0.2 };
        let row = json!({"text": text, "probabilities": {"positive": sure, "negative": 1.0 - sure}});
        writeln!(answers, "{row}").unwrap();
    }
    std::fs::write(world.data("answers.jsonl"), answers).unwrap();
    let of_file = "[teacher]\nsource = \"answers\"\nanswers = \"answers.jsonl\"\n[teacher.train]";
    let stages = "[[stages]]\nname = \"answers\"\nlosses = [{ loss = \"soft-targets\", temperature = 1.0 }]\n";
    let made = recipe("texts.csv", "", "", "layers = 1", stages).replace("[teacher.train]", of_file);
    let report = distil(&world, &made, &[]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    let names: Vec<&Value> = report["models"].as_array().unwrap().iter().map(|m| &m["name"]).collect();
    assert_eq!(names, ["control", "student fp32", "student int8"]);
    assert!(stdout(&world.distill(&[]).output().unwrap()).contains("retention"));
    assert_eq!(report["training"]["processes"], 1);
    let output = world.distill(&["--require", "retention=90"]).output().unwrap();
    assert!(stderr(&output).contains("require a score or a gain"), "{}", stderr(&output));
    // The same for every text.
    let mut guesses = String::new();
    for line in texts().lines().skip(1) {
        let (text, _) = line.split_once(',').unwrap();
        writeln!(guesses, "{}", json!({"text": text, "label": "positive"})).unwrap();
    }
    std::fs::write(world.data("answers.jsonl"), guesses).unwrap();
    let output = world.distill(&[]).output().unwrap();
    assert!(stderr(&output).contains("nothing to distil"), "{}", stderr(&output));
}

#[test]
fn mistakes_are_named() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let plain = |head: &str, student: &str, rest: &str| recipe("texts.csv", head, "", student, rest);
    let stage = |losses: &str, more: &str| format!("[[stages]]\nname = \"one\"\n{more}\nlosses = [{losses}]\n");
    for (made, expected) in [
        (plain("method = \"magic\"", "layers = 1", ""), "unknown variant `magic`"),
        (plain("", "layers = 1", &stage("{ loss = \"hidden-states\" }", "")), "does not train the head"),
        (plain("", "layers = 1", &stage("{ loss = \"labels\", weight = -1.0 }", "")), "must be 0 or more"),
        (plain("", "layers = 1", &stage("{ loss = \"labels\" }, { loss = \"labels\" }", "")), "labels twice"),
        (plain("", "layers = 1", &stage("{ loss = \"labels\" }", "on = \"corpus\"")), "needs the teacher of the task"),
        (plain("", "layers = 1", &stage("{ loss = \"labels\" }", "on = \"augmented\"")), "[augment]"),
        (plain("method = \"distilbert\"", "layers = 1", &stage("{ loss = \"labels\" }", "")), "not both"),
        (plain("seeds = []", "layers = 1", ""), "seeds must be"),
        (plain("method = \"tinybert\"", "layers = 9", ""), "cannot give 9 student layers"),
        (plain("", "layers = 1\nhidden_size = 15", ""), "not a multiple of 4 attention heads"),
        (plain("", "layers = 1\nembedding_size = 8", ""), "leave it out, or share layers"),
        (plain("method = \"tinybert\"", "layers = 1\nattention_heads = 2", ""), "compares head with head"),
        (
            plain("", "layers = 1", &stage("{ loss = \"relations\", heads = 5 }, { loss = \"labels\" }", "")),
            "5 relation heads do not divide",
        ),
        (
            plain("", "layers = 1", &stage("{ loss = \"hidden-states\" }, { loss = \"labels\" }", "layer_map = [7]")),
            "teacher layer 7",
        ),
        (plain("task = \"token-classification\"", "layers = 1", ""), "a word without tag"),
        (plain("labels = \"number\"", "layers = 1", ""), "is no number"),
    ] {
        std::fs::write(world.recipe(), &made).unwrap();
        let output = world.distill(&[]).output().unwrap();
        let text = stderr(&output);
        assert!(!output.status.success() && text.contains(expected), "{expected}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("limbeck: ")).count(), 1, "{text}");
    }
    let output = world.distill(&["--require", "speed=3"]).output().unwrap();
    assert!(stderr(&output).contains("retention, score"), "{}", stderr(&output));
    let other = if device() == "cpu" { "nccl" } else { "mpi" };
    let output = world.distill(&["--parallel", other]).output().unwrap();
    assert!(stderr(&output).contains("does not go with --parallel"), "{}", stderr(&output));
}

/// A map that is searched is one of the named ones, and said.
#[test]
fn a_layer_map_is_searched_on_dev() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let stages = "[[stages]]\nname = \"layers\"\nlayer_map = \"search\"\nlosses = [{ loss = \"hidden-states\" }]\n\
                  [[stages]]\nname = \"answers\"\nlosses = [{ loss = \"soft-targets\" }]\n";
    let report = distil(&world, &recipe("texts.csv", "", "", "layers = 1", stages), &[]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    let log = std::fs::read_to_string(world.out("train.log")).unwrap();
    let tried: Vec<&str> = log.lines().filter(|line| line.contains("layer map")).collect();
    assert!(tried.len() == 2 && tried[0].contains("uniform: dev") && tried[1].contains("first: dev"), "{log}");
}

#[test]
fn a_shape_is_found_for_a_time() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    // What the recipe says of the shape does not count.
    let made = recipe("texts.csv", "", "", "layers = 2", "");
    let report = distil(&world, &made, &["--latency", "1000ms"]);
    let search = &report["search"];
    let shapes = search["shapes"].as_array().unwrap();
    let named = |shape: &Value| (shape["layers"].as_u64().unwrap(), shape["hidden_size"].as_u64().unwrap());
    // Not the teacher's own shape; of the others the largest, which all are fast enough, are tried.
    assert_eq!(shapes.len(), 9, "{search}");
    let tried: Vec<_> = shapes.iter().filter(|shape| !shape["trial_dev"].is_null()).map(named).collect();
    assert_eq!(tried, [(1, 32), (2, 24)], "{search}");
    let chosen: Vec<&Value> = shapes.iter().filter(|shape| shape["chosen"] == true).collect();
    let best = shapes.iter().filter_map(|shape| shape["trial_dev"].as_f64()).fold(f64::MIN, f64::max);
    assert!(chosen.len() == 1 && chosen[0]["trial_dev"].as_f64() == Some(best), "{search}");
    assert!(search["finished_ms"].as_f64().unwrap() > 0.0);
    let (layers, _) = named(chosen[0]);
    let written = std::fs::read_to_string(world.out("recipe.toml")).unwrap();
    assert!(written.contains(&format!("layers = {layers}\n")), "{written}");
    // The recipe that was written has the shape in it: the same students, without a search.
    std::fs::write(world.recipe(), &written).unwrap();
    let output = world.distill(&[]).output().unwrap();
    let text = stderr(&output);
    assert!(output.status.success() && text.contains("student: done before") && !text.contains("Search"), "{text}");
    // Nothing is fast enough: the fastest is named, and its time was kept.
    let output = world.distill(&["--latency", "1us"]).output().unwrap();
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("no student is fast enough for 0.001 ms"), "{text}");
    assert!(text.contains("Give a larger --latency"), "{text}");
}

#[test]
fn automatic_recipes_want_their_files_and_a_time() {
    let world = World::new();
    std::fs::write(world.data("train.csv"), texts()).unwrap();
    let auto = |more: &[&str]| stderr(&world.distill_by(Path::new("auto"), more).output().unwrap());
    assert!(auto(&[]).contains("give --latency, as --latency 3ms"));
    assert!(auto(&["--latency", "3ms"]).contains("there is no dev file"));
    assert!(auto(&["--latency", "soon"]).contains("a time above 0"));
    assert!(auto(&["--cores", "2"]).contains("--latency"));
}
