//! MASKED WORDS

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::FillMaskOptions;

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Guesses the masked words of a text, which stand in it as limbeck_model_mask_token:
/// limbeck_result_guess, mask by mask, for each the likeliest first. A text that is too
/// long is read in windows by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_fill_mask(
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
            |model, text, options| Ok(Content::Masks(vec![model.fill_mask_with(text, options)?])),
        )
    }
}

/// Guesses the masked words of `count` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_fill_mask_batch(
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
            |model, texts, options| Ok(Content::Masks(model.fill_mask_batch(&texts, options)?)),
        )
    }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<FillMaskOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["top_k"]) }?;
    let mut options = task_options!(call, FillMaskOptions);
    if let Some(k) = call.top_k {
        options.top_k = k;
    }
    Ok(options)
}
