//! RESULT

use limbeck_sdk::Classification;

use crate::classify::limbeck_result;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// A label with its score.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_score {
    /// Size of this struct; set by limbeck_score_init.
    pub size: usize,
    /// The label's name; lives as long as the result.
    pub label: limbeck_str,
    /// The label's place in the model's list, as in limbeck_bundle_label.
    pub index: usize,
    /// Its probability, 0 to 1; the logit itself if the model has none.
    pub probability: f32,
    /// The model's raw score.
    pub logit: f32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_score {
    const FIRST_SIZE: usize = 4 * size_of::<usize>() + 2 * size_of::<f32>();
}

/// What was read of a text, and how long it took.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_usage {
    /// Size of this struct; set by limbeck_usage_init.
    pub size: usize,
    /// Tokens of the text that the model read, special tokens included.
    pub tokens_used: usize,
    /// Tokens of the text that it did not read.
    pub tokens_dropped: usize,
    /// Windows the text was read in; 1 unless it was too long.
    pub windows: usize,
    /// Nanoseconds from text to token ids.
    pub tokenize_ns: u64,
    /// Nanoseconds waiting for a session and running the model. Texts run
    /// together share the time of their run.
    pub inference_ns: u64,
    /// Nanoseconds from logits to sorted probabilities.
    pub post_ns: u64,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_usage {
    const FIRST_SIZE: usize = 4 * size_of::<usize>() + 3 * size_of::<u64>();
}

/// Prepares `score` to be filled; pass sizeof(limbeck_score).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_score_init(score: *mut limbeck_score, size: usize) {
    // SAFETY: `score` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(score, size) }
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
    unsafe { ffi::get(result, 0, |result| result.answers.len()) }
}

/// How many labels the answer for the text at position `text` gives: all of the
/// model's, or top_k.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_label_count(
    result: *const limbeck_result,
    text: usize,
    out: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, result) = unsafe { (ffi::out(out, "out")?, ffi::handle(result, "result")?) };
        *out = answer(result, text)?.labels.len();
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with the label that has rank `rank` for the text at position
/// `text`. Rank 0 is the most probable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_score(
    result: *const limbeck_result,
    text: usize,
    rank: usize,
    out: *mut limbeck_score,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let labels = &answer(unsafe { ffi::handle(result, "result") }?, text)?.labels;
        let scored = labels
            .get(rank)
            .ok_or_else(|| Failure::argument(format!("rank is {rank} and the answer has {} labels", labels.len())))?;
        let score = limbeck_score {
            size: 0,
            label: limbeck_str::view(&scored.label),
            index: scored.index,
            probability: scored.probability,
            logit: scored.logit,
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &score) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with what was read of the text at position `text`, and how long
/// that took.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_usage(
    result: *const limbeck_result,
    text: usize,
    out: *mut limbeck_usage,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let usage = answer(unsafe { ffi::handle(result, "result") }?, text)?.usage;
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

fn answer(result: &limbeck_result, text: usize) -> Result<&Classification, Failure> {
    result.answers.get(text).ok_or_else(|| {
        Failure::argument(format!("text is {text} and the result answers {} texts", result.answers.len()))
    })
}

/// Frees a result, and with it the texts seen through it. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_free(result: *mut limbeck_result) {
    // SAFETY: `result` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(result) }
}
