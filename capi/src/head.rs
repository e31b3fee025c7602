//! FEW-SHOT
//!
//! A classifier on top of an embedding model: labels of your own from a few
//! examples each, fitted on the device in milliseconds.

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::{EmbedOptions, FewShotHead, FewShotOptions};

use crate::call::{Call, limbeck_call_options, task_options};
use crate::classify::classify_options;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, guard};
use crate::model::limbeck_model;
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::{limbeck_pair, limbeck_str};

/// A classifier fitted on examples. It belongs to the very model it was fitted on,
/// and refuses others. Never changes; a const handle may be used from many threads.
/// It does not hold the model: keep both.
pub struct limbeck_head {
    head: FewShotHead,
}

/// Fits a head on `count` examples: `first` is a text, `second` its label. Labels are
/// in the order in which they first come. `strength` weighs the examples against
/// keeping the head simple; 0: 10. Of the options the common ones count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_fit(
    model: *const limbeck_model,
    examples: *const limbeck_pair,
    count: usize,
    strength: f64,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_head,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model, examples, call) = unsafe {
            let out = ffi::out(out, "out")?;
            let model = &ffi::handle(model, "model")?.model;
            (out, model, ffi::pairs(examples, count, "examples")?, Call::read(options, started, &[])?)
        };
        let mut options = FewShotOptions::new().embed(task_options!(call, EmbedOptions));
        if strength != 0.0 {
            options = options.strength(strength);
        }
        ffi::give(out, limbeck_head { head: FewShotHead::fit(model, &examples, &options)? });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Reads a head from a file. The path is as in limbeck_bundle_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_load(
    path: *const c_char,
    path_length: usize,
    out: *mut *mut limbeck_head,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, path) = unsafe { (ffi::out(out, "out")?, ffi::path(path, path_length, "path")?) };
        ffi::give(out, limbeck_head { head: FewShotHead::load(path)? });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Writes a head to a file, whole or not at all. The one call that writes a file.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_save(
    head: *const limbeck_head,
    path: *const c_char,
    path_length: usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (head, path) = unsafe { (ffi::handle(head, "head")?, ffi::path(path, path_length, "path")?) };
        Ok(head.head.save(path)?)
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// How many labels a head knows; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_label_count(head: *const limbeck_head) -> usize {
    // SAFETY: `head` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(head, 0, |head| head.head.labels().len()) }
}

/// The label at `index`, counted from 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_label(
    head: *const limbeck_head,
    index: usize,
    out: *mut limbeck_str,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, head) = unsafe { (ffi::out(out, "out")?, ffi::handle(head, "head")?) };
        *out = limbeck_str::view(ffi::item(head.head.labels(), index, "index", "the head", "labels")?);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Classifies `count` texts with a head and the model that it was fitted on:
/// limbeck_result_score. Of the options `top_k`, `out_of_scope` and the common ones
/// count.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_classify(
    head: *const limbeck_head,
    model: *const limbeck_model,
    texts: *const limbeck_str,
    count: usize,
    options: *const limbeck_call_options,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, head, model, texts, call) = unsafe {
            let out = ffi::out(out, "out")?;
            let head = &ffi::handle(head, "head")?.head;
            let model = &ffi::handle(model, "model")?.model;
            let call = Call::read(options, started, &["top_k", "out_of_scope"])?;
            (out, head, model, ffi::texts(texts, count, "texts")?, call)
        };
        limbeck_result::give(out, Content::Labels(head.classify(model, &texts, &classify_options(&call))?));
        Ok::<(), Failure>(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Frees a head. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_head_free(head: *mut limbeck_head) {
    // SAFETY: `head` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(head) }
}
