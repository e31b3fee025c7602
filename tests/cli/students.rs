//! `limbeck distill` for students of other shapes than the teacher's, and by methods of their own.

use limbeck_export::arch::Head;
use limbeck_export::checkpoint::read_arrays;
use serde_json::{Value, json};

use crate::distill::{NARROW, distil, polarity, recipe, score, sentence, texts};
use crate::world::{World, stderr, stdout};

fn world() -> World {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    world
}

fn change(path: &std::path::Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, value.to_string()).unwrap();
}

/// A student whose tokenizer cuts words that matter in two, with half of the teacher's heads.
#[test]
fn of_another_encoder() {
    let (world, other) = (world(), World::new());
    let folder = other.teacher();
    change(&folder.join("tokenizer.json"), |tokenizer| {
        let words = tokenizer["model"]["vocab"].as_object_mut().unwrap();
        for (word, piece) in [("good", "go"), ("bad", "ba"), ("phone", "##od"), ("service", "##d")] {
            let id = words.remove(word).unwrap();
            words.insert(piece.to_owned(), id);
        }
    });
    change(&folder.join("config.json"), |config| config["num_attention_heads"] = json!(2));
    let student = ["--student", folder.to_str().unwrap()];
    let stages = "[[stages]]\nname = \"answers\"\nlosses = [{ loss = \"soft-targets\" }, { loss = \"labels\" }]\n";
    let report = distil(&world, &recipe("texts.csv", "", "", "layers = 1", stages), &student);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    assert_eq!(report["others_sha256"][0][0], "student");
    let made = std::fs::read(world.out("student/tokenizer.json")).unwrap();
    assert_eq!(made, std::fs::read(folder.join("tokenizer.json")).unwrap());
    change(&world.out("student/config.json"), |config| assert_eq!(config["num_attention_heads"], 2));
    // Layers have nothing to be compared with.
    std::fs::write(world.recipe(), recipe("texts.csv", "method = \"layers-first\"", "", "layers = 1", "")).unwrap();
    let output = world.distill(&student).output().unwrap();
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("compares head with head"), "{text}");
}

