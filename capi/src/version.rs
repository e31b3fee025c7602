//! VERSION
//!
//! The library has a version, which is that of its features, and an ABI version, which says whether
//! a program built with one header can use another library. Changes that would break a built program
//! raise the ABI's major number, as in liblimbeck.so.0; additions raise its minor number.

use std::ffi::{CStr, c_char};

use crate::error::limbeck_error;
use crate::ffi::{self, Failure, guard};
use crate::status::{limbeck_status, limbeck_status_code};

/// Major version of this header.
pub const LIMBECK_VERSION_MAJOR: u32 = 0;
/// Minor version of this header.
pub const LIMBECK_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const LIMBECK_VERSION_PATCH: u32 = 0;
/// Version of this header as one number: major * 1000000 + minor * 1000 + patch.
pub const LIMBECK_VERSION_NUMBER: u32 = 1000;
/// ABI version of this header: major * 65536 + minor.
pub const LIMBECK_ABI_VERSION: u32 = 1;

const _: () = assert!(
    LIMBECK_VERSION_NUMBER == LIMBECK_VERSION_MAJOR * 1_000_000 + LIMBECK_VERSION_MINOR * 1_000 + LIMBECK_VERSION_PATCH
);

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL inside"),
};

/// The library's version, for people: "0.1.0". An ordinary C string that lives
/// as long as the program. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn limbeck_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The library's version as one number, to be compared with
/// LIMBECK_VERSION_NUMBER. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn limbeck_version_number() -> u32 {
    LIMBECK_VERSION_NUMBER
}

/// The library's ABI version. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn limbeck_abi_version() -> u32 {
    LIMBECK_ABI_VERSION
}

/// Whether a program built with a header of ABI version `header_abi` can use
/// this library: LIMBECK_OK, or LIMBECK_INCOMPATIBLE with a message that says
/// which side to update. Call it as LIMBECK_CHECK_ABI(&error), first of all.
/// Safe from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_abi_check(header_abi: u32, error: *mut *mut limbeck_error) -> limbeck_status {
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, || check(header_abi)) }
}

/// How many handles of all kinds this process has and must still free, errors and
/// results among them: to look for leaks. Safe from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn limbeck_open_handles() -> usize {
    ffi::open_handles()
}

fn check(header: u32) -> Result<(), Failure> {
    let library = LIMBECK_ABI_VERSION;
    let advice = match (header >> 16).cmp(&(library >> 16)) {
        std::cmp::Ordering::Greater => "update the library",
        std::cmp::Ordering::Less => "build the program again with this library's limbeck.h",
        std::cmp::Ordering::Equal if header & 0xffff > library & 0xffff => "update the library",
        std::cmp::Ordering::Equal => return Ok(()),
    };
    Err(Failure::new(
        limbeck_status_code::LIMBECK_INCOMPATIBLE,
        format!(
            "the program was built for ABI {}.{} of limbeck and this library {} has ABI {}.{}: {advice}",
            header >> 16,
            header & 0xffff,
            env!("CARGO_PKG_VERSION"),
            library >> 16,
            library & 0xffff,
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_the_package() {
        let package: Vec<u32> = env!("CARGO_PKG_VERSION").split('.').map(|part| part.parse().unwrap()).collect();
        assert_eq!(package, [LIMBECK_VERSION_MAJOR, LIMBECK_VERSION_MINOR, LIMBECK_VERSION_PATCH]);
    }

    #[test]
    fn the_soname_is_the_abi_major() {
        let soname = format!("liblimbeck.so.{}\"", LIMBECK_ABI_VERSION >> 16);
        assert!(include_str!("../build.rs").contains(&soname), "build.rs does not set {soname}");
    }

    #[test]
    fn only_the_same_major_and_no_newer_minor_pass() {
        assert!(check(LIMBECK_ABI_VERSION).is_ok());
        assert!(check(LIMBECK_ABI_VERSION - 1).is_ok());
        assert!(check(LIMBECK_ABI_VERSION + 1).is_err());
        assert!(check(LIMBECK_ABI_VERSION + 0x1_0000).is_err());
    }
}
