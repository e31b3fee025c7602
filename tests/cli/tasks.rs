//! From labelled data to a bundle that answers, for every task: finetune, pack, calibrate, eval, run.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::distill::{distil, recipe};
use crate::world::{NEGATIVE, NEUTRAL, POSITIVE, World, device, hash, stderr, stdout};

const ROWS: usize = 240;

fn pick<'a>(list: &[&'a str], seed: usize) -> &'a str {
    list[(hash(seed as u64) % list.len() as u64) as usize]
}

/// A neutral word, one with a feeling if so, a neutral word.
fn sentence(row: usize, words: &[&'static str]) -> String {
    format!("{} {} {}", pick(&NEUTRAL, row * 8 + 1), pick(words, row * 8 + 2), pick(&NEUTRAL, row * 8 + 3))
}

fn polarity(row: usize) -> [&'static str; 4] {
    if row.is_multiple_of(2) { POSITIVE } else { NEGATIVE }
}

/// Finetunes on `data`, packs, and gives what `eval` finds on the same data: the tasks are so easy that what was
/// learned is seen there.
fn learn(world: &World, task: &str, file: &str, data: &str, more: &[&str], columns: &[&str]) -> Value {
    let path = world.data(file);
    std::fs::write(&path, data).unwrap();
    let (teacher, out) = (world.teacher(), world.out(file));
    let (path, teacher, out) = (path.to_str().unwrap(), teacher.to_str().unwrap(), out.to_str().unwrap());
    let mut arguments = vec!["finetune", "--task", task, "--model", teacher, "--train", path, "--out", out];
    arguments.extend(["--max-tokens", "24", "--batch-size", "16", "--learning-rate", "3e-3", "--device", device()]);
    arguments.extend(more);
    arguments.extend(columns);
    let output = world.limbeck(&arguments).output().unwrap();
    assert!(output.status.success(), "{task}: {}", stderr(&output));
    // What is done is not done again; what was asked for differently is not taken for it.
    let again = world.limbeck(&arguments).output().unwrap();
    assert!(again.status.success() && stderr(&again).contains("Done before"), "{}", stderr(&again));
    arguments.extend(["--seed", "8"]);
    let other = world.limbeck(&arguments).output().unwrap();
    assert!(stderr(&other).contains("holds another model"), "{}", stderr(&other));

    let bundle = format!("{out}.limbeck");
    world.json(&["pack", out, "-o", &bundle, "--task", task, "--max-tokens", "24", "--json"]);
    let verified = world.json(&["verify", &bundle, "--json"]);
    assert!(verified["self_test"]["vectors"].as_u64().unwrap() > 0, "{verified}");
    let mut arguments = vec!["eval", &bundle, path, "--json"];
    arguments.extend(columns);
    world.json(&arguments)
}

fn metric(quality: &Value, name: &str) -> f64 {
    quality["metrics"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {quality}"))
}

/// Labels, or kinds of entities, and how often they are there; there is no confusion of them.
fn by_label(quality: &Value, expected: &[(&str, usize)]) {
    let rows = quality["by_label"].as_array().unwrap_or_else(|| panic!("{quality}"));
    let found: Vec<(&str, usize)> =
        rows.iter().map(|row| (row["label"].as_str().unwrap(), row["support"].as_u64().unwrap() as usize)).collect();
    assert_eq!(found, expected, "{quality}");
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap();
        let (precision, recall) = (number("right") / number("predicted"), number("right") / number("support"));
        let f1 = 2.0 * precision * recall / (precision + recall);
        for (name, value) in [("precision", precision), ("recall", recall), ("f1", f1)] {
            assert!((number(name) - value).abs() < 1e-9 && value > 0.8, "{name} of {row}");
        }
    }
    assert!(quality["confusion"].is_null() && quality["labels"].is_null(), "{quality}");
}

/// Times a bundle on texts of one's own, and gives how many tokens it read.
fn tokens_timed(world: &World, bundle: &str, texts: &[&str]) -> u64 {
    let timed = world.json(&[&["bench", bundle, "--json", "--runs", "2", "--warm-up", "0"], texts].concat());
    timed["cases"][0]["tokens"].as_u64().unwrap_or_else(|| panic!("{timed}"))
}

#[test]
fn several_labels() {
    let world = World::new();
    let mut data = String::new();
    for row in 0..ROWS {
        let text = format!("{} film", sentence(row, &polarity(row)));
        let text = if row % 3 == 0 { text } else { text.replace("film", "phone") };
        let mut labels = vec![];
        labels.extend((row % 2 == 0).then_some("good"));
        labels.extend(text.contains("film").then_some("film"));
        writeln!(data, "{}", json!({"text": text, "label": labels})).unwrap();
    }
    let quality =
        learn(&world, "text-classification", "labels.jsonl", &data, &["--several-labels", "--epochs", "10"], &[]);
    assert!(metric(&quality, "micro_f1") > 0.9, "{quality}");
    by_label(&quality, &[("film", ROWS / 3), ("good", ROWS / 2)]);
    let bundle = world.out("labels.jsonl.limbeck");
    let (bundle, file) = (bundle.to_str().unwrap(), world.data("labels.jsonl"));
    let calibrated = world.out("labels.json");
    let calibrated = calibrated.to_str().unwrap();
    let found = world.json(&["calibrate", bundle, "--data", file.to_str().unwrap(), "-o", calibrated, "--json"]);
    assert_eq!(found["result"]["calibration"]["thresholds"].as_array().unwrap().len(), 2);
    assert!(found["result"]["loss_after"].as_f64() <= found["result"]["loss_before"].as_f64());
    let packed = world.out("packed.limbeck");
    let model = world.out("labels.jsonl");
    let arguments = ["pack", model.to_str().unwrap(), "-o", packed.to_str().unwrap(), "--calibration", calibrated];
    assert!(world.limbeck(&arguments).output().unwrap().status.success());
    let again = world.json(&["eval", packed.to_str().unwrap(), file.to_str().unwrap(), "--json"]);
    assert!(metric(&again, "micro_f1") >= metric(&quality, "micro_f1") - 0.02, "{again}");
}

#[test]
fn one_label_calibrated_and_in_scope() {
    let world = World::new();
    let mut data = String::from("text\tlabel\n");
    for row in 0..ROWS {
        writeln!(data, "{}\t{}", sentence(row, &polarity(row)), ["positive", "negative"][row % 2]).unwrap();
    }
    let quality = learn(&world, "text-classification", "one.tsv", &data, &["--epochs", "4", "--layers", "1"], &[]);
    assert!(metric(&quality, "accuracy") > 0.9 && metric(&quality, "matthews") > 0.8, "{quality}");
    let mut other = String::from("text\tlabel\n");
    (0..60).for_each(|row| writeln!(other, "{}\tnone", sentence(row, &NEUTRAL)).unwrap());
    std::fs::write(world.data("other.tsv"), other).unwrap();
    let (bundle, output) = (world.out("one.tsv.limbeck"), world.out("calibrated.limbeck"));
    let (data, other) = (world.data("one.tsv"), world.data("other.tsv"));
    let (bundle, output) = (bundle.to_str().unwrap(), output.to_str().unwrap());
    let (data, other) = (data.to_str().unwrap(), other.to_str().unwrap());
    let scope = ["--out-of-scope", other];
    let text = stdout(
        &world.limbeck(&[&["calibrate", bundle, "--data", data, "-o", output], &scope[..]].concat()).output().unwrap(),
    );
    assert!(text.contains("calibration error") && text.contains("out of scope below"), "{text}");
    let before = world.json(&[&["eval", bundle, data, "--json"], &scope[..]].concat());
    let after = world.json(&[&["eval", output, data, "--json"], &scope[..]].concat());
    assert_eq!(metric(&before, "out_of_scope_found"), 0.0);
    assert!(metric(&after, "out_of_scope_found") > 0.5 && metric(&after, "in_scope_kept") > 0.5, "{after}");
    assert!(metric(&after, "calibration_error") <= metric(&before, "calibration_error") + 1e-6, "{after}");
    // The bundle is still whole, and still tests itself.
    assert!(world.json(&["verify", output, "--json"])["self_test"]["vectors"].as_u64().unwrap() > 0);
}

#[test]
fn pairs_and_numbers() {
    let world = World::new();
    let mut pairs = String::from("text,second,label,score,alike\n");
    for row in 0..ROWS {
        let (first, second) = (polarity(row), polarity(row / 2));
        // The label is the second text's, the number both texts', and alike are those of one polarity.
        let (good, label) = if second == POSITIVE { (2, "good") } else { (0, "bad") };
        let score = good + usize::from(first == POSITIVE);
        let alike = if first == second { 5 } else { 0 };
        let (first, second) = (sentence(row, &first), sentence(row + 999, &second));
        writeln!(pairs, "{first},{second},{label},{score},{alike}").unwrap();
    }
    let columns = ["--pair-column", "second"];
    let quality = learn(&world, "pair-classification", "pairs.csv", &pairs, &["--epochs", "10"], &columns);
    assert!(metric(&quality, "accuracy") > 0.9, "{quality}");
    let columns = ["--pair-column", "second", "--label-column", "score"];
    let quality =
        learn(&world, "pair-classification", "numbers.csv", &pairs, &["--numbers", "--epochs", "10"], &columns);
    assert!(metric(&quality, "pearson") > 0.8, "{quality}");
    let columns = ["--pair-column", "second", "--label-column", "alike"];
    let quality = learn(&world, "sentence-embedding", "alike.csv", &pairs, &["--epochs", "6"], &columns);
    assert!(metric(&quality, "spearman") > 0.7, "{quality}");
    let data = world.data("pairs.csv");
    let bundle = world.out("pairs.csv.limbeck");
    let output = world.limbeck(&["eval", bundle.to_str().unwrap(), data.to_str().unwrap()]).output().unwrap();
    assert!(stderr(&output).contains("give --pair-column"), "{}", stderr(&output));
}

#[test]
fn entities() {
    let world = World::new();
    let mut data = String::new();
    for row in 0..ROWS {
        let words = sentence(row, &polarity(row));
        for (index, word) in words.split(' ').enumerate() {
            let tag = if index != 1 { "O" } else { ["B-GOOD", "B-BAD"][row % 2] };
            writeln!(data, "{word}\t{tag}").unwrap();
        }
        // An entity of two words.
        if row % 4 == 0 {
            data += "lovely\tB-GOOD\nplace\tI-GOOD\n";
        }
        data.push('\n');
    }
    let quality = learn(&world, "token-classification", "tags.conll", &data, &["--epochs", "6"], &[]);
    assert!(metric(&quality, "entity_f1") > 0.9, "{quality}");
    by_label(&quality, &[("BAD", ROWS / 2), ("GOOD", ROWS / 2 + ROWS / 4)]);
    let bundle = world.out("tags.conll.limbeck");
    let output = world.limbeck(&["run", bundle.to_str().unwrap(), "the awful film"]).output().unwrap();
    assert!(stdout(&output).contains("awful [BAD"), "{}", stdout(&output));
    // A text that is longer than the 24 tokens of the model is read in windows, and timed so.
    let (bundle, long) = (bundle.to_str().unwrap(), ["film"; 40].join(" "));
    assert!(tokens_timed(&world, bundle, &["--text", &long]) > 40);
    let output = world.limbeck(&["bench", bundle, "--text", "film", "--pair", "food"]).output().unwrap();
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("this one is for token-classification"), "{text}");
}

