//! Models, tokenizers and recipes that do not fit.

use super::*;
use crate::pipeline::LatencyBudget;

/// A recipe with other stages.
fn stages(stages: &str) -> String {
    format!("{RECIPE}{stages}")
}

fn stage(loss: &str) -> String {
    let end = "[[stages]]\nname = \"end\"\n[[stages.losses]]\nloss = \"soft-targets\"\n";
    stages(&format!("[[stages]]\nname = \"s\"\n{loss}\n{end}"))
}

#[test]
fn texts_that_are_too_long_are_counted() {
    let world = World::new();
    clean(&world);
    let findings = world.check(&RECIPE.replace("max_tokens = 12", "max_tokens = 7"), &["model"], None);
    assert_found(
        &findings.warnings,
        &["train:", "are longer than max_tokens = 7", "max_tokens = 9 would cut fewer than 1%"],
    );
    let findings = world.check(&RECIPE.replace("max_tokens = 12", "max_tokens = 25"), &["model"], None);
    assert_found(&findings.problems, &["max_tokens is 25, but model has 24 positions"]);
    let rows: Vec<_> =
        sentences(240).into_iter().map(|(text, label)| (format!("{text} {text} {text} {text}"), label)).collect();
    world.write("test.csv", &csv(&rows[..40]));
    assert_found(
        &world.check(RECIPE, &["model"], None).warnings,
        &["test: 40 of 40", "more than the model's 24: shorten"],
    );
}

#[test]
fn tags_and_answers_that_are_cut_away_are_counted() {
    let world = World::new();
    let line = |row: usize| -> String {
        let tags = [["Paris\tB-LOC", "was\tO"], ["it\tO", "Paris\tB-LOC"]][row % 2];
        format!("{}\n{}\nfilm\tO\nso{}\tO\n\n", tags[0], tags[1], "s".repeat(row))
    };
    for (name, range) in [("train.csv", 0..20), ("dev.csv", 20..25), ("test.csv", 25..30)] {
        world.write(name, &range.map(line).collect::<String>());
    }
    let tags = RECIPE.replace("max_tokens = 12", "task = \"token-classification\"\nmax_tokens = 4");
    let findings = world.check(&tags, &["model"], None);
    // [CLS], two words, [SEP]: of four words two are lost.
    assert_found(&findings.warnings, &["train: 20 of 20 texts", "with them 40 of 80 words, whose tags"]);
    assert_found(
        &findings.facts,
        &["hint: 100.0% of the words in entities begin with a capital and 0.0% of the others"],
    );
    assert_found(&findings.facts, &["chance: entity F1 0.0; a teacher must reach 2.0"]);

    let squad = |range: std::ops::Range<usize>| {
        let paragraphs: Vec<Value> = range
            .map(|row| {
                let context = format!("{}the film was so fine it was good{}", "very ".repeat(12), " bad".repeat(row));
                let answer = json!([{"text": "the film was so fine", "answer_start": 60}]);
                json!({"context": context, "qas": [{"id": row.to_string(), "question": "a film", "answers": answer}]})
            })
            .collect();
        json!({"data": [{"paragraphs": paragraphs}]}).to_string()
    };
    let answers = RECIPE
        .replace("max_tokens = 12", "task = \"question-answering\"\nmax_tokens = 13\nstride = 4")
        .replace(".csv", ".json");
    for (name, range) in [("train.json", 0..10), ("dev.json", 10..13), ("test.json", 13..16)] {
        world.write(name, &squad(range));
    }
    let findings = world.check(&answers, &["model"], None);
    assert_found(&findings.facts, &["train: 10 questions in", "windows of at most 13 tokens"]);
    // Windows of eight tokens go on by four: the answer, at tokens 12 to 16, lies whole in one.
    assert!(!findings.warnings.iter().any(|text| text.contains("no window")), "{findings:#?}");
    let findings = world.check(&answers.replace("stride = 4", "stride = 1"), &["model"], None);
    assert_found(&findings.warnings, &["train: 10 of 10 answers (100.0%) stand whole in no window", "stride, now 1"]);
    let findings = world.check(&answers.replace("max_tokens = 13", "max_tokens = 9"), &["model"], None);
    assert_found(&findings.problems, &["leave no room for the text"]);
}

