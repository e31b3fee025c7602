//! What every export shares: the panic boundary, checks of pointers, and structs
//! that may grow. Nothing here is in the header.

mod growing;
mod input;
mod panic_text;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::limbeck_error;
use crate::status::{self, limbeck_status, limbeck_status_code};

pub(crate) use growing::{Growing, check_out, check_room, init, read, write};
pub(crate) use input::{UserData, handle, item, optional_out, out, pairs, path, reserved, slice, switch, text, texts};

/// A failed call, before it becomes a [`limbeck_error`].
#[derive(Debug)]
pub(crate) struct Failure {
    status: limbeck_status_code,
    message: String,
}

impl Failure {
    pub(crate) fn new(status: limbeck_status_code, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }
    pub(crate) fn argument(message: impl Into<String>) -> Failure {
        Failure::new(limbeck_status_code::LIMBECK_INVALID_ARGUMENT, message)
    }
    pub(crate) fn null(name: &str) -> Failure {
        Failure::new(limbeck_status_code::LIMBECK_NULL_POINTER, format!("{name} is NULL"))
    }
}

impl From<limbeck_sdk::Error> for Failure {
    fn from(error: limbeck_sdk::Error) -> Failure {
        Failure::new(status::from_sdk(error.code()), error.to_string())
    }
}

/// Runs the body of a call that can fail, and turns its failure or panic into a
/// status and an error object.
///
/// # Safety
/// `error` is NULL or valid for writing a pointer.
pub(crate) unsafe fn guard(
    error: *mut *mut limbeck_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> limbeck_status {
    let failure = match catch(body) {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(panic) => Some(Failure::new(
            limbeck_status_code::LIMBECK_INTERNAL,
            format!("internal error of limbeck (please report it): {panic}"),
        )),
    };
    let status = failure.as_ref().map_or(limbeck_status_code::LIMBECK_OK, |failure| failure.status);
    if !error.is_null() {
        let object = failure
            .map_or(std::ptr::null_mut(), |Failure { status, message }| into_raw(limbeck_error { status, message }));
        // SAFETY: not NULL, so valid for writing by this function's contract.
        unsafe { error.write(object) };
    }
    status as limbeck_status
}

/// Reads something of a handle that may be NULL, for getters that cannot fail.
///
/// # Safety
/// `handle` is NULL or points to a live `T`.
pub(crate) unsafe fn get<T, R>(handle: *const T, fallback: R, read: impl FnOnce(&T) -> R) -> R {
    // SAFETY: by this function's contract.
    match unsafe { handle.as_ref() } {
        Some(handle) => catch(|| read(handle)).unwrap_or(fallback),
        None => fallback,
    }
}

/// Handles that callers have and must free.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many handles callers have.
pub(crate) fn open_handles() -> usize {
    OPEN.load(Ordering::Relaxed)
}

fn into_raw<T>(value: T) -> *mut T {
    OPEN.fetch_add(1, Ordering::Relaxed);
    Box::into_raw(Box::new(value))
}

/// Hands a new handle to the caller.
pub(crate) fn give<T>(out: &mut *mut T, value: T) {
    *out = into_raw(value);
}

/// Frees what [`give`] made.
///
/// # Safety
/// `handle` is NULL or came from [`give`] (or [`guard`]) and was not freed.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: not NULL, so it came from `Box::into_raw` and is still owned.
        let value = unsafe { Box::from_raw(handle) };
        // A panicking destructor must not cross into C either; there is nobody to tell.
        let _ = catch(|| drop(value));
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs `body` and gives its panic back as text.
fn catch<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    panic_text::install();
    // Handles are only reached through `&`, and what is inside them keeps itself
    // consistent by locks, so nothing half-changed is seen after a panic.
    catch_unwind(AssertUnwindSafe(body)).map_err(panic_text::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_internal_and_the_next_call_works() {
        let mut error = std::ptr::null_mut();
        // SAFETY: `error` is a local.
        let status = unsafe { guard(&mut error, || panic!("the reason")) };
        assert_eq!(status, limbeck_status_code::LIMBECK_INTERNAL as i32);
        // SAFETY: guard has just made it.
        assert!(unsafe { &*error }.message.contains("the reason"));
        // SAFETY: made by guard, freed once.
        unsafe { free(error) };
        // SAFETY: as above.
        assert_eq!(unsafe { guard(&mut error, || Ok(())) }, 0);
        assert!(error.is_null());
    }
}
