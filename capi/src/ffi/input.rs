//! What comes in from the caller: handles, places for results, text, lists.

use std::ffi::c_char;
use std::path::PathBuf;

use super::Failure;
use crate::status::limbeck_status_code;
use crate::text::{limbeck_pair, limbeck_str};

/// A handle that must be there.
///
/// # Safety
/// `handle` is NULL or points to a `T` that lives as long as `'a`.
pub(crate) unsafe fn handle<'a, T>(handle: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: by this function's contract.
    unsafe { handle.as_ref() }.ok_or_else(|| Failure::null(name))
}

/// The place where a result goes, emptied. Called before any other check, so
/// that it is empty whatever fails.
///
/// # Safety
/// `out` is NULL or valid for reads and writes for `'a`.
pub(crate) unsafe fn out<'a, T: Empty>(out: *mut T, name: &str) -> Result<&'a mut T, Failure> {
    if out.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: not NULL, so valid by contract; it is written before the reference
    // is made because C may not have initialised it.
    unsafe {
        out.write(T::EMPTY);
        Ok(&mut *out)
    }
}

/// As [`out`], for a result that the caller may not want.
///
/// # Safety
/// As [`out`].
pub(crate) unsafe fn optional_out<'a, T: Empty>(out: *mut T) -> Option<&'a mut T> {
    // SAFETY: by this function's contract.
    unsafe { self::out(out, "out") }.ok()
}

/// What stands in an out-pointer after a failed call.
pub(crate) trait Empty {
    const EMPTY: Self;
}

impl<T> Empty for *mut T {
    const EMPTY: Self = std::ptr::null_mut();
}

impl Empty for usize {
    const EMPTY: Self = 0;
}

impl<T> Empty for *const T {
    const EMPTY: Self = std::ptr::null();
}

impl Empty for u64 {
    const EMPTY: Self = 0;
}

impl Empty for f32 {
    const EMPTY: Self = 0.0;
}

impl Empty for bool {
    const EMPTY: Self = false;
}

impl Empty for limbeck_str {
    const EMPTY: Self = limbeck_str::EMPTY;
}

/// A pointer of the caller's that is handed back to his functions, untouched.
pub(crate) struct UserData(pub(crate) *mut std::ffi::c_void);
// SAFETY: never dereferenced here; the header says from which threads the
// caller's functions get it.
unsafe impl Send for UserData {}
// SAFETY: as above.
unsafe impl Sync for UserData {}

/// An option that is on or off.
pub(crate) fn switch(name: &str, value: u32) -> Result<bool, Failure> {
    match value {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Failure::argument(format!("{name} is {value} and must be 0 or 1"))),
    }
}

/// A field kept for later, which must be 0 until then.
pub(crate) fn reserved(name: &str, value: u32) -> Result<(), Failure> {
    match value {
        0 => Ok(()),
        _ => Err(Failure::argument(format!("{name} is {value} and must be 0"))),
    }
}

/// One of a list of ours, or a message that says how many there are.
pub(crate) fn item<'a, T>(list: &'a [T], at: usize, name: &str, owner: &str, what: &str) -> Result<&'a T, Failure> {
    list.get(at).ok_or_else(|| Failure::argument(format!("{name} is {at} and {owner} has {} {what}", list.len())))
}

/// `count` values of the caller's. NULL is an empty slice when `count` is 0.
///
/// # Safety
/// `data` is NULL or points to `count` values that live and stay as they are for `'a`.
pub(crate) unsafe fn slice<'a, T>(data: *const T, count: usize, name: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(Failure::new(
            limbeck_status_code::LIMBECK_NULL_POINTER,
            format!("{name} is NULL and its length is {count}"),
        ));
    }
    if count > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::argument(format!("{name}: the length {count} is larger than the address space")));
    }
    // SAFETY: not NULL, `count` values by contract, and no larger than `isize::MAX` bytes.
    Ok(unsafe { std::slice::from_raw_parts(data, count) })
}

/// Text of the caller's, checked to be UTF-8.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn text<'a>(data: *const c_char, length: usize, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: by this function's contract; `c_char` and `u8` have one layout.
    let bytes = unsafe { slice(data.cast::<u8>(), length, name) }?;
    std::str::from_utf8(bytes).map_err(|error| {
        Failure::new(
            limbeck_status_code::LIMBECK_INVALID_UTF8,
            format!("{name} is not UTF-8: the first bad byte is at offset {}", error.valid_up_to()),
        )
    })
}

/// Many texts of the caller's, each checked to be UTF-8.
///
/// # Safety
/// `texts` is as [`slice`] wants it, and each of them is.
pub(crate) unsafe fn texts<'a>(texts: *const limbeck_str, count: usize, name: &str) -> Result<Vec<&'a str>, Failure> {
    // SAFETY: by this function's contract.
    let texts = unsafe { slice(texts, count, name) }?;
    let one = |(i, text): (usize, &limbeck_str)| {
        // SAFETY: by this function's contract.
        unsafe { self::text(text.data, text.length, &format!("{name}[{i}]")) }
    };
    texts.iter().enumerate().map(one).collect()
}

/// Many pairs of texts of the caller's, each checked to be UTF-8.
///
/// # Safety
/// As [`texts`].
pub(crate) unsafe fn pairs<'a>(
    pairs: *const limbeck_pair,
    count: usize,
    name: &str,
) -> Result<Vec<(&'a str, &'a str)>, Failure> {
    // SAFETY: by this function's contract.
    let pairs = unsafe { slice(pairs, count, name) }?;
    let one = |(i, pair): (usize, &limbeck_pair)| {
        let text = |field: &str, text: limbeck_str| {
            // SAFETY: by this function's contract.
            unsafe { self::text(text.data, text.length, &format!("{name}[{i}].{field}")) }
        };
        Ok((text("first", pair.first)?, text("second", pair.second)?))
    };
    pairs.iter().enumerate().map(one).collect()
}

/// A path of the caller's: any bytes but NUL on Unix, UTF-8 elsewhere.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn path(data: *const c_char, length: usize, name: &str) -> Result<PathBuf, Failure> {
    // SAFETY: by this function's contract.
    let bytes = unsafe { slice(data.cast::<u8>(), length, name) }?;
    if bytes.is_empty() {
        return Err(Failure::argument(format!("{name} is empty")));
    }
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        return Err(Failure::argument(format!("{name} has a NUL byte at offset {offset}")));
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        Ok(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
    }
    #[cfg(not(unix))]
    {
        // SAFETY: by this function's contract.
        Ok(PathBuf::from(unsafe { text(data, length, name) }?))
    }
}
