//! Where the library itself lies, so that an ONNX Runtime beside it is found. The library for the JVM takes this
//! file in with `#[path]`.

use std::path::PathBuf;

/// The folder of the file that holds this code, where the system can tell.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(crate) fn library_dir() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    /// `Dl_info` of `<dlfcn.h>`, the same on these systems.
    #[repr(C)]
    struct DlInfo {
        file_name: *const c_char,
        file_base: *mut c_void,
        symbol_name: *const c_char,
        symbol_address: *mut c_void,
    }
    unsafe extern "C" {
        fn dladdr(address: *const c_void, info: *mut DlInfo) -> c_int;
    }

    let mut info = DlInfo {
        file_name: std::ptr::null(),
        file_base: std::ptr::null_mut(),
        symbol_name: std::ptr::null(),
        symbol_address: std::ptr::null_mut(),
    };
    // SAFETY: the address is that of a function of this library, and `info` is
    // a local of the layout that dladdr fills.
    let found = unsafe { dladdr(library_dir as *const c_void, &mut info) } != 0;
    if !found || info.file_name.is_null() {
        return None;
    }
    // SAFETY: dladdr gives a C string that lives as long as the library is loaded.
    let file = unsafe { CStr::from_ptr(info.file_name) };
    let file = Path::new(OsStr::from_bytes(file.to_bytes()));
    // Resolved, because the loader may have been given a relative path or a
    // link; a program that changes its folder later must not change the answer.
    Some(std::fs::canonicalize(file).ok()?.parent()?.to_owned())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(crate) fn library_dir() -> Option<PathBuf> {
    None
}
