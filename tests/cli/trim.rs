//! Models with fewer tokens, units, heads and layers.

use limbeck_export::arch::{Head, ModelConfig, Params};
use limbeck_export::checkpoint::{self, HeadInfo};
use serde_json::{Value, json};
use tch::Device;

use crate::distill::{distil, polarity, recipe, score, sentence, texts};
use crate::quantize::with_a_bad_layer;
use crate::world::{World, device, stderr};

#[test]
fn what_does_nothing_goes_first() {
    let world = World::new();
    with_a_bad_layer(&world);
    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let (good, bad, dev) = (path("good"), path("bad"), path("dev.csv"));

    // Layer 0 of `bad` does nothing.
    let layers = world.json(&["trim", "layers", &bad, "--count", "1", "--data", &dev, "--out", &path("one"), "--json"]);
    let report = &layers["report"];
    assert_eq!((&report["layers"][0], &report["before"], &report["after"]), (&1.into(), &2.into(), &1.into()));
    assert_eq!(report["score_before"], report["score_after"], "{report}");
    assert!(report["score_after"].as_f64().unwrap() > 0.9, "{report}");

    // Every second unit of the block does nothing.
    let head = Head::Classification { labels: 2 };
    let read = checkpoint::load(good.as_ref(), head, Device::Cpu).unwrap();
    let (down, up) = ("encoder.ffn.0.down.weight", "encoder.ffn.0.up.weight");
    let live = tch::Tensor::arange(64, (tch::Kind::Int64, Device::Cpu)).remainder(2);
    let tensors = read.params.iter().map(|(name, tensor)| {
        let tensor = if name == down { tensor * &live } else { tensor.copy() };
        (name.to_owned(), tensor)
    });
    let half = Params::new(tensors.collect(), Device::Cpu);
    let info = HeadInfo { labels: read.info.labels.clone(), ..HeadInfo::new(head) };
    let tokenizer = world.data("good").join("tokenizer.json");
    checkpoint::save(&world.data("half"), &read.config, &info, &half, &tokenizer).unwrap();
    let ffn = ["--size", "32", "--data", &dev, "--out", &path("narrow"), "--json"];
    let report = &world.json(&[&["trim", "ffn", &path("half")], &ffn[..]].concat())["report"];
    assert_eq!((&report["before"], &report["after"]), (&64.into(), &32.into()), "{report}");
    assert_eq!(report["score_before"], report["score_after"], "{report}");
    let narrow = checkpoint::load(&world.data("narrow"), head, Device::Cpu).unwrap();
    let expected = half.get(up).unwrap().index_select(0, &live.nonzero().flatten(0, -1));
    assert_eq!(narrow.params.get(up).unwrap(), &expected, "the units that do something, in their order");
    assert_eq!(narrow.config.intermediate_size, 32);

    // The first of the heads that does something stays where the others' contexts go nowhere; in fp32 and int8 the sdk
    // gives what the whole model gave.
    let map = "encoder.attention.0.output.weight";
    let size = read.config.head_size() as i64;
    let tensors = read.params.iter().map(|(name, tensor)| {
        let tensor = tensor.copy();
        if name == map {
            let others = [(0, size), (2 * size, tensor.size()[1] - 2 * size)];
            others.iter().for_each(|&(from, length)| drop(tensor.narrow(1, from, length).zero_()));
        }
        (name.to_owned(), tensor)
    });
    let lonely = Params::new(tensors.collect(), Device::Cpu);
    checkpoint::save(&world.data("lonely"), &read.config, &info, &lonely, &tokenizer).unwrap();
    let heads = ["--count", "1", "--data", &dev, "--out", &path("one-head"), "--json"];
    let report = &world.json(&[&["trim", "heads", &path("lonely")], &heads[..]].concat())["report"];
    let all = read.config.attention_heads;
    assert_eq!((&report["before"], &report["after"]), (&all.into(), &1.into()), "{report}");
    assert_eq!(report["score_before"], report["score_after"], "{report}");
    let one = checkpoint::load(&world.data("one-head"), head, Device::Cpu).unwrap();
    assert_eq!((one.config.attention_heads, one.config.own_head_size), (1, Some(size as usize)));
    let query = "encoder.attention.0.query.weight";
    assert_eq!(one.params.get(query).unwrap(), &lonely.get(query).unwrap().narrow(0, size, size), "the second head");
    let texts = ["the film was good", "it was an awful place"];
    let logits = |model: &str, verb: &str| {
        let bundle = path(&format!("{model}.limbeck"));
        let unproven: &[&str] = if verb == "quantize" { &["--unproven"] } else { &[] };
        world.json(&[&[verb, &path(model), "-o", &bundle, "--max-tokens", "16", "--json"], unproven].concat());
        let run = |text: &&str| {
            let classes = world.json(&["run", &bundle, text, "--json"]);
            classes["labels"][0]["logit"].as_f64().unwrap_or_else(|| panic!("{classes}"))
        };
        texts.iter().map(run).collect::<Vec<f64>>()
    };
    for (verb, tolerance) in [("pack", 1e-4), ("quantize", 0.1)] {
        let (whole, small) = (logits("lonely", verb), logits("one-head", verb));
        assert!(whole.iter().zip(&small).all(|(a, b)| (a - b).abs() < tolerance), "{verb}: {whole:?}, {small:?}");
    }

    // What is left can be trained and packed.
    let (trained, bundle) = (path("trained"), path("trained.limbeck"));
    let train = ["--epochs", "1", "--batch-size", "32", "--max-tokens", "16", "--device", device(), "--out", &trained];
    let mut finetune = world.limbeck(&["finetune", "--task", "text-classification", "--model", &path("narrow")]);
    let output = finetune.args(["--train", &dev]).args(train).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    world.json(&["pack", &trained, "-o", &bundle, "--max-tokens", "16", "--json"]);
    let mut finetune = world.limbeck(&["finetune", "--task", "text-classification", "--model", &path("one-head")]);
    let few = path("trained-few");
    let output = finetune.args(["--train", &dev]).args(&train[..train.len() - 1]).arg(&few).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let own = checkpoint::load(few.as_ref(), head, Device::Cpu).unwrap().config.own_head_size;
    assert_eq!(own, Some(size as usize), "a head's size outlives training");

    let refused = |arguments: &[&str], expected: &str| {
        let output = world.limbeck(&[&["trim"], arguments].concat()).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    };
    let out = path("other");
    refused(&["ffn", &good, "--size", "64", "--data", &dev, "--out", &out], "have 64 units; give fewer");
    refused(&["heads", &good, "--count", "0", "--data", &dev, "--out", &out], "heads; give fewer");
    refused(&["layers", &good, "--count", "1", "--data", &dev, "--out", &out], "has 1 layers; give fewer");
    refused(&["ffn", &good, "--size", "8", "--data", &dev, "--out", &good], "is the model itself");
}

