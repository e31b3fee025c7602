//! The one error type of the crate and its stable numeric codes.

use std::path::PathBuf;

use crate::bundle::BundleError;

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, in one type.
///
/// The message of each variant names the thing that failed and, where there is
/// one, the way to mend it. [`Error::code`] gives the stable number that the C
/// library returns.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument or option has a value that cannot be used.
    #[error("{0}")]
    InvalidArgument(String),

    /// Text given as bytes is not UTF-8.
    #[error("the text is not UTF-8: the bytes are valid up to offset {valid_up_to} and not after it")]
    InvalidUtf8 {
        /// How many leading bytes are valid UTF-8.
        valid_up_to: usize,
    },

    /// A file is not there.
    #[error("{} does not exist: check the path", path.display())]
    NotFound {
        /// The path as given.
        path: PathBuf,
    },

    /// The operating system refused to read or write something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "write", "rename to".
        action: &'static str,
        /// The file or folder concerned.
        path: PathBuf,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },

    /// A bundle is damaged, foreign, too new, or not consistent with itself.
    #[error("bundle {bundle}: {problem}")]
    Bundle {
        /// The path of the bundle, or `<memory>`.
        bundle: String,
        /// What is wrong with it.
        #[source]
        problem: BundleError,
    },

    /// A model was asked to do another task than the one it was made for.
    #[error("model `{model}` was made for {have}, not for {want}: open a bundle made for {want}")]
    WrongTask {
        /// The model's id.
        model: String,
        /// The task in its manifest.
        have: String,
        /// The task asked for.
        want: &'static str,
    },

    /// A text has more tokens than the model takes and the caller chose
    /// [`Overflow::Error`](crate::Overflow::Error).
    #[error(
        "the text has {tokens} tokens and the model takes {max}: shorten it, or choose the overflow policy truncate or window"
    )]
    TooLong {
        /// Tokens of the text, special tokens included.
        tokens: usize,
        /// The most the model takes, special tokens included.
        max: usize,
    },

    /// A prompt and the tokens that may follow it are more than the model's context holds, and the caller chose
    /// [`ContextPolicy::Error`](crate::ContextPolicy::Error).
    #[error(
        "the prompt has {prompt} tokens and {new} more may follow, and the model's context holds {context}: ask for fewer, shorten the prompt, or choose the context policy stop or slide"
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt: usize,
        /// The most tokens that may follow.
        new: usize,
        /// Tokens that the context holds.
        context: usize,
    },

    /// The caller's [`Cancel`](crate::Cancel) token was triggered.
    #[error("the call was cancelled")]
    Cancelled,

    /// The caller's deadline passed before the work was done.
    #[error("the deadline passed before the call was finished")]
    DeadlineExceeded,

    /// No ONNX Runtime library was found.
    #[error("no ONNX Runtime library found; tried {tried}. Give its path, or place the library beside the program")]
    RuntimeNotFound {
        /// The places that were tried, with the loader's reason for each.
        tried: String,
    },

    /// An ONNX Runtime library was found and cannot be used.
    #[error("the ONNX Runtime library {}: {reason}", path.display())]
    RuntimeIncompatible {
        /// The library.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },

    /// ONNX Runtime refused a model or failed while running it.
    #[error("ONNX Runtime failed to {action}: {message}")]
    Inference {
        /// What was being done: "load the model", "run the model", ...
        action: &'static str,
        /// What ONNX Runtime said.
        message: String,
    },

    /// The tokenizer of a bundle cannot be read, or it failed on a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),

    /// A model needs more memory than it may use.
    #[error(
        "the memory budget of {budget} bytes is too small: the model needs {needed} bytes at least; raise the budget, or use a smaller model or one with a lower max_tokens"
    )]
    MemoryBudget {
        /// The budget, in bytes.
        budget: u64,
        /// The least that is enough, in bytes.
        needed: u64,
    },

    /// A model is an older build than it may be.
    #[error("the model `{model}` has build {build}, and {minimum} is the lowest that may be used: get a newer bundle")]
    Rollback {
        /// The model's id.
        model: String,
        /// The build in its manifest.
        build: u64,
        /// The lowest that may be used.
        minimum: u64,
    },

    /// A model's own test inputs did not give what they should.
    #[error(
        "the self-test of model `{model}` failed at input {vector}: {reason}; the bundle or the ONNX Runtime library is not the one it was made for"
    )]
    SelfTest {
        /// The model's id.
        model: String,
        /// Which input, from 0.
        vector: usize,
        /// What was wrong.
        reason: String,
    },

    /// A bug in this library. The message is for its developers.
    #[error("internal error (please report it): {0}")]
    Internal(String),
}

