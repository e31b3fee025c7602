//! CALLS
//!
//! What the calls of all tasks share. Each task has a call for one text and one for many, and both
//! make a limbeck_result. They take a const model, so many threads may make them on one. In a batch
//! each answer is what its text would get alone, but for rounding in the last digits (1e-5 in a
//! logit); when one text fails, the call fails; deadline and cancel are those of all of it.

use std::time::{Duration, Instant};

use limbeck_sdk::{Aggregation, Cancel, Model, Overflow};

use crate::cancel::limbeck_cancel;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// What the task does by itself with a text that is too long; each task says what.
pub const LIMBECK_OVERFLOW_DEFAULT: u32 = 0;
/// Use the first tokens of a text that is too long, and report in limbeck_usage
/// how many were dropped. Of two texts the longer one is cut.
pub const LIMBECK_OVERFLOW_TRUNCATE: u32 = 1;
/// Return LIMBECK_TOO_LONG for a text that is too long.
pub const LIMBECK_OVERFLOW_ERROR: u32 = 2;
/// Read the whole text in overlapping windows; each task says how it puts their
/// answers together. Of two texts the shorter one stands in every window.
pub const LIMBECK_OVERFLOW_WINDOW: u32 = 3;

/// A word is of the entity that its first token says, as models are usually trained.
pub const LIMBECK_AGGREGATION_FIRST: u32 = 0;
/// A word has the label with the highest mean probability over its tokens.
pub const LIMBECK_AGGREGATION_AVERAGE: u32 = 1;
/// A word has the label of the token that is most certain.
pub const LIMBECK_AGGREGATION_MAX: u32 = 2;
/// As FIRST, and only entities whose labels follow the rules of their scheme count.
pub const LIMBECK_AGGREGATION_STRICT: u32 = 3;
/// Each token that is not outside is an answer with its full label (`B-PER`).
pub const LIMBECK_AGGREGATION_NONE: u32 = 4;

/// Options of the calls of all tasks. Only read during the call. What a task
/// does not read must be 0; a NULL pointer means all defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_call_options {
    /// Size of this struct; set by limbeck_call_options_init.
    pub size: usize,
    /// What to do with a text of more tokens than the model takes: a
    /// LIMBECK_OVERFLOW_ number.
    pub overflow: u32,
    /// Tokens that two neighbouring windows share. 0: 128, or half a window if
    /// that is less.
    pub window_stride: u32,
    /// LIMBECK_DEADLINE_EXCEEDED this many milliseconds after the start. 0: none.
    pub deadline_ms: u64,
    /// Ends the call from another thread. NULL: nothing does.
    pub cancel: *const limbeck_cancel,
    /// How many labels, answers, guesses for a mask, or ranked texts to give, the
    /// best ones. 0: all labels and texts, 1 answer, 5 guesses.
    pub top_k: usize,
    /// Classification with independent labels: the lowest probability at which a
    /// label holds. Entities: leave out those with a lower score. Replaced tokens:
    /// the lowest probability of a suspicious word. 0: the bundle's thresholds; all
    /// entities; 0.5.
    pub threshold: f32,
    /// Classification: out of scope if the best label has less. 0: as the bundle says.
    pub out_of_scope: f32,
    /// Entities: how tokens become words, a LIMBECK_AGGREGATION_ number. Replaced
    /// tokens: 0 or MAX, a word has the highest probability of its tokens; AVERAGE,
    /// the mean; NONE, runs of tokens in place of words.
    pub aggregation: u32,
    /// Zero-shot: 1: each label has a probability of its own. 0: exactly one holds.
    pub multi_label: u32,
    /// Answers: the most tokens of an answer. 0: 15.
    pub max_answer_tokens: usize,
    /// Zero-shot: says that the label at `{}` holds. Empty: `This example is {}.`
    pub hypothesis: limbeck_str,
    /// Ranking: the label whose score counts. Empty: the only label, or the one
    /// that the bundle names for entailment.
    pub rank_label: limbeck_str,
    /// Order: 1: read each pair in both orders and combine them, so that the answer
    /// for a swapped pair is the opposite: its logit is half of the logit as given
    /// less that of the swapped pair. Twice the work. 0: as given.
    pub both_orders: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first; on 64-bit systems no padding, on others only where
// zeros are written by `init`; every field takes any bits; zeros are the defaults.
unsafe impl Growing for limbeck_call_options {
    const FIRST_SIZE: usize = size_of::<limbeck_call_options>();
}

/// Fills `options` with the defaults; pass sizeof(limbeck_call_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_call_options_init(options: *mut limbeck_call_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Call options, checked. What is `None` was left at its default.
pub(crate) struct Call<'a> {
    pub(crate) overflow: Option<Overflow>,
    pub(crate) cancel: Option<Cancel>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) top_k: Option<usize>,
    pub(crate) threshold: Option<f32>,
    pub(crate) out_of_scope: Option<f32>,
    pub(crate) aggregation: Option<Aggregation>,
    pub(crate) multi_label: bool,
    pub(crate) max_answer_tokens: Option<usize>,
    pub(crate) hypothesis: Option<&'a str>,
    pub(crate) rank_label: Option<&'a str>,
    pub(crate) both_orders: bool,
}

