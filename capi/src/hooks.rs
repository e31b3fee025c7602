//! Exports for the C tests only; see build.rs. They are not in the header.

use crate::error::limbeck_error;
use crate::ffi::guard;
use crate::status::limbeck_status;

/// Panics inside the library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_test_panic(error: *mut *mut limbeck_error) -> limbeck_status {
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, || panic!("a panic asked for by a test")) }
}
