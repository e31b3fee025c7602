//! Operators chosen by measurement.

use crate::quantize::with_a_bad_layer;
use crate::world::{World, stderr};

#[test]
fn every_part_is_tried_and_the_choice_is_what_was_taken() {
    let world = World::new();
    with_a_bad_layer(&world);
    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let (model, dev) = (path("good"), path("dev.csv"));
    let accuracy = |bundle: &str| world.json(&["eval", bundle, &dev, "--json"])["metrics"]["accuracy"].clone();
    world.json(&["pack", &model, "-o", &path("plain.limbeck"), "--max-tokens", "16", "--json"]);
    let tune = ["--tune", "--tune-lengths", "8,512", "--tune-turn", "5", "--json"];
    let bundle = path("tuned.limbeck");
    let packed = world.json(&[&["pack", &model, "-o", &bundle, "--max-tokens", "16"], &tune[..]].concat());
    let trials = packed["tuning"]["trials"].as_array().unwrap();
    for part in ["attention", "activation", "projections", "residual-norm"] {
        let of_part: Vec<_> = trials.iter().filter(|trial| trial["part"] == part).collect();
        assert!(!of_part.is_empty(), "{part}: {packed}");
        for trial in &of_part {
            // 512 tokens are more than the model takes.
            let cases = trial["cases"].as_array().unwrap();
            assert!(
                cases.len() == 1 && cases[0]["tokens"] == 8 && cases[0]["tried_ms"].as_f64() > Some(0.0),
                "{trial}"
            );
            assert_eq!(trial["taken"].as_bool(), Some(trial["ratio"].as_f64().unwrap() < 0.98), "{trial}");
        }
        let start = if part == "residual-norm" { "plain" } else { "fused" };
        let taken = of_part.iter().rev().find(|trial| trial["taken"] == true);
        let chosen = &packed["tuning"]["operators"][part.replace('-', "_")];
        assert_eq!(chosen, taken.map_or(start, |trial| trial["form"].as_str().unwrap()), "{part}: {packed}");
    }
    // What the one length that was measured would have for itself is told too.
    let classes = packed["tuning"]["classes"].as_array().unwrap();
    assert!(classes.len() == 1 && classes[0]["tokens"] == 8 && classes[0]["threads"] == 1, "{packed}");
    let own = classes[0]["ratio"].as_f64().unwrap();
    let chosen = &packed["tuning"]["operators"];
    assert!((own < 1.0) == (&classes[0]["operators"] != chosen) && own <= 1.0, "{packed}");
    assert_eq!(accuracy(&bundle), accuracy(&path("plain.limbeck")));

    let written = world
        .json(&[&["export", &model, "--mask", "--out", &path("onnx"), "--tune-threads", "1,2"], &tune[..]].concat());
    assert_eq!(written["tuning"]["trials"][0]["cases"].as_array().unwrap().len(), 2, "{written}");
    let words = std::fs::read_to_string(world.data("onnx").join("model.onnx.md")).unwrap();
    assert!(words.contains("Fastest on ") && words.contains("residual norm "), "{words}");
    assert!(words.contains("Chosen: ") && words.contains("thread(s): "), "{words}");

    for (arguments, expected) in [
        (&["--profile", "portable", "--tune"][..], "the portable profile has none of them"),
        (&["--tune", "--mask", "--tune-lengths", "9999"], "no length to measure"),
        (&["--tune", "--mask", "--tune-threads", "0"], "at least 1"),
        (&["--tune"], "give --mask"),
        (&["--tune", "--mask", "--token-types"], "leave out --token-types"),
        (&["--tune", "--int8", "--mask"], "leave out --mask"),
        (&["--tune", "--mask", "--hidden"], "--hidden"),
        (&["--tune", "--mask", "--head", "none"], "with --head embedding"),
        (&["--tune", "--mask", "--head", "embedding", "--pooling", "max"], "its own pooling"),
        (&["--tune-lengths", "8"], "--tune"),
    ] {
        let output =
            world.limbeck(&[&["export", &model, "--out", &path("other")], arguments].concat()).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    }
}
