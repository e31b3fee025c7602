//! LOGGING

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::{Arc, PoisonError, RwLock};

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

/// Held for reading while the caller's function runs, so that whoever replaces
/// it can wait until nobody is inside it.
static INSIDE: RwLock<()> = RwLock::new(());

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
        let data = UserData(data);
        runtime::set_logger(
            *level,
            function.map(|function| {
                let logger = move |level: LogLevel, message: &str| tell(function, &data, level, message);
                Arc::new(logger) as Arc<_>
            }),
        );
        // Waits for those who began with the function before.
        drop(INSIDE.write().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

fn tell(
    function: unsafe extern "C" fn(*mut c_void, u32, limbeck_str),
    data: &UserData,
    level: LogLevel,
    message: &str,
) {
    // A function that itself makes limbeck log holds the lock already; to take it
    // again could wait for a writer that waits for this thread.
    let nested = LOGGING.replace(true);
    let inside = (!nested).then(|| INSIDE.read().unwrap_or_else(PoisonError::into_inner));
    let level = match level {
        LogLevel::Verbose => LIMBECK_LOG_VERBOSE,
        LogLevel::Info => LIMBECK_LOG_INFO,
        LogLevel::Warning => LIMBECK_LOG_WARNING,
        LogLevel::Error => LIMBECK_LOG_ERROR,
        _ => LIMBECK_LOG_FATAL,
    };
    // SAFETY: the caller promised a function that takes these, from any thread.
    unsafe { function(data.0, level, limbeck_str::view(message)) };
    drop(inside);
    LOGGING.set(nested);
}
