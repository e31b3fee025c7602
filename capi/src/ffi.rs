//! What every export shares: the panic boundary, checks of pointers, and structs
//! that may grow. Nothing here is in the header.

use std::any::Any;
use std::ffi::c_char;
use std::mem::{MaybeUninit, size_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::error::limbeck_error;
use crate::status::{self, limbeck_status, limbeck_status_code};
use crate::text::{limbeck_pair, limbeck_str};

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
        let object = failure.map_or(std::ptr::null_mut(), |Failure { status, message }| {
            Box::into_raw(Box::new(limbeck_error { status, message }))
        });
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

/// Hands a new handle to the caller.
pub(crate) fn give<T>(out: &mut *mut T, value: T) {
    *out = Box::into_raw(Box::new(value));
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
    }
}

/// Runs `body` and gives its panic back as text.
fn catch<R>(body: impl FnOnce() -> R) -> Result<R, String> {
    panic_text::install();
    // Handles are only reached through `&`, and what is inside them keeps itself
    // consistent by locks, so nothing half-changed is seen after a panic.
    catch_unwind(AssertUnwindSafe(body)).map_err(panic_text::of)
}

/// The text of panics, taken without printing it.
mod panic_text {
    use super::*;
    use std::cell::RefCell;
    use std::sync::Once;

    thread_local! {
        static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    /// Replaces the panic hook, which would print. The library holds its own copy
    /// of Rust's standard library, so this is not seen by Rust code elsewhere in
    /// the process. Left out of the unit tests: they want panics printed.
    pub(super) fn install() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            if !cfg!(test) {
                std::panic::set_hook(Box::new(|info| {
                    let text = info.to_string();
                    let _ = LAST.try_with(|last| last.replace(Some(text)));
                }));
            }
        });
    }

    pub(super) fn of(payload: Box<dyn Any + Send>) -> String {
        let text = LAST.try_with(|last| last.take()).ok().flatten();
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic without a text".to_owned());
        // Dropping a payload runs foreign code, which could panic again.
        if !payload.is::<&str>() && !payload.is::<String>() {
            std::mem::forget(payload);
        }
        text
    }
}

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

/// A public struct that begins with `size: usize` and may grow at its end.
///
/// # Safety
/// `repr(C)`, first field `size: usize`, no padding, every bit pattern is a
/// value, and all zero (but for the size) means the defaults.
pub(crate) unsafe trait Growing: Copy {
    /// Size of the struct when it was first released.
    const FIRST_SIZE: usize;
}

/// A larger `size` is not a struct of any version but a field never set.
const LARGEST_SIZE: usize = 4096;

/// # Safety
/// `object` is not NULL, is aligned, and points to at least a `usize`.
unsafe fn checked_size<T: Growing>(object: *const T, name: &str) -> Result<usize, Failure> {
    // SAFETY: by this function's contract; `size` is the first field.
    let size = unsafe { object.cast::<usize>().read() };
    if (T::FIRST_SIZE..=LARGEST_SIZE).contains(&size) {
        return Ok(size);
    }
    Err(Failure::new(
        limbeck_status_code::LIMBECK_BAD_STRUCT_SIZE,
        format!(
            "{name}->size is {size} and should be {} (or more in a later version): fill the struct with its _init call",
            size_of::<T>()
        ),
    ))
}

/// Fills a struct with its size and zeros.
///
/// # Safety
/// `object` is NULL or valid for writing `size` bytes, and aligned.
pub(crate) unsafe fn init<T: Growing>(object: *mut T, size: usize) {
    if object.is_null() || size < size_of::<usize>() {
        return;
    }
    // SAFETY: by this function's contract, and `size` holds the first field.
    unsafe {
        object.cast::<u8>().write_bytes(0, size);
        object.cast::<usize>().write(size);
    }
}

