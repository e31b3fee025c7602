//! int8 within a budget: which parts stay fp32, and that the bundle says so.

use std::collections::BTreeMap;
use std::fmt::Write;

use limbeck_export::arch::{Head, ModelConfig, Params};
use limbeck_export::checkpoint::{self, HeadInfo};
use serde_json::Value;
use tch::{Device, Tensor};

use crate::world::{NEGATIVE, NEUTRAL, POSITIVE, World, device, hash, stderr, stdout};

/// Finetunes a classifier of one layer, and writes as the folder `bad` the same model with two: layer 0 changes nothing,
/// and layer 1 is what was learned, with one attention channel so small before and so large after the output map that
/// nothing else of it is left in 8 bits, while fp32 computes what it did.
pub fn with_a_bad_layer(world: &World) {
    let mut data = String::from("text,label\n");
    for row in 0..240usize {
        let pick = |list: &[&'static str], salt: usize| list[hash((row * 8 + salt) as u64) as usize % list.len()];
        let (label, words) = if row % 2 == 0 { ("positive", POSITIVE) } else { ("negative", NEGATIVE) };
        writeln!(data, "{} {} {},{label}", pick(&NEUTRAL, 1), pick(&words, 2), pick(&NEUTRAL, 3)).unwrap();
    }
    std::fs::write(world.data("dev.csv"), data).unwrap();
    let (teacher, dev, good) = (world.teacher(), world.data("dev.csv"), world.data("good"));
    let mut finetune = world.limbeck(&["finetune", "--task", "text-classification", "--layers", "1", "--epochs", "5"]);
    finetune.args(["--batch-size", "16", "--learning-rate", "3e-3", "--max-tokens", "16", "--device", device()]);
    finetune.arg("--model").arg(teacher).arg("--train").arg(dev).arg("--out").arg(&good);
    let output = finetune.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let head = Head::Classification { labels: 2 };
    let read = checkpoint::load(&good, head, Device::Cpu).unwrap();
    let _no_grad = tch::no_grad_guard();
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for (name, tensor) in read.params.iter() {
        let layer = ["encoder.attention.0.", "encoder.ffn.0."].into_iter().find(|layer| name.starts_with(layer));
        let Some(layer) = layer else {
            tensors.insert(name.to_owned(), tensor.copy());
            continue;
        };
        let part = &name[layer.len()..];
        // Residual and normalization of what is normalized already are all that is left of layer 0.
        let idle = if part == "norm.weight" { tensor.ones_like() } else { tensor.zeros_like() };
        tensors.insert(name.to_owned(), idle);
        let moved = tensor.copy();
        match part {
            "value.weight" | "value.bias" => drop(moved.select(0, 5).g_mul_scalar_(1e-4)),
            "output.weight" if layer.contains("attention") => drop(moved.select(1, 5).g_mul_scalar_(1e4)),
            _ => {}
        }
        tensors.insert(format!("{}1.{part}", &layer[..layer.len() - 2]), moved);
    }
    let config = ModelConfig { layers: 2, ..read.config };
    let info = HeadInfo { labels: read.info.labels, ..HeadInfo::new(head) };
    let params = Params::new(tensors, Device::Cpu);
    checkpoint::save(&world.data("bad"), &config, &info, &params, &good.join("tokenizer.json")).unwrap();
}

#[test]
fn a_layer_that_int8_ruins_stays_fp32() {
    let world = World::new();
    with_a_bad_layer(&world);
    let (model, dev) = (world.data("bad"), world.data("dev.csv"));
    let (model, dev) = (model.to_str().unwrap(), dev.to_str().unwrap());
    let (found, by_hand) = (world.data("found.limbeck"), world.data("by-hand.limbeck"));
    let [all, fp32] = ["all.limbeck", "fp32.limbeck"].map(|name| world.data(name).to_str().unwrap().to_owned());
    let (found, by_hand) = (found.to_str().unwrap(), by_hand.to_str().unwrap());
    let accuracy = |bundle: &str| {
        let quality = world.json(&["eval", bundle, dev, "--json"]);
        quality["metrics"]["accuracy"].as_f64().unwrap()
    };
    let tokens = ["--max-tokens", "16"];
    world.json(&[&["pack", model, "-o", &fp32, "--json"], &tokens[..]].concat());
    let unproven = world.json(&[&["quantize", model, "-o", &all, "--unproven", "--json"], &tokens[..]].concat());
    assert_eq!((&unproven["mode"], &unproven["drop_points"]), (&"int8-by-token".into(), &Value::Null));
    assert_eq!(unproven["units"][1]["why"], "not measured");
    let (whole, ruined) = (accuracy(&fp32), accuracy(&all));
    assert!(whole > 0.9 && ruined < whole - 0.2, "fp32 {whole}, all int8 {ruined}: the layer is not bad enough");

    let budget = ["--data", dev, "--max-drop", "2", "--max-tokens", "16"];
    let json = world.json(&[&["quantize", model, "-o", found, "--json"], &budget[..]].concat());
    assert_eq!(json["mode"], "int8-by-token-mixed", "{json}");
    let units = json["units"].as_array().unwrap();
    let modes: Vec<&str> = units.iter().map(|unit| unit["mode"].as_str().unwrap()).collect();
    assert_eq!(modes, ["int8", "fp32", "int8"], "{json}");
    assert_eq!((&units[1]["unit"], &units[1]["layers"][0]), (&"layer 1".into(), &1.into()));
    assert!(units[1]["why"].as_str().unwrap().starts_with("kept fp32: alone it costs"), "{json}");
    assert!(json["unit"] == "points" && units[1]["lost_alone"].as_f64().unwrap() > 20.0, "{json}");
    let error = |unit: usize| units[unit]["output_error"].as_f64().unwrap();
    assert!(error(1) > 100.0 * error(0).max(error(2)) && error(2) > 0.0, "{json}");
    assert!(units[2]["sqnr_db"].as_f64().unwrap() > 30.0 && units[2]["matrix"] == "embeddings.words", "{json}");
    assert_eq!((&json["rows"], &json["sample"]), (&240.into(), &240.into()));
    // What is stamped is what the bundle loses.
    let drop = json["drop_points"].as_f64().unwrap();
    assert!(drop <= 2.0 && (drop / 100.0 - (whole - accuracy(found))).abs() < 1e-9, "{drop}");
    let inspected = world.json(&["inspect", found, "--json"]);
    let stamped = inspected["manifest"]["quantization"]["measured_drop"].as_f64().unwrap();
    assert!((stamped - drop / 100.0).abs() < 1e-12);
    let words = crate::world::stdout(&world.limbeck(&["inspect", found]).output().unwrap());
    assert!(words.contains(&format!("({drop:+.2} points lost on dev)")), "{words}");
    assert_eq!(world.json(&["verify", found, "--json"])["ok"], true);

    // By hand: another choice is refused, the same one is written.
    let chosen = |layers: &'static str| {
        let arguments = [&["quantize", model, "-o", by_hand, "--keep-float", layers], &budget[..]].concat();
        world.limbeck(&arguments).output().unwrap()
    };
    let refused = chosen("0,table");
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("nothing was written") && !std::path::Path::new(by_hand).exists());
    let kept = chosen("1");
    let text = stdout(&kept);
    assert!(kept.status.success() && text.contains("kept fp32: asked for"), "{text}{}", stderr(&kept));
    assert!(text.contains("token table") && text.contains("int8 but layer 1 ("), "{text}");
    for (layers, expected) in [("0,1,table", "nothing is left"), ("2", "no layer 2"), ("first", "numbers of layers")] {
        let output = chosen(layers);
        assert!(!output.status.success() && stderr(&output).contains(expected), "{layers}: {}", stderr(&output));
    }

    // A budget that no choice keeps: the best is told, nothing is written, and a program can read it.
    std::fs::remove_file(by_hand).unwrap();
    let never = ["--data", dev, "--max-drop=-100", "--max-tokens", "16", "--json"];
    let output = world.limbeck(&[&["quantize", model, "-o", by_hand], &never[..]].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("is the best that was reached") && !std::path::Path::new(by_hand).exists());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["bundle"], &json["units"][1]["mode"]), (&Value::Null, &"fp32".into()), "{json}");
    assert!((json["drop_points"].as_f64().unwrap() - drop).abs() < 5.0, "{json}");
}

