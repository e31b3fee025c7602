//! CLASSIFY

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::ClassifyOptions;

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::{limbeck_pair, limbeck_str};

/// Classifies one text of `length` bytes: limbeck_result_score. A text that is too
/// long is truncated by default; windows are put together by the mean of their
/// logits, each weighted by its tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_classify(
    model: *const limbeck_model,
    text: *const c_char,
    length: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || ffi::text(text, length, "text"),
            |started| read_options(options, started),
            |model, text, options| Ok(Content::Labels(vec![model.classify_with(text, options)?])),
        )
    }
}

/// Classifies `count` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_classify_batch(
    model: *const limbeck_model,
    texts: *const limbeck_str,
    count: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || ffi::texts(texts, count, "texts"),
            |started| read_options(options, started),
            |model, texts, options| Ok(Content::Labels(model.classify_batch(&texts, options)?)),
        )
    }
}

/// Classifies a pair of texts: does one follow from the other, do they say the same?
/// A model of the task "pair-classification".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_classify_pair(
    model: *const limbeck_model,
    first: *const c_char,
    first_length: usize,
    second: *const c_char,
    second_length: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || Ok((ffi::text(first, first_length, "first")?, ffi::text(second, second_length, "second")?)),
            |started| read_options(options, started),
            |model, pair, options| Ok(Content::Labels(vec![model.classify_pair_with(pair.0, pair.1, options)?])),
        )
    }
}

/// Classifies `count` pairs of texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_classify_pairs(
    model: *const limbeck_model,
    pairs: *const limbeck_pair,
    count: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || ffi::pairs(pairs, count, "pairs"),
            |started| read_options(options, started),
            |model, pairs, options| Ok(Content::Labels(model.classify_pairs(&pairs, options)?)),
        )
    }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<ClassifyOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["top_k", "threshold", "out_of_scope"]) }?;
    Ok(classify_options(&call))
}

pub(crate) fn classify_options(call: &Call) -> ClassifyOptions {
    let mut options = task_options!(call, ClassifyOptions);
    (options.top_k, options.threshold, options.out_of_scope) = (call.top_k, call.threshold, call.out_of_scope);
    options
}
