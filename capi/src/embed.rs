//! EMBEDDINGS

use std::ffi::c_char;
use std::time::Instant;

use limbeck_sdk::{EmbedOptions, Embedding, Model};

use crate::call::{Call, limbeck_call_options, task_options};
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, guard};
use crate::model::{embedding_size, limbeck_model};
use crate::result::{Content, limbeck_result};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Turns a text into a vector of limbeck_model_embedding_size floats, written to
/// `vectors`, which has room for `capacity` floats. `out` may be NULL if the vector is
/// all that is wanted; a result also has the usage, and the vector itself for those
/// who have no buffer and pass NULL and 0. A text that is too long is truncated by
/// default; windows are put together by the mean of their vectors, each weighted by
/// its tokens.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_embed(
    model: *const limbeck_model,
    text: *const c_char,
    length: usize,
    options: *const limbeck_call_options,
    vectors: *mut f32,
    capacity: usize,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model, text, options) = unsafe {
            let out = ffi::optional_out(out);
            let model = &ffi::handle(model, "model")?.model;
            (out, model, ffi::text(text, length, "text")?, read_options(options, started)?)
        };
        // SAFETY: `vectors` is NULL or has room for `capacity` floats.
        let room = unsafe { room(model, 1, vectors, capacity, &out) }?;
        hand_out(vec![model.embed_with(text, &options)?], room, out);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Turns `count` texts into vectors, one after the other in `vectors`, which has room
/// for `capacity` floats. The rest is as in limbeck_model_embed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_embed_batch(
    model: *const limbeck_model,
    texts: *const limbeck_str,
    count: usize,
    options: *const limbeck_call_options,
    vectors: *mut f32,
    capacity: usize,
    out: *mut *mut limbeck_result,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let started = Instant::now();
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model, texts, options) = unsafe {
            let out = ffi::optional_out(out);
            let model = &ffi::handle(model, "model")?.model;
            (out, model, ffi::texts(texts, count, "texts")?, read_options(options, started)?)
        };
        // SAFETY: `vectors` is NULL or has room for `capacity` floats.
        let room = unsafe { room(model, count, vectors, capacity, &out) }?;
        hand_out(model.embed_batch(&texts, &options)?, room, out);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// The cosine of the angle between two vectors of `length` floats: 1 for the same
/// direction, 0 for a right angle, and 0 if one of them is zero.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_similarity(
    first: *const f32,
    second: *const f32,
    length: usize,
    out: *mut f32,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, first, second) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::slice(first, length, "first")?, ffi::slice(second, length, "second")?)
        };
        *out = limbeck_sdk::similarity(first, second)?;
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// The vectors most similar to `query`, the nearest first: of `count` vectors of
/// `length` floats, one after the other in `vectors`, the places of up to `k` go to
/// `indices` and their similarities to `similarities` (which may be NULL); both have
/// room for `k`. `found` says how many there are: `k`, or `count` if that is less.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_nearest(
    query: *const f32,
    length: usize,
    vectors: *const f32,
    count: usize,
    k: usize,
    indices: *mut usize,
    similarities: *mut f32,
    found: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `found` is NULL or points to a number, by the header's rules.
        let found = unsafe { ffi::out(found, "found") }?;
        let floats = count.checked_mul(length).ok_or_else(|| Failure::argument("count times length is too large"))?;
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (query, vectors) =
            unsafe { (ffi::slice(query, length, "query")?, ffi::slice(vectors, floats, "vectors")?) };
        if length == 0 {
            return Err(Failure::argument("length is 0: there are no vectors of no floats"));
        }
        if indices.is_null() && k != 0 {
            return Err(Failure::null("indices"));
        }
        let vectors: Vec<&[f32]> = vectors.chunks_exact(length).collect();
        let nearest = limbeck_sdk::nearest(query, &vectors, k)?;
        for (place, neighbour) in nearest.iter().enumerate() {
            // SAFETY: there is room for `k`, and no more than `k` were found.
            unsafe {
                indices.add(place).write(neighbour.index);
                if !similarities.is_null() {
                    similarities.add(place).write(neighbour.similarity);
                }
            }
        }
        *found = nearest.len();
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// The caller's buffer, if he gave one, after a check that all will fit.
///
/// # Safety
/// `vectors` is NULL or valid for writing `capacity` floats for `'a`.
unsafe fn room<'a>(
    model: &Model,
    count: usize,
    vectors: *mut f32,
    capacity: usize,
    out: &Option<&mut *mut limbeck_result>,
) -> Result<&'a mut [f32], Failure> {
    if vectors.is_null() {
        return match (capacity, out) {
            (0, Some(_)) => Ok(&mut []),
            _ => Err(Failure::null("vectors")),
        };
    }
    let size = embedding_size(model);
    let needed = count.checked_mul(size).filter(|floats| *floats <= isize::MAX as usize / size_of::<f32>());
    match needed {
        // SAFETY: not NULL, and `needed` is at most `capacity`. The floats may not be
        // initialised; they are only written.
        Some(needed) if needed <= capacity => Ok(unsafe { std::slice::from_raw_parts_mut(vectors, needed) }),
        _ => Err(Failure::argument(format!(
            "capacity is {capacity} floats and {count} vectors of {size} need {}",
            needed.map_or("more than there is memory".to_owned(), |needed| needed.to_string())
        ))),
    }
}

fn hand_out(embeddings: Vec<Embedding>, room: &mut [f32], out: Option<&mut *mut limbeck_result>) {
    let values = embeddings.iter().flat_map(|embedding| &embedding.vector);
    for (place, value) in room.iter_mut().zip(values) {
        *place = *value;
    }
    if let Some(out) = out {
        limbeck_result::give(out, Content::Embeddings(embeddings));
    }
}

/// # Safety
/// As [`Call::read`].
unsafe fn read_options(options: *const limbeck_call_options, started: Instant) -> Result<EmbedOptions, Failure> {
    // SAFETY: by this function's contract.
    let call = unsafe { Call::read(options, started, &[]) }?;
    Ok(task_options!(call, EmbedOptions))
}
