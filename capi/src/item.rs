//! ITEMS OF ANSWERS

use std::ops::Range;

use limbeck_sdk as sdk;

use crate::error::limbeck_error;
use crate::ffi::{self, Growing, guard};
use crate::result::{Content, at, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// A label, or a ranked text, with its score. Yours; its text lives as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_score {
    /// Size of this struct; set by limbeck_score_init.
    pub size: usize,
    /// The label's name; empty for a ranked text.
    pub label: limbeck_str,
    /// The label's place in the list of the model (limbeck_bundle_label), of the
    /// call (zero-shot) or of the head; the ranked text's place in the call.
    pub index: usize,
    /// Its probability, 0 to 1; the logit itself if the model has none.
    pub probability: f32,
    /// The model's raw score; 0 for zero-shot labels and ranked texts.
    pub logit: f32,
    /// 1: the label holds: the best one, where just one can; those above their
    /// threshold, where several can; none if the text is out of scope. 0 for
    /// zero-shot labels and ranked texts.
    pub holds: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_score {
    const FIRST_SIZE: usize = size_of::<limbeck_score>();
}

/// A piece of a text, from `begin` up to but without `end`, in the units of three
/// worlds. It never cuts through what a reader sees as one character. Plain numbers;
/// never grows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_span {
    /// In bytes of UTF-8, as C, C++, Rust and Go count.
    pub byte_begin: usize,
    /// The end in bytes.
    pub byte_end: usize,
    /// In UTF-16 code units, as Java, JavaScript, C# and NSString count.
    pub utf16_begin: usize,
    /// The end in UTF-16 code units.
    pub utf16_end: usize,
    /// In Unicode scalar values, as Python counts.
    pub char_begin: usize,
    /// The end in Unicode scalar values.
    pub char_end: usize,
}

/// A piece of a text with a label. Yours; its texts live as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_entity {
    /// Size of this struct; set by limbeck_entity_init.
    pub size: usize,
    /// What it is: "PER".
    pub label: limbeck_str,
    /// The piece itself.
    pub text: limbeck_str,
    /// Where it stands.
    pub span: limbeck_span,
    /// Mean probability of the labels of its words.
    pub score: f32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_entity {
    const FIRST_SIZE: usize = size_of::<limbeck_entity>();
}

/// A piece of a text that answers a question. Yours; its text lives as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_answer {
    /// Size of this struct; set by limbeck_answer_init.
    pub size: usize,
    /// The piece itself, of whole words.
    pub text: limbeck_str,
    /// Where it stands.
    pub span: limbeck_span,
    /// Probability that the answer starts there times probability that it ends
    /// there, summed over all places with the same words, so it may exceed 1.
    pub score: f32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_answer {
    const FIRST_SIZE: usize = size_of::<limbeck_answer>();
}

/// What could stand in place of a mask. Yours; its texts live as long as the result.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_guess {
    /// Size of this struct; set by limbeck_guess_init.
    pub size: usize,
    /// Which mask of the text it is for, from 0.
    pub mask: usize,
    /// Where that mask stands.
    pub span: limbeck_span,
    /// The token as text.
    pub text: limbeck_str,
    /// The token as it stands in the vocabulary: "##ing".
    pub token: limbeck_str,
    /// Its id.
    pub id: u32,
    /// Its probability among all tokens of the vocabulary.
    pub probability: f32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_guess {
    const FIRST_SIZE: usize = size_of::<limbeck_guess>();
}

/// Prepares a struct to be filled; pass its sizeof.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_score_init(score: *mut limbeck_score, size: usize) {
    // SAFETY: `score` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(score, size) }
}

/// Prepares `entity` to be filled; pass sizeof(limbeck_entity).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_entity_init(entity: *mut limbeck_entity, size: usize) {
    // SAFETY: `entity` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(entity, size) }
}

/// Prepares `answer` to be filled; pass sizeof(limbeck_answer).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_answer_init(answer: *mut limbeck_answer, size: usize) {
    // SAFETY: `answer` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(answer, size) }
}

