//! Models that write text: pack, quantize, run, eval.

use std::path::Path;

use crate::world::{World, stderr, stdout};

#[test]
fn a_causal_model_is_packed_and_writes() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/parity/references/generation");
    let folder = folder.to_str().unwrap();
    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let (lm, int8, text) = (path("lm.limbeck"), path("int8.limbeck"), path("text.txt"));
    world.json(&["pack", folder, "-o", &lm, "--task", "generation", "--json"]);
    let verified = world.json(&["verify", &lm, "--json"]);
    assert!(verified["self_test"]["vectors"].as_u64().unwrap() > 0, "{verified}");

    let written = world.json(&["run", &lm, "Once upon", "--max-new-tokens", "12", "--json"]);
    assert_eq!(written["ids"].as_array().unwrap().len(), 12);
    assert_eq!((written["finish"].as_str(), written["prompt"].as_str()), (Some("length"), Some("Once upon")));
    let streamed = world.limbeck(&["run", &lm, "Once upon", "--max-new-tokens", "12"]).output().unwrap();
    assert_eq!(stdout(&streamed), format!("Once upon{}\n", written["text"].as_str().unwrap()));
    assert!(stderr(&streamed).contains("12 written"), "{}", stderr(&streamed));
    // The context is smaller than what may be written.
    let stopped = world.json(&["run", &lm, "Once upon", "--json"]);
    assert_eq!(stopped["finish"], "context");
    let refused = world.limbeck(&["run", &lm, "Once upon", "--context", "error"]).output().unwrap();
    assert!(!refused.status.success() && stderr(&refused).contains("context holds 96"), "{}", stderr(&refused));
    let chosen = world.json(&["run", &lm, "--labels", " good, bad", "Sentiment:", "--json"]);
    assert_eq!(chosen["choices"].as_array().unwrap().len(), 2);
    let refused = world.limbeck(&["run", &lm, "--labels", " good, bad", "--seed", "1", "Sentiment:"]).output().unwrap();
    assert!(stderr(&refused).contains("--seed is for text that is written"), "{}", stderr(&refused));

    world.json(&["quantize", folder, "-o", &int8, "--unproven", "--json"]);
    std::fs::write(&text, "Once upon a time there was a small model. ".repeat(20)).unwrap();
    let [own, small] = [&lm, &int8].map(|bundle| {
        let found = world.json(&["eval", bundle, &text, "--json"]);
        assert!(found["windows"].as_u64().unwrap() > 1, "{found}");
        found["perplexity"].as_f64().unwrap()
    });
    assert!((small / own - 1.0).abs() < 0.1, "{own} {small}");
    let lines = path("lines.jsonl");
    std::fs::write(&lines, "{\"text\":\"Once upon a time\"}\n{\"text\":\"x\"}\n{\"text\":\"a small model\"}\n")
        .unwrap();
    let found = world.json(&["eval", &lm, &lines, "--json"]);
    assert_eq!((found["texts"].as_u64(), found["too_short"].as_u64()), (Some(2), Some(1)), "{found}");
    let single = |text: &str| {
        std::fs::write(path("one.txt"), text).unwrap();
        let found = world.json(&["eval", &lm, &path("one.txt"), "--json"]);
        (found["perplexity"].as_f64().unwrap().ln(), found["tokens"].as_f64().unwrap())
    };
    let ((a, of_a), (b, of_b)) = (single("Once upon a time"), single("a small model"));
    let together = found["perplexity"].as_f64().unwrap().ln();
    assert!((together - (a * of_a + b * of_b) / (of_a + of_b)).abs() < 1e-9);

    std::fs::write(&text, b"\xFF").unwrap();
    let refused = world.limbeck(&["eval", &lm, &text]).output().unwrap();
    assert!(stderr(&refused).contains("UTF-8"), "{}", stderr(&refused));
    let refused = world.limbeck(&["quantize", folder, "-o", &int8, "--data", &text]).output().unwrap();
    assert!(stderr(&refused).contains("UTF-8"), "{}", stderr(&refused));
}

