//! STATUS

use std::ffi::{CStr, c_char};

/// LIMBECK_OK or another number of enum limbeck_status_code. A later library may return numbers
/// that this header does not list; treat them as failures.
pub type limbeck_status = i32;

/// What a limbeck_status says.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum limbeck_status_code {
    /// The call did what it should.
    LIMBECK_OK = 0,
    /// An argument or option has a value that cannot be used.
    LIMBECK_INVALID_ARGUMENT = 1,
    /// Text is not UTF-8; the message says where.
    LIMBECK_INVALID_UTF8 = 2,
    /// A file is not there.
    LIMBECK_NOT_FOUND = 3,
    /// The operating system refused to read a file.
    LIMBECK_IO = 4,
    /// The file is no limbeck bundle.
    LIMBECK_NOT_A_BUNDLE = 5,
    /// The bundle ends before it should.
    LIMBECK_TRUNCATED = 6,
    /// Bytes of the bundle do not have the hash they should.
    LIMBECK_CORRUPT = 7,
    /// The bundle breaks a rule of its format.
    LIMBECK_MALFORMED = 8,
    /// The bundle or the program needs another version.
    LIMBECK_INCOMPATIBLE = 9,
    /// The model was made for another task.
    LIMBECK_WRONG_TASK = 10,
    /// The text is longer than the model takes.
    LIMBECK_TOO_LONG = 11,
    /// The call was cancelled.
    LIMBECK_CANCELLED = 12,
    /// The deadline passed before the call was finished.
    LIMBECK_DEADLINE_EXCEEDED = 13,
    /// No ONNX Runtime library was found.
    LIMBECK_RUNTIME_NOT_FOUND = 14,
    /// The ONNX Runtime library found cannot be used.
    LIMBECK_RUNTIME_INCOMPATIBLE = 15,
    /// ONNX Runtime refused the model or failed while running it.
    LIMBECK_INFERENCE = 16,
    /// The bundle's tokenizer cannot be read, or failed on a text.
    LIMBECK_TOKENIZER = 17,
    /// A memory budget cannot be kept.
    LIMBECK_MEMORY_BUDGET = 18,
    /// A signature is missing or wrong.
    LIMBECK_SIGNATURE = 19,
    /// A bundle's own test inputs did not give the outputs expected.
    LIMBECK_SELF_TEST = 20,
    /// A parameter is NULL that must not be; the message names it.
    LIMBECK_NULL_POINTER = 21,
    /// A struct was not made by _init, or is too new.
    LIMBECK_BAD_STRUCT_SIZE = 22,
    /// The bundle is an older build than it may be.
    LIMBECK_ROLLBACK = 23,
    /// A bug in this library.
    LIMBECK_INTERNAL = 99,
}

/// The name of a status: "LIMBECK_NOT_FOUND", or "LIMBECK_UNKNOWN" for a number
/// that this library does not have. An ordinary C string that lives as long as
/// the program. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn limbeck_status_name(status: limbeck_status) -> *const c_char {
    NAMES.iter().find(|(code, _)| *code as i32 == status).map_or(c"LIMBECK_UNKNOWN", |(_, name)| name).as_ptr()
}

macro_rules! names {
    ($($variant:ident)*) => {
        &[$((limbeck_status_code::$variant, match CStr::from_bytes_with_nul(concat!(stringify!($variant), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!("an identifier has no NUL inside"),
        })),*]
    };
}

const NAMES: &[(limbeck_status_code, &CStr)] = names![
    LIMBECK_OK
    LIMBECK_INVALID_ARGUMENT
    LIMBECK_INVALID_UTF8
    LIMBECK_NOT_FOUND
    LIMBECK_IO
    LIMBECK_NOT_A_BUNDLE
    LIMBECK_TRUNCATED
    LIMBECK_CORRUPT
    LIMBECK_MALFORMED
    LIMBECK_INCOMPATIBLE
    LIMBECK_WRONG_TASK
    LIMBECK_TOO_LONG
    LIMBECK_CANCELLED
    LIMBECK_DEADLINE_EXCEEDED
    LIMBECK_RUNTIME_NOT_FOUND
    LIMBECK_RUNTIME_INCOMPATIBLE
    LIMBECK_INFERENCE
    LIMBECK_TOKENIZER
    LIMBECK_MEMORY_BUDGET
    LIMBECK_SIGNATURE
    LIMBECK_SELF_TEST
    LIMBECK_NULL_POINTER
    LIMBECK_BAD_STRUCT_SIZE
    LIMBECK_ROLLBACK
    LIMBECK_INTERNAL
];

/// The status for a code of the sdk, which has the same number. A code that
/// this crate was not taught is a bug here, and the tests below look for it.
pub(crate) fn from_sdk(code: limbeck_sdk::Code) -> limbeck_status_code {
    NAMES
        .iter()
        .map(|(status, _)| *status)
        .find(|status| *status as i32 == code as i32)
        .unwrap_or(limbeck_status_code::LIMBECK_INTERNAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use limbeck_sdk::Code;

    #[test]
    fn every_code_of_the_sdk_has_a_status_of_its_number_and_name() {
        let codes = [
            Code::InvalidArgument,
            Code::InvalidUtf8,
            Code::NotFound,
            Code::Io,
            Code::NotABundle,
            Code::Truncated,
            Code::Corrupt,
            Code::Malformed,
            Code::Incompatible,
            Code::WrongTask,
            Code::TooLong,
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::RuntimeNotFound,
            Code::RuntimeIncompatible,
            Code::Inference,
            Code::Tokenizer,
            Code::MemoryBudget,
            Code::Signature,
            Code::SelfTest,
            Code::Rollback,
            Code::Internal,
        ];
        for code in codes {
            let status = from_sdk(code);
            assert_eq!(status as i32, code as i32);
            let name = NAMES.iter().find(|(known, _)| *known == status).unwrap().1;
            assert_eq!(name.to_str().unwrap(), format!("LIMBECK_{}", code.name()));
        }
        // Three statuses are of the C library alone: OK, NULL_POINTER, BAD_STRUCT_SIZE.
        assert_eq!(NAMES.len(), codes.len() + 3);
    }
}