impl Call<'_> {
    /// Reads the options of a call that began at `started`. `known` names the
    /// options that the task reads beside those of every task.
    ///
    /// # Safety
    /// `options` is NULL or as the header says, its pointers NULL or live for `'a`.
    pub(crate) unsafe fn read<'a>(
        options: *const limbeck_call_options,
        started: Instant,
        known: &[&str],
    ) -> Result<Call<'a>, Failure> {
        // SAFETY: by this function's contract.
        let raw: limbeck_call_options = unsafe { ffi::read(options, "options") }?;
        let set = [
            ("top_k", raw.top_k != 0),
            ("threshold", raw.threshold != 0.0),
            ("out_of_scope", raw.out_of_scope != 0.0),
            ("aggregation", raw.aggregation != 0),
            ("multi_label", raw.multi_label != 0),
            ("max_answer_tokens", raw.max_answer_tokens != 0),
            ("hypothesis", raw.hypothesis.length != 0),
            ("rank_label", raw.rank_label.length != 0),
            ("both_orders", raw.both_orders != 0),
        ];
        if let Some((name, _)) = set.iter().find(|(name, set)| *set && !known.contains(name)) {
            return Err(Failure::argument(format!(
                "options->{name} is set, which this task does not read: leave it 0"
            )));
        }
        ffi::reserved("options->reserved", raw.reserved)?;
        let number = |name: &str, value: f32| match value.is_finite() {
            true => Ok(Some(value).filter(|value| *value != 0.0)),
            false => Err(Failure::argument(format!("options->{name} is {value} and must be a finite number"))),
        };
        let overflow = match (raw.overflow, raw.window_stride) {
            (LIMBECK_OVERFLOW_WINDOW, 0) => Some(Overflow::AutoWindow),
            (LIMBECK_OVERFLOW_WINDOW, stride) => Some(Overflow::Window { stride: stride as usize }),
            (LIMBECK_OVERFLOW_DEFAULT..LIMBECK_OVERFLOW_WINDOW, stride @ 1..) => {
                return Err(Failure::argument(format!(
                    "options->window_stride is {stride} and options->overflow is not LIMBECK_OVERFLOW_WINDOW"
                )));
            }
            (LIMBECK_OVERFLOW_DEFAULT, _) => None,
            (LIMBECK_OVERFLOW_TRUNCATE, _) => Some(Overflow::Truncate),
            (LIMBECK_OVERFLOW_ERROR, _) => Some(Overflow::Error),
            (other, _) => {
                return Err(Failure::argument(format!(
                    "options->overflow is {other} and must be one of the LIMBECK_OVERFLOW_ numbers (0 to 3)"
                )));
            }
        };
        let aggregation = match raw.aggregation {
            LIMBECK_AGGREGATION_FIRST => None,
            LIMBECK_AGGREGATION_AVERAGE => Some(Aggregation::Average),
            LIMBECK_AGGREGATION_MAX => Some(Aggregation::Max),
            LIMBECK_AGGREGATION_STRICT => Some(Aggregation::Strict),
            LIMBECK_AGGREGATION_NONE => Some(Aggregation::None),
            other => {
                return Err(Failure::argument(format!(
                    "options->aggregation is {other} and must be one of the LIMBECK_AGGREGATION_ numbers (0 to 4)"
                )));
            }
        };
        let text = |name: &str, text: limbeck_str| match text.length {
            0 => Ok(None),
            // SAFETY: texts of the caller's that live for `'a`, by this function's contract.
            length => unsafe { ffi::text(text.data, length, &format!("options->{name}")) }.map(Some),
        };
        Ok(Call {
            overflow,
            // SAFETY: NULL or a live handle, by this function's contract.
            cancel: unsafe { raw.cancel.as_ref() }.map(|cancel| cancel.cancel.clone()),
            deadline: deadline(started, raw.deadline_ms),
            top_k: Some(raw.top_k).filter(|k| *k != 0),
            threshold: number("threshold", raw.threshold)?,
            out_of_scope: number("out_of_scope", raw.out_of_scope)?,
            aggregation,
            multi_label: ffi::switch("options->multi_label", raw.multi_label)?,
            max_answer_tokens: Some(raw.max_answer_tokens).filter(|tokens| *tokens != 0),
            hypothesis: text("hypothesis", raw.hypothesis)?,
            rank_label: text("rank_label", raw.rank_label)?,
            both_orders: ffi::switch("options->both_orders", raw.both_orders)?,
        })
    }
}

/// The deadline of a call that began at `started`; one so far away that the clock cannot hold it is none.
pub(crate) fn deadline(started: Instant, ms: u64) -> Option<Instant> {
    match ms {
        0 => None,
        ms => started.checked_add(Duration::from_millis(ms)),
    }
}

/// Runs the call of a task: takes its input and its options, and hands out what `work` makes of them.
///
/// # Safety
/// The pointers are NULL or as the header says.
pub(crate) unsafe fn run<I, O>(
    (model, out, error): (*const limbeck_model, *mut *mut limbeck_result, *mut *mut limbeck_error),
    input: impl FnOnce() -> Result<I, Failure>,
    options: impl FnOnce(Instant) -> Result<O, Failure>,
    work: impl FnOnce(&Model, I, &O) -> Result<Content, Failure>,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: by this function's contract.
        let (out, model) = unsafe { (ffi::out(out, "out")?, &ffi::handle(model, "model")?.model) };
        let (input, options) = (input()?, options(started)?);
        limbeck_result::give(out, work(model, input, &options)?);
        Ok(())
    };
    // SAFETY: by this function's contract.
    unsafe { guard(error, body) }
}

/// The sdk's options of one task, with the part that all tasks share filled in.
macro_rules! task_options {
    ($call:expr, $options:ty) => {{
        let mut options = <$options>::default();
        if let Some(overflow) = $call.overflow {
            options.overflow = overflow;
        }
        options.cancel = $call.cancel.clone();
        options.deadline = $call.deadline;
        options
    }};
}
pub(crate) use task_options;
