//! PROMPTS
//!
//! Prompts with examples, and how likely a model of the task "generation" finds text.

use std::ffi::{c_char, c_void};
use std::time::Instant;

use limbeck_sdk::{ChooseOptions, PerplexityOptions, Prompt, Score, Scoring};

use crate::call;
use crate::cancel::limbeck_cancel;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, UserData, guard};
use crate::generate::{self, limbeck_generate_options, limbeck_token_function};
use crate::model::limbeck_model;
use crate::result::{Content, at, limbeck_result};
use crate::status::limbeck_status;
use crate::text::{limbeck_pair, limbeck_str};

/// By the log probability of a token, the mean over the completion.
pub const LIMBECK_SCORING_PER_TOKEN: u32 = 0;
/// By the log probability of the whole completion.
pub const LIMBECK_SCORING_SUM: u32 = 1;
/// By that sum over the completion's bytes.
pub const LIMBECK_SCORING_PER_BYTE: u32 = 2;
/// By how much likelier the completion is after the prompt than after `answer_context`.
pub const LIMBECK_SCORING_ANSWER_CONTEXT: u32 = 3;

/// A text to be completed: an instruction, examples, and the query, put together as
/// they are with the separator between them. What stands before the query is read
/// once, and gone on from in later calls as long as there is room for it. Only read
/// during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_prompt {
    /// Size of this struct; set by limbeck_prompt_init.
    pub size: usize,
    /// What comes first; may be empty.
    pub instruction: limbeck_str,
    /// Texts like the query with their completions, usually with the space before them.
    pub examples: *const limbeck_pair,
    /// How many.
    pub example_count: usize,
    /// What is to be completed.
    pub query: limbeck_str,
    /// Stands between the parts. NULL: two line ends; an empty one that is not NULL:
    /// nothing.
    pub separator: limbeck_str,
    /// The most tokens of the prompt; examples that do not fit are left out, the last
    /// ones first, and reported. 0: what the context has room for.
    pub max_tokens: usize,
    /// 1: LIMBECK_TOO_LONG if an example does not fit.
    pub all_examples: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_prompt {
    const FIRST_SIZE: usize = size_of::<limbeck_prompt>();
}

/// Options of calls that score completions. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_choose_options {
    /// Size of this struct; set by limbeck_choose_options_init.
    pub size: usize,
    /// What completions are compared by: a LIMBECK_SCORING_ number.
    pub scoring: u32,
    /// 0.
    pub reserved: u32,
    /// LIMBECK_SCORING_ANSWER_CONTEXT: "Answer: ".
    pub answer_context: limbeck_str,
    /// Contextual calibration: queries without content, as "Review: N/A"; a
    /// completion's probability is divided by its mean probability there.
    pub content_free: *const limbeck_str,
    /// How many. 0: not calibrated.
    pub content_free_count: usize,
    /// LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none.
    pub deadline_ms: u64,
    /// Ends the call from another thread.
    pub cancel: *const limbeck_cancel,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_choose_options {
    const FIRST_SIZE: usize = size_of::<limbeck_choose_options>();
}

/// A completion with its score. Yours; its text lives as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_choice {
    /// Size of this struct; set by limbeck_choice_init.
    pub size: usize,
    /// The completion; empty from limbeck_model_score.
    pub text: limbeck_str,
    /// Its place among the completions given.
    pub index: usize,
    /// What completions are compared by; by limbeck_model_score the mean by token.
    pub score: f64,
    /// The softmax of the scores of all completions.
    pub probability: f64,
    /// Natural log of its probability after the prompt.
    pub log_probability: f64,
    /// Its tokens.
    pub tokens: usize,
    /// Its bytes, with the white space that stood at the end of the query.
    pub bytes: usize,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_choice {
    const FIRST_SIZE: usize = size_of::<limbeck_choice>();
}