#[test]
fn answers() {
    let world = World::new();
    let mut paragraphs = vec![];
    for row in 0..ROWS {
        let context = format!("{} {}", sentence(row, &polarity(row)), pick(&NEUTRAL, row * 8 + 4));
        let answer = context.split(' ').nth(1).unwrap();
        let start = context.find(' ').unwrap() + 1;
        let answers = json!([{"text": answer, "answer_start": start}]);
        let entry = json!({"id": row.to_string(), "question": "the film", "answers": answers});
        paragraphs.push(json!({"context": context, "qas": [entry]}));
    }
    let data = json!({"data": [{"paragraphs": paragraphs}]}).to_string();
    let more = ["--epochs", "8", "--stride", "4"];
    let quality = learn(&world, "question-answering", "squad.json", &data, &more, &[]);
    assert!(metric(&quality, "exact") > 0.9 && metric(&quality, "f1") >= metric(&quality, "exact"), "{quality}");
    // Both texts are timed, and all of a long one.
    let (bundle, long) = (world.out("squad.json.limbeck"), ["film"; 40].join(" "));
    let bundle = bundle.to_str().unwrap();
    assert_eq!(tokens_timed(&world, bundle, &["--text", "the film was good", "--pair", "a place"]), 9);
    assert_eq!(tokens_timed(&world, bundle, &["--text", "a place"]), 6, "with a first text of limbeck's own");
    assert!(tokens_timed(&world, bundle, &["--text", "the film", "--pair", &long]) > 42);
    let output = world.limbeck(&["bench", bundle, "--pair", "a place"]).output().unwrap();
    assert!(stderr(&output).contains("--text"), "{}", stderr(&output));
}

