//! `limbeck augment` on files.

use serde_json::Value;

use crate::cache;
use crate::world::{World, device, stderr, stdout};

#[test]
fn more_rows_for_texts_and_tags() {
    let world = World::new();
    let masked = cache::bert_tiny_masked_lm();
    let augment = |data: &str, out: &str, more: &[&str]| {
        let (data, out) = (world.data(data), world.out(out));
        let mut command = world.limbeck(&["augment", data.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        command
            .arg("--masked-lm")
            .arg(&masked)
            .args(["--device", device(), "--copies", "5"])
            .args(more)
            .output()
            .unwrap()
    };
    std::fs::write(world.data("pairs.csv"), "text,other,label\nThe film was dull.,a poor story,yes\n42,17,no\n")
        .unwrap();
    let pairs = ["--task", "pair-classification", "--pair-column", "other", "--json"];
    let output = augment("pairs.csv", "pairs.jsonl", &pairs);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["event"] == "progress" && line["eta_seconds"].is_u64()), "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["rows"]), (&"augmented".into(), &2.into()));
    let read = |name: &str| std::fs::read_to_string(world.out(name)).unwrap();
    let rows: Vec<Value> = read("pairs.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len() as u64, last["rows_written"].as_u64().unwrap());
    assert!((4..=12).contains(&rows.len()), "{rows:?}");
    assert_eq!((&rows[0]["text"], &rows[0]["other"]), (&"The film was dull.".into(), &"a poor story".into()));
    assert_eq!((&rows[rows.len() - 1]["row"], &rows[rows.len() - 1]["label"]), (&2.into(), &"no".into()));
    let record: Value = serde_json::from_str(&read("pairs.augment.json")).unwrap();
    assert_eq!((&record["options"]["copies"], &record["sha256"]), (&5.into(), &last["sha256"]));

    // The same again on one thread.
    assert!(augment("pairs.csv", "again.jsonl", &[&pairs[..], &["--threads", "1"]].concat()).status.success());
    assert_eq!(read("again.jsonl"), read("pairs.jsonl"));

    std::fs::write(world.data("x.conll"), "Oslo\tB-LOC\nfilm\tO\n").unwrap();
    let output = augment("x.conll", "more.conll", &["--task", "token-classification"]);
    assert!(stdout(&output).contains("more.conll: "), "{}", stderr(&output));
    let texts = read("more.conll");
    assert!(texts.starts_with("Oslo\tB-LOC\nfilm\tO\n\nOslo\tB-LOC\n") && texts.matches("Oslo").count() > 1, "{texts}");

    let output = augment("pairs.csv", "pairs.csv", &pairs);
    assert!(stderr(&output).contains("a name that ends in .jsonl"), "{}", stderr(&output));
    let output = augment("x.conll", "x.json", &["--task", "question-answering"]);
    assert!(stderr(&output).contains("questions cannot be augmented"), "{}", stderr(&output));
}
