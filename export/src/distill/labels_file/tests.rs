use super::*;

fn read(content: &str, rows: &[(&str, Option<&str>)], labels: &[&str]) -> Result<TeacherFile> {
    read_of(Goal::Class, content, rows, labels)
}

fn read_of(goal: Goal, content: &str, rows: &[(&str, Option<&str>)], labels: &[&str]) -> Result<TeacherFile> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    std::fs::write(&path, content).unwrap();
    let asked = |(text, pair): &(&str, Option<&str>)| AskedRow {
        text: (*text).to_owned(),
        pair: pair.map(str::to_owned),
        words: text.split(' ').count(),
    };
    let rows: Vec<_> = rows.iter().map(asked).collect();
    let labels: Vec<String> = labels.iter().map(|&l| l.to_owned()).collect();
    read_teacher_file(&path, goal, &rows, &labels)
}

fn softmax(file: &TeacherFile) -> Vec<Vec<f64>> {
    Vec::<Vec<f64>>::try_from(file.logits.softmax(-1, tch::Kind::Double)).unwrap()
}

fn near(got: &[Vec<f64>], want: &[&[f64]]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!(got.iter().zip(*want).all(|(g, w)| (g - w).abs() < 1e-5), "{got:?} {want:?}");
    }
}

#[test]
fn labels_are_matched_by_name_and_rows_by_text() {
    let file = read(
        "\u{feff}{\"text\":\"two\",\"probabilities\":{\"b\":0.7,\"a\":0.2,\"c\":0.1},\"label\":\"gold\"}\r\n\n\
         {\"text\":\"other\",\"label\":\"a\"}\n{\"text\":\" one\\t1 \",\"label\":\"c\"}\n",
        &[("one 1", None), ("two", None), ("one  1", None)],
        &["a", "b", "c"],
    )
    .unwrap();
    let hard = [0.00025, 0.00025, 0.9995];
    near(&softmax(&file), &[&hard, &[0.2, 0.7, 0.1], &hard]);
    assert_eq!((file.matched, file.by_position, file.unused), (3, false, 1));
    assert_eq!((file.logits.kind(), file.logits.size()), (tch::Kind::Float, vec![3, 3]));
}

#[test]
fn a_label_alone_stays_nearly_sure_at_a_temperature_of_2_with_many_labels() {
    let labels: Vec<String> = (0..150).map(|label| format!("l{label}")).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let one_hot = r#"{"text":"b","probabilities":{"l7":1}}"#;
    let file = read(&format!("{{\"text\":\"a\",\"label\":\"l3\"}}\n{one_hot}\n"), &[("a", None), ("b", None)], &labels)
        .unwrap();
    let at_two = Vec::<Vec<f64>>::try_from((&file.logits / 2.0).softmax(-1, tch::Kind::Double)).unwrap();
    assert!(at_two[0][3] > 0.965 && at_two[1][7] > 0.965, "{} {}", at_two[0][3], at_two[1][7]);
}

#[test]
fn lists_follow_the_first_line_or_the_model() {
    let rows = "{\"logits\":[1,2.5]}\n{\"logits\":{\"a\":-3,\"b\":4}}\n{\"probabilities\":[1,0]}\n";
    let own = [("x", None), ("x", None), ("z", None)];
    let floor = 1e-6f64.ln() as f32;
    let file = read(rows, &own, &["a", "b"]).unwrap();
    assert!(file.by_position);
    assert_eq!(Vec::<Vec<f32>>::try_from(&file.logits).unwrap(), [[1.0, 2.5], [-3.0, 4.0], [0.0, floor]]);
    let file = read(&format!("{{\"labels\":[\"b\",\"a\"]}}\n{rows}"), &own, &["a", "b"]).unwrap();
    assert_eq!(Vec::<Vec<f32>>::try_from(&file.logits).unwrap(), [[2.5, 1.0], [-3.0, 4.0], [floor, 0.0]]);
}

#[test]
fn pairs_and_numbers_as_labels() {
    let file = read(
        "{\"text\":\"a\",\"pair\":\"y\",\"label\":1}\n{\"text\":\"a\",\"pair\":\"x\",\"label\":0}",
        &[("a", Some("x")), ("a", Some("y"))],
        &["0", "1"],
    )
    .unwrap();
    near(&softmax(&file), &[&[0.999, 0.001], &[0.001, 0.999]]);
}

#[test]
fn answers_drawn_at_random_stand_when_they_are_in_order() {
    let lines =
        ["{\"text\":\"a\",\"label\":\"p\"}", "{\"text\":\"a\",\"label\":\"q\"}", "{\"text\":\"b\",\"label\":\"q\"}"];
    let rows = [("a", None), ("a", None), ("b", None)];
    let file = read(&lines.join("\n"), &rows, &["p", "q"]).unwrap();
    near(&softmax(&file), &[&[0.999, 0.001], &[0.001, 0.999], &[0.001, 0.999]]);
    let error = read(&[lines[2], lines[0], lines[1]].join("\n"), &rows, &["p", "q"]).unwrap_err();
    assert!(format!("{error:#}").contains("line 3: another answer for the text of line 2"), "{error:#}");
}