/// What was read for a prompt. Yours, plain numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_prompt_usage {
    /// Size of this struct; set by limbeck_prompt_usage_init.
    pub size: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, tokens that were read in an earlier call.
    pub cached_tokens: usize,
    /// Examples that stand in the prompt.
    pub examples: usize,
    /// Examples for which there was no room.
    pub examples_dropped: usize,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_prompt_usage {
    const FIRST_SIZE: usize = size_of::<limbeck_prompt_usage>();
}

/// How likely a text is. Yours, plain numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_perplexity {
    /// Size of this struct; set by limbeck_perplexity_init.
    pub size: usize,
    /// e to the negative mean log probability of a token.
    pub perplexity: f64,
    /// Negative log probability in bits, by the bytes of the tokens that were scored.
    pub bits_per_byte: f64,
    /// Natural log of the probability of the tokens that were scored.
    pub log_probability: f64,
    /// Tokens that were scored.
    pub tokens: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Windows that the text was read in; 1 unless it is longer than the context.
    pub windows: usize,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_perplexity {
    const FIRST_SIZE: usize = size_of::<limbeck_perplexity>();
}

/// Options of limbeck_model_perplexity. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_perplexity_options {
    /// Size of this struct; set by limbeck_perplexity_options_init.
    pub size: usize,
    /// Tokens before the first that is scored in each further window. 0: half of the
    /// context.
    pub stride: usize,
    /// 1: score the first token too, after the one that texts begin with.
    pub from_start: u32,
    /// 0.
    pub reserved: u32,
    /// LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none.
    pub deadline_ms: u64,
    /// Ends the call from another thread.
    pub cancel: *const limbeck_cancel,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_perplexity_options {
    const FIRST_SIZE: usize = size_of::<limbeck_perplexity_options>();
}

/// Prepares `prompt` to be changed; pass sizeof(limbeck_prompt).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_prompt_init(prompt: *mut limbeck_prompt, size: usize) {
    // SAFETY: `prompt` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(prompt, size) }
}

/// Prepares `options` to be changed; pass sizeof(limbeck_choose_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_choose_options_init(options: *mut limbeck_choose_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Prepares `choice` to be filled; pass sizeof(limbeck_choice).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_choice_init(choice: *mut limbeck_choice, size: usize) {
    // SAFETY: `choice` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(choice, size) }
}

/// Prepares `usage` to be filled; pass sizeof(limbeck_prompt_usage).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_prompt_usage_init(usage: *mut limbeck_prompt_usage, size: usize) {
    // SAFETY: `usage` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(usage, size) }
}

/// Prepares `perplexity` to be filled; pass sizeof(limbeck_perplexity).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_perplexity_init(perplexity: *mut limbeck_perplexity, size: usize) {
    // SAFETY: `perplexity` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(perplexity, size) }
}

/// Prepares `options` to be changed; pass sizeof(limbeck_perplexity_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_perplexity_options_init(options: *mut limbeck_perplexity_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Chooses between `count` completions of a prompt: limbeck_result_choice. White space
/// at the end of the query counts to the completions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_choose(
    model: *const limbeck_model,
    prompt: *const limbeck_prompt,
    completions: *const limbeck_str,
    count: usize,
    options: *const limbeck_choose_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || Ok((read_prompt(prompt)?, ffi::texts(completions, count, "completions")?)),
            |started| read_options(options, started),
            |model, (prompt, completions), options| {
                Ok(Content::Choices(vec![model.prompt(&prompt).choose_with(&completions, options)?]))
            },
        )
    }
}

