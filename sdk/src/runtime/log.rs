//! Where log messages go: nowhere, unless the program gives a function for them.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, RwLock};

/// How much a message matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Every step.
    Verbose,
    /// What happens.
    Info,
    /// What did not go as asked for, and went on otherwise.
    Warning,
    /// What failed; the call concerned also returns an error.
    Error,
    /// What ends ONNX Runtime.
    Fatal,
}

type Function = dyn Fn(LogLevel, &str) + Send + Sync;

struct Logger {
    lowest: LogLevel,
    function: Arc<Function>,
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger").field("lowest", &self.lowest).finish_non_exhaustive()
    }
}

static LOGGER: RwLock<Option<Logger>> = RwLock::new(None);

/// Gives messages of this level and above, this library's and ONNX Runtime's, to a function, for the whole process;
/// `None` stops that. It may be called from any thread, several at a time, and should return soon. A panic in it is
/// swallowed. Messages of ONNX Runtime on loading a model have the level that was set when the model was opened.
pub fn set_logger(lowest: LogLevel, function: Option<Arc<Function>>) {
    let logger = function.map(|function| Logger { lowest, function });
    let level = logger.as_ref().map_or(LogLevel::Fatal, |logger| logger.lowest);
    *LOGGER.write().unwrap_or_else(std::sync::PoisonError::into_inner) = logger;
    super::environment::set_log_level(level);
}

/// The lowest level that anyone listens to.
pub(super) fn lowest() -> LogLevel {
    let logger = LOGGER.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    logger.as_ref().map_or(LogLevel::Fatal, |logger| logger.lowest)
}

/// Tells a message to whoever listens.
pub(crate) fn tell(level: LogLevel, message: &str) {
    // Called outside of the lock, so that the function may set another one.
    let function = {
        let logger = LOGGER.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        logger.as_ref().filter(|logger| level >= logger.lowest).map(|logger| Arc::clone(&logger.function))
    };
    if let Some(function) = function {
        let _ = catch_unwind(AssertUnwindSafe(|| function(level, message)));
    }
}

/// ONNX Runtime's levels.
pub(super) fn to_ort(level: LogLevel) -> ort::logging::LogLevel {
    match level {
        LogLevel::Verbose => ort::logging::LogLevel::Verbose,
        LogLevel::Info => ort::logging::LogLevel::Info,
        LogLevel::Warning => ort::logging::LogLevel::Warning,
        LogLevel::Error => ort::logging::LogLevel::Error,
        LogLevel::Fatal => ort::logging::LogLevel::Fatal,
    }
}

/// From ONNX Runtime's levels.
pub(super) fn from_ort(level: ort::logging::LogLevel) -> LogLevel {
    match level {
        ort::logging::LogLevel::Verbose => LogLevel::Verbose,
        ort::logging::LogLevel::Info => LogLevel::Info,
        ort::logging::LogLevel::Warning => LogLevel::Warning,
        ort::logging::LogLevel::Error => LogLevel::Error,
        ort::logging::LogLevel::Fatal => LogLevel::Fatal,
    }
}