#[test]
fn errors_name_file_line_and_label() {
    let one = [("a", None)];
    let two = [("a", None), ("b", None)];
    for (content, rows, expected) in [
        ("{\"text\":\"a\",\"label\":\"p\"}\n{\"text\":", &one[..], "t.jsonl, line 2: broken JSON"),
        ("[]", &one, "line 1: not a JSON object"),
        ("", &one, "t.jsonl has no answers"),
        ("{\"text\":\"a\",\"label\":\"r\"}", &one, "line 1: unknown label \"r\"; the labels are p, q"),
        ("{\"text\":\"a\",\"probabilities\":{\"r\":1}}", &one, "unknown label \"r\""),
        (
            "{\"text\":\"a\",\"probabilities\":{\"p\":0.5,\"q\":0.498}}",
            &one,
            "line 1: the probabilities add up to 0.998",
        ),
        ("{\"text\":\"a\",\"probabilities\":{\"p\":1.5,\"q\":-0.5}}", &one, "the probability of \"q\" is -0.5"),
        ("\n{\"probabilities\":{\"p\":NaN,\"q\":1}}", &one, "line 2: NaN and Infinity are no answers"),
        ("{\"probabilities\":{\"p\":null,\"q\":1}}", &one, "`probabilities` of \"p\" is null, no number"),
        ("{\"logits\":[1]}", &one, "`logits` has 1 numbers for 2 labels"),
        ("{\"logits\":{\"p\":1}}", &one, "`logits` has no \"q\""),
        ("{\"logits\":[1e300,0]}", &one, "beyond fp32"),
        ("{\"logits\":[1,0],\"probabilities\":[1,0]}", &one, "both `probabilities` and `logits`"),
        ("{\"text\":\"a\",\"answer\":1}", &one, "none of `probabilities`, `logits` and `label`; the row has text"),
        ("{\"labels\":[\"p\"]}\n{\"label\":\"p\"}", &one, "line 1: `labels` has no \"q\""),
        ("{\"labels\":[\"p\",\"q\",\"p\"]}", &one, "`labels` has \"p\" twice"),
        ("{\"label\":\"p\"}", &two, "t.jsonl has 1 answers for 2 rows"),
        ("{\"text\":\"a\",\"label\":\"p\"}", &two, "no answer for 1 of 2 rows; the first is row 2: \"b\""),
        ("{\"text\":\"a\",\"label\":\"p\"}\n{\"label\":\"p\"}", &two, "line 2: no `text`, but line 1 has one"),
        ("{\"text\":\"a\",\"pair\":\"b\",\"label\":\"p\"}", &one, "line 1: `pair`, but the training rows are single"),
        ("{\"text\":\"a\",\"label\":\"p\"}", &[("a", Some("b"))], "line 1: no `pair`"),
    ] {
        let error = format!("{:#}", read(content, rows, &["p", "q"]).unwrap_err());
        assert!(error.contains(expected), "{expected}: {error}");
    }
    // Few digits are no error.
    read("{\"text\":\"a\",\"probabilities\":{\"p\":0.5,\"q\":0.4995}}", &one, &["p", "q"]).unwrap();
}

#[test]
fn numbers_and_several_labels() {
    let own = [("a", None), ("b", None), ("c", None)];
    let file = read_of(Goal::Value, "{\"label\":1.5}\n{\"label\":\"-2\"}\n{\"label\":3}\n", &own, &[]).unwrap();
    assert_eq!(Vec::<Vec<f32>>::try_from(&file.logits).unwrap(), [[1.5], [-2.0], [3.0]]);
    let refused =
        |goal, row: &str, labels: &[&str]| format!("{:#}", read_of(goal, row, &own[..1], labels).unwrap_err());
    assert!(refused(Goal::Value, "{\"label\":\"much\"}", &[]).contains("line 1: the label \"much\" is no number"));
    assert!(refused(Goal::Value, "{\"logits\":[1]}", &[]).contains("a number is the `label`"));

    let rows = "{\"probabilities\":{\"x\":0.5,\"y\":1}}\n{\"label\":[\"y\",\"z\"]}\n{\"label\":\"x|z\"}\n";
    let file = read_of(Goal::Labels, rows, &own, &["x", "y", "z"]).unwrap();
    let chances = Vec::<Vec<f64>>::try_from(file.logits.sigmoid().to_kind(tch::Kind::Double)).unwrap();
    near(&chances, &[&[0.5, 1.0, 0.0], &[0.001, 0.999, 0.999], &[0.999, 0.001, 0.999]]);
    assert!(refused(Goal::Labels, "{\"probabilities\":{\"x\":1.5}}", &["x", "y"]).contains("above 1"));
    assert!(refused(Goal::Labels, "{\"label\":[\"w\"]}", &["x", "y"]).contains("unknown label \"w\""));
}

#[test]
fn tags_are_answered_word_by_word() {
    let own = [("Oslo is", None), ("so", None)];
    let rows = "{\"text\":\"so\",\"probabilities\":[{\"O\":0.75,\"B-LOC\":0.25}]}\n{\"text\":\"Oslo is\",\"tags\":[\"B-LOC\",\"O\"]}\n";
    let file = read_of(Goal::Tags, rows, &own, &["B-LOC", "O"]).unwrap();
    near(&softmax(&file), &[&[0.999, 0.001], &[0.001, 0.999], &[0.25, 0.75]]);
    let refused = |row: &str| {
        let error = read_of(Goal::Tags, row, &own[..1], &["B-LOC", "O"]).unwrap_err();
        format!("{error:#}")
    };
    assert!(refused("{\"tags\":[\"O\"]}").contains("line 1: answers for 1 words, and the text has 2"));
    assert!(refused("{\"tags\":\"O\"}").contains("no list with an entry for each word"));
    assert!(refused("{\"label\":\"O\"}").contains("none of `probabilities`, `logits` and `tags`"));
    assert!(refused("{\"tags\":[\"O\",\"B-PER\"]}").contains("unknown label \"B-PER\""));
    let error = read_of(Goal::Answers, "{\"label\":\"O\"}", &own, &[]).unwrap_err().to_string();
    assert!(error.contains("of spans and vectors it can say nothing"), "{error}");
}