#[test]
fn a_vocabulary_is_trimmed_to_files_of_any_format() {
    let world = World::new();
    with_a_bad_layer(&world);
    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let (good, dev, out) = (path("good"), path("dev.csv"), path("small"));
    std::fs::write(world.data("more.txt"), "the place was good\n\nit was bad\n").unwrap();
    let lines = ["trim", "vocabulary", &good, "--corpus", &path("more.txt"), "--out", &out, "--json"];
    let few = &world.json(&lines)["report"];
    assert_eq!((&few["texts"], &few["texts_as_before"]), (&2.into(), &2.into()), "{few}");
    // Without tokens for letters a word that lost its own would be unknown: none may go.
    assert_eq!(few["tokens_after"], few["tokens_before"], "{few}");
    let all = &world.json(&[&lines[..], &["--corpus", &dev]].concat())["report"];
    assert_eq!((&all["texts"], &all["texts_as_before"]), (&242.into(), &242.into()), "{all}");
    let accuracy = |model: &str, bundle: &str| {
        let bundle = path(bundle);
        world.json(&["pack", model, "-o", &bundle, "--max-tokens", "16", "--json"]);
        world.json(&["eval", &bundle, &dev, "--json"])["metrics"]["accuracy"].as_f64().unwrap()
    };
    assert_eq!(accuracy(&good, "whole.limbeck"), accuracy(&out, "small.limbeck"));

    // What a small build needs of it.
    let shrunk = path("shrunk");
    let report = world.json(&["shrink", &path("small.limbeck"), "--out", &shrunk, "--json"]);
    assert!(report["report"]["ort_bytes"].as_u64() > Some(0), "{report}");
    let list = std::fs::read_to_string(world.data("shrunk").join("required_operators.config")).unwrap();
    assert!(list.contains("LayerNormalization"), "{list}");
    let script = world.data("shrunk").join("build-linux.sh");
    let checked = std::process::Command::new("sh").arg("-n").arg(script).output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
}