#[test]
fn tokenizers_that_do_not_fit_are_named() {
    let world = World::new();
    clean(&world);
    replace(world.folder.path(), "test.csv", "film", "xyz");
    let findings = world.check(RECIPE, &["model"], None);
    assert_found(&findings.warnings, &["test, tokenizer of model:", "are unknown words, the commonest \"xyz\""]);

    let config = with(tiny(), json!({"vocab_size": 40, "pad_token_id": 7}));
    world.model("other", &config, None, &tokenizer());
    let findings = world.check(RECIPE, &["other"], None);
    assert_found(&findings.warnings, &["tokenizer of other: it has 18 tokens, the model 40 rows"]);
    assert_found(&findings.warnings, &["its padding token is 0, the model's 7"]);
    world.model("bare", &tiny(), None, &with(tokenizer(), json!({"post_processor": null})));
    let findings = world.check(RECIPE, &["bare"], None);
    assert_found(&findings.problems, &["tokenizer of bare: it does not put a special token before and after"]);
    let large = tokenizer().to_string().replace("\"##s\":17", "\"##s\":99");
    std::fs::write(world.path("bare/tokenizer.json"), large).unwrap();
    assert_found(
        &world.check(RECIPE, &["bare"], None).problems,
        &["token id 99, but the model's vocabulary ends at 17"],
    );

    // A student that reads letters: nothing can be compared token by token.
    let mut letters = tokenizer();
    letters["pre_tokenizer"] =
        json!({"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false});
    world.model("letters", &tiny(), None, &letters);
    let findings = world.check(RECIPE, &["model"], Some("letters"));
    assert_found(&findings.problems, &["cuts texts into other tokens", "letters", "hidden-cosine (distill)"]);
    assert!(!findings.problems.iter().any(|text| text.contains("soft-targets")), "{findings:#?}");
    let whole = stages("[[stages]]\nname = \"s\"\n[[stages.losses]]\nloss = \"soft-targets\"\n");
    let findings = world.check(&whole, &["model"], Some("letters"));
    assert_found(&findings.facts, &["the recipe's losses compare whole texts"]);
    assert!(findings.problems.is_empty(), "{findings:#?}");
    // Of a second teacher only the answers are learned.
    assert!(world.check(&whole, &["model", "letters"], None).problems.is_empty());
}

#[test]
fn finished_teachers_are_tried() {
    let world = World::new();
    clean(&world);
    let finished = RECIPE.replace("[student]", "[teacher]\nsource = \"finished\"\n[student]");
    let named = |labels: &[&str]| {
        world.model("named", &tiny(), Some(labels), &tokenizer());
        world.check(&finished, &["named"], None)
    };
    // It says its first label, always, which half of the rows have.
    let findings = named(&["bad", "good"]);
    assert_found(&findings.facts, &["teacher: named has accuracy 50.0 on 40 rows of dev"]);
    assert_found(&findings.problems, &["named: accuracy 50.0 on dev, and the largest class alone 50.0"]);
    assert_eq!(findings.problems.len(), 1, "{findings:#?}");
    // The order is the teacher's own where the names are the same.
    assert_eq!(named(&["good", "bad"]).problems.len(), 1);
    assert_found(
        &named(&["LABEL_0", "LABEL_1"]).problems,
        &["not called as the data's", "only the data have bad, good"],
    );
    let findings = named(&["bad", "good", "neutral"]);
    assert_found(&findings.warnings, &["labels that no training row has, and the student will: neutral"]);
    assert_found(&named(&["bad", "fine"]).problems, &["not called as the data's", "only the data have good"]);
    named(&["bad", "good", "neutral"]);
    assert_found(
        &world.check(&finished, &["model"], None).problems,
        &["model is an encoder without a head", "finetune"],
    );
    let findings = world.check(RECIPE, &["named"], None);
    assert!(findings.problems.is_empty(), "an encoder may have any head: {findings:#?}");
    named(&["bad", "good"]);
    let findings = world.check(RECIPE, &["named"], None);
    assert_found(&findings.facts, &["hint: named has a head for these labels", "source = \"finished\""]);
}

/// Few rows need not show every label of a finished teacher.
#[test]
fn a_finished_teachers_labels_are_known() {
    let world = World::new();
    clean(&world);
    let dev = std::fs::read_to_string(world.path("dev.csv")).unwrap();
    world.write("dev.csv", &(dev + "the dog slept,neutral\n"));
    world.model("named", &tiny(), Some(&["bad", "good", "neutral"]), &tokenizer());
    let finished = RECIPE.replace("[student]", "[teacher]\nsource = \"finished\"\n[student]");
    let strange = |recipe: &str| {
        let findings = world.check(recipe, &["named"], None);
        findings.problems.iter().any(|problem| problem.contains("labels that train has not"))
    };
    assert!(strange(RECIPE) && !strange(&finished));
}

#[test]
fn a_teachers_answers_are_compared_with_the_labels() {
    let world = World::new();
    clean(&world);
    let recipe = RECIPE.replace("[student]", "[teacher]\nsource = \"answers\"\nanswers = \"answers.jsonl\"\n[student]")
        + "[[stages]]\nname = \"s\"\n[[stages.losses]]\nloss = \"soft-targets\"\n";
    let answer = |first: &str, of: &dyn Fn(usize, &str) -> bool| {
        let rows = sentences(160).into_iter().enumerate();
        let lines = rows.map(|(row, (text, label))| {
            let p = if of(row, label) { 0.9 } else { 0.1 };
            json!({"text": text, "probabilities": [p, 1.0 - p]}).to_string()
        });
        let text = lines.fold(first.to_owned(), |all, line| all + &line + "\n");
        world.write("answers.jsonl", &text);
        world.check(&recipe, &["model"], None)
    };
    // Without a first line lists are in the order bad, good.
    let findings = answer("", &|row, label| (label == "bad") != (row % 10 == 0));
    assert!(findings.problems.is_empty() && findings.warnings.is_empty(), "{findings:#?}");
    assert_found(&findings.facts, &["answers.jsonl are right for 90.0% of 160 training rows", "50.0%"]);
    let findings = answer("", &|_, label| label == "good");
    assert_found(
        &findings.problems,
        &["far better in another order (100.0% right instead of 0.0%)", "order good, bad"],
    );
    let findings = answer("{\"labels\": [\"good\", \"bad\"]}\n", &|_, label| label == "good");
    assert!(findings.problems.is_empty(), "{findings:#?}");
    assert_found(&answer("", &|row, _| row % 16 < 8).problems, &["right for 50.0%", "nothing to distil"]);
    world.write("answers.jsonl", "{\"label\": \"good\"}\n");
    assert_found(&world.check(&recipe, &["model"], None).problems, &["1 answers for 160 rows"]);
    assert_found(&world.check(&recipe, &["model", "model"], None).problems, &["stand alone"]);
}

#[test]
fn recipes_that_cannot_be_built_are_refused_by_the_part() {
    let world = World::new();
    clean(&world);
    let student = |change: &str| world.check(&RECIPE.replace("layers = 1", change), &["model"], None).problems;
    assert_found(&student("layers = 1\nattention_heads = 3"), &["student:", "3 attention heads"]);
    assert_found(&student("layers = 1\nhidden_size = 32"), &["student.hidden_size 32 is more than the 16 of model"]);
    assert_found(&student("layers = 1\nlayer_map = [2]"), &["student:", "teacher layer 2", "0 to 1"]);
    assert_found(&student("layers = 1\nembedding_size = 8"), &["student.embedding_size 8"]);
    assert!(student("layers = 1\nhidden_size = 8\nattention_heads = 2").is_empty());
    let loss =
        |loss: &str| world.check(&stage(&format!("[[stages.losses]]\nloss = {loss}")), &["model"], None).problems;
    let map = stage("layer_map = [5]\n[[stages.losses]]\nloss = \"hidden-states\"");
    assert_found(&world.check(&map, &["model"], None).problems, &["stage s", "teacher layer 5", "hidden-states"]);
    assert_found(&loss("\"relations\"\nheads = 5"), &["5 relation heads do not divide"]);
    assert_found(&loss("\"relations\"\nteacher_layer = 2"), &["relations of teacher layer 2"]);
    assert!(loss("\"attention-scores\"").is_empty());
    let heads = stage("[[stages.losses]]\nloss = \"attention-scores\"")
        .replace("layers = 1", "layers = 1\nattention_heads = 4");
    assert_found(&world.check(&heads, &["model"], None).problems, &["attention-scores compares head with head"]);
    let corpus = stage("on = \"corpus\"\n[[stages.losses]]\nloss = \"hidden-cosine\"")
        .replace("[student]", "corpus = [\"corpus.txt\"]\n[student]");
    let findings = world.check(&corpus, &["model"], None);
    assert_found(&findings.problems, &["stage s, data.corpus: cannot read"]);
    let weights = RECIPE.replace("[student]", "[teacher]\nweights = [1.0, 2.0]\n[student]");
    assert_found(&world.check(&weights, &["model"], None).problems, &["2 numbers for 1 teachers"]);
    let large = RECIPE.replace("layers = 1", "layers = 1\n[student.train]\nbatch_size = 500");
    assert_found(
        &world.check(&large, &["model"], None).warnings,
        &["student.train: a step of 500 rows", "more than the 160"],
    );
    // A family that has no layers to share.
    let config = with(
        tiny(),
        json!({"model_type": "distilbert", "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32,
        "activation": "gelu"}),
    );
    world.model("untyped", &config, None, &tokenizer());
    let shared = RECIPE.replace("layers = 1", "layers = 1\nsharing = \"all\"");
    assert_found(&world.check(&shared, &["untyped"], None).problems, &["student.sharing", "this one is a distilbert"]);
    let findings = world.check(RECIPE, &["nowhere"], None);
    assert_found(&findings.problems, &["teacher:", "nowhere is not a folder"]);
}

/// What distill is told besides the recipe is looked at too.
#[test]
fn what_distill_would_refuse_is_found_before() {
    let world = World::new();
    clean(&world);
    let teacher = RECIPE.replace("layers = 1", "layers = 1\nstart = \"teacher\"");
    assert_found(
        &world.check(&teacher, &["model"], Some("model")).problems,
        &["start = \"teacher\" takes the teacher's"],
    );
    assert!(world.check(&teacher, &["model"], None).problems.is_empty());

    let augmented = stage("on = \"augmented\"\n[[stages.losses]]\nloss = \"soft-targets\"") + "[augment]\ncopies = 2\n";
    masked_lm(&world, "masked");
    let by = |recipe: &str, folder: Option<&str>| {
        world.check_with(recipe, &["model"], None, |options| options.masked_lm = folder.map(|name| world.path(name)))
    };
    assert_found(&by(&augmented, None).problems, &["stage s reads augmented rows; give --masked-lm FOLDER"]);
    assert_found(&by(&augmented, Some("model")).problems, &["--masked-lm: ", "model has no masked-LM head"]);
    let findings = by(&augmented, Some("masked"));
    assert!(findings.problems.is_empty() && findings.warnings.is_empty(), "{findings:#?}");
    assert_found(&by(RECIPE, Some("masked")).warnings, &["--masked-lm is given, and no stage reads augmented rows"]);

    let search = |recipe: &str| {
        let latency = Some(LatencyBudget { ms: 3.0, threads: 1 });
        world.check_with(recipe, &["model"], None, |options| options.latency = latency)
    };
    // What the recipe says of the shape does not count.
    let findings = search(&RECIPE.replace("layers = 1", "layers = 1\nhidden_size = 32"));
    assert!(findings.problems.is_empty(), "{findings:#?}");
    assert_found(&findings.facts, &["its shape is searched, for 3 ms, among 1x16, 1x12, 2x12,"]);
    let heads = stage("[[stages.losses]]\nloss = \"attention-scores\"")
        .replace("layers = 1", "layers = 1\nattention_heads = 4");
    assert_found(&search(&heads).problems, &["--latency: no smaller student fits", "compares head with head"]);
}

/// A folder with a masked-LM head, whose tokenizer has a mask token.
fn masked_lm(world: &World, name: &str) {
    let marked: Value = serde_json::from_str(&tokenizer().to_string().replace("\"so\":16", "\"[MASK]\":16")).unwrap();
    world.model(name, &tiny(), None, &marked);
    let _turn = crate::seeded(6);
    let (config, head) = (ModelConfig::from_hf(&tiny()).unwrap(), crate::arch::Head::MaskedLm);
    let params = Params::initialise(&parameter_layout(&config, head), Device::Cpu);
    let source = world.path("tokenizer-source.json");
    checkpoint::save(&world.path(name), &config, &HeadInfo::new(head), &params, &source).unwrap();
}

#[test]
fn stages_on_a_corpus_need_the_same_tokens() {
    let world = World::new();
    clean(&world);
    masked_lm(&world, "masked");
    let lines = sentences(240).into_iter().fold(String::new(), |all, (text, _)| all + &text + " very good\n");
    world.write("corpus.txt", &lines);
    let corpus = |losses: &str| {
        stage(&format!("on = \"corpus\"\nfrom = \"pretrained\"\nlosses = [{losses}]"))
            .replace("[student]", "corpus = [\"corpus.txt\"]\ncorpus_filter = { min_tokens = 4 }\n[student]")
    };
    let words = corpus("{ loss = \"masked-lm\" }");
    assert!(world.check(&words, &["masked"], None).problems.is_empty());
    let findings = world.check(&words, &["model"], None);
    assert_found(&findings.problems, &["model has no masked-LM head"]);
    assert_found(&findings.problems, &["there is no mask token"]);
    // Another numbering of the same tokens.
    let turned = tokenizer().to_string().replace("\"so\":16", "\"[MASK]\":16");
    let turned = turned.replace("\"good\":8", "\"good\":9").replace("\"bad\":9", "\"bad\":8");
    world.model("turned", &tiny(), None, &serde_json::from_str(&turned).unwrap());
    assert!(
        world.check(&words, &["masked"], Some("turned")).problems.is_empty(),
        "words alone ask nothing of a teacher"
    );
    let soft = corpus("{ loss = \"masked-lm-soft-targets\" }");
    let findings = world.check(&soft, &["masked"], Some("turned"));
    assert_found(&findings.problems, &["stage s: masked numbers tokens otherwise than the student (turned)"]);
    let mut letters = tokenizer();
    letters["pre_tokenizer"] =
        json!({"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": false});
    world.model("letters", &tiny(), None, &letters);
    let states = corpus("{ loss = \"hidden-states\" }");
    assert_found(
        &world.check(&states, &["model"], Some("letters")).problems,
        &["stage s: the tokenizer of model cuts the corpus into other tokens", "(letters)"],
    );
    assert!(world.check(&states, &["model"], Some("turned")).problems.is_empty());
}