/// Texts that most questions are about are longer than the model reads at once.
#[test]
fn long_texts_are_timed_in_windows() {
    let world = World::new();
    let mut paragraphs = vec![];
    for row in 0..ROWS {
        let rest: Vec<&str> = (0..20).map(|place| pick(&NEUTRAL, row * 32 + place)).collect();
        let context = format!("{} {}", sentence(row, &polarity(row)), rest.join(" "));
        let start = context.find(' ').unwrap() + 1;
        let answers = json!([{"text": context.split(' ').nth(1), "answer_start": start}]);
        let entry = json!({"id": row.to_string(), "question": "the film", "answers": answers});
        paragraphs.push(json!({"context": context, "qas": [entry]}));
    }
    let data = json!({"data": [{"paragraphs": paragraphs}]}).to_string();
    std::fs::write(world.data("squad.json"), data).unwrap();
    let head = "task = \"question-answering\"\nstride = 4\nmethod = \"distilbert-qa\"";
    let report = distil(&world, &recipe("squad.json", head, "", "layers = 1", ""), &[]);
    // Two tokens of the question, 23 of the text and special ones.
    let models = report["models"].as_array().unwrap();
    assert!(models.iter().all(|model| model["latency_tokens"].as_u64() > Some(24)), "{report}");
    // So are the shapes of a search.
    let output = world.distill(&["--latency", "1us"]).output().unwrap();
    assert!(stderr(&output).contains("no student is fast enough for 0.001 ms"), "{}", stderr(&output));
}