/// A budget of perplexity is kept, proved and stamped; one that cannot be kept writes nothing.
#[test]
fn a_causal_model_is_quantized_within_a_budget_of_perplexity() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/parity/references/generation");
    let folder = folder.to_str().unwrap();
    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let (lm, small, text) = (path("lm.limbeck"), path("small.limbeck"), path("text.txt"));
    world.json(&["pack", folder, "-o", &lm, "--task", "generation", "--json"]);
    std::fs::write(&text, "Once upon a time there was a small model, and it wrote. ".repeat(12)).unwrap();
    let perplexity = |bundle: &str| world.json(&["eval", bundle, &text, "--json"])["perplexity"].as_f64().unwrap();
    let own = perplexity(&lm);
    for (mode, most) in [("int8-weights", "2"), ("int8-dynamic", "30")] {
        let quantize =
            ["quantize", folder, "-o", &small, "--mode", mode, "--data", &text, "--max-drop", most, "--json"];
        let made = world.json(&quantize);
        let drop = made["drop_percent"].as_f64().unwrap();
        assert!(drop <= most.parse().unwrap() && made["drop_points"].is_null(), "{made}");
        assert_eq!((made["measure"].as_str(), made["mode"].as_str()), (Some("perplexity"), Some(mode)));
        let found = (perplexity(&small) / own - 1.0) * 100.0;
        assert!((drop - found).abs() < 1e-6, "{drop} {found}");
        let inspected = world.json(&["inspect", &small, "--json"]);
        let stamped = inspected["manifest"]["quantization"]["measured_drop"].as_f64().unwrap();
        assert!((stamped * 100.0 - drop).abs() < 1e-9);
        let words = stdout(&world.limbeck(&["inspect", &small]).output().unwrap());
        assert!(words.contains(&format!("(perplexity {drop:+.2}% on dev)")), "{words}");
    }
    // Random weights bear int4 badly: what bears it least stays int8, or there is nothing that keeps to it.
    let four = ["quantize", folder, "-o", &path("four.limbeck"), "--mode", "int4-weights", "--data", &text];
    let loss = |arguments: &[&str]| world.json(arguments)["drop_percent"].as_f64().unwrap();
    let all = loss(&[&four[..], &["--max-drop", "1000", "--json"]].concat());
    let half = format!("{}", all / 2.0);
    if all > 0.0 {
        let made = world.json(&[&four[..], &["--max-drop", &half, "--json"]].concat());
        assert_eq!(made["mode"], "int4-weights-mixed");
        assert!(made["drop_percent"].as_f64().unwrap() <= all / 2.0, "{made}");
    }
    let refused = ["quantize", folder, "-o", &path("none.limbeck"), "--mode", "int8-weights", "--data", &text];
    let refused = world.limbeck(&[&refused[..], &["--max-drop=-50"]].concat()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(stderr(&refused).contains("percent of perplexity"), "{}", stderr(&refused));
    assert!(!world.data("none.limbeck").exists());
}

#[test]
fn a_causal_model_is_timed_by_prompt_and_context() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/parity/references/generation");
    let lm = world.data("lm.limbeck").to_str().unwrap().to_owned();
    world.json(&["pack", folder.to_str().unwrap(), "-o", &lm, "--task", "generation", "--json"]);
    let few = ["bench", &lm, "--lengths", "4,20,96", "--contexts", "8,60,80", "--runs", "40", "--warm-up", "1"];
    let found = world.json(&[&few[..], &["--json"]].concat());
    // The context holds 96 tokens: a prompt of as many leaves none to write, and 80 none to go on from.
    let numbers = |list: &str, field: &str| -> Vec<u64> {
        found[list].as_array().unwrap().iter().map(|case| case[field].as_u64().unwrap()).collect()
    };
    assert_eq!(numbers("prompts", "tokens"), [4, 20]);
    assert_eq!(numbers("contexts", "context"), [8, 60]);
    assert_eq!(numbers("contexts", "steps"), [40, 40]);
    // Three layers of four heads of eight, keys and values of 4 bytes.
    assert_eq!(numbers("contexts", "cache_bytes"), [8, 60].map(|tokens| tokens * 3 * 4 * 8 * 8));
    for case in found["contexts"].as_array().unwrap().iter().chain(found["prompts"].as_array().unwrap()) {
        let [min, p50, p90] = ["min_ms", "p50_ms", "p90_ms"].map(|field| case[field].as_f64().unwrap());
        assert!(0.0 < min && min <= p50 && p50 <= p90, "{case}");
    }
    assert!(found["cases"].as_array().unwrap().is_empty());
    let together = world.json(&[&few[..], &["--batch", "3", "--json"]].concat());
    let case = &together["contexts"][0];
    let rate = case["tokens_per_second"].as_f64().unwrap() * case["p50_ms"].as_f64().unwrap() / 1e3;
    assert!((rate - 3.0).abs() < 1e-9, "{case}");
    // As many as the memory plan lets be written at one time, and the others after them: all of that is counted.
    let many =
        world.json(&["bench", &lm, "--lengths", "4", "--contexts", "60", "--runs", "31", "--batch", "96", "--json"]);
    let (many, one) = (&many["contexts"][0], &found["contexts"][1]);
    let [bytes, of_one] = [many, one].map(|case| case["cache_bytes"].as_u64().unwrap());
    assert!(bytes % of_one == 0 && bytes < 48 * of_one, "{many}");
    let together = world.json(
        &[
            &["bench", &lm, "--lengths", "4", "--contexts", "60", "--runs", "31", "--json", "--batch"][..],
            &[(bytes / of_one).to_string().as_str()],
        ]
        .concat(),
    );
    let [all, group] = [many, &together["contexts"][0]].map(|case| case["p50_ms"].as_f64().unwrap());
    assert!(all > 1.5 * group, "{many} {together}");

    let given = ["bench", &lm, "--text", "Once upon", "--runs", "5", "--warm-up", "1", "--json"];
    let timed = world.json(&given);
    assert_eq!((timed["prompts"].as_array().unwrap().len(), &timed["contexts"]), (1, &serde_json::Value::Null));
    let timed = world.json(&[&given[..], &["--contexts", "8"]].concat());
    assert_eq!(timed["contexts"][0]["context"], 8);
    let refused = ["pack", folder.to_str().unwrap(), "-o", &lm, "--task", "generation", "--tune"];
    let refused = world.limbeck(&refused).output().unwrap();
    assert!(!refused.status.success() && stderr(&refused).contains("leave --tune out"), "{}", stderr(&refused));
    let table = stdout(&world.limbeck(&few).output().unwrap());
    assert!(table.contains("to the first token") && table.contains("from token to token"), "{table}");
}

