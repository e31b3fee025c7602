//! ENTITIES

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::TagOptions;

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Finds the entities of a text: limbeck_result_entity, in the order of the text. A
/// text that is too long is read in windows by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_tag(
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
            |model, text, options| Ok(Content::Entities(vec![model.tag_with(text, options)?])),
        )
    }
}

/// Finds the entities of `count` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_tag_batch(
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
            |model, texts, options| Ok(Content::Entities(model.tag_batch(&texts, options)?)),
        )
    }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<TagOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["threshold", "aggregation"]) }?;
    let mut options = task_options!(call, TagOptions).threshold(call.threshold.unwrap_or(0.0));
    if let Some(aggregation) = call.aggregation {
        options = options.aggregation(aggregation);
    }
    Ok(options)
}