/// Prepares `guess` to be filled; pass sizeof(limbeck_guess).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_guess_init(guess: *mut limbeck_guess, size: usize) {
    // SAFETY: `guess` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(guess, size) }
}

/// Fills `out` with the label at `rank` for the text at position `text`. Rank 0 is best.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_score(
    result: *const limbeck_result,
    text: usize,
    rank: usize,
    out: *mut limbeck_score,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        let plain = |label: &str, index, probability| limbeck_score {
            size: 0,
            label: limbeck_str::view(label),
            index,
            probability,
            logit: 0.0,
            holds: 0,
            reserved: 0,
        };
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let score = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Labels(answers) => {
                let scored = ffi::item(&at(answers, text)?.labels, rank, "rank", "the answer", "labels")?;
                let score = plain(&scored.label, scored.index, scored.probability);
                limbeck_score { logit: scored.logit, holds: scored.holds.into(), ..score }
            }
            Content::ZeroShot(answers) => {
                let scored = ffi::item(&at(answers, text)?.labels, rank, "rank", "the answer", "labels")?;
                plain(&scored.label, scored.index, scored.probability)
            }
            Content::Ranked(answers) => {
                let ranked = ffi::item(std::slice::from_ref(at(answers, text)?), rank, "rank", "the answer", "score")?;
                plain("", ranked.index, ranked.score)
            }
            other => return Err(other.has_no("scores")),
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &score) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with the entity at `index` of the text at position `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_entity(
    result: *const limbeck_result,
    text: usize,
    index: usize,
    out: *mut limbeck_entity,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let entity = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Entities(answers) => {
                ffi::item(&at(answers, text)?.entities, index, "index", "the text", "entities")?
            }
            other => return Err(other.has_no("entities")),
        };
        let entity = limbeck_entity {
            size: 0,
            label: limbeck_str::view(&entity.label),
            text: limbeck_str::view(&entity.text),
            span: span(&entity.span),
            score: entity.score,
            reserved: 0,
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &entity) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with the answer at `rank` to the question at position `text`. Rank 0
/// is the best.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_answer(
    result: *const limbeck_result,
    text: usize,
    rank: usize,
    out: *mut limbeck_answer,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let answer = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Answers(answers) => {
                ffi::item(&at(answers, text)?.answers, rank, "rank", "the question", "answers")?
            }
            other => return Err(other.has_no("answers to a question")),
        };
        let (text, score) = (limbeck_str::view(&answer.text), answer.score);
        let answer = limbeck_answer { size: 0, text, span: span(&answer.span), score, reserved: 0 };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &answer) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with the guess at `index` for the text at position `text`: those for
/// the first mask, the likeliest first, then those for the next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_guess(
    result: *const limbeck_result,
    text: usize,
    index: usize,
    out: *mut limbeck_guess,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let masks = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Masks(answers) => &at(answers, text)?.masks,
            other => return Err(other.has_no("guesses")),
        };
        let guesses: Vec<(usize, &sdk::FilledMask, &sdk::Guess)> = masks
            .iter()
            .enumerate()
            .flat_map(|(mask, filled)| filled.guesses.iter().map(move |guess| (mask, filled, guess)))
            .collect();
        let (mask, filled, guess) = *ffi::item(&guesses, index, "index", "the text", "guesses")?;
        let guess = limbeck_guess {
            size: 0,
            mask,
            span: span(&filled.span),
            text: limbeck_str::view(&guess.text),
            token: limbeck_str::view(&guess.token),
            id: guess.id,
            probability: guess.probability,
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &guess) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

pub(crate) fn span(span: &sdk::TextSpan) -> limbeck_span {
    let sdk::TextSpan { bytes, utf16, chars, .. } = span;
    let ends = |range: &Range<usize>| (range.start, range.end);
    let ((byte_begin, byte_end), (utf16_begin, utf16_end)) = (ends(bytes), ends(utf16));
    let (char_begin, char_end) = ends(chars);
    limbeck_span { byte_begin, byte_end, utf16_begin, utf16_end, char_begin, char_end }
}
