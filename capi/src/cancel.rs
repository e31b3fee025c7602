//! CANCEL

use limbeck_sdk::Cancel;

use crate::error::limbeck_error;
use crate::ffi::{self, guard};
use crate::status::limbeck_status;

/// Ends calls from another thread: pass it in the options of a call, and trigger
/// it while the call runs. It stays triggered, so calls given it later end at
/// once; make a new one for new work. A const handle may be used from many
/// threads, and by many calls. Free it when the calls that were given it have
/// returned.
pub struct limbeck_cancel {
    pub(crate) cancel: Cancel,
}

/// Makes a cancel handle that is not triggered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_cancel_new(
    out: *mut *mut limbeck_cancel,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `out` is NULL or points to a pointer, by the header's rules.
        let out = unsafe { ffi::out(out, "out") }?;
        ffi::give(out, limbeck_cancel { cancel: Cancel::new() });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Ends the calls that were given this handle, now and later: they return
/// LIMBECK_CANCELLED, one that runs stops within the operator it is at. Does not wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_cancel_trigger(cancel: *const limbeck_cancel) {
    // SAFETY: `cancel` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(cancel, (), |cancel| cancel.cancel.cancel()) }
}

/// Whether the handle was triggered; false for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_cancel_is_triggered(cancel: *const limbeck_cancel) -> bool {
    // SAFETY: `cancel` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(cancel, false, |cancel| cancel.cancel.is_cancelled()) }
}

/// Frees a cancel handle. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_cancel_free(cancel: *mut limbeck_cancel) {
    // SAFETY: `cancel` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(cancel) }
}
