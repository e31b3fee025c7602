//! Latency of a bundle by length, batch and threads.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use limbeck::bundle::Task;
use limbeck::{
    AnswerOptions, ClassifyOptions, EmbedOptions, FillMaskOptions, Model, ModelBuilder, OrderOptions, ReplacedOptions,
    TagOptions, Usage,
};
use serde::{Deserialize, Serialize};

use super::machine::{Machine, Versions, machine, today, versions};
use super::memory::{peak_memory_mb, resident_memory_mb};
use super::writing::{self, ContextCase, PromptCase};

/// What to measure.
#[derive(Clone, Debug)]
pub struct BenchOptions {
    /// Lengths in tokens, special tokens included; lengths beyond the bundle's maximum are left out.
    pub lengths: Vec<usize>,
    /// Tokens in the context for which a model that writes text is timed from token to token; those that do not fit are
    /// left out. Some usual ones when `None`, unless there is a `text`.
    pub contexts: Option<Vec<usize>>,
    /// Texts a call.
    pub batch: usize,
    /// Threads inside an operator.
    pub threads: usize,
    /// Calls before the clock starts, for each length.
    pub warm_up: usize,
    /// Calls that count, for each length.
    pub runs: usize,
    /// A text of the user's own instead of made-up ones of `lengths`.
    pub text: Option<String>,
    /// The second text beside `text`, for a model that reads two together.
    pub pair: Option<String>,
    /// Where ONNX Runtime is.
    pub runtime: Option<PathBuf>,
    /// Source revision to be named in the result.
    pub commit: Option<String>,
}

/// One length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchCase {
    /// Tokens of each text, special tokens included.
    pub tokens: usize,
    /// Texts a call.
    pub batch: usize,
    /// Calls that counted.
    pub runs: usize,
    /// Milliseconds a call, text in to label out.
    pub min_ms: f64,
    /// Milliseconds a call.
    pub p50_ms: f64,
    /// Milliseconds a call.
    pub p90_ms: f64,
    /// Milliseconds a call; absent below 1,000 runs, where it would be one or two samples.
    pub p99_ms: Option<f64>,
    /// Tokens a second at the median.
    pub tokens_per_second: f64,
}

/// A whole measurement, schema 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BenchResult {
    /// Version of this schema.
    pub schema: u32,
    /// Bundle id and version.
    pub bundle: String,
    /// Bytes of the bundle file.
    pub file_bytes: u64,
    /// `YYYY-MM-DD`, UTC.
    pub date: String,
    /// Source revision of limbeck.
    pub commit: String,
    /// Where.
    pub machine: Machine,
    /// With what.
    pub versions: Versions,
    /// Threads inside an operator.
    pub threads: usize,
    /// Calls before the clock started, for each case.
    pub warm_up: usize,
    /// Milliseconds from nothing to an open model (library, file, hashes, session).
    pub open_ms: f64,
    /// Milliseconds of the first call.
    pub first_call_ms: f64,
    /// Resident memory before anything was opened, in MB: this program itself, which carries libtorch.
    pub resident_before_open_mb: Option<f64>,
    /// Resident memory after opening, in MB.
    pub resident_after_open_mb: Option<f64>,
    /// Largest resident memory of the process at the end, in MB.
    pub peak_memory_mb: Option<f64>,
    /// By length; none of a model that writes text.
    pub cases: Vec<BenchCase>,
    /// Of a model that writes text: time to the first token, by length of the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<PromptCase>,
    /// Of a model that writes text: from token to token, by what is in the context.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<ContextCase>,
}

impl BenchResult {
    /// Largest resident memory that the model added to the program, in MB: ONNX Runtime, the mapped bundle
    /// and all that they allocate. What an app will see, since an app does not carry libtorch.
    pub fn added_memory_mb(&self) -> Option<f64> {
        Some(self.peak_memory_mb? - self.resident_before_open_mb?)
    }
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Of samples in ascending order, at least one.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q).round() as usize]
}

/// The first of two texts, where a model reads two and there is one.
const FIRST: &str = "good";

/// Calls the model's task on texts; gives what was read of the first. A model of two texts reads [`FIRST`] with each.
pub(crate) fn call(model: &Model, texts: &[&str]) -> Result<Usage> {
    let pairs: Vec<(&str, &str)> = texts.iter().map(|text| (FIRST, *text)).collect();
    call_on(model, texts, &pairs)
}

/// Calls the model's task on texts, or on pairs if it reads two together. Texts that are too long are read as the sdk does by
/// itself: cut, or in windows.
fn call_on(model: &Model, texts: &[&str], pairs: &[(&str, &str)]) -> Result<Usage> {
    // A text alone goes the way of a text alone.
    let usage = match (&model.bundle().manifest().task, texts) {
        (Task::TextClassification, [text]) => Some(model.classify_with(text, &ClassifyOptions::new())?.usage),
        (Task::TextClassification, _) => {
            model.classify_batch(texts, &ClassifyOptions::new())?.first().map(|answer| answer.usage)
        }
        (Task::PairClassification, _) => {
            model.classify_pairs(pairs, &ClassifyOptions::new())?.first().map(|answer| answer.usage)
        }
        (Task::TokenClassification, _) => {
            model.tag_batch(texts, &TagOptions::new())?.first().map(|answer| answer.usage)
        }
        (Task::QuestionAnswering, _) => {
            model.answer_batch(pairs, &AnswerOptions::new())?.first().map(|answer| answer.usage)
        }
        (Task::SentenceEmbedding, [text]) => Some(model.embed_with(text, &EmbedOptions::new())?.usage),
        (Task::SentenceEmbedding, _) => {
            model.embed_batch(texts, &EmbedOptions::new())?.first().map(|answer| answer.usage)
        }
        (Task::FillMask, _) => {
            model.fill_mask_batch(texts, &FillMaskOptions::new())?.first().map(|answer| answer.usage)
        }
        (Task::Order, _) => model.order_batch(pairs, &OrderOptions::new())?.first().map(|answer| answer.usage),
        (Task::Replaced, _) => model.replaced_batch(texts, &ReplacedOptions::new())?.first().map(|answer| answer.usage),
        (other, _) => bail!("this program cannot run models for {}", other.name()),
    };
    Ok(usage.unwrap_or_default())
}

