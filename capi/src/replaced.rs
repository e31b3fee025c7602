//! REPLACED TOKENS

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::{Replaced, ReplacedOptions, Replacements};

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::item::{limbeck_span, span};
use crate::model::limbeck_model;
use crate::result::{Content, at, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// A piece of a text, with how likely it was put there in place of another. Yours;
/// its text lives as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_replaced {
    /// Size of this struct; set by limbeck_replaced_init.
    pub size: usize,
    /// The piece itself.
    pub text: limbeck_str,
    /// Where it stands; a single token may cut through a character.
    pub span: limbeck_span,
    /// How likely something else stood here.
    pub probability: f32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_replaced {
    const FIRST_SIZE: usize = size_of::<limbeck_replaced>();
}

/// Prepares `replaced` to be filled; pass sizeof(limbeck_replaced).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_replaced_init(replaced: *mut limbeck_replaced, size: usize) {
    // SAFETY: `replaced` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(replaced, size) }
}

/// Finds typing errors and corruption: says of each token of a text how likely it was
/// put there in place of another, and which words that makes suspicious:
/// limbeck_result_replaced, in the order of the text. A model of the task "replaced".
/// A text that is too long is read in windows by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_replaced(
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
            |model, text, options| Ok(Content::Replacements(vec![model.replaced_with(text, options)?])),
        )
    }
}

/// Looks for replaced tokens in `count` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_replaced_batch(
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
            |model, texts, options| Ok(Content::Replacements(model.replaced_batch(&texts, options)?)),
        )
    }
}

/// Fills `out` with the suspicious word at `index` of the text at position `text`; with
/// LIMBECK_AGGREGATION_NONE with the run of tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_replaced(
    result: *const limbeck_result,
    text: usize,
    index: usize,
    out: *mut limbeck_replaced,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: as this function.
    unsafe { piece(result, text, index, out, error, "replaced words", |answer| &answer.spans) }
}

/// How many tokens of the text at position `text` were read, without special ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_token_count(
    result: *const limbeck_result,
    text: usize,
    out: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, result) = unsafe { (ffi::out(out, "out")?, ffi::handle(result, "result")?) };
        *out = match &result.content {
            Content::Replacements(answers) => at(answers, text)?.tokens.len(),
            other => return Err(other.has_no("tokens")),
        };
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with the token at `index` of the text at position `text`, suspicious or
/// not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_token(
    result: *const limbeck_result,
    text: usize,
    index: usize,
    out: *mut limbeck_replaced,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: as this function.
    unsafe { piece(result, text, index, out, error, "tokens", |answer| &answer.tokens) }
}

/// # Safety
/// The pointers are NULL or as the header says.
unsafe fn piece(
    result: *const limbeck_result,
    text: usize,
    index: usize,
    out: *mut limbeck_replaced,
    error: *mut *mut limbeck_error,
    what: &str,
    of: impl Fn(&Replacements) -> &[Replaced],
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let piece = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Replacements(answers) => ffi::item(of(at(answers, text)?), index, "index", "the text", what)?,
            other => return Err(other.has_no(what)),
        };
        let piece = limbeck_replaced {
            size: 0,
            text: limbeck_str::view(&piece.text),
            span: span(&piece.span),
            probability: piece.probability,
            reserved: 0,
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &piece) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<ReplacedOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["threshold", "aggregation"]) }?;
    let mut options = task_options!(call, ReplacedOptions);
    options.threshold = call.threshold.unwrap_or(options.threshold);
    options.aggregation = call.aggregation.unwrap_or(options.aggregation);
    Ok(options)
}
