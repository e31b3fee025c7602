//! CLASSIFY

use std::time::{Duration, Instant};

use limbeck_sdk::{Classification, ClassifyOptions, Overflow};

use crate::cancel::limbeck_cancel;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::model::limbeck_model;
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Overflow policy: use the first tokens of a text that is too long, and report
/// how many were dropped in limbeck_usage.
pub const LIMBECK_OVERFLOW_TRUNCATE: u32 = 0;
/// Overflow policy: return LIMBECK_TOO_LONG.
pub const LIMBECK_OVERFLOW_ERROR: u32 = 1;
/// Overflow policy: read the whole text in overlapping windows and average
/// their logits, each weighted by its number of tokens.
pub const LIMBECK_OVERFLOW_WINDOW: u32 = 2;

/// Options of the classify calls. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_classify_options {
    /// Size of this struct; set by limbeck_classify_options_init.
    pub size: usize,
    /// What to do with a text of more tokens than the model takes: a
    /// LIMBECK_OVERFLOW_ number. 0: truncate.
    pub overflow: u32,
    /// Tokens that two neighbouring windows share; only read with
    /// LIMBECK_OVERFLOW_WINDOW.
    pub window_stride: u32,
    /// Give only this many labels for each text, the most probable ones. 0: all.
    pub top_k: usize,
    /// End the call with LIMBECK_DEADLINE_EXCEEDED this many milliseconds after
    /// its start. 0: no deadline.
    pub deadline_ms: u64,
    /// Ends the call from another thread. NULL: nothing does.
    pub cancel: *const limbeck_cancel,
}

// SAFETY: repr(C), size first; on 64-bit systems no padding at all, on 32-bit ones
// only at the end, where zeros are written by `init`; zeros are the defaults.
unsafe impl Growing for limbeck_classify_options {
    const FIRST_SIZE: usize = size_of::<limbeck_classify_options>();
}

/// The answers of one call, in the order of its texts. Never changes; a const
/// handle may be used from many threads. Bound to no other handle: it outlives
/// the model, and its texts live until it is freed.
pub struct limbeck_result {
    pub(crate) answers: Vec<Classification>,
}

/// Fills `options` with the defaults; pass sizeof(limbeck_classify_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_classify_options_init(options: *mut limbeck_classify_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Classifies one text of `length` bytes. The result holds one answer, at
/// position 0. `options` may be NULL. Safe from many threads on one model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_classify(
    model: *const limbeck_model,
    text: *const std::ffi::c_char,
    length: usize,
    options: *const limbeck_classify_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model, text, options) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::handle(model, "model")?, ffi::text(text, length, "text")?, read_options(options, started)?)
        };
        let answer = model.model.classify_with(text, &options)?;
        ffi::give(out, limbeck_result { answers: vec![answer] });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Classifies `count` texts. The result holds an answer for each, in their
/// order, and each is what the text would get alone, but for rounding in the
/// last digits (1e-5 in a logit). When one text cannot be classified, the call
/// fails. `options` may be NULL and hold for each text; the deadline is that of
/// the whole call. Safe from many threads on one model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_classify_batch(
    model: *const limbeck_model,
    texts: *const limbeck_str,
    count: usize,
    options: *const limbeck_classify_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model, texts, options) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::handle(model, "model")?, ffi::slice(texts, count, "texts")?, read_options(options, started)?)
        };
        let texts = texts
            .iter()
            .enumerate()
            // SAFETY: texts of the caller's, by the header's rules.
            .map(|(i, text)| unsafe { ffi::text(text.data, text.length, &format!("texts[{i}]")) })
            .collect::<Result<Vec<&str>, Failure>>()?;
        let answers = model.model.classify_batch(&texts, &options)?;
        ffi::give(out, limbeck_result { answers });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// # Safety
/// `options` is NULL or as the header says, and its `cancel` NULL or a live handle.
unsafe fn read_options(options: *const limbeck_classify_options, started: Instant) -> Result<ClassifyOptions, Failure> {
    // SAFETY: by this function's contract.
    let limbeck_classify_options { size: _, overflow, window_stride, top_k, deadline_ms, cancel } =
        unsafe { ffi::read(options, "options") }?;
    let overflow = match overflow {
        LIMBECK_OVERFLOW_TRUNCATE => Overflow::Truncate,
        LIMBECK_OVERFLOW_ERROR => Overflow::Error,
        LIMBECK_OVERFLOW_WINDOW => Overflow::Window { stride: window_stride as usize },
        other => {
            return Err(Failure::argument(format!(
                "options->overflow is {other} and must be one of the LIMBECK_OVERFLOW_ numbers (0, 1, 2)"
            )));
        }
    };
    let mut known = ClassifyOptions::new().overflow(overflow);
    if top_k != 0 {
        known = known.top_k(top_k);
    }
    if deadline_ms != 0
        // A deadline so far away that the clock cannot hold it is none.
        && let Some(deadline) = started.checked_add(Duration::from_millis(deadline_ms))
    {
        known = known.deadline(deadline);
    }
    // SAFETY: NULL or a live handle, by this function's contract.
    if let Some(cancel) = unsafe { cancel.as_ref() } {
        known = known.cancel(cancel.cancel.clone());
    }
    Ok(known)
}
