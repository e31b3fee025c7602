//! GENERATION
//!
//! For models of the task "generation".

use std::ffi::{c_char, c_void};
use std::time::{Duration, Instant};

use limbeck_sdk::{ContextPolicy, Finish, GenerateOptions, Generating, Generation};

use crate::call;
use crate::cancel::limbeck_cancel;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, UserData, guard};
use crate::model::limbeck_model;
use crate::result::{Content, at, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// LIMBECK_TOO_LONG before anything is written, if prompt and new tokens might be
/// more than the context holds (limbeck_bundle_max_tokens).
pub const LIMBECK_CONTEXT_ERROR: u32 = 0;
/// Write until the context is full: LIMBECK_FINISH_CONTEXT. A prompt longer than
/// the context is LIMBECK_TOO_LONG.
pub const LIMBECK_CONTEXT_STOP: u32 = 1;
/// Forget the oldest tokens whenever the context is full, and report how many.
pub const LIMBECK_CONTEXT_SLIDE: u32 = 2;

/// The text has not ended: the token function ended the call.
pub const LIMBECK_FINISH_UNFINISHED: u32 = 0;
/// The model wrote its end of text.
pub const LIMBECK_FINISH_END_OF_TEXT: u32 = 1;
/// A stop string came.
pub const LIMBECK_FINISH_STOP: u32 = 2;
/// As many tokens were written as were allowed.
pub const LIMBECK_FINISH_LENGTH: u32 = 3;
/// The context was full.
pub const LIMBECK_FINISH_CONTEXT: u32 = 4;

/// Options of calls that write text. Only read during the call; NULL means all
/// defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_generate_options {
    /// Size of this struct; set by limbeck_generate_options_init.
    pub size: usize,
    /// The most tokens to write. 0: 128.
    pub max_new_tokens: usize,
    /// 0: the likeliest token each time. Above 0: tokens are drawn, from logits
    /// divided by this.
    pub temperature: f32,
    /// Draw among the fewest likeliest tokens whose probabilities reach this sum.
    /// 0: among all.
    pub top_p: f32,
    /// Draw among so many of the likeliest tokens. 0: among all.
    pub top_k: usize,
    /// The seed of the draws: with the same one the same model writes the same text.
    pub seed: u64,
    /// Makes tokens that stand in the context less likely, if above 1. 0: 1.
    pub repetition_penalty: f32,
    /// 1: write on after the model's end of text.
    pub ignore_eos: u32,
    /// Strings that end the text, which ends before them.
    pub stops: *const limbeck_str,
    /// How many.
    pub stop_count: usize,
    /// When the context is full: a LIMBECK_CONTEXT_ number.
    pub context: u32,
    /// LIMBECK_CONTEXT_SLIDE: how many tokens stay. 0: half of the context.
    pub context_keep: u32,
    /// LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none.
    pub deadline_ms: u64,
    /// Ends the call from another thread, between two tokens or within one.
    pub cancel: *const limbeck_cancel,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_generate_options {
    const FIRST_SIZE: usize = size_of::<limbeck_generate_options>();
}

/// A text that was written. Yours; its text and ids live as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_generation {
    /// Size of this struct; set by limbeck_generation_init.
    pub size: usize,
    /// What follows the prompt, without end of text or stop string.
    pub text: limbeck_str,
    /// Its tokens, the one that ended it among them: `generated_tokens` ids.
    pub ids: *const u32,
    /// How many tokens were written.
    pub generated_tokens: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens at the beginning that were forgotten (LIMBECK_CONTEXT_SLIDE).
    pub tokens_dropped: usize,
    /// Why it ended: a LIMBECK_FINISH_ number.
    pub finish: u32,
    /// 0.
    pub reserved: u32,
    /// Nanoseconds from text to token ids.
    pub tokenize_ns: u64,
    /// Nanoseconds reading prompts, and what is read anew when the context is full.
    pub prefill_ns: u64,
    /// Nanoseconds running the model for all further tokens.
    pub decode_ns: u64,
    /// Nanoseconds choosing tokens and making text of them.
    pub sampling_ns: u64,
}

// SAFETY: as for limbeck_call_options.
unsafe impl Growing for limbeck_generation {
    const FIRST_SIZE: usize = size_of::<limbeck_generation>();
}

/// Is given each token as it is written, on the thread of the call: its id, and the
/// text that became certain with it, whole characters, perhaps empty, valid during the
/// call. Returns false to end the text here. `data` is as given with the function. It
/// may call the library, and free nothing that the call uses.
pub type limbeck_token_function = Option<unsafe extern "C" fn(data: *mut c_void, id: u32, text: limbeck_str) -> bool>;

/// Fills `options` with the defaults; pass sizeof(limbeck_generate_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_generate_options_init(options: *mut limbeck_generate_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Prepares `generation` to be filled; pass sizeof(limbeck_generation).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_generation_init(generation: *mut limbeck_generation, size: usize) {
    // SAFETY: `generation` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(generation, size) }
}