/// Relations need no equal heads.
#[test]
fn with_other_heads() {
    let world = world();
    let made = recipe("texts.csv", "method = \"minilmv2\"", "", "layers = 1\nattention_heads = 2", "");
    let report = distil(&world, &made, &[]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
}

#[test]
fn that_share_attention_or_feed_forward_blocks() {
    for (sharing, [attention, ffn]) in [("attention", [true, false]), ("ffn", [false, true])] {
        let world = world();
        let student = format!("layers = 2\nsharing = \"{sharing}\"\nembedding_size = 16");
        let report = distil(&world, &recipe("texts.csv", "method = \"albert-shared\"", "", &student, ""), &[]);
        assert!(score(&report, "student fp32") > 0.85 && score(&report, "student int8") > 0.8, "{report}");
        // transformers' ALBERT writes a shared block once for each layer.
        let saved = read_arrays(&world.out("student/model.safetensors")).unwrap();
        let alike = |part: &str| {
            let of = |layer: usize| {
                let name = format!("albert.encoder.albert_layer_groups.{layer}.albert_layers.0.{part}.weight");
                saved.get(&name).unwrap_or_else(|| panic!("no {name}"))
            };
            of(0) == of(1)
        };
        assert_eq!([alike("attention.query"), alike("ffn_output")], [attention, ffn]);
    }
}

/// Rows that a masked language model made more of.
#[test]
fn of_augmented_rows() {
    let (world, masked) = (world(), World::new());
    masked.write_teacher(Head::MaskedLm);
    let stages = "[[stages]]\nname = \"more\"\non = \"augmented\"\nlosses = [{ loss = \"soft-targets\" }]\n\
                  [[stages]]\nname = \"end\"\nlosses = [{ loss = \"labels\" }]\n\
                  [augment]\ncopies = 3\nprobability = 0.5\n";
    let made = recipe("texts.csv", "", "", "layers = 1", stages);
    std::fs::write(world.recipe(), &made).unwrap();
    let output = world.distill(&[]).output().unwrap();
    assert!(stderr(&output).contains("give --masked-lm FOLDER"), "{}", stderr(&output));
    let folder = masked.teacher();
    let report = distil(&world, &made, &["--masked-lm", folder.to_str().unwrap()]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    assert_eq!(report["others_sha256"][0][0], "masked language model");
    let steps = |name: &str| {
        let stages = report["stages"].as_array().unwrap();
        stages.iter().find(|stage| stage["name"] == name).unwrap()["steps"].as_u64().unwrap()
    };
    assert!(steps("student, more") > 2 * steps("student, end"), "{report}");
}

#[test]
fn by_methods_of_their_own() {
    for (method, student) in [
        ("pkd", "layers = 2"),
        ("mobilebert", "layers = 1"),
        ("textbrewer", NARROW),
        ("well-read", "layers = 1"),
        ("theseus", "layers = 1"),
    ] {
        let world = world();
        // The new head of a narrow student takes its time.
        let made = recipe("texts.csv", &format!("method = \"{method}\""), "", student, "")
            .replace("epochs = 4", "epochs = 12");
        let report = distil(&world, &made, &[]);
        assert!(score(&report, "student fp32") > 0.85, "{method}: {report}");
    }
    let world = world();
    for (method, student, expected) in [
        ("pkd", "layers = 1", "patience compares all layers but the student's last"),
        ("theseus", "layers = 1\nintermediate_size = 32", "both need one shape"),
    ] {
        let made = recipe("texts.csv", &format!("method = \"{method}\""), "", student, "");
        std::fs::write(world.recipe(), &made).unwrap();
        let output = world.distill(&[]).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

/// Numbers, tags and several labels that another program answered.
#[test]
fn of_answers_in_a_file() {
    let of_file = |made: String| {
        made.replace("[teacher.train]", "[teacher]\nsource = \"answers\"\nanswers = \"answers.jsonl\"\n[teacher.train]")
    };
    let stages = "[[stages]]\nname = \"answers\"\nlosses = [{ loss = \"soft-targets\", temperature = 1.0 }]\n";
    let learn = |file: &str, data: &str, answers: &str, head: &str| {
        let world = World::new();
        std::fs::write(world.data(file), data).unwrap();
        std::fs::write(world.data("answers.jsonl"), answers).unwrap();
        // Long enough to learn it whatever the first numbers are.
        let recipe = recipe(file, head, "", "layers = 1", stages).replace("epochs = 4", "epochs = 12");
        let report = distil(&world, &of_file(recipe), &[]);
        assert!(score(&report, "student fp32") > 0.5, "{report}");
        (report, world)
    };
    // Half of the numbers, half of the tags are given in another form.
    let (mut data, mut answers) = (String::from("text,label\n"), String::new());
    let (mut tagged, mut tags) = (String::new(), String::new());
    let (mut many, mut each) = (String::from("text,label\n"), String::new());
    for row in 0..300 {
        let (text, good) = (sentence(row, &polarity(row)), row % 2 == 0);
        let number = if good { 4.0 } else { 1.0 } + (text.len() % 7) as f64 / 10.0;
        data += &format!("{text},{number}\n");
        answers += &format!("{}\n", json!({"text": text, "label": number + 0.1}));
        let names = if good { "good|any" } else { "any" };
        many += &format!("{text},{names}\n");
        each += &format!(
            "{}\n",
            json!({"text": text, "probabilities": {"good": if good { 0.9 } else { 0.2 }, "any": 0.95}})
        );
        let tag = if good { "B-GOOD" } else { "B-BAD" };
        let words: Vec<&str> = text.split(' ').collect();
        tagged += &format!("{}\tO\n{}\t{tag}\n{}\tO\n\n", words[0], words[1], words[2]);
        // The same text has the same answer, wherever it stands.
        let answer = match text.len() % 2 {
            0 => json!({"text": text, "tags": ["O", tag, "O"]}),
            _ => json!({"text": text, "probabilities": [{"O": 1.0}, {tag: 0.8, "O": 0.2}, {"O": 1.0}]}),
        };
        tags += &format!("{answer}\n");
    }
    let (report, _) = learn("numbers.csv", &data, &answers, "labels = \"number\"");
    assert_eq!(report["measure"], "spearman");
    let (report, _) = learn("many.csv", &many, &each, "labels = \"several\"");
    assert_eq!(report["measure"], "micro_f1");
    let (report, world) = learn("tags.conll", &tagged, &tags, "task = \"token-classification\"");
    assert_eq!(report["measure"], "entity_f1");
    // check reads them too, and so do both say what is wrong.
    let output = world.check().output().unwrap();
    assert!(stdout(&output).contains("the answers of answers.jsonl have entity F1 100.0"), "{}", stdout(&output));
    std::fs::write(world.data("answers.jsonl"), tags.replace("[\"O\",", "[")).unwrap();
    for output in [world.check().output().unwrap(), world.distill(&[]).output().unwrap()] {
        let text = stdout(&output) + &stderr(&output);
        assert!(!output.status.success() && text.contains("answers for 2 words, and the text has 3"), "{text}");
    }
}
