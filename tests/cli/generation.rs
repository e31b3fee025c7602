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

    world.json(&["quantize", folder, "-o", &int8, "--unproven", "--json"]);
    std::fs::write(&text, "Once upon a time there was a small model. ".repeat(20)).unwrap();
    let [own, small] = [&lm, &int8].map(|bundle| {
        let found = world.json(&["eval", bundle, &text, "--json"]);
        assert!(found["windows"].as_u64().unwrap() > 1, "{found}");
        found["perplexity"].as_f64().unwrap()
    });
    assert!((small / own - 1.0).abs() < 0.1, "{own} {small}");
    std::fs::write(&text, b"\xFF").unwrap();
    let refused = world.limbeck(&["eval", &lm, &text]).output().unwrap();
    assert!(stderr(&refused).contains("UTF-8"), "{}", stderr(&refused));
    let refused = world.limbeck(&["quantize", folder, "-o", &int8, "--data", &text]).output().unwrap();
    assert!(stderr(&refused).contains("generation"), "{}", stderr(&refused));
}
