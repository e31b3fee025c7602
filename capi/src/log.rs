//! LOGGING

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use limbeck_sdk::runtime::{self, LogLevel};

use crate::error::limbeck_error;
use crate::ffi::{Failure, UserData, guard};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// Log level: every step.
pub const LIMBECK_LOG_VERBOSE: u32 = 0;
/// Log level: what happens.
pub const LIMBECK_LOG_INFO: u32 = 1;
/// Log level: what went on otherwise than asked for.
pub const LIMBECK_LOG_WARNING: u32 = 2;
/// Log level: what failed; the call concerned also returns an error.
pub const LIMBECK_LOG_ERROR: u32 = 3;
/// Log level: what ends ONNX Runtime.
pub const LIMBECK_LOG_FATAL: u32 = 4;

/// Gets a log message, with the `data` of limbeck_set_logger. It is called from
/// any thread, several at one time; the message lives as long as the call. It
/// must return, soon: no longjmp and no C++ exception may leave it.
pub type limbeck_log_function = Option<unsafe extern "C" fn(data: *mut c_void, level: u32, message: limbeck_str)>;

/// The number of the function set last. Held for reading while a function runs, so
/// that whoever replaces it can wait until nobody is inside it.
static CURRENT: RwLock<u64> = RwLock::new(0);

/// Held while a function is set, so that numbers follow the order in which they are.
static SETTING: Mutex<u64> = Mutex::new(0);

/// A function of the caller's.
struct Logger {
    function: unsafe extern "C" fn(*mut c_void, u32, limbeck_str),
    data: UserData,
    number: u64,
}

thread_local! {
    /// Whether this thread is inside the caller's function.
    static LOGGING: Cell<bool> = const { Cell::new(false) };
}

/// Gives log messages of `lowest` (a LIMBECK_LOG_ number) and above, this
/// library's and ONNX Runtime's, to `function`, for the whole process; NULL stops
/// that. When the call returns, the function set before is not running and will
/// not be called again. Without a logger messages go nowhere. Safe from any
/// thread, but for a log function itself (LIMBECK_INVALID_ARGUMENT).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_set_logger(
    lowest: u32,
    function: limbeck_log_function,
    data: *mut c_void,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        if LOGGING.get() {
            return Err(Failure::argument("the logger cannot be changed from inside a log function"));
        }
        let levels = [LogLevel::Verbose, LogLevel::Info, LogLevel::Warning, LogLevel::Error, LogLevel::Fatal];
        let level = levels.get(lowest as usize).ok_or_else(|| {
            Failure::argument(format!("lowest is {lowest} and must be one of the LIMBECK_LOG_ numbers (0 to 4)"))
        })?;
        let mut setting = SETTING.lock().unwrap_or_else(PoisonError::into_inner);
        *setting += 1;
        let logger = function.map(|function| Logger { function, data: UserData(data), number: *setting });
        set(*level, logger, *setting);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Messages go to the new function before the old one is waited for, so that none is lost.
fn set(level: LogLevel, logger: Option<Logger>, number: u64) {
    let told = logger.map(|logger| Arc::new(move |level: LogLevel, message: &str| tell(&logger, level, message)) as _);
    runtime::set_logger(level, told);
    // Waits for those who are inside the function before. Those who were about to call
    // it find a higher number than its own.
    *CURRENT.write().unwrap_or_else(PoisonError::into_inner) = number;
}

fn tell(logger: &Logger, level: LogLevel, message: &str) {
    // A function that itself makes limbeck log holds the lock already; to take it
    // again could wait for a writer that waits for this thread.
    let nested = LOGGING.get();
    let inside = (!nested).then(|| CURRENT.read().unwrap_or_else(PoisonError::into_inner));
    if inside.as_ref().is_some_and(|current| **current > logger.number) {
        return;
    }
    LOGGING.set(true);
    let level = match level {
        LogLevel::Verbose => LIMBECK_LOG_VERBOSE,
        LogLevel::Info => LIMBECK_LOG_INFO,
        LogLevel::Warning => LIMBECK_LOG_WARNING,
        LogLevel::Error => LIMBECK_LOG_ERROR,
        _ => LIMBECK_LOG_FATAL,
    };
    // SAFETY: the caller promised a function that takes these, from any thread.
    unsafe { (logger.function)(logger.data.0, level, limbeck_str::view(message)) };
    LOGGING.set(nested);
    drop(inside);
}

#[cfg(test)]
mod tests {
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static CALLS: AtomicUsize = AtomicUsize::new(0);

    unsafe extern "C" fn count(_: *mut c_void, _: u32, _: limbeck_str) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    /// A thread may have been given the function and not have called it yet when it is replaced.
    #[test]
    fn who_comes_late_does_not_call_a_function_that_was_replaced() {
        let calls = |number: u64| {
            let before = CALLS.load(Ordering::Relaxed);
            tell(&Logger { function: count, data: UserData(null_mut()), number }, LogLevel::Info, "a message");
            CALLS.load(Ordering::Relaxed) - before
        };
        // SAFETY: a function that takes what it is given, and no error is asked for.
        assert_eq!(unsafe { limbeck_set_logger(LIMBECK_LOG_FATAL, Some(count), null_mut(), null_mut()) }, 0);
        let number = *SETTING.lock().unwrap();
        assert_eq!(calls(number), 1);
        // The next one, whose number is not known yet, misses nothing.
        assert_eq!(calls(number + 1), 1);
        // SAFETY: no function, and no error is asked for.
        assert_eq!(unsafe { limbeck_set_logger(LIMBECK_LOG_FATAL, None, null_mut(), null_mut()) }, 0);
        assert_eq!(calls(number), 0);
    }
}
