//! RESULT
//!
//! What a result holds, by the call that made it:
//!
//!     classify, zero_shot, head   a limbeck_score for each label
//!     rerank                      an answer for each ranked text, one limbeck_score in it
//!     tag                         a limbeck_entity for each entity
//!     answer                      a limbeck_answer for each answer
//!     fill_mask                   a limbeck_guess for each guess of each mask
//!     order                       limbeck_result_order; one item
//!     replaced                    a limbeck_replaced for each suspicious word
//!     embed                       limbeck_result_vector; its items are its floats
//!     generate                    limbeck_result_generation; its items are its tokens
//!     choose                      a limbeck_choice for each completion

use std::sync::OnceLock;

use limbeck_sdk as sdk;

use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// The answers of one call, in the order of its texts. Never changes; a const
/// handle may be used from many threads. Bound to no other handle: it outlives
/// the model, and what is seen through it lives until it is freed.
pub struct limbeck_result {
    pub(crate) content: Content,
    json: OnceLock<String>,
}

/// What the calls of the tasks make.
pub(crate) enum Content {
    Labels(Vec<sdk::Classification>),
    ZeroShot(Vec<sdk::ZeroShot>),
    Ranked(Vec<sdk::Ranked>),
    Entities(Vec<sdk::Tagging>),
    Answers(Vec<sdk::Answers>),
    Masks(Vec<sdk::FilledMasks>),
    Orders(Vec<sdk::Order>),
    Replacements(Vec<sdk::Replacements>),
    Embeddings(Vec<sdk::Embedding>),
    Generations(Vec<sdk::Generation>),
    Choices(Vec<sdk::Choices>),
}

impl limbeck_result {
    pub(crate) fn give(out: &mut *mut limbeck_result, content: Content) {
        ffi::give(out, limbeck_result { content, json: OnceLock::new() });
    }
}

/// What was read of a text, and how long it took. Yours, plain numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_usage {
    /// Size of this struct; set by limbeck_usage_init.
    pub size: usize,
    /// Tokens that the model read, special ones included; each counts once.
    pub tokens_used: usize,
    /// Tokens of the text that it did not read.
    pub tokens_dropped: usize,
    /// Windows the text was read in; 1 unless it was too long.
    pub windows: usize,
    /// Nanoseconds from text to token ids.
    pub tokenize_ns: u64,
    /// Nanoseconds waiting and running; texts that ran together share them.
    pub inference_ns: u64,
    /// Nanoseconds from logits to the answer.
    pub post_ns: u64,
}

// SAFETY: repr(C), size first; padding only on 32-bit systems; every field takes any bits.
unsafe impl Growing for limbeck_usage {
    const FIRST_SIZE: usize = size_of::<limbeck_usage>();
}

/// Prepares `usage` to be filled; pass sizeof(limbeck_usage).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_usage_init(usage: *mut limbeck_usage, size: usize) {
    // SAFETY: `usage` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(usage, size) }
}

/// How many texts the result answers; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_count(result: *const limbeck_result) -> usize {
    // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(result, 0, |result| result.count()) }
}