/// Each trim of a distilled student has its row beside the others, in both reports, and its bundle.
#[test]
fn trims_have_rows_in_the_report() {
    let world = World::new();
    std::fs::write(world.data("texts.csv"), texts()).unwrap();
    let made = recipe("texts.csv", "", "", "layers = 2", "");
    let trims = ["ffn=16", "heads=1", "layers=1", "vocabulary=1"];
    let options: Vec<&str> = trims.iter().flat_map(|trim| ["--trim", trim]).collect();
    let report = distil(&world, &made, &[&options[..], &["--require", "score=80"]].concat());
    let models = report["models"].as_array().unwrap();
    let names: Vec<&str> = models.iter().map(|model| model["name"].as_str().unwrap()).collect();
    let mut expected = vec!["teacher", "control", "student fp32"];
    let rows: Vec<String> = trims.iter().map(|trim| format!("student int8, {trim}")).collect();
    expected.extend(rows.iter().map(String::as_str));
    // What ships is still the last.
    expected.push("student int8");
    assert_eq!(names, expected);
    let (whole, rows) = (&models[7], &models[3..7]);
    for (row, trim) in rows.iter().zip(trims) {
        // This tokenizer has no letters, so that no word may go.
        let smaller = row["parameters"].as_u64() < whole["parameters"].as_u64();
        assert_eq!(smaller, !trim.starts_with("vocabulary"), "{row}");
        assert!(row["latency_p50_ms"].as_f64() > Some(0.0) && row["retention"]["value"].as_f64() > Some(0.8), "{row}");
        let bundle = world.out(&format!("tiny.{}.limbeck", trim.replace('=', "-")));
        assert_eq!(std::fs::metadata(&bundle).unwrap().len(), row["file_bytes"].as_u64().unwrap());
        let inspected = world.json(&["inspect", bundle.to_str().unwrap(), "--json"]);
        assert_eq!(inspected["manifest"]["quantization"]["mode"], "int8-by-token", "{inspected}");
    }
    // Training texts have every token of the test, so nothing changed.
    assert_eq!(score(&report, "student int8, vocabulary=1"), score(&report, "student int8"));

    let told = report["trims"].as_array().unwrap();
    let sizes: Vec<(u64, u64)> =
        told.iter().map(|trim| (trim["before"].as_u64().unwrap(), trim["after"].as_u64().unwrap())).collect();
    assert_eq!(sizes[..3], [(64, 16), (4, 1), (2, 1)]);
    assert!(sizes[3].0 == sizes[3].1 && told[3]["dev"].is_null(), "{report}");
    for trim in &told[..3] {
        let dev: Vec<f64> = trim["dev"].as_array().unwrap().iter().map(|dev| dev.as_f64().unwrap()).collect();
        // The task is easy: training brings back what trimming may have cost.
        assert!(dev[2] > 0.85 && dev[2] >= dev[1], "{trim}");
    }
    let stages: Vec<&str> = report["stages"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert!(stages.iter().filter(|name| name.starts_with("trim ")).count() == 3, "{stages:?}");
    let page = std::fs::read_to_string(world.out("report.html")).unwrap();
    assert!(page.contains(">student int8, heads=1</td>") && page.contains("Trims of the student"), "{page}");
    assert!(page.contains("--trim ffn=16 --trim heads=1"), "the command gives the same report again");

    let output = world.distill(&["--trim", "layers=2"]).output().unwrap();
    assert!(!output.status.success() && stderr(&output).contains("the student has 2 layers"), "{}", stderr(&output));
}

#[test]
fn what_cannot_be_trimmed_is_refused_before_anything_is_trained() {
    let world = World::new();
    let output = world.distill(&["--trim", "layers=1"]).output().unwrap();
    assert!(!output.status.success() && stderr(&output).contains("the student has 1 layers"), "{}", stderr(&output));
    assert!(!world.out("teacher").exists());
}

/// Gives the teacher tokens for letters: a word that it has no token for is spelt, so that words may go.
fn teach_letters(world: &World) {
    let folder = world.teacher();
    let vocabulary_of = |tokenizer: &Value| tokenizer["model"]["vocab"].as_object().unwrap().len();
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(folder.join("tokenizer.json")).unwrap()).unwrap();
    let before = vocabulary_of(&tokenizer);
    let words = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    for piece in ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]) {
        let id = words.len();
        words.entry(piece).or_insert(json!(id));
    }
    let vocab_size = vocabulary_of(&tokenizer);
    let file = world.data("letters.json");
    std::fs::write(&file, tokenizer.to_string()).unwrap();
    let read = checkpoint::load(&folder, Head::None, Device::Cpu).unwrap();
    let tensors = read.params.iter().map(|(name, tensor)| {
        let more = tch::Tensor::zeros([(vocab_size - before) as i64, 32], (tch::Kind::Float, Device::Cpu));
        let tensor =
            if name == "embeddings.words.weight" { tch::Tensor::cat(&[tensor, &more], 0) } else { tensor.copy() };
        (name.to_owned(), tensor)
    });
    let params = Params::new(tensors.collect(), Device::Cpu);
    let config = ModelConfig { vocab_size, ..read.config };
    checkpoint::save(&folder, &config, &HeadInfo::new(Head::None), &params, &file).unwrap();
}