/// Prompts with none, one and some examples: by writing and by choosing, by task, with what does not fit told.
#[test]
fn prompts_are_completed_with_examples() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/parity/references/generation");
    let path = |name: &str| world.data(name).to_str().unwrap().to_owned();
    let (lm, test, train) = (path("lm.limbeck"), path("test.jsonl"), path("train.jsonl"));
    world.json(&["pack", folder.to_str().unwrap(), "-o", &lm, "--task", "generation", "--json"]);
    let row = |task: &str, context: &str, completion: &str, choices: &[&str]| {
        serde_json::json!({"task": task, "context": context, "completion": completion, "choices": choices}).to_string()
    };
    let scored = world.json(&["run", &lm, "--labels", " good, bad", "Sentiment:", "--json"]);
    let best = scored["choices"][0]["text"].as_str().unwrap();
    let worst = if best == " good" { " bad" } else { " good" };
    let rows = [
        row("write", "Once upon", "certainly nothing that it writes", &[]),
        row("choose", "Sentiment:", best, &[" good", " bad"]),
        row("choose", "Sentiment:", worst, &[" good", " bad"]),
    ];
    std::fs::write(&test, rows.join("\n")).unwrap();
    let examples: Vec<String> = ["choose", "write"]
        .iter()
        .flat_map(|task| (0..30).map(move |n| row(task, &format!("Text {n}:"), &format!(" {n}"), &[])))
        .collect();
    std::fs::write(&train, examples.join("\n")).unwrap();
    let eval = ["eval", &lm, &test, "--shots", "0,1,20", "--examples", &train, "--newlines", "1"];
    let found = world.json(&[&eval[..], &["--json"]].concat());
    let right = |task: &str, at: usize| found["tasks"][task][at]["right"].as_u64().unwrap();
    assert_eq!((right("write", 0), right("choose", 0)), (0, 1), "{found}");
    assert_eq!(found["all"][2]["shots"], 20);
    assert_eq!((found["all"][0]["prompts"].as_u64(), found["all"][0]["accuracy"].as_f64()), (Some(3), Some(1.0 / 3.0)));
    // The context holds 96 tokens.
    assert_eq!(found["all"][1]["examples_dropped"], 0);
    assert!(found["all"][2]["examples_dropped"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(found, world.json(&[&eval[..], &["--json"]].concat()));
    let words = stdout(&world.limbeck(&eval).output().unwrap());
    assert!(words.contains("choose") && words.contains("did not fit"), "{words}");
    let refused = |arguments: &[&str], named: &str| {
        let output = world.limbeck(arguments).output().unwrap();
        assert!(!output.status.success() && stderr(&output).contains(named), "{}", stderr(&output));
    };
    refused(&["eval", &lm, &test, "--shots", "1"], "--examples");
    refused(&["eval", &lm, &test, "--examples", &train], "--shots");
    std::fs::write(&train, examples[0].as_str()).unwrap();
    refused(&["eval", &lm, &test, "--shots", "1", "--examples", &train], "1 examples are to be drawn");
}
