//! TEXT

use std::ffi::c_char;

/// A piece of UTF-8 text: a pointer and a length in bytes, with no NUL at the
/// end. One that you pass is only read during the call. One that you get is a
/// view of text inside a handle: valid, and readable from any thread, until
/// that handle is freed; its `data` is never NULL. This struct never grows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_str {
    /// The first byte; may be NULL when `length` is 0.
    pub data: *const c_char,
    /// Length in bytes.
    pub length: usize,
}

/// Two texts that belong together: a pair to classify, or a question and the text
/// that may answer it. Only read during the call. This struct never grows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_pair {
    /// The first text, or the question.
    pub first: limbeck_str,
    /// The second text, or the one that may answer.
    pub second: limbeck_str,
}

impl limbeck_str {
    pub(crate) const EMPTY: limbeck_str = limbeck_str { data: c"".as_ptr(), length: 0 };

    /// A view of `text`; the caller sees to its lifetime.
    pub(crate) fn view(text: &str) -> limbeck_str {
        if text.is_empty() {
            return limbeck_str::EMPTY;
        }
        limbeck_str { data: text.as_ptr().cast(), length: text.len() }
    }
}