/// Every mode is told, smaller than the one before, and runs.
#[test]
fn modes_of_fewer_bits_are_smaller_and_run() {
    let world = World::new();
    with_a_bad_layer(&world);
    let (good, dev) = (world.data("good"), world.data("dev.csv"));
    let (good, dev) = (good.to_str().unwrap(), dev.to_str().unwrap());
    let bundle = world.data("mode.limbeck");
    let bundle = bundle.to_str().unwrap();
    let fixed = |observer: &'static str| ["--mode", "int8-static", "--calibration-data", dev, "--observer", observer];
    let [percentile, mse] = ["percentile", "mse"].map(fixed);
    let cases: [(&[&str], &str, &str, &str); 9] = [
        (&percentile, "int8-static", "rounding", "codes"),
        (&mse, "int8-static", "rounding", "codes"),
        (&["--mode", "fp16"], "fp16", "rounding", "rounding"),
        (&["--mode", "int8-dynamic"], "int8-dynamic", "alone", "codes"),
        (&["--mode", "int8-weights", "--zero-points"], "int8-weights", "rounding", "codes"),
        (&["--mode", "int8"], "int8-by-token", "rounding", "layers"),
        (&["--mode", "int8", "--table", "int4"], "int8-by-token", "rounding", "layers"),
        (&["--mode", "int4-weights", "--table", "fp32"], "int4-weights", "rounding", "codes"),
        (&["--mode", "int4-weights", "--block-size", "64"], "int4-weights", "rounding", "codes"),
    ];
    for (arguments, mode, batches, processors) in cases {
        let proof = ["--data", dev, "--max-drop", "5", "--max-tokens", "16", "--json"];
        let json = world.json(&[&["quantize", good, "-o", bundle], &proof[..], arguments].concat());
        assert_eq!(json["mode"], mode, "{arguments:?}: {json}");
        assert!(json["drop_points"].as_f64().unwrap() <= 5.0, "{json}");
        let stored = &world.json(&["inspect", bundle, "--json"])["manifest"]["quantization"];
        assert_eq!((&stored["batches"], &stored["processors"]), (&batches.into(), &processors.into()), "{stored}");
        let table = arguments.iter().position(|argument| *argument == "--table").map(|at| arguments[at + 1]);
        assert_eq!(stored["table"].as_str(), table, "{stored}");
        assert_eq!(world.json(&["verify", bundle, "--json"])["ok"], true, "{arguments:?}");
    }
    let refused = |arguments: &[&str], expected: &str| {
        let whole = [&["quantize", good, "-o", bundle, "--unproven"], arguments].concat();
        let output = world.limbeck(&whole).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    };
    refused(&["--mode", "int4-weights", "--block-size", "48"], "give 32, 64 or 128");
    refused(&["--mode", "int8-static"], "--calibration-data");
    refused(&["--calibration-data", dev], "only --mode int8-static reads it");
    refused(&["--zero-points"], "only --mode int8-weights and int4-weights");
    refused(&["--mode", "fp16", "--keep-float", "0"], "stored as a whole");

    // What int4 ruins, and int8 by block too, is left to be chosen by hand.
    let bad = world.data("bad");
    let of_bad = |more: &[&str]| {
        let fixed = ["--mode", "int4-weights", "--data", dev, "--max-drop", "2", "--max-tokens", "16"];
        let arguments = [&["quantize", bad.to_str().unwrap(), "-o", bundle], &fixed[..], more].concat();
        world.limbeck(&arguments).output().unwrap()
    };
    let kept = of_bad(&["--keep-float", "1"]);
    assert!(kept.status.success() && stdout(&kept).contains("kept fp32: asked for"), "{}", stderr(&kept));
    assert!(stdout(&kept).contains("int4 but layer 1 ("), "{}", stdout(&kept));
    let searched = of_bad(&[]);
    assert_eq!(searched.status.code(), Some(2), "{}{}", stdout(&searched), stderr(&searched));
    assert!(stderr(&searched).contains("int4 but int8 "), "{}", stderr(&searched));
}
