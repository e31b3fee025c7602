//! `limbeck distill` with few labels and many texts that have none.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::distill::{distil, polarity, recipe, score, sentence};
use crate::world::{World, stderr, stdout};

/// Rows of each set; the other rows have no labels.
const FEW: usize = 40;
const ROWS: usize = 300;

fn label(row: usize) -> &'static str {
    ["positive", "negative"][row % 2]
}

/// A world with three small labelled sets; texts without labels are in `more.txt`, the first of which stand in test too.
fn world() -> World {
    let world = World::new();
    for (set, name) in ["train.csv", "dev.csv", "test.csv"].into_iter().enumerate() {
        let mut data = String::from("text,label\n");
        for row in set * FEW..(set + 1) * FEW {
            writeln!(data, "{},{}", sentence(row, &polarity(row)), label(row)).unwrap();
        }
        std::fs::write(world.data(name), data).unwrap();
    }
    let more: String = (2 * FEW + 30..ROWS).map(|row| sentence(row, &polarity(row)) + "\n").collect();
    std::fs::write(world.data("more.txt"), more).unwrap();
    world
}

fn made(head: &str, more: &str, stages: &str) -> String {
    let sets = format!("train = \"train.csv\"\ndev = \"dev.csv\"\ntest = \"test.csv\"\nunlabelled = [\"{more}\"]");
    recipe("texts.csv", head, "", "layers = 1", stages).replace("files = [\"texts.csv\"]", &sets)
}

fn stages(report: &Value) -> Vec<&str> {
    report["stages"].as_array().unwrap().iter().map(|stage| stage["name"].as_str().unwrap()).collect()
}

/// The labels of a model folder.
fn labels(folder: &std::path::Path) -> Value {
    let config: Value = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    config["id2label"].clone()
}

