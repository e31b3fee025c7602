//! The calls of models that write text.

use limbeck_sdk::{
    ChooseOptions, ContextPolicy, GenerateOptions, Generating, Generation, Model, PerplexityOptions, Prompt, Result,
    Scoring,
};
use serde_json::{Value, json};

use crate::file::Case;
use crate::sdk::{Options, results, text, texts, with_texts};

/// What a written text is compared by: limbeck_result_json has more, which depends on earlier calls.
const WRITTEN: [&str; 6] = ["text", "ids", "finish", "prompt_tokens", "generated_tokens", "tokens_dropped"];
const CHOICE: [&str; 7] = ["text", "index", "score", "probability", "log_probability", "tokens", "bytes"];
const USAGE: [&str; 3] = ["prompt_tokens", "examples", "examples_dropped"];
const PERPLEXITY: [&str; 6] = ["perplexity", "bits_per_byte", "log_probability", "tokens", "bytes", "windows"];

pub fn generate(case: &Case, model: &Model, o: &Options) -> Result<Value> {
    let (input, options) = (case.get("input"), generate_options(o));
    if input.get("prompts").is_some() {
        let written = with_texts(&input["prompts"], |prompts| model.generate_batch(prompts, &options))?;
        return Ok(written_texts(written));
    }
    if input.get("from").is_none() {
        let writing = model.generate(&text(&input["prompt"]), &options)?;
        return Ok(written_texts(vec![write(case, writing)?]));
    }
    let prompt = prompt(&input["from"]);
    let prompted = model.prompt(&prompt);
    let written = write(case, prompted.generate(&options)?)?;
    let usage = of(&USAGE, &written);
    let mut found = written_texts(vec![written]);
    found["usage"] = usage;
    Ok(found)
}

/// To the end, or as far as the case says; what is given on the way is what the whole text has.
fn write(case: &Case, mut writing: Generating<'_>) -> Result<Generation> {
    let input = case.get("input");
    let limit = input["stop_after"].as_u64().map_or(usize::MAX, |tokens| tokens as usize);
    if input["stream"] != true && limit == usize::MAX {
        return writing.finish();
    }
    let (mut ids, mut text) = (Vec::new(), String::new());
    for piece in writing.by_ref().take(limit) {
        let piece = piece?;
        ids.push(piece.id);
        text.push_str(&piece.text);
    }
    let written = writing.stop();
    assert_eq!((&text, &ids), (&written.text, &written.ids), "{}", case.name);
    Ok(written)
}

pub fn choose(case: &Case, model: &Model, o: &Options) -> Result<Value> {
    let (input, options) = (case.get("input"), choose_options(o));
    let prompt = prompt(&input["from"]);
    let found =
        with_texts(&input["completions"], |completions| model.prompt(&prompt).choose_with(completions, &options))?;
    let choices: Vec<Value> = found.choices.iter().map(|choice| of(&CHOICE, choice)).collect();
    Ok(json!({"choices": choices, "usage": of(&USAGE, &found.usage)}))
}

pub fn score(case: &Case, model: &Model, o: &Options) -> Result<Value> {
    let (input, options) = (case.get("input"), choose_options(o));
    let found = model.prompt(&prompt(&input["from"])).score_with(&text(&input["completion"]), &options)?;
    Ok(json!({"choice": {"score": found.per_token(), "log_probability": found.log_probability,
        "tokens": found.tokens, "bytes": found.bytes}}))
}

pub fn perplexity(case: &Case, model: &Model, o: &Options) -> Result<Value> {
    let mut options = PerplexityOptions::new();
    options.stride = o.count("stride").unwrap_or(0);
    options.from_start = o.0["from_start"] == true;
    (options.cancel, options.deadline) = (o.cancel(), o.deadline());
    let found = model.perplexity_with(&text(&case.get("input")["text"]), &options)?;
    Ok(json!({"perplexity": of(&PERPLEXITY, &found)}))
}

fn written_texts(written: Vec<Generation>) -> Value {
    results(written.iter().map(|written| of(&WRITTEN, written)).collect())
}

/// Some fields of an answer.
fn of(names: &[&str], answer: &impl serde::Serialize) -> Value {
    let all = serde_json::to_value(answer).unwrap();
    names.iter().map(|&name| (name.to_owned(), all[name].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn prompt(value: &Value) -> Prompt {
    let mut prompt = Prompt::new(text(&value["query"]));
    for (name, value) in value.as_object().unwrap() {
        prompt = match name.as_str() {
            "query" => prompt,
            "instruction" => prompt.instruction(text(value)),
            "separator" => prompt.separator(text(value)),
            "max_tokens" => prompt.max_tokens(value.as_u64().unwrap() as usize),
            "all_examples" if *value == true => prompt.all_examples(),
            "examples" => {
                let examples = value.as_array().unwrap().iter().map(texts);
                examples.fold(prompt, |prompt, pair| prompt.example(&pair[0], &pair[1]))
            }
            other => panic!("unknown in a prompt: {other}"),
        };
    }
    prompt
}

fn generate_options(o: &Options) -> GenerateOptions {
    let mut options = GenerateOptions::new();
    options.max_new_tokens = o.count("max_new_tokens").unwrap_or(options.max_new_tokens);
    options.temperature = o.number("temperature").unwrap_or(options.temperature);
    options.top_p = o.number("top_p").unwrap_or(options.top_p);
    options.top_k = o.count("top_k").unwrap_or(options.top_k);
    options.seed = o.0["seed"].as_u64().unwrap_or(options.seed);
    options.repetition_penalty = o.number("repetition_penalty").unwrap_or(options.repetition_penalty);
    options.ignore_eos = o.0["ignore_eos"] == true;
    options.stop = o.0["stops"].as_array().map_or_else(Vec::new, |stops| stops.iter().map(text).collect());
    options.context = match (o.0["context"].as_str(), o.count("context_keep")) {
        (None | Some("error"), None) => ContextPolicy::Error,
        (Some("stop"), None) => ContextPolicy::Stop,
        (Some("slide"), keep) => ContextPolicy::Slide { keep: keep.unwrap_or(0) },
        other => panic!("no such context: {other:?}"),
    };
    (options.cancel, options.deadline) = (o.cancel(), o.deadline());
    options
}

fn choose_options(o: &Options) -> ChooseOptions {
    let mut options = ChooseOptions::new();
    options.scoring = match (o.0["scoring"].as_str(), o.0["answer_context"].as_str()) {
        (None | Some("per_token"), None) => Scoring::PerToken,
        (Some("sum"), None) => Scoring::Sum,
        (Some("per_byte"), None) => Scoring::PerByte,
        (Some("answer_context"), context) => Scoring::AnswerContext(context.unwrap_or_default().to_owned()),
        other => panic!("no such scoring: {other:?}"),
    };
    options.content_free =
        o.0["content_free"].as_array().map_or_else(Vec::new, |queries| queries.iter().map(text).collect());
    (options.cancel, options.deadline) = (o.cancel(), o.deadline());
    options
}
