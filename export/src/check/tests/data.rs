//! Data that are not in order.

use super::*;
use crate::check::Late;
use crate::check::near::twins;

#[test]
fn the_same_texts_are_found_wherever_they_stand() {
    let world = World::new();
    clean(&world);
    let rows = sentences(240);
    let mut train = rows[..160].to_vec();
    // Twice in train; in test too, in other case; and with another label.
    train.extend([
        rows[0].clone(),
        rows[1].clone(),
        (rows[200].0.to_uppercase(), rows[200].1),
        (rows[2].0.clone(), "bad"),
    ]);
    world.write("train.csv", &csv(&train));
    let mut dev = rows[160..200].to_vec();
    dev.push(rows[201].clone());
    world.write("dev.csv", &csv(&dev));
    let findings = world.check(RECIPE, &["model"], None);
    assert_found(&findings.warnings, &["train: 3 rows of the set (1.8%) repeated", &rows[0].0, "(train.csv)"]);
    assert_found(&findings.warnings, &["train and test share 1 text;", "leaves them out", "(train.csv and test.csv)"]);
    assert_found(&findings.warnings, &["dev and test share 1 text;", &rows[201].0]);
    assert_found(&findings.facts, &["1 row with the text of another and another label", "is \"good\"", "and \"bad\""]);
    assert!(findings.problems.is_empty(), "{findings:#?}");
}

#[test]
fn swapped_pairs_and_types() {
    let world = World::new();
    let rows = sentences(240);
    let pairs = |range: std::ops::Range<usize>| -> String {
        let start = "text,second,label\n".to_owned();
        range.fold(start, |all, row| all + &format!("{},the {},{}\n", rows[row].0, rows[239 - row].0, rows[row].1))
    };
    world.write("train.csv", &pairs(0..80));
    world.write("dev.csv", &pairs(80..100));
    let turned = format!("the {},{},good\n", rows[239 - 4].0, rows[4].0);
    world.write("test.csv", &(pairs(100..119) + &turned));
    let recipe = RECIPE
        .replace("max_tokens = 12", "task = \"pair-classification\"\nmax_tokens = 24")
        .replace("[student]", "[data.columns]\npair = \"second\"\n[student]");
    let findings = world.check(&recipe, &["model"], None);
    assert_found(&findings.warnings, &["1 pair of two sets", "swapped", "(train.csv and test.csv)"]);
    assert!(findings.warnings.len() == 1 && findings.problems.is_empty(), "{findings:#?}");
    // A split goes by the first text: it may put the two apart.
    world.write("all.csv", &(pairs(0..119) + &turned));
    let sets = "train = \"train.csv\"\ndev = \"dev.csv\"\ntest = \"test.csv\"";
    assert!(recipe.contains(sets), "{recipe}");
    let findings = world.check(&recipe.replace(sets, "files = [\"all.csv\"]"), &["model"], None);
    assert_found(&findings.warnings, &["1 pair twice in the files", "swapped", "(all.csv)"]);
    // A student without token types, and a tokenizer that marks no second text.
    let config = with(
        tiny(),
        json!({"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
        "activation": "gelu"}),
    );
    world.model("untyped", &config, None, &tokenizer());
    let unmarked = tokenizer().to_string().replace("\"type_id\":1", "\"type_id\":0");
    world.model("unmarked", &tiny(), None, &serde_json::from_str(&unmarked).unwrap());
    let findings = world.check(&recipe, &["model"], Some("untyped"));
    assert_found(&findings.facts, &["untyped has no token types"]);
    assert_found(&findings.warnings, &["model reads token types, and the student, made from untyped, has none"]);
    let findings = world.check(&recipe, &["unmarked"], None);
    assert_found(&findings.warnings, &["tokenizer of unmarked: it gives both texts of a pair the same token type"]);
}

