//! Writing, scoring and choosing against PyPI transformers and a small reference in Python, on a seeded tiny GPT-2.
//! `make_generation.py` made the references.

use std::fs;
use std::path::{Path, PathBuf};

use limbeck::{ChooseOptions, GenerateOptions, Model, Prompt, Scoring};
use limbeck_export::pack::{PackOptions, draft};
use limbeck_tests::{cache, seeded};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("parity/references/generation")
}

fn cases() -> Value {
    serde_json::from_str(&fs::read_to_string(folder().join("cases.json")).unwrap()).unwrap()
}

fn open() -> Model {
    let bundle = {
        let _turn = seeded(0);
        draft(&folder(), &PackOptions::default()).unwrap().to_bytes().unwrap()
    };
    let model = Model::builder().runtime_path(cache::onnxruntime()).open_bytes(bundle).unwrap();
    assert_eq!(model.bundle().manifest().max_tokens, 96, "the whole context");
    model.self_test().unwrap();
    model
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn close(found: &[f64], expected: &[f64], tolerance: f64, what: &Value) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= tolerance, "{found} where {expected} was expected: {what}");
    }
}

#[test]
fn tokens_are_those_of_pypi_tokenizers_and_lossless() {
    let model = open();
    for case in cases()["tokens"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        let tokens = model.tokenize(text).unwrap();
        assert_eq!(tokens.ids, ids(&case["ids"]), "{text:?}");
        assert_eq!(model.token_bytes(&tokens.ids).unwrap(), text.as_bytes());
    }
}

#[test]
fn greedy_text_is_that_of_transformers() {
    let (model, cases) = (open(), cases());
    let eos = model.bundle().manifest().generation.as_ref().unwrap().eos_ids[0];
    let options = GenerateOptions::new().max_new_tokens(32);
    let mut ended = 0;
    for case in cases["greedy"].as_array().unwrap() {
        let options = options.clone().repetition_penalty(case["penalty"].as_f64().unwrap() as f32);
        let found = model.generate(case["prompt"].as_str().unwrap(), &options).unwrap().finish().unwrap();
        assert_eq!(found.ids, ids(&case["ids"]), "{case}");
        ended += usize::from(found.ids.contains(&eos));
    }
    // transformers goes on with padding, which is the same token, where a text has ended.
    let batch = model.generate_batch(&texts(&cases["prompts"]), &options).unwrap();
    for (found, expected) in batch.iter().zip(cases["left_padded"].as_array().unwrap()) {
        let expected = ids(expected);
        let end = expected.iter().position(|&id| id == eos).map_or(expected.len(), |at| at + 1);
        assert_eq!(found.ids, expected[..end]);
    }
    assert!(ended < cases["greedy"].as_array().unwrap().len());
}

#[test]
fn draws_are_among_what_transformers_leaves() {
    const DRAWS: usize = 600;
    let model = open();
    for case in cases()["warped"].as_array().unwrap() {
        let expected = case["probabilities"].as_object().unwrap();
        let mut counts = vec![0usize; model.bundle().manifest().architecture.vocab_size];
        for seed in 0..DRAWS as u64 {
            let options = GenerateOptions::new()
                .max_new_tokens(1)
                .temperature(case["temperature"].as_f64().unwrap() as f32)
                .top_k(case["top_k"].as_u64().unwrap() as usize)
                .top_p(case["top_p"].as_f64().unwrap() as f32)
                .seed(seed);
            let found = model.generate("Once upon", &options).unwrap().finish().unwrap();
            counts[found.ids[0] as usize] += 1;
        }
        for (id, count) in counts.into_iter().enumerate() {
            let probability = expected.get(&id.to_string()).map_or(0.0, |p| p.as_f64().unwrap());
            assert!(count == 0 || probability > 0.0, "{id} was drawn: {case}");
            // Five standard deviations.
            let (mean, n) = (probability * DRAWS as f64, count as f64);
            assert!((n - mean).abs() <= 5.0 * mean.sqrt() + 2.0, "{id} was drawn {n} times of {mean}: {case}");
        }
    }
}

#[test]
fn choices_are_those_of_the_python_reference() {
    let model = open();
    for case in cases()["choices"].as_array().unwrap() {
        let examples = case["examples"].as_array().unwrap().iter().map(texts);
        let prompt = examples
            .fold(Prompt::new(case["query"].as_str().unwrap()), |prompt, pair| prompt.example(pair[0], pair[1]));
        let scoring = match case["rule"].as_str().unwrap() {
            "sum" => Scoring::Sum,
            "per-token" => Scoring::PerToken,
            "per-byte" => Scoring::PerByte,
            _ => Scoring::AnswerContext("Answer: ".to_owned()),
        };
        let options = ChooseOptions::new().scoring(scoring);
        let completions = texts(&case["completions"]);
        let mut found = model.prompt(&prompt).choose_with(&completions, &options).unwrap();
        let best = numbers(&case["scores"]).into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert_eq!(found.choices[0].index, best.0, "{case}");
        assert_eq!(found.usage.examples_dropped, 0);
        found.choices.sort_by_key(|choice| choice.index);
        let scores: Vec<f64> = found.choices.iter().map(|choice| choice.score).collect();
        close(&scores, &numbers(&case["scores"]), 1e-3, case);
        let probabilities: Vec<f64> = found.choices.iter().map(|choice| f64::from(choice.probability)).collect();
        close(&probabilities, &numbers(&case["probabilities"]), 1e-4, case);
        for (choice, logs) in found.choices.iter().zip(case["log_probabilities"].as_array().unwrap()) {
            close(&choice.likelihood.token_log_probabilities, &numbers(logs), 2e-4, case);
        }
        let options = texts(&case["content_free"]).into_iter().fold(options, ChooseOptions::content_free);
        let mut found = model.prompt(&prompt).choose_with(&completions, &options).unwrap();
        found.choices.sort_by_key(|choice| choice.index);
        let calibrated: Vec<f64> = found.choices.iter().map(|choice| f64::from(choice.probability)).collect();
        close(&calibrated, &numbers(&case["calibrated"]), 1e-3, case);
    }
}

#[test]
fn perplexity_is_that_of_strided_windows() {
    let model = open();
    for case in cases()["perplexity"].as_array().unwrap() {
        let found = model.perplexity(case["text"].as_str().unwrap()).unwrap().perplexity;
        let expected = case["perplexity"].as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-4, "{found} where {expected} was expected");
    }
}
