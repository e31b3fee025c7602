//! BUNDLE

use limbeck_sdk::Bundle;

use crate::error::limbeck_error;
use crate::ffi::{self, Failure, guard};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// A bundle, opened and verified: every offset, length and hash in it was
/// checked. Needs no ONNX Runtime, so it also serves to look at a file. A const
/// handle may be used from many threads. May be freed while models opened from
/// it live on. A bundle opened from a file reads it through a memory mapping:
/// do not change or cut the file while the bundle or its models are open;
/// replace it by renaming a new file over it.
pub struct limbeck_bundle {
    pub(crate) bundle: Bundle,
}

/// Opens a bundle file and verifies all of it. The path is `path_length` bytes:
/// as the system has them on Unix, UTF-8 on Windows; it has no NUL inside.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_open(
    path: *const std::ffi::c_char,
    path_length: usize,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, path) = unsafe { (ffi::out(out, "out")?, ffi::path(path, path_length, "path")?) };
        ffi::give(out, limbeck_bundle { bundle: Bundle::open(path)? });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Opens a bundle of `length` bytes in memory and verifies all of it. The bytes
/// are copied, so yours may go when the call returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_open_bytes(
    bytes: *const u8,
    length: usize,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bytes) = unsafe { (ffi::out(out, "out")?, ffi::slice(bytes, length, "bytes")?) };
        ffi::give(out, limbeck_bundle { bundle: Bundle::from_bytes(bytes)? });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Name of the model: "sentiment". The view lives as long as the bundle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_id(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { view(bundle, |bundle| &bundle.manifest().id) }
}

/// Version of the model, for people: "0.1.0". The view lives as long as the
/// bundle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_version(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { view(bundle, |bundle| &bundle.manifest().version) }
}

/// Build number of the model, which grows with each build of one id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_build(bundle: *const limbeck_bundle) -> u64 {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.manifest().build) }
}

/// What the model does: "text-classification". The view lives as long as the
/// bundle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_task(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { view(bundle, |bundle| bundle.manifest().task.name()) }
}

/// The most tokens that the model takes at one time, special tokens included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_max_tokens(bundle: *const limbeck_bundle) -> usize {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.manifest().max_tokens) }
}

/// Size of the whole bundle in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_size(bundle: *const limbeck_bundle) -> u64 {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.size()) }
}

/// How many labels the model knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_label_count(bundle: *const limbeck_bundle) -> usize {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.labels().len()) }
}

/// The label at `index`, counted from 0. The view lives as long as the bundle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_label(
    bundle: *const limbeck_bundle,
    index: usize,
    out: *mut limbeck_str,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bundle) = unsafe { (ffi::out(out, "out")?, ffi::handle(bundle, "bundle")?) };
        let labels = bundle.bundle.labels();
        let label = labels
            .get(index)
            .ok_or_else(|| Failure::argument(format!("index is {index} and the bundle has {} labels", labels.len())))?;
        *out = limbeck_str::view(label);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Frees a bundle. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_free(bundle: *mut limbeck_bundle) {
    // SAFETY: `bundle` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(bundle) }
}

/// # Safety
/// `bundle` is NULL or a live handle.
unsafe fn view(bundle: *const limbeck_bundle, read: impl Fn(&Bundle) -> &str) -> limbeck_str {
    // SAFETY: by this function's contract.
    unsafe { ffi::get(bundle, limbeck_str::EMPTY, |bundle| limbeck_str::view(read(&bundle.bundle))) }
}
