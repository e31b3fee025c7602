//! Writing on from a text, prompts with examples, and how likely a model finds a text. Names and rules of the options
//! are those of `limbeck_generate_options` and its neighbours, in the order in which Kotlin writes them.

use std::sync::Arc;

use jni::Env;
use jni::objects::JObject;
use limbeck_sdk::{
    ChooseOptions, ContextPolicy, GenerateOptions, Generating, Generation, Model, PerplexityOptions, Prompt, Scoring,
};

use crate::call::limits;
use crate::callbacks;
use crate::failure::Failure;
use crate::handles;
use crate::results;
use crate::wire::Reader;

type Reply = Result<Vec<u8>, Failure>;

fn model(from: &mut Reader) -> Result<Arc<Model>, Failure> {
    handles::get(from.long()?)
}

/// Writes on from a text (no flag) or from a prompt with examples (a flag), and gives each token to the function,
/// unless that is null.
pub(crate) fn generate(env: &Env, from: &mut Reader, function: &JObject) -> Reply {
    let (model, options) = (model(from)?, generate_options(from)?);
    let generation = match from.flag()? {
        false => write(env, model.generate(from.text()?, &options)?, function)?,
        true => {
            let prompt = prompt(from)?;
            let prompted = model.prompt(&prompt);
            write(env, prompted.generate(&options)?, function)?
        }
    };
    results::generations(&[generation])
}

fn write(env: &Env, mut writing: Generating, function: &JObject) -> Result<Generation, Failure> {
    for piece in writing.by_ref() {
        if !callbacks::take(env, function, &piece?)? {
            break;
        }
    }
    Ok(writing.stop())
}

pub(crate) fn generate_batch(from: &mut Reader) -> Reply {
    let (model, options) = (model(from)?, generate_options(from)?);
    results::generations(&model.generate_batch(&from.texts()?, &options)?)
}

pub(crate) fn choose(from: &mut Reader) -> Reply {
    let (model, options, prompt) = (model(from)?, choose_options(from)?, prompt(from)?);
    results::choices(&model.prompt(&prompt).choose_with(&from.texts()?, &options)?)
}

pub(crate) fn score(from: &mut Reader) -> Reply {
    let (model, options, prompt) = (model(from)?, choose_options(from)?, prompt(from)?);
    if options.scoring != Scoring::PerToken || !options.content_free.is_empty() {
        return Err(Failure::argument(
            "the option scoring or contentFree is set, which this call does not read: leave it out",
        ));
    }
    results::score(&model.prompt(&prompt).score_with(from.text()?, &options)?)
}

pub(crate) fn perplexity(from: &mut Reader) -> Reply {
    let (model, stride, from_start) = (model(from)?, from.size("stride")?, from.flag()?);
    let mut options = PerplexityOptions::new().stride(stride.unwrap_or(0)).from_start(from_start);
    (options.deadline, options.cancel) = limits(from)?;
    results::perplexity(&model.perplexity_with(from.text()?, &options)?)
}

fn generate_options(from: &mut Reader) -> Result<GenerateOptions, Failure> {
    let mut options = GenerateOptions::new();
    if let Some(tokens) = from.size("maxNewTokens")? {
        options.max_new_tokens = tokens;
    }
    options.temperature = from.float()?;
    match from.float()? {
        0.0 => {}
        sum => options.top_p = sum,
    }
    options.top_k = from.size("topK")?.unwrap_or(0);
    // Any bits will do for a seed.
    options.seed = from.long()?.cast_unsigned();
    match from.float()? {
        0.0 => {}
        penalty => options.repetition_penalty = penalty,
    }
    options.ignore_eos = from.flag()?;
    options.stop = from.texts()?.into_iter().map(str::to_owned).collect();
    options.context = match (from.int()?, from.size("contextKeep")?) {
        (2, keep) => ContextPolicy::Slide { keep: keep.unwrap_or(0) },
        (_, Some(keep)) => {
            return Err(Failure::argument(format!("the option contextKeep is {keep} and context is not SLIDE")));
        }
        (0, None) => ContextPolicy::Error,
        (1, None) => ContextPolicy::Stop,
        (other, None) => return Err(Failure::internal(format!("context {other}"))),
    };
    (options.deadline, options.cancel) = limits(from)?;
    Ok(options)
}

fn choose_options(from: &mut Reader) -> Result<ChooseOptions, Failure> {
    let scoring = match (from.int()?, from.text()?) {
        (3, context) => Scoring::AnswerContext(context.to_owned()),
        (0, "") => Scoring::PerToken,
        (1, "") => Scoring::Sum,
        (2, "") => Scoring::PerByte,
        (0..3, _) => {
            return Err(Failure::argument("the option answerContext is set and scoring is not ANSWER_CONTEXT"));
        }
        (other, _) => return Err(Failure::internal(format!("scoring {other}"))),
    };
    let mut options = ChooseOptions::new().scoring(scoring);
    options.content_free = from.texts()?.into_iter().map(str::to_owned).collect();
    (options.deadline, options.cancel) = limits(from)?;
    Ok(options)
}

fn prompt(from: &mut Reader) -> Result<Prompt, Failure> {
    let mut prompt = Prompt::new(from.text()?).instruction(from.text()?);
    for (text, completion) in from.pairs()? {
        prompt = prompt.example(text, completion);
    }
    prompt = prompt.separator(from.text()?);
    if let Some(tokens) = from.size("maxTokens")? {
        prompt = prompt.max_tokens(tokens);
    }
    Ok(match from.flag()? {
        true => prompt.all_examples(),
        false => prompt,
    })
}