/// How many items (see above) the answer for the text at position `text` has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_item_count(
    result: *const limbeck_result,
    text: usize,
    out: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, result) = unsafe { (ffi::out(out, "out")?, ffi::handle(result, "result")?) };
        *out = match &result.content {
            Content::Labels(answers) => at(answers, text)?.labels.len(),
            Content::ZeroShot(answers) => at(answers, text)?.labels.len(),
            Content::Ranked(answers) => at(answers, text).map(|_| 1)?,
            Content::Entities(answers) => at(answers, text)?.entities.len(),
            Content::Answers(answers) => at(answers, text)?.answers.len(),
            Content::Masks(answers) => at(answers, text)?.masks.iter().map(|mask| mask.guesses.len()).sum(),
            Content::Orders(answers) => at(answers, text).map(|_| 1)?,
            Content::Replacements(answers) => at(answers, text)?.spans.len(),
            Content::Embeddings(answers) => at(answers, text)?.vector.len(),
            Content::Generations(answers) => at(answers, text)?.ids.len(),
            Content::Choices(answers) => at(answers, text)?.choices.len(),
        };
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// The embedding of the text at position `text`: a view of `length` floats.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_vector(
    result: *const limbeck_result,
    text: usize,
    out: *mut *const f32,
    length: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, length, result) =
            unsafe { (ffi::out(out, "out")?, ffi::out(length, "length")?, ffi::handle(result, "result")?) };
        let vector = match &result.content {
            Content::Embeddings(answers) => &at(answers, text)?.vector,
            other => return Err(other.has_no("vectors")),
        };
        (*out, *length) = (vector.as_ptr(), vector.len());
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Whether the best label is sure enough for the text at position `text` to be the
/// model's business at all; true if neither bundle nor call sets a threshold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_in_scope(
    result: *const limbeck_result,
    text: usize,
    out: *mut bool,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, result) = unsafe { (ffi::out(out, "out")?, ffi::handle(result, "result")?) };
        *out = match &result.content {
            Content::Labels(answers) => at(answers, text)?.in_scope,
            other => return Err(other.has_no("scope")),
        };
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// The score of "the text does not say" for the question at position `text`, to be
/// compared with those of its answers. Only a model trained on questions without an
/// answer gives it a meaning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_no_answer(
    result: *const limbeck_result,
    text: usize,
    out: *mut f32,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, result) = unsafe { (ffi::out(out, "out")?, ffi::handle(result, "result")?) };
        *out = match &result.content {
            Content::Answers(answers) => at(answers, text)?.no_answer,
            other => return Err(other.has_no("answers to a question")),
        };
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with what was read of the text at position `text`, and how long
/// that took. For zero-shot labels these are sums over all labels.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_usage(
    result: *const limbeck_result,
    text: usize,
    out: *mut limbeck_usage,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let usage = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Labels(answers) => at(answers, text)?.usage,
            Content::ZeroShot(answers) => at(answers, text)?.usage,
            Content::Ranked(answers) => at(answers, text)?.usage,
            Content::Entities(answers) => at(answers, text)?.usage,
            Content::Answers(answers) => at(answers, text)?.usage,
            Content::Masks(answers) => at(answers, text)?.usage,
            Content::Orders(answers) => at(answers, text)?.usage,
            Content::Replacements(answers) => at(answers, text)?.usage,
            Content::Embeddings(answers) => at(answers, text)?.usage,
            other => return Err(other.has_no("usage of this kind")),
        };
        let ns = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let usage = limbeck_usage {
            size: 0,
            tokens_used: usage.tokens_used,
            tokens_dropped: usage.tokens_dropped,
            windows: usage.windows,
            tokenize_ns: ns(usage.timings.tokenize),
            inference_ns: ns(usage.timings.inference),
            post_ns: ns(usage.timings.post),
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &usage) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// All of the result as a JSON array with an object for each text, made when first
/// asked for: `[{"labels": [{"label": "positive", "probability": 0.98, ...}],
/// "tokens_used": 9, ...}]`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_json(result: *const limbeck_result) -> limbeck_str {
    // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
    unsafe {
        ffi::get(result, limbeck_str::EMPTY, |result| {
            limbeck_str::view(result.json.get_or_init(|| result.content.json()))
        })
    }
}

/// Frees a result, and with it what is seen through it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_free(result: *mut limbeck_result) {
    // SAFETY: `result` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(result) }
}

impl limbeck_result {
    fn count(&self) -> usize {
        match &self.content {
            Content::Labels(answers) => answers.len(),
            Content::ZeroShot(answers) => answers.len(),
            Content::Ranked(answers) => answers.len(),
            Content::Entities(answers) => answers.len(),
            Content::Answers(answers) => answers.len(),
            Content::Masks(answers) => answers.len(),
            Content::Orders(answers) => answers.len(),
            Content::Replacements(answers) => answers.len(),
            Content::Embeddings(answers) => answers.len(),
            Content::Generations(answers) => answers.len(),
            Content::Choices(answers) => answers.len(),
        }
    }
}

impl Content {
    fn json(&self) -> String {
        let json = match self {
            Content::Labels(answers) => serde_json::to_string(answers),
            Content::ZeroShot(answers) => serde_json::to_string(answers),
            Content::Ranked(answers) => serde_json::to_string(answers),
            Content::Entities(answers) => serde_json::to_string(answers),
            Content::Answers(answers) => serde_json::to_string(answers),
            Content::Masks(answers) => serde_json::to_string(answers),
            Content::Orders(answers) => serde_json::to_string(answers),
            Content::Replacements(answers) => serde_json::to_string(answers),
            Content::Embeddings(answers) => serde_json::to_string(answers),
            Content::Generations(answers) => serde_json::to_string(answers),
            Content::Choices(answers) => serde_json::to_string(answers),
        };
        // Plain data always has a JSON form.
        json.unwrap_or_default()
    }

    /// The failure of asking a result for what its call does not make.
    pub(crate) fn has_no(&self, what: &str) -> Failure {
        let have = match self {
            Content::Labels(_) | Content::ZeroShot(_) => "labels (limbeck_result_score)",
            Content::Ranked(_) => "ranked texts (limbeck_result_score)",
            Content::Entities(_) => "entities (limbeck_result_entity)",
            Content::Answers(_) => "answers (limbeck_result_answer)",
            Content::Masks(_) => "guesses (limbeck_result_guess)",
            Content::Orders(_) => "orders of pairs (limbeck_result_order)",
            Content::Replacements(_) => "replaced words (limbeck_result_replaced)",
            Content::Embeddings(_) => "vectors (limbeck_result_vector)",
            Content::Generations(_) => "text that was written (limbeck_result_generation)",
            Content::Choices(_) => "completions (limbeck_result_choice)",
        };
        Failure::argument(format!("the result holds {have} and no {what}"))
    }
}

/// The answer for a text.
pub(crate) fn at<T>(answers: &[T], text: usize) -> Result<&T, Failure> {
    ffi::item(answers, text, "text", "the result", "answers")
}