/// Writes on from a prompt: limbeck_result_generation. `function`, which may be NULL,
/// is given each token with `data`. Other calls may run between two tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_generate(
    model: *const limbeck_model,
    prompt: *const c_char,
    length: usize,
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
            || ffi::text(prompt, length, "prompt"),
            |started| read_options(options, started),
            |model, prompt, options| {
                let writing = model.generate(prompt, options)?;
                Ok(Content::Generations(vec![write(writing, function, &data)?]))
            },
        )
    }
}

/// To the end, or until the function says so.
pub(crate) fn write(
    mut writing: Generating<'_>,
    function: limbeck_token_function,
    data: &UserData,
) -> Result<Generation, Failure> {
    for piece in writing.by_ref() {
        let piece = piece?;
        // SAFETY: the caller promised a function that takes these.
        let more =
            function.is_none_or(|function| unsafe { function(data.0, piece.id, limbeck_str::view(&piece.text)) });
        if !more {
            break;
        }
    }
    Ok(writing.stop())
}

/// Writes on from `count` prompts, as many together as memory allows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_generate_batch(
    model: *const limbeck_model,
    prompts: *const limbeck_str,
    count: usize,
    options: *const limbeck_generate_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || ffi::texts(prompts, count, "prompts"),
            |started| read_options(options, started),
            |model, prompts, options| Ok(Content::Generations(model.generate_batch(&prompts, options)?)),
        )
    }
}

/// Fills `out` with what was written after the prompt at position `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_generation(
    result: *const limbeck_result,
    text: usize,
    out: *mut limbeck_generation,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let found = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Generations(answers) => at(answers, text)?,
            other => return Err(other.has_no("text that was written")),
        };
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let generation = limbeck_generation {
            size: 0,
            text: limbeck_str::view(&found.text),
            ids: found.ids.as_ptr(),
            generated_tokens: found.ids.len(),
            prompt_tokens: found.prompt_tokens,
            tokens_dropped: found.tokens_dropped,
            finish: match found.finish {
                Finish::EndOfText => LIMBECK_FINISH_END_OF_TEXT,
                Finish::Stop => LIMBECK_FINISH_STOP,
                Finish::Length => LIMBECK_FINISH_LENGTH,
                Finish::Context => LIMBECK_FINISH_CONTEXT,
                _ => LIMBECK_FINISH_UNFINISHED,
            },
            reserved: 0,
            tokenize_ns: ns(found.times.tokenize),
            prefill_ns: ns(found.times.prefill),
            decode_ns: ns(found.times.decode),
            sampling_ns: ns(found.times.sampling),
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &generation) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// # Safety
/// `options` is NULL or as the header says.
pub(crate) unsafe fn read_options(
    options: *const limbeck_generate_options,
    started: Instant,
) -> Result<GenerateOptions, Failure> {
    // SAFETY: by this function's contract.
    let (raw, stops, cancel) = unsafe {
        let raw: limbeck_generate_options = ffi::read(options, "options")?;
        let stops = ffi::texts(raw.stops, raw.stop_count, "options->stops")?;
        (raw, stops, raw.cancel.as_ref().map(|cancel| cancel.cancel.clone()))
    };
    let mut options = GenerateOptions::new()
        .temperature(raw.temperature)
        .top_k(raw.top_k)
        .seed(raw.seed)
        .ignore_eos(ffi::switch("options->ignore_eos", raw.ignore_eos)?);
    if raw.max_new_tokens != 0 {
        options.max_new_tokens = raw.max_new_tokens;
    }
    if raw.top_p != 0.0 {
        options.top_p = raw.top_p;
    }
    if raw.repetition_penalty != 0.0 {
        options.repetition_penalty = raw.repetition_penalty;
    }
    options.stop = stops.into_iter().map(str::to_owned).collect();
    options.context = match (raw.context, raw.context_keep) {
        (LIMBECK_CONTEXT_SLIDE, keep) => ContextPolicy::Slide { keep: keep as usize },
        (LIMBECK_CONTEXT_ERROR | LIMBECK_CONTEXT_STOP, keep @ 1..) => {
            return Err(Failure::argument(format!(
                "options->context_keep is {keep} and options->context is not LIMBECK_CONTEXT_SLIDE"
            )));
        }
        (LIMBECK_CONTEXT_ERROR, _) => ContextPolicy::Error,
        (LIMBECK_CONTEXT_STOP, _) => ContextPolicy::Stop,
        (other, _) => {
            return Err(Failure::argument(format!(
                "options->context is {other} and must be one of the LIMBECK_CONTEXT_ numbers (0 to 2)"
            )));
        }
    };
    options.cancel = cancel;
    options.deadline = call::deadline(started, raw.deadline_ms);
    Ok(options)
}
