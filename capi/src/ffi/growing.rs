//! Structs that may grow: see rule 7 of the header.

use std::mem::{MaybeUninit, size_of};

use super::Failure;
use crate::status::limbeck_status_code;

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

/// [`check_room`] for a struct that must be there.
///
/// # Safety
/// As [`check_room`].
pub(crate) unsafe fn check_out<T: Growing>(object: *const T, name: &str) -> Result<(), Failure> {
    if object.is_null() {
        return Err(Failure::null(name));
    }
    // SAFETY: by contract.
    unsafe { check_room(object, name) }
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
