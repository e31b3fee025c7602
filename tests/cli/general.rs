//! `limbeck distill` with general distillation on a corpus before the task.

use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use limbeck_export::arch::Head;
use limbeck_export::checkpoint::{read_arrays, read_tensors};
use serde_json::Value;

use crate::distill::{NARROW, distil, polarity, recipe, score, sentence, texts, word};
use crate::world::{NEUTRAL, World, stderr, stdout};

/// A world whose teacher is a masked language model, with a corpus.
fn world() -> World {
    let world = World::new();
    world.write_teacher(Head::MaskedLm);
    write_texts(&world);
    world
}

fn write_texts(world: &World) {
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let mut corpus = String::new();
    for row in 0..300 {
        writeln!(corpus, "{} {}", sentence(row, &polarity(row)), sentence(row + 500, &polarity(row / 3))).unwrap();
    }
    // Too short; unknown; long enough for two windows of 22 tokens.
    corpus += "good film\n\nxylophones zigzag quietly upwards\n";
    writeln!(corpus, "{}", (0..44).map(|i| word(&NEUTRAL, i)).collect::<Vec<_>>().join(" ")).unwrap();
    std::fs::write(world.data("corpus.txt"), corpus).unwrap();
}

fn on_corpus(recipe: &str) -> String {
    let corpus = "corpus = [\"corpus.txt\"]\ncorpus_filter = { min_tokens = 6 }\n[data.columns]";
    recipe.replace("[data.columns]", corpus)
}

fn of_method(method: &str, student: &str) -> String {
    on_corpus(&recipe("texts.csv", &format!("method = \"{method}\""), "", student, ""))
}

fn stage<'a>(report: &'a Value, name: &str) -> &'a Value {
    let stages = report["stages"].as_array().unwrap();
    stages.iter().find(|stage| stage["name"] == name).unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn by_distilberts_triple_loss() {
    let narrow = format!("{NARROW}\nsharing = \"all\"\nembedding_size = 8");
    for student in ["layers = 1", narrow.as_str()] {
        let world = world();
        // The new head of a narrow student takes its time.
        let made = of_method("distilbert-general", student).replace("epochs = 4", "epochs = 12");
        let report = distil(&world, &made, &[]);
        assert!(score(&report, "student fp32") > 0.85, "{report}");
        let general = stage(&report, "student, general");
        // Chosen by the loss on masked lines that are held out, which are masked the same way each time.
        assert!(general["scored"] == false && general["best_dev"].as_f64().unwrap() < 0.0, "{general}");
        let history = general["history"].as_array().unwrap();
        assert!(history[0]["dev"].as_f64() < history[11]["dev"].as_f64(), "{general}");
        let log = std::fs::read_to_string(world.out("train.log")).unwrap();
        let told = "303 lines, 1 of them longer than the model reads, gave 302 sequences; left out: 1 of fewer than 6";
        assert!(log.contains(told) && log.contains("1 of which 50% or more are unknown"), "{log}");
        // The head is there for the stage that needs it, and gone with it.
        let stage = read_tensors(&world.out("student/stages/general/weights.safetensors")).unwrap();
        assert!(stage.contains_key("distill.masked-lm.decoder.bias"), "{:?}", stage.keys());
        let student = read_arrays(&world.out("student/model.safetensors")).unwrap();
        assert!(student.keys().all(|name| !name.contains("distill.") && !name.contains("decoder")));
        let written = std::fs::read_to_string(world.out("recipe.toml")).unwrap();
        for line in ["restrict_to_mask = false", "draw = \"batch\"", "smoothing = 0.7", "unknown_below = 0.5"] {
            assert!(written.contains(line), "{line}: {written}");
        }
    }
}