#[test]
fn mistakes_are_named() {
    let world = World::new();
    let (teacher, data) = (world.teacher(), world.data("all.csv"));
    let (teacher, data) = (teacher.to_str().unwrap(), data.to_str().unwrap());
    let out = world.out("x");
    let base = ["finetune", "--model", teacher, "--train", data, "--out", out.to_str().unwrap()];
    for (more, expected) in [
        (vec!["--task", "text-classification", "--layers", "9"], "has 2 layers"),
        (vec!["--task", "text-classification", "--max-tokens", "99"], "the model's 32 positions"),
        (vec!["--task", "text-classification", "--numbers"], "is no number"),
        (vec!["--task", "text-classification", "--pair-column", "x"], "reads no second text"),
        (vec!["--task", "pair-classification"], "give --pair-column"),
        (vec!["--task", "token-classification"], "a word without tag"),
        (vec!["--task", "question-answering"], "not in the shape of SQuAD"),
        (vec!["--task", "fill-mask"], "cannot be fine-tuned"),
    ] {
        let output = world.limbeck(&[&base[..], &more].concat()).output().unwrap();
        let text = stderr(&output);
        assert!(!output.status.success() && text.contains(expected), "{more:?}: {text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("limbeck: ")).count(), 1, "{text}");
    }
}
