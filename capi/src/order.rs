//! ORDER

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::OrderOptions;

use crate::call::{self, Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::model::limbeck_model;
use crate::result::{Content, at, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_pair;

/// Which of two texts comes first. Yours, plain numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_order {
    /// Size of this struct; set by limbeck_order_init.
    pub size: usize,
    /// How likely the first text comes before the second; else it comes after it.
    pub probability: f32,
    /// The natural log of its odds, before the bundle's calibration.
    pub logit: f32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_order {
    const FIRST_SIZE: usize = size_of::<limbeck_order>();
}

/// Prepares `order` to be filled; pass sizeof(limbeck_order).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_order_init(order: *mut limbeck_order, size: usize) {
    // SAFETY: `order` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(order, size) }
}

/// Tells which of two texts comes first: limbeck_result_order. A model of the task
/// "order". Of a pair that is too long the longer text is truncated by default;
/// windows are put together by the mean of their logits, each weighted by its tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_order(
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
            |model, pair, options| Ok(Content::Orders(vec![model.order_with(pair.0, pair.1, options)?])),
        )
    }
}

/// Tells which comes first in each of `count` pairs of texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_order_batch(
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
            |model, pairs, options| Ok(Content::Orders(model.order_batch(&pairs, options)?)),
        )
    }
}

/// Fills `out` with the order of the pair at position `text`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_result_order(
    result: *const limbeck_result,
    text: usize,
    out: *mut limbeck_order,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `result` is NULL or a live handle (rule 3 of the header).
        let order = match &unsafe { ffi::handle(result, "result") }?.content {
            Content::Orders(answers) => at(answers, text)?,
            other => return Err(other.has_no("order")),
        };
        let order = limbeck_order { size: 0, probability: order.probability, logit: order.logit };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &order) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<OrderOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &["both_orders"]) }?;
    Ok(task_options!(call, OrderOptions).both_orders(call.both_orders))
}
