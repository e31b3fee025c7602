//! ANSWERS

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::AnswerOptions;

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_pair;

/// Answers a question with a piece of a text: limbeck_result_answer, the best first. A
/// text that is too long is read in windows by default, over all of which the answers
/// compete; the question is never cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_answer(
    model: *const limbeck_model,
    question: *const c_char,
    question_length: usize,
    text: *const c_char,
    text_length: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || Ok((ffi::text(question, question_length, "question")?, ffi::text(text, text_length, "text")?)),
            |started| read_options(options, started),
            |model, question, options| Ok(Content::Answers(vec![model.answer_with(question.0, question.1, options)?])),
        )
    }
}

/// Answers `count` questions, each from a text of its own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_answer_batch(
    model: *const limbeck_model,
    questions: *const limbeck_pair,
    count: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    // SAFETY: pointers are NULL or as their types say, by the header's rules.
    unsafe {
        call::run(
            (model, out, error),
            || ffi::pairs(questions, count, "questions"),
            |started| read_options(options, started),
            |model, questions, options| Ok(Content::Answers(model.answer_batch(&questions, options)?)),
        )
    }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<AnswerOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["top_k", "max_answer_tokens"]) }?;
    let mut options = task_options!(call, AnswerOptions);
    if let Some(k) = call.top_k {
        options.top_k = k;
    }
    if let Some(tokens) = call.max_answer_tokens {
        options.max_answer_tokens = tokens;
    }
    Ok(options)
}
