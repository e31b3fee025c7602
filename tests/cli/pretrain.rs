//! `limbeck pretrain`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::world::{NEUTRAL, World, device, hash, stderr, stdout};

/// A world with text: documents of sentences whose words follow one another.
pub fn world() -> World {
    let world = World::new();
    let mut text = String::new();
    for document in 0..60u64 {
        for sentence in 0..6 {
            let first = hash(document * 16 + sentence) as usize;
            let words: Vec<&str> = (0..7).map(|i| NEUTRAL[(first + i) % NEUTRAL.len()]).collect();
            text += &format!("{} .\n", words.join(" "));
        }
        text.push('\n');
    }
    std::fs::write(world.data("text.txt"), text).unwrap();
    std::fs::write(
        world.data("electra.toml"),
        "tokenizer = \"tiny-teacher\"\nmax_tokens = 24\n[model]\npreset = \"electra-small\"\nlayers = 1\nhidden_size = 32\n\
         embedding_size = 16\npositions = 32\n[data]\ntrain = [\"text.txt\"]\nheld_out_share = 0.1\n[objective]\n\
         kind = \"rtd\"\ngenerator_size = 0.5\nduplicates = 2\n[train]\nepochs = 3\nbatch_size = 16\nscore_every = 8\nkeep = \"best\"\n\
         accumulate = 2\n",
    )
    .unwrap();
    world
}

pub fn pretrain(world: &World, recipe: &str, out: &str, more: &[&str]) -> Command {
    let mut command = world.limbeck(&["pretrain", "--device", device(), "--threads", "1"]);
    command.arg("--recipe").arg(world.data(recipe)).arg("--data").arg(world.data("."));
    command.arg("--out").arg(world.data(out)).args(more);
    command
}

