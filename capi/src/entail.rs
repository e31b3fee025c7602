//! LABELS OF YOUR OWN, AND RANKING
//!
//! By a model that reads two texts.

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::{RerankOptions, ZeroShotOptions};

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Says which of `label_count` labels fit a text: limbeck_result_score. The model was
/// never trained on them, but to tell what follows from a text ("pair-classification"
/// with `entailment` in its manifest). A text that is too long is truncated by
/// default; a label's sentence never is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_zero_shot(
    model: *const limbeck_model,
    text: *const c_char,
    length: usize,
    labels: *const limbeck_str,
    label_count: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || Ok((ffi::text(text, length, "text")?, ffi::texts(labels, label_count, "labels")?)),
            |started| read_zero_shot_options(options, started),
            |model, (text, labels), options| Ok(Content::ZeroShot(vec![model.zero_shot_with(text, &labels, options)?])),
        )
    }
}

/// Says which of some labels fit each of `count` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_zero_shot_batch(
    model: *const limbeck_model,
    texts: *const limbeck_str,
    count: usize,
    labels: *const limbeck_str,
    label_count: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || Ok((ffi::texts(texts, count, "texts")?, ffi::texts(labels, label_count, "labels")?)),
            |started| read_zero_shot_options(options, started),
            |model, (texts, labels), options| Ok(Content::ZeroShot(model.zero_shot_batch(&texts, &labels, options)?)),
        )
    }
}

/// Orders `count` texts by how well they fit a query. The result has an answer for
/// each text it ranks, the best first, with one limbeck_score, whose `index` is the
/// text's place in `texts`. A text that is too long is read in windows by default, of
/// which the best one counts; the query is never cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_rerank(
    model: *const limbeck_model,
    query: *const c_char,
    query_length: usize,
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
            || Ok((ffi::text(query, query_length, "query")?, ffi::texts(texts, count, "texts")?)),
            |started| read_rank_options(options, started),
            |model, (query, texts), options| Ok(Content::Ranked(model.rerank(query, &texts, options)?)),
        )
    }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_zero_shot_options(
    options: *const limbeck_call_options,
    started: Instant,
) -> Result<ZeroShotOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["hypothesis", "multi_label"]) }?;
    let mut options = task_options!(call, ZeroShotOptions).multi_label(call.multi_label);
    if let Some(hypothesis) = call.hypothesis {
        options = options.template(hypothesis);
    }
    Ok(options)
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_rank_options(options: *const limbeck_call_options, started: Instant) -> Result<RerankOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["top_k", "rank_label"]) }?;
    let mut options = task_options!(call, RerankOptions);
    (options.top_k, options.label) = (call.top_k, call.rank_label.map(str::to_owned));
    Ok(options)
}