/// Reads an options struct of any version; the defaults for NULL.
///
/// # Safety
/// `object` is NULL or points to a struct of as many bytes as its `size` says.
pub(crate) unsafe fn read<T: Growing>(object: *const T, name: &str) -> Result<T, Failure> {
    let mut known = MaybeUninit::<T>::zeroed();
    if !object.is_null() {
        // SAFETY: not NULL, and a struct that begins with `size`, by contract.
        let size = unsafe { checked_size(object, name) }?;
        let bytes = object.cast::<u8>();
        // SAFETY: `size` bytes can be read by contract, `size_of::<T>()` written.
        unsafe { bytes.copy_to_nonoverlapping(known.as_mut_ptr().cast(), size.min(size_of::<T>())) };
        for offset in size_of::<T>()..size {
            // SAFETY: inside the `size` bytes of the caller's struct.
            if unsafe { bytes.add(offset).read() } != 0 {
                return Err(Failure::new(
                    limbeck_status_code::LIMBECK_BAD_STRUCT_SIZE,
                    format!(
                        "{name} has a value at byte {offset} and this version of limbeck knows {} bytes: update the \
                         library, or leave the newer options at 0",
                        size_of::<T>()
                    ),
                ));
            }
        }
    }
    // SAFETY: zeros, or the caller's bytes over zeros; every bit pattern is a value.
    Ok(unsafe { known.assume_init() })
}

/// Checks before the work, for a struct that may be NULL, that an answer can be written to it.
///
/// # Safety
/// As [`write`].
pub(crate) unsafe fn check_room<T: Growing>(object: *const T, name: &str) -> Result<(), Failure> {
    if object.is_null() {
        return Ok(());
    }
    // SAFETY: not NULL, and a struct that begins with `size`, by contract.
    unsafe { checked_size(object, name) }.map(drop)
}

/// Writes an answer into a struct of any version, keeping its `size`.
///
/// # Safety
/// `object` is NULL or points to a struct of as many bytes as its `size` says.
pub(crate) unsafe fn write<T: Growing>(object: *mut T, name: &str, value: &T) -> Result<(), Failure> {
    if object.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: not NULL, and a struct that begins with `size`, by contract.
    unsafe {
        let size = checked_size(object, name)?;
        init(object, size);
        let head = size_of::<usize>();
        let known = size.min(size_of::<T>());
        std::ptr::from_ref(value)
            .cast::<u8>()
            .add(head)
            .copy_to_nonoverlapping(object.cast::<u8>().add(head), known - head);
    }
    Ok(())
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

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Sample {
        size: usize,
        first: usize,
        second: usize,
    }
    // SAFETY: repr(C), size first, integers of one size.
    unsafe impl Growing for Sample {
        const FIRST_SIZE: usize = 2 * size_of::<usize>();
    }
    const WORD: usize = size_of::<usize>();

    #[test]
    fn an_older_struct_reads_as_if_its_missing_fields_were_zero() {
        let older = [2 * WORD, 7];
        // SAFETY: two words, as its size says.
        let sample: Sample = unsafe { read(older.as_ptr().cast(), "options") }.unwrap();
        assert_eq!((sample.first, sample.second), (7, 0));
    }

    #[test]
    fn a_newer_struct_is_taken_only_if_what_is_unknown_is_zero() {
        let mut newer = [4 * WORD, 7, 8, 0];
        // SAFETY: four words, as its size says.
        let sample: Sample = unsafe { read(newer.as_ptr().cast(), "options") }.unwrap();
        assert_eq!((sample.first, sample.second), (7, 8));
        newer[3] = 1;
        // SAFETY: as above.
        let failure = unsafe { read::<Sample>(newer.as_ptr().cast(), "options") }.unwrap_err();
        assert_eq!(failure.status, limbeck_status_code::LIMBECK_BAD_STRUCT_SIZE);
    }

    #[test]
    fn sizes_that_no_version_has_are_refused() {
        for size in [0, 1, 2 * WORD - 1, LARGEST_SIZE + 1, usize::MAX] {
            let object = [size, 0, 0];
            // SAFETY: only the size is read before it is refused.
            let failure = unsafe { read::<Sample>(object.as_ptr().cast(), "options") }.unwrap_err();
            assert_eq!(failure.status, limbeck_status_code::LIMBECK_BAD_STRUCT_SIZE);
        }
    }

    #[test]
    fn an_answer_never_leaves_the_callers_struct() {
        let value = Sample { size: 0, first: 7, second: 8 };
        let mut older = [2 * WORD, 1, 99];
        // SAFETY: three words, of which the size names two.
        unsafe { write(older.as_mut_ptr().cast::<Sample>(), "out", &value) }.unwrap();
        assert_eq!(older, [2 * WORD, 7, 99]);
        let mut newer = [4 * WORD, 1, 1, 1, 99];
        // SAFETY: five words, of which the size names four.
        unsafe { write(newer.as_mut_ptr().cast::<Sample>(), "out", &value) }.unwrap();
        assert_eq!(newer, [4 * WORD, 7, 8, 0, 99]);
    }
}