impl Error {
    /// The stable code of this error.
    pub fn code(&self) -> Code {
        match self {
            Error::InvalidArgument(_) => Code::InvalidArgument,
            Error::InvalidUtf8 { .. } => Code::InvalidUtf8,
            Error::NotFound { .. } => Code::NotFound,
            Error::Io { .. } => Code::Io,
            Error::Bundle { problem, .. } => problem.code(),
            Error::WrongTask { .. } => Code::WrongTask,
            Error::TooLong { .. } | Error::ContextOverflow { .. } => Code::TooLong,
            Error::Cancelled => Code::Cancelled,
            Error::DeadlineExceeded => Code::DeadlineExceeded,
            Error::RuntimeNotFound { .. } => Code::RuntimeNotFound,
            Error::RuntimeIncompatible { .. } => Code::RuntimeIncompatible,
            Error::Inference { .. } => Code::Inference,
            Error::Tokenizer(_) => Code::Tokenizer,
            Error::MemoryBudget { .. } => Code::MemoryBudget,
            Error::Rollback { .. } => Code::Rollback,
            Error::SelfTest { .. } => Code::SelfTest,
            Error::Internal(_) => Code::Internal,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        let path = path.into();
        if source.kind() == std::io::ErrorKind::NotFound && action == "read" {
            Error::NotFound { path }
        } else {
            Error::Io { action, path, source }
        }
    }
}

impl From<std::str::Utf8Error> for Error {
    fn from(error: std::str::Utf8Error) -> Error {
        Error::InvalidUtf8 { valid_up_to: error.valid_up_to() }
    }
}

/// Stable error numbers. 0 means success and is not an error; a number, once
/// given, is never used for anything else.
#[repr(i32)]
#[non_exhaustive]
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// An argument or option has a value that cannot be used.
    InvalidArgument = 1,
    /// Text is not UTF-8.
    InvalidUtf8 = 2,
    /// A file is not there.
    NotFound = 3,
    /// The operating system refused to read or write.
    Io = 4,
    /// The file is no limbeck bundle.
    NotABundle = 5,
    /// The bundle ends before it should.
    Truncated = 6,
    /// Bytes of the bundle do not have the hash they should.
    Corrupt = 7,
    /// The bundle breaks a rule of its format.
    Malformed = 8,
    /// The bundle needs a newer library, or a feature that this one lacks.
    Incompatible = 9,
    /// The model was made for another task.
    WrongTask = 10,
    /// The text is longer than the model takes.
    TooLong = 11,
    /// The call was cancelled.
    Cancelled = 12,
    /// The deadline passed.
    DeadlineExceeded = 13,
    /// No ONNX Runtime library was found.
    RuntimeNotFound = 14,
    /// The ONNX Runtime library found cannot be used.
    RuntimeIncompatible = 15,
    /// ONNX Runtime refused or failed.
    Inference = 16,
    /// The tokenizer refused or failed.
    Tokenizer = 17,
    /// A memory budget cannot be kept.
    MemoryBudget = 18,
    /// A signature is missing or wrong.
    Signature = 19,
    /// A bundle's own test inputs did not give the outputs expected.
    SelfTest = 20,
    /// The bundle is older than the caller allows. 21 and 22 are numbers of
    /// the C library's own.
    Rollback = 23,
    /// A bug in this library.
    Internal = 99,
}

impl Code {
    /// The name as the C library spells it after `LIMBECK_`: `"NOT_FOUND"`.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidArgument => "INVALID_ARGUMENT",
            Code::InvalidUtf8 => "INVALID_UTF8",
            Code::NotFound => "NOT_FOUND",
            Code::Io => "IO",
            Code::NotABundle => "NOT_A_BUNDLE",
            Code::Truncated => "TRUNCATED",
            Code::Corrupt => "CORRUPT",
            Code::Malformed => "MALFORMED",
            Code::Incompatible => "INCOMPATIBLE",
            Code::WrongTask => "WRONG_TASK",
            Code::TooLong => "TOO_LONG",
            Code::Cancelled => "CANCELLED",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Code::RuntimeNotFound => "RUNTIME_NOT_FOUND",
            Code::RuntimeIncompatible => "RUNTIME_INCOMPATIBLE",
            Code::Inference => "INFERENCE",
            Code::Tokenizer => "TOKENIZER",
            Code::MemoryBudget => "MEMORY_BUDGET",
            Code::Signature => "SIGNATURE",
            Code::SelfTest => "SELF_TEST",
            Code::Rollback => "ROLLBACK",
            Code::Internal => "INTERNAL",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers are a promise to C callers: this table may only grow.
    #[test]
    fn codes_keep_their_numbers() {
        let table = [
            (Code::InvalidArgument, 1),
            (Code::InvalidUtf8, 2),
            (Code::NotFound, 3),
            (Code::Io, 4),
            (Code::NotABundle, 5),
            (Code::Truncated, 6),
            (Code::Corrupt, 7),
            (Code::Malformed, 8),
            (Code::Incompatible, 9),
            (Code::WrongTask, 10),
            (Code::TooLong, 11),
            (Code::Cancelled, 12),
            (Code::DeadlineExceeded, 13),
            (Code::RuntimeNotFound, 14),
            (Code::RuntimeIncompatible, 15),
            (Code::Inference, 16),
            (Code::Tokenizer, 17),
            (Code::MemoryBudget, 18),
            (Code::Signature, 19),
            (Code::SelfTest, 20),
            (Code::Rollback, 23),
            (Code::Internal, 99),
        ];
        for (code, number) in table {
            assert_eq!(code as i32, number, "{}", code.name());
        }
    }

    #[test]
    fn the_library_error_type_crosses_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }
}