#[test]
fn a_method_reads_them_before_the_labels() {
    let world = world();
    // Forty rows teach a teacher in many epochs.
    let recipe = made("", "more.txt", "").replace("epochs = 8", "epochs = 60");
    let report = distil(&world, &recipe, &["--ablate"]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    assert_eq!(stages(&report), ["teacher", "control", "student, distill-unlabelled", "student, distill"]);
    // The head learns from the teacher's answers there: epochs are chosen by the measure, on labelled dev.
    let first = &report["stages"][2];
    assert!(first["scored"] == true && first["best_dev"].as_f64().unwrap() > 0.8, "{first}");
    let log = std::fs::read_to_string(world.out("train.log")).unwrap();
    let told = log.lines().find(|line| line.contains("Unlabelled: ")).unwrap_or_else(|| panic!("{log}"));
    // Ten texts are of test, and some sentences come twice.
    let number = |word: usize| told.split(' ').nth(word).unwrap().parse::<usize>().unwrap();
    let words: Vec<&str> = told.split(' ').collect();
    let at = words.iter().position(|word| *word == "Unlabelled:").unwrap();
    let (read, dropped) = (number(at + 1), number(at + 7));
    assert!(read + dropped == ROWS - 2 * FEW - 30 && dropped >= 10, "{told}");
    let ablation: Vec<&str> =
        report["ablation"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(ablation.contains(&"without the stage distill-unlabelled"), "{ablation:?}");
    assert!(ablation.contains(&"without soft-targets") && ablation.contains(&"from new weights"), "{ablation:?}");
    // check says the same, and the files stand in the report.
    let checked = stdout(&world.check().output().unwrap());
    assert!(
        checked.contains(&format!("data.unlabelled: {read} texts without labels; left out {dropped}")),
        "{checked}"
    );
    let page = std::fs::read_to_string(world.out("report.html")).unwrap();
    assert!(page.contains("more.txt"));
    // The same files give the same student; others do not.
    let output = world.distill(&[]).output().unwrap();
    assert!(stderr(&output).contains("student: done before"), "{}", stderr(&output));
    std::fs::write(world.data("more.txt"), "good film\nbad film\n").unwrap();
    let output = world.distill(&[]).output().unwrap();
    let text = stderr(&output);
    assert!(output.status.success() && text.contains("control: done before"), "{text}");
    assert!(!text.contains("student: done before"), "{text}");
}

#[test]
fn of_tags_and_of_pairs() {
    let world = World::new();
    let tagged = |rows: std::ops::Range<usize>| -> String {
        let text = |row: usize| {
            let words = sentence(row, &polarity(row));
            let tag = ["B-GOOD", "B-BAD"][row % 2];
            let lines = words.split(' ').enumerate();
            lines.map(|(index, word)| format!("{word}\t{}\n", if index == 1 { tag } else { "O" })).collect::<String>()
        };
        rows.map(|row| text(row) + "\n").collect()
    };
    std::fs::write(world.data("train.csv"), tagged(0..100)).unwrap();
    std::fs::write(world.data("dev.csv"), tagged(100..140)).unwrap();
    std::fs::write(world.data("test.csv"), tagged(140..180)).unwrap();
    let more: String = (200..ROWS).map(|row| sentence(row, &polarity(row)) + "\n").collect();
    std::fs::write(world.data("more.txt"), more).unwrap();
    let report = distil(&world, &made("task = \"token-classification\"", "more.txt", ""), &[]);
    assert!(report["measure"] == "entity_f1" && score(&report, "student fp32") > 0.6, "{report}");

    let world = World::new();
    for (set, name) in ["train.csv", "dev.csv", "test.csv", "more.csv"].into_iter().enumerate() {
        let mut data = String::from("text,other,label\n");
        for row in set * 100..(set + 1) * 100 {
            let (first, second) = (polarity(row), polarity(row / 2));
            let alike = if first == second { "5" } else { "0" };
            // Of texts without labels nobody looks at that column.
            let alike = if name == "more.csv" { "?" } else { alike };
            writeln!(data, "{},{},{alike}", sentence(row, &first), sentence(row + 999, &second)).unwrap();
        }
        std::fs::write(world.data(name), data).unwrap();
    }
    let pairs = made("task = \"sentence-embedding\"", "more.csv", "")
        .replace("[data.columns]", "[data.columns]\npair = \"other\"");
    let report = distil(&world, &pairs, &[]);
    assert!(report["measure"] == "spearman" && score(&report, "student fp32") > 0.5, "{report}");
}

/// A finished teacher may know labels that few rows do not show; a test row that no model can be asked for is found before
/// anything is trained.
#[test]
fn labels_that_few_rows_do_not_show() {
    let world = world();
    let three = |row: usize| if row % 6 == 5 { "mixed" } else { label(row) };
    let all: String = (0..ROWS).map(|row| format!("{},{}\n", sentence(row, &polarity(row)), three(row))).collect();
    std::fs::write(world.data("all.csv"), format!("text,label\n{all}")).unwrap();
    let (teacher, data, dev) = (world.out("three"), world.data("all.csv"), world.data("all.csv"));
    let [model, out, train, dev] =
        [&world.teacher(), &teacher, &data, &dev].map(|path| path.to_str().unwrap().to_owned());
    let arguments = ["finetune", "--task", "text-classification", "--model", &model, "--train", &train, "--dev", &dev];
    let more = ["--out", &out, "--max-tokens", "24", "--epochs", "6", "--learning-rate", "3e-3", "--batch-size", "16"];
    let output = world.limbeck(&[&arguments[..], &more[..]].concat()).output().unwrap();
    // Rows of dev are dropped from train, so that dev cannot be the same file.
    assert!(stderr(&output).contains("nothing is left to train on"), "{}", stderr(&output));
    let output = world.limbeck(&[&arguments[..7], &more[..]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let recipe =
        made("", "more.txt", "").replace("[teacher.train]", "[teacher]\nsource = \"finished\"\n[teacher.train]");
    std::fs::write(world.recipe(), &recipe).unwrap();
    let distill = |world: &World| {
        let (data, made) = (world.data(""), world.out("made"));
        let [recipe, data, made] = [&world.recipe(), &data, &made].map(|path| path.to_str().unwrap().to_owned());
        let arguments =
            ["distill", "--recipe", &recipe, "--teacher", &out, "--data", &data, "--out", &made, "--threads", "1"];
        world.limbeck(&arguments).output().unwrap()
    };
    let output = distill(&world);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(labels(&world.out("made/student")), json!({"0": "mixed", "1": "negative", "2": "positive"}));

    std::fs::write(world.data("test.csv"), "text,label\ngood film,positive\nfilm good,neither\n").unwrap();
    let output = distill(&world);
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("the test rows cannot be scored"), "{text}");
    assert!(text.contains("\"neither\"") && !text.contains("distilling"), "{text}");
}

/// A teacher that is a file answers texts of which nobody knows the label.
#[test]
fn answered_by_a_file() {
    let world = world();
    let mut answers = String::new();
    for row in 0..ROWS {
        let sure = if label(row) == "positive" { 0.9 } else { 0.2 };
        let text = sentence(row, &polarity(row));
        writeln!(answers, "{}", json!({"text": text, "probabilities": {"positive": sure, "negative": 1.0 - sure}}))
            .unwrap();
    }
    std::fs::write(world.data("answers.jsonl"), &answers).unwrap();
    let of_file = "[teacher]\nsource = \"answers\"\nanswers = \"answers.jsonl\"\n[teacher.train]";
    let recipe = made("method = \"well-read\"", "more.txt", "").replace("[teacher.train]", of_file);
    // A third label takes a small student its time.
    let recipe = recipe.replace("epochs = 4", "epochs = 16");
    let report = distil(&world, &recipe, &[]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    assert_eq!(stages(&report), ["control", "student, answers", "student, finetune"]);
    // Few rows do not show every label; the file may name more.
    std::fs::write(
        world.data("answers.jsonl"),
        format!("{{\"labels\": [\"positive\", \"mixed\", \"negative\"]}}\n{answers}"),
    )
    .unwrap();
    let report = distil(&world, &recipe, &[]);
    assert!(score(&report, "student fp32") > 0.7, "{report}");
    assert_eq!(labels(&world.out("student")), json!({"0": "mixed", "1": "negative", "2": "positive"}));
    let last = answers.lines().last().unwrap();
    std::fs::write(world.data("answers.jsonl"), answers.replace(last, "")).unwrap();
    for output in [world.check().output().unwrap(), world.distill(&[]).output().unwrap()] {
        let text = stdout(&output) + &stderr(&output);
        assert!(!output.status.success() && text.contains("has no answer for 1 of"), "{text}");
    }
    // All of them known.
    std::fs::write(world.data("answers.jsonl"), answers).unwrap();
    std::fs::copy(world.data("test.csv"), world.data("more.csv")).unwrap();
    std::fs::write(world.recipe(), recipe.replace("more.txt", "more.csv")).unwrap();
    for output in [world.check().output().unwrap(), world.distill(&[]).output().unwrap()] {
        let text = stdout(&output) + &stderr(&output);
        assert!(!output.status.success() && text.contains("texts are in train, dev or test already"), "{text}");
    }
}