#[test]
fn a_vocabulary_keeps_what_texts_without_labels_have() {
    let world = World::new();
    teach_letters(&world);
    let text = |row: usize| sentence(row, &polarity(row)).replace("phone", "food");
    for (name, rows) in [("train.csv", 0..200), ("dev.csv", 200..260), ("test.csv", 260..320)] {
        let row = |row: usize| format!("{},{}\n", text(row).replace("service", "food"), ["good", "bad"][row % 2]);
        std::fs::write(world.data(name), "text,label\n".to_owned() + &rows.map(row).collect::<String>()).unwrap();
    }
    let more: String = (320..500).map(|row| text(row) + "\n").collect();
    assert!(more.contains("service"));
    std::fs::write(world.data("more.txt"), more).unwrap();
    let sets = "train = \"train.csv\"\ndev = \"dev.csv\"\ntest = \"test.csv\"\nunlabelled = [\"more.txt\"]";
    let made = recipe("texts.csv", "", "", "layers = 1", "").replace("files = [\"texts.csv\"]", sets);
    let report = distil(&world, &made, &["--trim", "vocabulary"]);
    let trim = &report["trims"][0];
    assert!(trim["after"].as_u64() < trim["before"].as_u64(), "{trim}");
    let kept = std::fs::read(world.out("trim/vocabulary-1/tokenizer.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    let kept = kept["model"]["vocab"].as_object().unwrap();
    assert!(kept.contains_key("service") && kept.contains_key("food"), "{kept:?}");
    assert!(!kept.contains_key("phone"), "{kept:?}");
}