#[test]
fn labels_that_are_not_what_they_seem() {
    let world = World::new();
    clean(&world);
    let with_labels = |name: &str, of: &dyn Fn(usize) -> String| {
        let rows = sentences(240);
        let range = match name {
            "train.csv" => 0..160,
            "dev.csv" => 160..200,
            _ => 200..240,
        };
        let text = range.fold("text,label\n".to_owned(), |all, row| all + &format!("{},{}\n", rows[row].0, of(row)));
        world.write(name, &text);
    };
    let all = |of: &dyn Fn(usize) -> String| {
        ["train.csv", "dev.csv", "test.csv"].iter().for_each(|name| with_labels(name, of))
    };
    all(&|row| (row % 2).to_string());
    assert_found(&world.check(RECIPE, &["model"], None).facts, &["hint: the labels are called 0, 1", "rename"]);
    all(&|row| format!("{}.5", row % 7));
    assert_found(&world.check(RECIPE, &["model"], None).warnings, &["7 labels are numbers", "labels = \"number\""]);
    all(&|row| format!("name{row}"));
    assert_found(&world.check(RECIPE, &["model"], None).warnings, &["160 different labels in 160 training rows"]);
    all(&|row| ["yes", "no", "Yes "][row % 3].to_owned());
    assert_found(&world.check(RECIPE, &["model"], None).warnings, &["\"Yes \" and \"yes\" differ only in case"]);
    all(&|row| ["yes", "no", "yes|no"][row % 3].to_owned());
    assert_found(&world.check(RECIPE, &["model"], None).warnings, &["53 labels hold a \"|\"", "labels = \"several\""]);
    all(&|row| ["yes", "no"][row % 2].to_owned());
    with_labels("test.csv", &|row| ["yes", "maybe"][row % 2].to_owned());
    let findings = world.check(RECIPE, &["model"], None);
    assert_found(&findings.problems, &["test has labels that train has not: \"maybe\" (20)"]);
    assert_found(&findings.warnings, &["test has no row for 1 of 2 labels", "no"]);
    with_labels("test.csv", &|row| ["yes", "no"][row % 2].to_owned());
    with_labels("train.csv", &|row| if row == 1 { "no" } else { "yes" }.to_owned());
    assert_found(&world.check(RECIPE, &["model"], None).warnings, &["label \"no\" has only 1 training rows"]);

    let several = RECIPE.replace("[data]", "labels = \"several\"\n[data]");
    all(&|row| if row % 2 == 0 { "a|b" } else { "b" }.to_owned());
    let findings = world.check(&several, &["model"], None);
    assert_found(&findings.warnings, &["every training row has the label \"b\""]);
    assert_found(&findings.facts, &["labels a row: 1.5; 0 of 160"]);

    let numbers = RECIPE.replace("[data]", "labels = \"number\"\n[data]");
    all(&|row| (row % 2).to_string());
    assert_found(&world.check(&numbers, &["model"], None).warnings, &["only two numbers, 0 and 1", "labels = \"one\""]);
    all(&|row| (row * 10).to_string());
    assert_found(&world.check(&numbers, &["model"], None).warnings, &["numbers up to 1590 are far"]);
    all(&|row| if row < 160 { row.to_string() } else { "3".to_owned() });
    assert_found(&world.check(&numbers, &["model"], None).problems, &["dev: all numbers are 3"]);
    all(&|row| ["good", "1"][row % 2].to_owned());
    assert_found(&world.check(&numbers, &["model"], None).problems, &["\"good\" is no number", "labels = \"one\""]);
}

#[test]
fn similarities_must_fit_their_highest() {
    let world = World::new();
    let rows = sentences(240);
    let pairs = |range: std::ops::Range<usize>, scale: f64| -> String {
        let start = "text,second,label\n".to_owned();
        range.fold(start, |all, row| {
            all + &format!("{},the {},{}\n", rows[row].0, rows[239 - row].0, (row % 5) as f64 / 4.0 * scale)
        })
    };
    let recipe = RECIPE
        .replace("max_tokens = 12", "task = \"sentence-embedding\"\nmax_tokens = 24")
        .replace("[student]", "[data.columns]\npair = \"second\"\n[student]");
    let found = |scale| {
        world.write("train.csv", &pairs(0..80, scale));
        world.write("dev.csv", &pairs(80..100, scale));
        world.write("test.csv", &pairs(100..119, scale));
        world.check(&recipe, &["model"], None)
    };
    let findings = found(5.0);
    assert!(findings.warnings.is_empty() && findings.problems.is_empty(), "{findings:#?}");
    assert_found(&found(1.0).warnings, &["train: no similarity is above 1, but highest = 5"]);
    assert_found(&found(10.0).problems, &["32 of 80 similarities are above highest = 5", "say highest = 10"]);
}

#[test]
fn near_twins_are_those_that_comparing_all_finds() {
    let base =
        "the quick brown fox jumps over the lazy dog while seven wizards box with the grumpy old king of the hills";
    let mut texts: Vec<String> = (0..40)
        .map(|row| {
            let mut words: Vec<&str> = base.split(' ').collect();
            words.rotate_left(row / 4);
            let extra = ["", " x", " more", " and one or two more"][row % 4];
            format!("{}{extra}", words.join(" "))
        })
        .collect();
    texts.push(String::new());
    texts.push("abc".to_owned());
    let sets: Vec<usize> = (0..texts.len()).map(|row| row % 3).collect();
    let reporter = Reporter::new(Output::Silent);
    let found = twins(&texts, &sets, std::time::Duration::from_secs(60), &Late::new(&reporter, "twins", 1));
    let grams = |text: &str| -> std::collections::BTreeSet<String> {
        let characters: Vec<char> = text.chars().collect();
        characters.windows(5).map(|run| run.iter().collect()).collect()
    };
    let mut expected = Vec::new();
    for a in 0..texts.len() {
        for b in a + 1..texts.len() {
            let (one, other) = (grams(&texts[a]), grams(&texts[b]));
            let both = one.intersection(&other).count();
            let share = both as f64 / (one.len() + other.len() - both).max(1) as f64;
            if share >= 0.9 && sets[a] != sets[b] && texts[a] != texts[b] {
                expected.push((a, b));
            }
        }
    }
    let mut pairs: Vec<_> = found.pairs.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect();
    pairs.sort_unstable();
    assert!(expected.len() > 10);
    assert_eq!(pairs, expected);
    assert_eq!(found.looked_at, texts.len());
    let none = twins(&texts, &sets, std::time::Duration::ZERO, &Late::new(&reporter, "twins", 1));
    assert!(none.looked_at < texts.len(), "a limit is kept");
}

#[test]
fn near_twins_between_sets_are_told() {
    let world = World::new();
    clean(&world);
    let long = |end: &str| {
        (format!("{}so {end}", "the film was very good it was so fine and the food was bad ".repeat(4)), "good")
    };
    let rows = sentences(240);
    world.write("train.csv", &csv(&[&rows[..160], &[long("a")]].concat()));
    world.write("test.csv", &csv(&[&rows[200..], &[long("b")]].concat()));
    let findings = world.check(RECIPE, &["model"], None);
    assert_found(&findings.warnings, &["1 text of test", "with a near twin in train", "so a\"", "so b\""]);
}
