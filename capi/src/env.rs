//! ENVIRONMENT

use std::sync::Once;

use limbeck_sdk::runtime;

use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::locate;
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// What the sdk allows.
const MOST_THREADS: u32 = 256;

/// ONNX Runtime, found and loaded. A process has one ONNX Runtime: it stays
/// loaded until the process ends, and every limbeck_env is a handle to it. A
/// const handle may be used from many threads. May be freed while models opened
/// with it live on.
pub struct limbeck_env {
    /// Threads of models that do not say how many.
    pub(crate) threads: u32,
    version: String,
    path: String,
}

/// Options of limbeck_env_new. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_env_options {
    /// Size of this struct; set by limbeck_env_options_init.
    pub size: usize,
    /// The ONNX Runtime library to load (1.24 or later). Empty: it is looked for
    /// beside the program, then beside liblimbeck, then where the system's
    /// loader looks. A path as in limbeck_bundle_open.
    pub runtime_path: limbeck_str,
    /// The `threads` of models opened with this env whose options have 0.
    pub threads: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, no padding; zeros are the defaults.
unsafe impl Growing for limbeck_env_options {
    const FIRST_SIZE: usize = 3 * size_of::<usize>() + 2 * size_of::<u32>();
}

/// Fills `options` with the defaults; pass sizeof(limbeck_env_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_env_options_init(options: *mut limbeck_env_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Loads ONNX Runtime, if this process has not yet, and checks its version.
/// Asking for another library than the one already loaded is
/// LIMBECK_RUNTIME_INCOMPATIBLE. Safe from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_env_new(
    options: *const limbeck_env_options,
    out: *mut *mut limbeck_env,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, options) = unsafe { (ffi::out(out, "out")?, ffi::read(options, "options")?) };
        let limbeck_env_options { size: _, runtime_path: limbeck_str { data, length }, threads, reserved } = options;
        ffi::reserved("options->reserved", reserved)?;
        if threads > MOST_THREADS {
            return Err(Failure::argument(format!("options->threads is {threads} and can be {MOST_THREADS} at most")));
        }
        let path = match length {
            0 => None,
            // SAFETY: a text of the caller's, by the header's rules.
            _ => Some(unsafe { ffi::path(data, length, "options->runtime_path") }?),
        };
        static PROVIDE: Once = Once::new();
        PROVIDE.call_once(|| {
            if let Some(folder) = locate::library_dir() {
                runtime::provide_search_dir(folder);
            }
        });
        let info = runtime::load(path.as_deref())?;
        ffi::give(out, limbeck_env { threads, version: info.version, path: info.path.to_string_lossy().into_owned() });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Version of the ONNX Runtime in use: "1.24.4".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_env_runtime_version(env: *const limbeck_env) -> limbeck_str {
    // SAFETY: `env` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(env, limbeck_str::EMPTY, |env| limbeck_str::view(&env.version)) }
}

/// File of the ONNX Runtime in use, or the bare name that the system's loader resolved.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_env_runtime_path(env: *const limbeck_env) -> limbeck_str {
    // SAFETY: `env` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(env, limbeck_str::EMPTY, |env| limbeck_str::view(&env.path)) }
}

/// Frees an env. NULL is allowed. ONNX Runtime stays loaded.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_env_free(env: *mut limbeck_env) {
    // SAFETY: `env` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(env) }
}
