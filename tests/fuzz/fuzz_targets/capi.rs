//! Sequences of calls of the C library, each input a program: see tests/c/sequences.c, which this only feeds.
//! LIMBECK_FUZZ_BUNDLE and LIMBECK_FUZZ_RUNTIME name `tiny.limbeck` in the folder of the test bundles, and ONNX
//! Runtime; run.sh sets them.
#![no_main]

use libfuzzer_sys::fuzz_target;
// The functions that the C code calls.
use limbeck_capi as _;

unsafe extern "C" {
    fn limbeck_sequences_begin(arguments: *mut i32, values: *mut *mut *mut i8) -> i32;
    fn limbeck_sequences_run(bytes: *const u8, length: usize) -> i32;
}

fuzz_target!(
    init: {
        // SAFETY: it looks at no argument.
        unsafe { limbeck_sequences_begin(std::ptr::null_mut(), std::ptr::null_mut()) };
    },
    |bytes: &[u8]| {
        // SAFETY: it reads as many bytes as there are.
        unsafe { limbeck_sequences_run(bytes.as_ptr(), bytes.len()) };
    }
);