/// Fills `out` with the completion at `rank`. Rank 0 is the best.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_choice(
    result: *const limbeck_result,
    rank: usize,
    out: *mut limbeck_choice,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let found = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Choices(answers) => {
                ffi::item(&at(answers, 0)?.choices, rank, "rank", "the result", "completions")?
            }
            other => return Err(other.has_no("completions")),
        };
        let choice = limbeck_choice {
            text: limbeck_str::view(&found.text),
            index: found.index,
            score: found.score,
            probability: f64::from(found.probability),
            ..choice_of(&found.likelihood)
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &choice) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Writes on from a prompt with examples, as limbeck_model_generate does from a text.
/// Where the context must not become full, examples that leave no room for
/// max_new_tokens are left out: limbeck_result_prompt_usage.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_generate_prompt(
    model: *const limbeck_model,
    prompt: *const limbeck_prompt,
    options: *const limbeck_generate_options,
    function: limbeck_token_function,
    data: *mut c_void,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let data = UserData(data);
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || read_prompt(prompt),
            |started| generate::read_options(options, started),
            |model, prompt, options| {
                let prompted = model.prompt(&prompt);
                let writing = prompted.generate(options)?;
                Ok(Content::Generations(vec![generate::write(writing, function, &data)?]))
            },
        )
    }
}

/// Fills `out` with what was read of the prompt from which was chosen or written on; not
/// of a batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_prompt_usage(
    result: *const limbeck_result,
    out: *mut limbeck_prompt_usage,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let content = &unsafe { ffi::handle(result, "result") }?.content;
        let (prompt_tokens, cached_tokens, examples, examples_dropped) = match content {
            Content::Choices(answers) => {
                let usage = at(answers, 0)?.usage;
                (usage.prompt_tokens, usage.cached_tokens, usage.examples, usage.examples_dropped)
            }
            Content::Generations(answers) if answers.len() == 1 => {
                let written = at(answers, 0)?;
                (written.prompt_tokens, written.cached_tokens, written.examples, written.examples_dropped)
            }
            other => return Err(other.has_no("usage of one prompt")),
        };
        let usage = limbeck_prompt_usage { size: 0, prompt_tokens, cached_tokens, examples, examples_dropped };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &usage) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with how likely one completion of `length` bytes is after a prompt with all its
/// examples: LIMBECK_TOO_LONG if they have no room. Of `options` only deadline and cancel are
/// read; the rest must be 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_score(
    model: *const limbeck_model,
    prompt: *const limbeck_prompt,
    completion: *const c_char,
    length: usize,
    options: *const limbeck_choose_options,
    out: *mut limbeck_choice,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        unsafe {
            let model = &ffi::handle(model, "model")?.model;
            ffi::check_out(out, "out")?;
            let (prompt, completion) = (read_prompt(prompt)?, ffi::text(completion, length, "completion")?);
            let options = read_options(options, started)?;
            if options.scoring != Scoring::PerToken || !options.content_free.is_empty() {
                return Err(Failure::argument(
                    "options->scoring or options->content_free_count is set, which this call does not read: leave it 0",
                ));
            }
            let score = model.prompt(&prompt).score_with(completion, &options)?;
            ffi::write(out, "out", &choice_of(&score))
        }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with how likely a text of `length` bytes is. One that is longer than the
/// context is read in overlapping windows, each token scored once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_perplexity(
    model: *const limbeck_model,
    text: *const c_char,
    length: usize,
    options: *const limbeck_perplexity_options,
    out: *mut limbeck_perplexity,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        unsafe {
            let model = &ffi::handle(model, "model")?.model;
            ffi::check_out(out, "out")?;
            let text = ffi::text(text, length, "text")?;
            let raw: limbeck_perplexity_options = ffi::read(options, "options")?;
            ffi::reserved("options->reserved", raw.reserved)?;
            let mut options = PerplexityOptions::new()
                .stride(raw.stride)
                .from_start(ffi::switch("options->from_start", raw.from_start)?);
            options.cancel = raw.cancel.as_ref().map(|cancel| cancel.cancel.clone());
            options.deadline = call::deadline(started, raw.deadline_ms);
            let found = model.perplexity_with(text, &options)?;
            let perplexity = limbeck_perplexity {
                size: 0,
                perplexity: found.perplexity,
                bits_per_byte: found.bits_per_byte,
                log_probability: found.log_probability,
                tokens: found.tokens,
                bytes: found.bytes,
                windows: found.windows,
            };
            ffi::write(out, "out", &perplexity)
        }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

