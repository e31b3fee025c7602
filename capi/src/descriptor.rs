//! Open files of the caller's. The library for the JVM takes this file in with `#[path]`.

use std::fs::File;

/// A handle of our own to an open file; or what is wrong, and what to do.
#[cfg(unix)]
pub(crate) fn duplicate(descriptor: i32) -> Result<File, String> {
    use std::os::fd::BorrowedFd;
    if descriptor < 0 {
        return Err(format!("descriptor is {descriptor} and must not be negative"));
    }
    // SAFETY: not -1, and borrowed for this call only; what is no open descriptor fails to be duplicated.
    let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
    let owned =
        borrowed.try_clone_to_owned().map_err(|error| format!("descriptor {descriptor} cannot be used: {error}"))?;
    Ok(owned.into())
}

#[cfg(not(unix))]
pub(crate) fn duplicate(_: i32) -> Result<File, String> {
    Err("file descriptors cannot be used on this system: open by path or through a reader".to_owned())
}
