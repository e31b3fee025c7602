//! Speed of a bundle that writes text: to the first token, and from token to token.

use std::time::Instant;

use anyhow::{Result, bail};
use limbeck::{GenerateOptions, Model};
use serde::{Deserialize, Serialize};

use super::latency::{BenchOptions, GIVE_TEXT, milliseconds, quantile};
use super::memory::resident_memory_mb;

/// Tokens that are written after each prompt: enough that a prompt is read seldom, few enough that the context stays
/// about what it was.
const WRITTEN: usize = 32;

/// Time to the first token after prompts of one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptCase {
    /// Tokens of each prompt.
    pub tokens: usize,
    /// Prompts a call.
    pub batch: usize,
    /// Calls that counted.
    pub runs: usize,
    /// Milliseconds from text to first token, the shortest.
    pub min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// Nine of ten are shorter.
    pub p90_ms: f64,
}

/// Writing on where about as many tokens are in the context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContextCase {
    /// Tokens in the context when the first counted token is written.
    pub context: usize,
    /// Texts that are written together.
    pub batch: usize,
    /// Steps that counted, each of which wrote a token in each text.
    pub steps: usize,
    /// Milliseconds a step, the shortest.
    pub min_ms: f64,
    /// The median; of several texts that of the means of a call of so many tokens, less one that writes the first only.
    pub p50_ms: f64,
    /// Nine of ten are shorter.
    pub p90_ms: f64,
    /// Tokens a second of all texts together, at the median.
    pub tokens_per_second: f64,
    /// Bytes of keys and values of so many tokens, of the texts that the memory plan lets be written at one time.
    pub cache_bytes: u64,
    /// Resident memory of the process afterwards, in MB.
    pub resident_mb: Option<f64>,
}

fn options(tokens: usize) -> GenerateOptions {
    GenerateOptions::new().max_new_tokens(tokens).ignore_eos(true)
}

/// How many tokens the model reads for a prompt.
fn tokens_of(model: &Model, prompt: &str) -> Result<usize> {
    Ok(model.generate(prompt, &options(0))?.finish()?.prompt_tokens)
}

/// Contexts that are measured unless others are asked for.
const CONTEXTS: [usize; 3] = [64, 256, 900];

/// A prompt that the model reads as exactly `tokens` tokens.
fn prompt_of_tokens(model: &Model, tokens: usize, otherwise: &str) -> Result<String> {
    let special = tokens_of(model, "0")?.saturating_sub(1);
    for word in [" good", " the", "0", "?", "a "] {
        let prompt = word.repeat(tokens.saturating_sub(special).max(1));
        if tokens_of(model, &prompt)? == tokens {
            return Ok(prompt);
        }
    }
    bail!("cannot make a prompt of {tokens} tokens for this tokenizer; {otherwise}")
}

/// The first call of a model: one token.
pub(super) fn first(model: &Model) -> Result<()> {
    model.generate("0", &options(1))?.finish()?;
    Ok(())
}

/// Times to the first token for each of the lengths asked for, or for the text that was given.
pub(super) fn prompts(model: &Model, asked: &BenchOptions) -> Result<Vec<PromptCase>> {
    let most = model.bundle().manifest().max_tokens;
    let prompts = match &asked.text {
        Some(text) => vec![text.clone()],
        None => {
            // One more token is written.
            let fitting = asked.lengths.iter().filter(|&&length| length < most);
            fitting.map(|&length| prompt_of_tokens(model, length, GIVE_TEXT)).collect::<Result<Vec<_>>>()?
        }
    };
    prompts.iter().map(|prompt| prompt_case(model, prompt, asked)).collect()
}

fn prompt_case(model: &Model, prompt: &str, asked: &BenchOptions) -> Result<PromptCase> {
    let (prompts, one) = (vec![prompt; asked.batch], options(1));
    let mut samples = Vec::with_capacity(asked.runs);
    for run in 0..asked.warm_up + asked.runs {
        let started = Instant::now();
        model.generate_batch(&prompts, &one)?;
        if run >= asked.warm_up {
            samples.push(milliseconds(started.elapsed()));
        }
    }
    samples.sort_by(f64::total_cmp);
    Ok(PromptCase {
        tokens: tokens_of(model, prompt)?,
        batch: asked.batch,
        runs: samples.len(),
        min_ms: samples[0],
        p50_ms: quantile(&samples, 0.5),
        p90_ms: quantile(&samples, 0.9),
    })
}

/// Speed from token to token for each of the contexts asked for that leave room to write; for none beside a text that was
/// given, unless some are asked for.
pub(super) fn contexts(model: &Model, asked: &BenchOptions) -> Result<Vec<ContextCase>> {
    let most = model.bundle().manifest().max_tokens;
    let usual = if asked.text.is_some() { &[][..] } else { &CONTEXTS };
    let contexts = asked.contexts.as_deref().unwrap_or(usual);
    let fitting = contexts.iter().filter(|&&context| context > 0 && context + WRITTEN <= most);
    fitting.map(|&context| context_case(model, context, asked)).collect()
}

fn context_case(model: &Model, context: usize, asked: &BenchOptions) -> Result<ContextCase> {
    let prompt = prompt_of_tokens(model, context, "leave it out of --contexts")?;
    let prompts = vec![prompt.as_str(); asked.batch];
    // The token that reading the prompt gives is written before the clock starts.
    let writing = options(WRITTEN);
    let mut together = 1;
    let mut round = || -> Result<Vec<f64>> {
        if asked.batch > 1 {
            let started = Instant::now();
            model.generate_batch(&prompts, &options(1))?;
            let first = started.elapsed();
            let started = Instant::now();
            let written = model.generate_batch(&prompts, &writing)?;
            let rest = started.elapsed().saturating_sub(first);
            // Those that were written at one time each have the time of all of them.
            together = written.iter().filter(|text| text.times == written[0].times).count();
            return Ok(vec![milliseconds(rest) / (WRITTEN - 1) as f64]);
        }
        let mut stream = model.generate(&prompt, &writing)?;
        let mut samples = Vec::with_capacity(WRITTEN);
        loop {
            let started = Instant::now();
            match stream.next() {
                Some(piece) => piece?,
                None => break,
            };
            samples.push(milliseconds(started.elapsed()));
        }
        Ok(samples.split_off(1))
    };
    // A round that warms up, unless none is wanted.
    if asked.warm_up > 0 {
        round()?;
    }
    let (mut samples, mut steps) = (Vec::new(), 0);
    while steps < asked.runs {
        samples.extend(round()?);
        steps += WRITTEN - 1;
    }
    if asked.batch == 1 {
        samples.truncate(asked.runs);
        steps = asked.runs;
    }
    samples.sort_by(f64::total_cmp);
    let p50_ms = quantile(&samples, 0.5);
    let manifest = model.bundle().manifest();
    let values = manifest.architecture.attention_heads * manifest.generation.as_ref().map_or(0, |spec| spec.head_size);
    Ok(ContextCase {
        context,
        batch: asked.batch,
        steps,
        min_ms: samples[0],
        p50_ms,
        p90_ms: quantile(&samples, 0.9),
        tokens_per_second: asked.batch as f64 / p50_ms * 1e3,
        // Keys and values, 4 bytes each.
        cache_bytes: (8 * manifest.architecture.layers * values * context * together) as u64,
        resident_mb: resident_memory_mb(),
    })
}