fn choice_of(score: &Score) -> limbeck_choice {
    limbeck_choice {
        size: 0,
        text: limbeck_str::EMPTY,
        index: 0,
        score: score.per_token(),
        probability: 1.0,
        log_probability: score.log_probability,
        tokens: score.tokens,
        bytes: score.bytes,
    }
}

/// # Safety
/// `prompt` is NULL or as the header says.
unsafe fn read_prompt(prompt: *const limbeck_prompt) -> Result<Prompt, Failure> {
    if prompt.is_null() {
        return Err(Failure::null("prompt"));
    }
    // SAFETY: by this function's contract.
    unsafe {
        let raw: limbeck_prompt = ffi::read(prompt, "prompt")?;
        ffi::reserved("prompt->reserved", raw.reserved)?;
        let text = |text: limbeck_str, name: &str| ffi::text(text.data, text.length, name);
        let mut prompt =
            Prompt::new(text(raw.query, "prompt->query")?).instruction(text(raw.instruction, "prompt->instruction")?);
        for (example, completion) in ffi::pairs(raw.examples, raw.example_count, "prompt->examples")? {
            prompt = prompt.example(example, completion);
        }
        // An empty one is not the default here: rows that begin with their own line ends have nothing between them.
        if !raw.separator.data.is_null() || raw.separator.length != 0 {
            prompt = prompt.separator(text(raw.separator, "prompt->separator")?);
        }
        if raw.max_tokens != 0 {
            prompt = prompt.max_tokens(raw.max_tokens);
        }
        Ok(match ffi::switch("prompt->all_examples", raw.all_examples)? {
            true => prompt.all_examples(),
            false => prompt,
        })
    }
}

/// # Safety
/// `options` is NULL or as the header says.
unsafe fn read_options(options: *const limbeck_choose_options, started: Instant) -> Result<ChooseOptions, Failure> {
    // SAFETY: by this function's contract.
    let (raw, context, content_free, cancel) = unsafe {
        let raw: limbeck_choose_options = ffi::read(options, "options")?;
        let context = ffi::text(raw.answer_context.data, raw.answer_context.length, "options->answer_context")?;
        let content_free = ffi::texts(raw.content_free, raw.content_free_count, "options->content_free")?;
        (raw, context, content_free, raw.cancel.as_ref().map(|cancel| cancel.cancel.clone()))
    };
    ffi::reserved("options->reserved", raw.reserved)?;
    let scoring = match (raw.scoring, context) {
        (LIMBECK_SCORING_ANSWER_CONTEXT, context) => Scoring::AnswerContext(context.to_owned()),
        (LIMBECK_SCORING_PER_TOKEN, "") => Scoring::PerToken,
        (LIMBECK_SCORING_SUM, "") => Scoring::Sum,
        (LIMBECK_SCORING_PER_BYTE, "") => Scoring::PerByte,
        (LIMBECK_SCORING_PER_TOKEN..LIMBECK_SCORING_ANSWER_CONTEXT, _) => {
            return Err(Failure::argument(
                "options->answer_context is set and options->scoring is not LIMBECK_SCORING_ANSWER_CONTEXT",
            ));
        }
        (other, _) => {
            return Err(Failure::argument(format!(
                "options->scoring is {other} and must be one of the LIMBECK_SCORING_ numbers (0 to 3)"
            )));
        }
    };
    let mut options = ChooseOptions::new().scoring(scoring);
    options.content_free = content_free.into_iter().map(str::to_owned).collect();
    options.cancel = cancel;
    options.deadline = call::deadline(started, raw.deadline_ms);
    Ok(options)
}
