//! ERRORS

use crate::ffi;
use crate::status::{limbeck_status, limbeck_status_code};
use crate::text::limbeck_str;

/// Why a call failed. Owned by you, bound to no other handle; may be read from
/// many threads and freed on any.
pub struct limbeck_error {
    pub(crate) status: limbeck_status_code,
    pub(crate) message: String,
}

/// The status that the call returned; LIMBECK_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_error_code(error: *const limbeck_error) -> limbeck_status {
    // SAFETY: `error` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(error, limbeck_status_code::LIMBECK_OK as i32, |error| error.status as i32) }
}

/// What failed and, where there is a way, how to mend it, in English.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_error_message(error: *const limbeck_error) -> limbeck_str {
    // SAFETY: `error` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(error, limbeck_str::EMPTY, |error| limbeck_str::view(&error.message)) }
}

/// Frees an error. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_error_free(error: *mut limbeck_error) {
    // SAFETY: `error` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(error) }
}