#[test]
fn by_tinyberts_layers() {
    let world = World::new();
    write_texts(&world);
    let report = distil(&world, &of_method("tinybert-general", NARROW), &[]);
    assert!(score(&report, "student fp32") > 0.85, "{report}");
    let names: Vec<&str> = report["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    let of_student = ["student, general", "student, intermediate", "student, prediction"];
    assert_eq!(names, [&["teacher", "control"], &of_student[..]].concat());

    // As first released, on masked text: of a teacher without a masked-LM head, since nobody guesses.
    let plain = std::fs::read_to_string(world.out("recipe.toml")).unwrap();
    assert!(!plain.contains("masking"), "{plain}");
    let masked = plain.replace("name = \"general\"", "name = \"general\"\nmasking = { draw = \"each-text\" }");
    let world = World::new();
    write_texts(&world);
    let other = distil(&world, &masked, &[]);
    assert!(score(&other, "student fp32") > 0.85, "{other}");
    let [one, two] = [&report, &other].map(|report| stage(report, "student, general")["best_dev"].as_f64().unwrap());
    assert!((one - two).abs() > 1e-3, "{one} {two}");
    let weights = read_tensors(&world.out("student/stages/general/weights.safetensors")).unwrap();
    assert!(weights.keys().all(|name| !name.contains("masked-lm")), "{:?}", weights.keys());
}

/// A student that is its teacher has nothing to learn of it: neither at all tokens nor at the masked ones.
#[test]
fn a_student_equal_to_its_teacher_has_no_loss() {
    for restrict in [false, true] {
        let world = world();
        let stages = format!(
            "[[stages]]\nname = \"general\"\non = \"corpus\"\nfrom = \"pretrained\"\nmasking = {{ draw = \"each-token\" }}\n\
             losses = [{{ loss = \"masked-lm-soft-targets\", restrict_to_mask = {restrict} }}, {{ loss = \
             \"hidden-cosine\" }}, {{ loss = \"hidden-states\" }}]\ntrain = {{ epochs = 1, learning_rate = 1e-9 }}\n\
             [[stages]]\nname = \"labels\"\nlosses = [{{ loss = \"labels\" }}]\n"
        );
        let report = distil(&world, &on_corpus(&recipe("texts.csv", "", "", "layers = 2", &stages)), &[]);
        let loss = -stage(&report, "student, general")["best_dev"].as_f64().unwrap();
        assert!(loss.abs() < 1e-6, "{loss}");
    }
}

#[test]
fn a_killed_run_masks_the_same_tokens() {
    let made = || {
        let world = world();
        std::fs::write(world.recipe(), of_method("distilbert-general", "layers = 1")).unwrap();
        world
    };
    let start = |world: &World| {
        let mut command = world.distill(&["--checkpoint-seconds", "0", "--threads", "1"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let weights = |world: &World| {
        ["student/stages/general/weights.safetensors", "student/model.safetensors"]
            .map(|file| std::fs::read(world.out(file)).expect("a stage without a result"))
    };
    let whole = made();
    let output = start(&whole).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let broken = made();
    let mut under_way = 0;
    // The stage twice, and once the one after it, which goes on from its result.
    let general = "student/stages/general/resume.safetensors";
    for (file, pause) in [(general, 0), (general, 20), ("student/resume.safetensors", 5)] {
        let resume = broken.out(file);
        let changed = || std::fs::metadata(&resume).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let before = changed();
        let mut child = start(&broken);
        while changed() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(pause));
        child.kill().unwrap();
        child.wait().unwrap();
        under_way += u64::from(file == general && resume.exists());
    }
    assert!(under_way >= 1, "no kill met the stage under way");
    let last = start(&broken).wait_with_output().unwrap();
    assert!(last.status.success(), "{}", stderr(&last));
    assert!(weights(&broken) == weights(&whole), "other weights after {under_way} kills");
    let log = std::fs::read_to_string(broken.out("train.log")).unwrap();
    assert!(log.contains("general: going on from step") && log.contains("general: done before"), "{log}");
}

#[test]
fn mistakes_are_named() {
    let world = World::new();
    write_texts(&world);
    let stage = |text: &str| {
        let labels = "[[stages]]\nname = \"labels\"\nlosses = [{ loss = \"labels\" }]\n";
        let head = "[[stages]]\nname = \"one\"\n";
        on_corpus(&recipe("texts.csv", "", "", "layers = 1", &format!("{head}{text}\n{labels}")))
    };
    let masked = "losses = [{ loss = \"masked-lm\" }]";
    let corpus = "on = \"corpus\"\nfrom = \"pretrained\"";
    let triple = of_method("distilbert-general", "layers = 1");
    for (made, expected) in [
        (triple.clone(), "has no masked-LM head"),
        (triple.replace("corpus = [", "# "), "name its files in data.corpus"),
        (triple.replace("min_tokens = 6", "min_tokens = 99"), "of fewer than 99 tokens"),
        (triple.replace("[teacher.train]", "[teacher]\nsource = \"finished\"\n[teacher.train]"), "comes finished"),
        (stage(masked), "masked-lm is for plain text"),
        (stage(&format!("on = \"corpus\"\n{masked}")), "from = \"pretrained\""),
        (stage(&format!("{corpus}\n{masked}\nmasking = {{ share = 1.5 }}")), "masking.share"),
        (stage("losses = [{ loss = \"hidden-cosine\" }]\nmasking = {}"), "masking is for plain text"),
        (
            stage(&format!("{corpus}\nlosses = [{{ loss = \"masked-lm-soft-targets\", temperature = 0.0 }}]")),
            "temperature of masked-lm-soft-targets",
        ),
    ] {
        if expected.contains("99") {
            world.write_teacher(Head::MaskedLm);
        }
        std::fs::write(world.recipe(), &made).unwrap();
        let output = world.distill(&[]).output().unwrap();
        let text = stderr(&output);
        assert!(!output.status.success() && text.contains(expected), "{expected}: {text} {}", stdout(&output));
    }
}