/// What to do where no text of a length can be made.
pub(super) const GIVE_TEXT: &str = "give one with --text";

/// A text that the model reads as exactly `tokens` tokens, special tokens and a first text included.
///
/// # Errors
/// No such text can be made; `otherwise` is the way out that the message names.
pub fn text_of_tokens(model: &Model, tokens: usize, otherwise: &str) -> Result<String> {
    let mask = model.mask_token();
    let text = |words: usize| {
        let mut words = vec![FIRST; words];
        if let (Some(mask), Some(last)) = (&mask, words.last_mut()) {
            *last = mask;
        }
        words.join(" ")
    };
    let used = |text: &str| Ok::<_, anyhow::Error>(call(model, &[text])?.tokens_used);
    let extra = used(&text(1))?.saturating_sub(1);
    let candidate = text(tokens.saturating_sub(extra).max(1));
    let used = used(&candidate)?;
    if used != tokens {
        bail!("cannot make a text of {tokens} tokens for this tokenizer (got {used}); {otherwise}");
    }
    Ok(candidate)
}

/// How models are opened to be timed.
pub(crate) fn one_session(threads: usize, runtime: Option<&Path>) -> ModelBuilder {
    let builder = Model::builder().threads(threads).sessions(1);
    match runtime {
        Some(runtime) => builder.runtime_path(runtime),
        None => builder,
    }
}

/// Opens a bundle in this process and times it. For honest cold-start and memory figures run it in a fresh
/// process, as `limbeck bench` does.
///
/// # Errors
/// The bundle or the runtime cannot be opened, no length fits the bundle, or it reads no second text and there is one.
pub fn bench(path: &Path, options: &BenchOptions) -> Result<BenchResult> {
    let resident_before_open_mb = resident_memory_mb();
    let started = Instant::now();
    let model = one_session(options.threads, options.runtime.as_deref()).open(path)?;
    let open_ms = milliseconds(started.elapsed());
    let resident_after_open_mb = resident_memory_mb();
    let task = &model.bundle().manifest().task;
    let writes = *task == Task::Generation;
    let reads_two = matches!(task, Task::PairClassification | Task::QuestionAnswering | Task::Order);
    ensure!(
        reads_two || options.pair.is_none(),
        "--pair is for bundles that read two texts together; this one is for {}",
        task.name()
    );
    if options.contexts.is_some() && !writes {
        bail!("--contexts is for bundles that write text; this one is for {}", task.name());
    }
    let started = Instant::now();
    match writes {
        true => writing::first(&model)?,
        false => drop(call(&model, &[model.mask_token().as_deref().unwrap_or(FIRST)])?),
    }
    let first_call_ms = milliseconds(started.elapsed());
    let manifest = model.bundle().manifest();
    let (mut cases, mut prompts, mut contexts) = (Vec::new(), Vec::new(), Vec::new());
    if writes {
        prompts = writing::prompts(&model, options)?;
        contexts = writing::contexts(&model, options)?;
    } else {
        let texts = match &options.text {
            Some(text) => vec![text.clone()],
            None => {
                let fitting = options.lengths.iter().filter(|&&l| l <= manifest.max_tokens);
                fitting.map(|&l| text_of_tokens(&model, l, GIVE_TEXT)).collect::<Result<Vec<_>>>()?
            }
        };
        cases = texts.iter().map(|text| case(&model, text, options)).collect::<Result<Vec<_>>>()?;
    }
    if cases.is_empty() && prompts.is_empty() && contexts.is_empty() {
        bail!("no length to measure: the bundle takes at most {} tokens", manifest.max_tokens);
    }
    Ok(BenchResult {
        schema: 1,
        bundle: format!("{} {}", manifest.id, manifest.version),
        file_bytes: model.bundle().size(),
        date: today(),
        commit: options.commit.clone().unwrap_or_else(|| "unknown".to_owned()),
        machine: machine(),
        versions: versions(),
        threads: options.threads,
        warm_up: options.warm_up,
        open_ms,
        first_call_ms,
        resident_before_open_mb,
        resident_after_open_mb,
        peak_memory_mb: peak_memory_mb(),
        cases,
        prompts,
        contexts,
    })
}

fn case(model: &Model, text: &str, options: &BenchOptions) -> Result<BenchCase> {
    let texts = vec![text; options.batch];
    let pairs = vec![options.pair.as_deref().map_or((FIRST, text), |second| (text, second)); options.batch];
    let mut samples = Vec::with_capacity(options.runs);
    let mut tokens = 0;
    for run in 0..options.warm_up + options.runs {
        let started = Instant::now();
        tokens = call_on(model, &texts, &pairs)?.tokens_used;
        if run >= options.warm_up {
            samples.push(milliseconds(started.elapsed()));
        }
    }
    samples.sort_by(f64::total_cmp);
    let quantile = |q: f64| quantile(&samples, q);
    Ok(BenchCase {
        tokens,
        batch: options.batch,
        runs: samples.len(),
        min_ms: samples[0],
        p50_ms: quantile(0.5),
        p90_ms: quantile(0.9),
        p99_ms: (samples.len() >= 1000).then(|| quantile(0.99)),
        tokens_per_second: (tokens * options.batch) as f64 / (quantile(0.5) / 1e3),
    })
}