/// Both heads of pretraining become bundles that run, in fp32 and in int8, and order is measured.
#[test]
fn order_and_replaced_tokens_are_packed_and_run() {
    let world = world();
    let made = pretrain(&world, "electra.toml", "electra", &["--epochs", "1"]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let folder = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let sentence = |task: &str, out: &str, preset: &str| {
        let mut command =
            world.limbeck(&["pretrain", "--device", device(), "--threads", "1", "--preset", preset, "--layers", "1"]);
        command.args(["--hidden-size", "32", "--train", "text.txt", "--sentence", task, "--steps", "3"]);
        command.args(["--tokenizer", "tiny-teacher", "--max-tokens", "24"]);
        command.arg("--data").arg(world.data(".")).arg("--out").arg(world.data(out));
        let made = command.output().unwrap();
        assert!(made.status.success(), "{}", stderr(&made));
    };
    sentence("sop", "albert", "albert-base");
    // Whose pair head tells order is for its objective to say, not for its family.
    sentence("sop", "bert-sop", "bert-base-uncased");
    sentence("nsp", "albert-nsp", "albert-base");
    let refused =
        world.limbeck(&["pack", &folder("albert-nsp"), "-o", "x.limbeck", "--task", "order"]).output().unwrap();
    assert!(!refused.status.success() && stderr(&refused).contains("next sentences"), "{}", stderr(&refused));

    let mut pairs = String::from("text\tsecond\tlabel\n");
    for row in 0..20 {
        let [a, b] = [0, 1].map(|i| format!("{} .", NEUTRAL[(row + i) % NEUTRAL.len()]));
        pairs += &if row % 2 == 0 { format!("{a}\t{b}\tin-order\n") } else { format!("{b}\t{a}\tswapped\n") };
    }
    std::fs::write(world.data("pairs.tsv"), pairs).unwrap();
    for (name, int8) in [("albert", false), ("bert-sop", false), ("albert", true)] {
        let bundle = folder(&format!("{name}-{int8}.limbeck"));
        let verb: &[&str] = if int8 { &["quantize"] } else { &["pack"] };
        let pairs = folder("pairs.tsv");
        let more: &[&str] = match int8 {
            true => &["--data", &pairs, "--pair-column", "second", "--max-drop", "100"],
            false => &[],
        };
        let from = folder(name);
        let made = world.json(&[verb, &[&from, "-o", &bundle, "--task", "order", "--json"], more].concat());
        assert!(made["bytes"].as_u64().unwrap() > 0, "{made}");
        assert!(!int8 || made["drop_points"].as_f64().is_some(), "{made}");
        let quality = world.json(&["eval", &bundle, &pairs, "--pair-column", "second", "--json"]);
        assert_eq!((&quality["examples"], &quality["labels"][1]), (&20.into(), &"swapped".into()), "{quality}");
        let given = world.json(&["run", &bundle, "--first", NEUTRAL[0], NEUTRAL[1], "--both-orders", "--json"]);
        let other = world.json(&["run", &bundle, "--first", NEUTRAL[1], NEUTRAL[0], "--both-orders", "--json"]);
        let sum = given["probability"].as_f64().unwrap() + other["probability"].as_f64().unwrap();
        assert!((sum - 1.0).abs() < 1e-5, "{given} {other}");
    }

    let (bundle, small) = (folder("replaced.limbeck"), folder("replaced-int8.limbeck"));
    world.json(&["pack", &folder("electra"), "-o", &bundle, "--json"]);
    world.json(&["quantize", &folder("electra"), "-o", &small, "--unproven", "--json"]);
    let text = format!("{} {} 🙂", NEUTRAL[0], NEUTRAL[1]);
    for bundle in [&bundle, &small] {
        assert!(world.json(&["verify", bundle, "--json"])["self_test"]["vectors"].as_u64().unwrap() > 0);
        let found = world.json(&["run", bundle, &text, "--threshold", "0", "--json"]);
        let spans = found["spans"].as_array().unwrap();
        assert_eq!(spans.iter().map(|span| span["text"].as_str().unwrap()).collect::<Vec<_>>().join(" "), text);
        assert!(found["tokens"].as_array().unwrap().len() >= 3, "{found}");
        let nothing = world.limbeck(&["run", bundle, &text, "--threshold", "1"]).output().unwrap();
        assert!(stdout(&nothing).contains("nothing found"), "{}", stdout(&nothing));
    }
    let wrong = world.limbeck(&["run", &bundle, &text, "--both-orders"]).output().unwrap();
    assert!(stderr(&wrong).contains("replaced"), "{}", stderr(&wrong));
}

/// Runs `start` to its end in the folder `whole`, and in others where it is killed again and again; the files are the same.
fn is_killed(world: &World, kills: usize, start: impl Fn(&str) -> Command, files: &[&str]) {
    let start = |out: &str| start(out).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let weights = |out: &str| -> Vec<Vec<u8>> {
        files.iter().map(|name| std::fs::read(world.data(out).join(name)).expect("a folder without a model")).collect()
    };
    assert!(start("whole").wait_with_output().unwrap().status.success());
    let expected = weights("whole");
    let (mut killed, mut broken, mut resumed) = (0, 0, 0);
    for moment in 0..5 * kills as u64 {
        let out = format!("broken-{broken}");
        let mut child = start(&out);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let random = hash(moment);
        let met = lines.by_ref().take(4 + (random % 3) as usize).count();
        std::thread::sleep(Duration::from_millis(random / 4 % 120));
        if met < 4 || child.try_wait().unwrap().is_some() {
            assert!(child.wait().unwrap().success(), "after {killed} kills");
            assert!(weights(&out) == expected, "other weights after {killed} kills");
            broken += 1;
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        let checkpoints = ["resume.safetensors", "control/resume.safetensors"].map(|name| world.data(&out).join(name));
        resumed += usize::from(checkpoints.iter().any(|path| path.exists()));
        if killed == kills {
            break;
        }
    }
    assert!(killed == kills && resumed >= kills / 3, "{resumed} of {killed} kills met a run under way");
    let out = format!("broken-{broken}");
    assert!(start(&out).wait_with_output().unwrap().status.success());
    assert!(weights(&out) == expected, "other weights after {killed} kills");
    assert!(!world.data(&out).join("resume.safetensors").exists());
}

#[test]
fn killed_pretraining_ends_with_the_same_weights() {
    let world = world();
    let start = |out: &str| pretrain(&world, "electra.toml", out, &["--checkpoint-seconds", "0", "--json"]);
    is_killed(&world, 6, start, &["model.safetensors", "generator/model.safetensors"]);
}

/// A tiny causal model with a byte-level tokenizer.
pub fn causal() -> String {
    format!("{}/../tests/parity/references/generation", env!("CARGO_MANIFEST_DIR"))
}

fn student(world: &World, out: &str, more: &[&str]) -> Command {
    let mut command = world.limbeck(&["pretrain", "--device", device(), "--threads", "1", "--teacher", &causal()]);
    command.args(["--layers", "2", "--max-tokens", "32", "--train", "text.txt", "--documents", "empty-lines"]);
    command.args(["--batch-size", "8", "--learning-rate", "5e-3"]).args(more);
    command.arg("--data").arg(world.data(".")).arg("--out").arg(world.data(out));
    command
}

#[test]
fn killed_distillation_of_a_causal_model_ends_with_the_same_weights() {
    let world = world();
    let more = ["--steps", "40", "--checkpoint-seconds", "0", "--json"];
    let start = |out: &str| student(&world, out, &more);
    is_killed(&world, 6, start, &["model.safetensors", "control/model.safetensors"]);
}

/// Half of a causal model, and its control, become bundles that write.
#[test]
fn a_distilled_causal_model_is_told_packed_and_run() {
    let world = world();
    let made = student(&world, "student", &["--steps", "30", "--json"]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let events: Vec<Value> = stdout(&made).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let done = events.last().unwrap();
    let found = &done["distilled"];
    let perplexity = |scored: &Value| scored["perplexity"].as_f64().unwrap();
    let teacher = perplexity(&found["teacher"]);
    assert_eq!(found["ratio"].as_f64().unwrap(), perplexity(&done["held_out"]) / teacher);
    assert_eq!(found["control_ratio"].as_f64().unwrap(), perplexity(&found["control"]) / teacher);
    assert_eq!(found["layer_map"], serde_json::json!([0, 2]));
    assert!(done["held_out"]["bits_per_byte"].as_f64().unwrap() > 0.0);
    let step = |stage: &str| events.iter().find(|event| event["event"] == "step" && event["stage"] == stage).unwrap();
    let parts = |stage: &str| step(stage)["parts"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(parts("control"), ["next"]);
    assert_eq!(parts("pretrain"), ["hidden-cosine", "next", "soft-targets"]);

    // Done is done: only the limit is looked at again.
    let within = student(&world, "student", &["--steps", "30", "--max-ratio", "1e9"]).output().unwrap();
    assert!(within.status.success() && stdout(&within).contains("Control: "), "{}", stdout(&within));
    let beyond = student(&world, "student", &["--steps", "30", "--max-ratio", "0.001"]).output().unwrap();
    assert_eq!(beyond.status.code(), Some(3));
    assert!(stderr(&beyond).contains("more than --max-ratio 0.001"), "{}", stderr(&beyond));
    let alone = student(&world, "alone", &["--steps", "1", "--no-control"]).output().unwrap();
    assert!(alone.status.success() && !stdout(&alone).contains("Control: "), "{}", stdout(&alone));
    assert!(!world.data("alone/control").exists());

    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    for folder in ["student", "student/control"] {
        let (bundle, int8, graph) = (path("lm.limbeck"), path("int8.limbeck"), path("graph"));
        world.json(&["pack", &path(folder), "-o", &bundle, "--json"]);
        world.json(&["quantize", &path(folder), "-o", &int8, "--unproven", "--json"]);
        let exported = world.limbeck(&["export", &path(folder), "--out", &graph]).output().unwrap();
        assert!(exported.status.success(), "{}", stderr(&exported));
        for bundle in [&bundle, &int8] {
            assert!(world.json(&["verify", bundle, "--json"])["self_test"]["vectors"].as_u64().unwrap() > 0);
            let written = world.json(&["run", bundle, "the film was", "--max-new-tokens", "6", "--json"]);
            assert_eq!(written["ids"].as_array().unwrap().len(), 6, "{written}");
            let scored = world.json(&["eval", bundle, &path("text.txt"), "--json"]);
            assert!(scored["perplexity"].as_f64().unwrap() > 1.0, "{scored}");
        }
    }
}

#[test]
fn what_was_pretrained_is_told_scored_fine_tuned_and_exported() {
    let world = world();
    let made = pretrain(&world, "electra.toml", "electra", &["--epochs", "1", "--json"]).output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    let events: Vec<Value> = stdout(&made).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let step = of("step")[0];
    assert!(step["tokens_per_second"].as_f64().unwrap() > 0.0 && step["parts"]["replaced"].as_f64().unwrap() > 0.0);
    assert!(of("held-out")[0]["replaced_accuracy"].as_f64().unwrap() > 0.5);
    let done = of("pretrained")[0];
    assert!(done["flops"]["electra"].as_f64().unwrap() > 1e6 && done["generator_parameters"].as_u64().unwrap() > 0);
    assert_eq!(*done["train"]["epochs"].as_u64().as_ref().unwrap(), 1);

    // Options alone: a sentence-order model, scored on all three tasks.
    let out = world.data("albert");
    let mut command = world.limbeck(&[
        "pretrain",
        "--device",
        device(),
        "--threads",
        "1",
        "--preset",
        "albert-base",
        "--layers",
        "2",
    ]);
    command.args(["--hidden-size", "32", "--embedding-size", "16", "--train", "text.txt", "--sentence", "sop"]);
    command.args(["--tokenizer", "tiny-teacher", "--max-tokens", "24", "--steps", "5"]);
    command.arg("--data").arg(world.data(".")).arg("--out").arg(&out);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", stderr(&made));
    assert!(stdout(&made).contains("sentences") && stdout(&made).contains("FLOPs"), "{}", stdout(&made));
    let text = world.data("text.txt");
    for on in ["mlm", "nsp", "sop"] {
        let scored = world.json(&[
            "pretrain",
            "--device",
            device(),
            "--evaluate-on",
            on,
            "--model",
            out.to_str().unwrap(),
            "--held-out",
            text.to_str().unwrap(),
            "--max-tokens",
            "24",
            "--json",
        ]);
        let name = if on == "mlm" { "masked_accuracy" } else { "sentence_accuracy" };
        assert!(scored["held_out"][name].as_f64().is_some(), "{scored}");
        assert_eq!(scored["held_out"]["sentence_loss"].is_null(), on == "mlm", "{scored}");
    }
    // The other verbs take both folders.
    for (folder, head) in [("electra", "replaced-token"), ("electra/generator", "masked-lm"), ("albert", "pretraining")]
    {
        let folder = world.data(folder);
        let folder = folder.to_str().unwrap();
        let count = world.json(&["params", folder, "--json"]);
        assert_eq!(count["head"], head, "{count}");
        let graph = world.data("graph");
        let exported = world.limbeck(&["export", folder, "--out", graph.to_str().unwrap()]).output().unwrap();
        assert!(exported.status.success(), "{}", stderr(&exported));
    }
    for folder in ["electra", "albert"] {
        let tuned = world.data(&format!("{folder}-tuned"));
        let mut command =
            world.limbeck(&["finetune", "--device", device(), "--task", "text-classification", "--epochs", "1"]);
        command
            .arg("--model")
            .arg(world.data(folder))
            .arg("--train")
            .arg(world.data("all.csv"))
            .arg("--out")
            .arg(&tuned);
        command.args(["--max-tokens", "24"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn mistakes_are_told() {
    let world = world();
    let text = world.data("text.txt");
    let teacher = world.teacher();
    let (text, teacher, causal) = (text.to_str().unwrap(), teacher.to_str().unwrap(), causal());
    let causal = causal.as_str();
    for (arguments, expected) in [
        (vec!["--out", "x"], "no text to train on"),
        (vec!["--out", "x", "--train", text], "either --preset NAME"),
        (
            vec!["--out", "x", "--recipe", "electra.toml", "--preset", "electra-small", "--model", teacher],
            "either --preset (new weights) or --model",
        ),
        (vec!["--out", "x", "--train", text, "--preset", "bert-base-uncased"], "name the tokenizer"),
        (vec!["--out", "x", "--train", text, "--preset", "nobert", "--tokenizer", teacher], "no published shape"),
        (vec!["--out", "x", "--train", text, "--preset", "gpt2", "--tokenizer", teacher], "gpt2 has no masked-lm head"),
        (
            vec![
                "--out",
                "x",
                "--train",
                text,
                "--preset",
                "bert-base-uncased",
                "--tokenizer",
                teacher,
                "--objective",
                "rtd",
            ],
            "bert has no replaced-token head",
        ),
        (
            vec!["--out", "x", "--train", text, "--preset", "gpt2", "--tokenizer", teacher, "--objective", "cml"],
            "--objective cml",
        ),
        (
            vec!["--out", "x", "--train", "/nowhere.txt", "--preset", "bert-base-uncased", "--tokenizer", teacher],
            "/nowhere.txt",
        ),
        (vec!["--evaluate-on", "sop", "--model", teacher, "--held-out", text], "none head"),
        (vec!["--evaluate-on", "sop", "--model", teacher], "--held-out"),
        (vec!["--out", "x", "--train", text, "--teacher", teacher], "has a none head; next tokens are taught by"),
        (
            vec!["--out", "x", "--train", text, "--teacher", causal, "--tokenizer", teacher, "--max-tokens", "32"],
            "leave `tokenizer` out",
        ),
        (vec!["--out", "x", "--train", text, "--teacher", causal, "--objective", "mlm"], "teaches next tokens"),
        (
            vec![
                "--out",
                "x",
                "--train",
                text,
                "--teacher",
                causal,
                "--layers",
                "9",
                "--max-tokens",
                "32",
                "--documents",
                "lines",
            ],
            "9 layers",
        ),
        (vec!["--out", "x", "--recipe", "electra.toml", "--max-ratio", "1.2"], "name their teacher with --teacher"),
    ] {
        let mut all = vec!["pretrain", "--device", device()];
        all.extend(arguments);
        let mut command = world.limbeck(&all);
        command.current_dir(world.data("."));
        let output = command.output().unwrap();
        assert!(!output.status.success());
        let text = stderr(&output);
        assert!(text.contains(expected) && text.lines().count() <= 3, "{all:?}: {text}");
    }
}

#[test]
fn pages_become_text_a_tokenizer_and_a_model() {
    let world = world();
    let sentence = "The keeper of the lighthouse climbed the stairs with his lamp and counted every single step. ";
    let mut rows = String::new();
    for number in 0..30 {
        let own = format!("Keeper {number} has {} lamps and {} ropes. ", number * 3, number * 7);
        let page = format!("<html><body><article><p>{}</p></article></body></html>", (own + sentence).repeat(8));
        let score = number % 5;
        rows += &format!("{}\n", serde_json::json!({"html": page, "score": score, "url": "https://example.org"}));
    }
    rows += "{broken\n";
    std::fs::write(world.data("links.jsonl"), rows).unwrap();
    let (links, text) = (world.data("links.jsonl"), world.data("text"));
    let (links, text) = (links.to_str().unwrap(), text.to_str().unwrap());
    let arguments = ["corpus", links, "--min-score", "3", "--language", "eng", "--out", text];
    let report = world.json(&[&arguments[..], &["--json"]].concat());
    assert_eq!(report["read"]["documents"], 31);
    assert_eq!(report["kept"]["documents"], 12, "{report}");
    let table = stdout(&world.limbeck(&arguments).output().unwrap());
    assert!(table.contains("- score") && table.contains("- broken"), "{table}");

    let corpus = world.data("text/corpus-00000.jsonl");
    let corpus = corpus.to_str().unwrap();
    for (kind, preset, objective) in
        [("wordpiece", "bert-base-uncased", "mlm"), ("unigram", "albert-base", "mlm"), ("byte-bpe", "gpt2", "clm")]
    {
        let folder = world.data(kind);
        let folder = folder.to_str().unwrap();
        let size = if kind == "byte-bpe" { "300" } else { "80" };
        let made = world.json(&[
            "tokenizer",
            "train",
            "--kind",
            kind,
            "--vocab-size",
            size,
            "--out",
            folder,
            corpus,
            "--json",
        ]);
        assert!(made["tokens"].as_u64().is_some_and(|tokens| tokens > 40), "{made}");
        let out = world.data(&format!("{kind}-model"));
        let mut command =
            world.limbeck(&["pretrain", "--device", device(), "--threads", "1", "--preset", preset, "--layers", "1"]);
        command.args(["--hidden-size", "32", "--max-tokens", "32", "--objective", objective, "--steps", "2"]);
        command.args([
            "--tokenizer",
            folder,
            "--train",
            corpus,
            "--held-out",
            corpus.replace("corpus-00000.jsonl", "held.txt").as_str(),
        ]);
        std::fs::write(corpus.replace("corpus-00000.jsonl", "held.txt"), "One keeper climbed the stairs.\n").unwrap();
        let output = command.arg("--out").arg(&out).output().unwrap();
        assert!(output.status.success(), "{kind}: {}", stderr(&output));
        assert!(out.join("tokenizer_config.json").is_file());
    }
}
