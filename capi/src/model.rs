//! MODEL

use limbeck_sdk::{Bundle, Model};

use crate::bundle::limbeck_bundle;
use crate::env::limbeck_env;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::status::limbeck_status;

/// A model ready to run. A const handle may be used from many threads: as many
/// calls run at one time as the model has sessions, others wait their turn. The
/// env and the bundle it was opened with may be freed before it, and its results
/// outlive it.
pub struct limbeck_model {
    pub(crate) model: Model,
}

/// Options of limbeck_model_open. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_model_options {
    /// Size of this struct; set by limbeck_model_options_init.
    pub size: usize,
    /// Threads that one call may use inside an operator, up to 256. 0 or 1: the
    /// call runs on the thread that makes it, and no other is started.
    pub threads: u32,
    /// Calls that can run at one time, up to 256, each with working memory of
    /// its own; made when first needed. 0: one. A batch call spreads over all,
    /// on threads that end with the call.
    pub sessions: u32,
    /// 1: idle threads of a call spin, which is faster on an idle machine, slower
    /// on a busy one, and costs power. 0: they sleep.
    pub spinning: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C), size first, then four u32: no padding; zeros are the defaults.
unsafe impl Growing for limbeck_model_options {
    const FIRST_SIZE: usize = size_of::<usize>() + 4 * size_of::<u32>();
}

/// Fills `options` with the defaults; pass sizeof(limbeck_model_options).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_options_init(options: *mut limbeck_model_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Opens a bundle file, verifies it, and makes its model ready. The path is as
/// in limbeck_bundle_open. `options` may be NULL. Safe from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_open(
    env: *const limbeck_env,
    path: *const std::ffi::c_char,
    path_length: usize,
    options: *const limbeck_model_options,
    out: *mut *mut limbeck_model,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, path) = unsafe {
            let out = ffi::out(out, "out")?;
            // ONNX Runtime is process-wide; the handle is the proof that it is loaded.
            ffi::handle(env, "env")?;
            (out, ffi::path(path, path_length, "path")?)
        };
        // SAFETY: as above.
        let options = unsafe { ffi::read(options, "options") }?;
        open(Bundle::open(path)?, options, out)
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Makes the model of a bundle ready. The bundle stays yours. `options` may be
/// NULL. Safe from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_open_bundle(
    env: *const limbeck_env,
    bundle: *const limbeck_bundle,
    options: *const limbeck_model_options,
    out: *mut *mut limbeck_model,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bundle, options) = unsafe {
            let out = ffi::out(out, "out")?;
            ffi::handle(env, "env")?;
            (out, ffi::handle(bundle, "bundle")?, ffi::read(options, "options")?)
        };
        open(bundle.bundle.clone(), options, out)
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

fn open(bundle: Bundle, options: limbeck_model_options, out: &mut *mut limbeck_model) -> Result<(), Failure> {
    let limbeck_model_options { size: _, threads, sessions, spinning, reserved } = options;
    if spinning > 1 {
        return Err(Failure::argument(format!("options->spinning is {spinning} and must be 0 or 1")));
    }
    if reserved != 0 {
        return Err(Failure::argument(format!("options->reserved is {reserved} and must be 0")));
    }
    let mut builder = Model::builder().spinning(spinning == 1);
    if threads != 0 {
        builder = builder.threads(threads as usize);
    }
    if sessions != 0 {
        builder = builder.sessions(sessions as usize);
    }
    ffi::give(out, limbeck_model { model: builder.open_bundle(bundle)? });
    Ok(())
}

/// The bundle of a model, as a handle of your own that may outlive the model;
/// free it with limbeck_bundle_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_bundle(
    model: *const limbeck_model,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model) = unsafe { (ffi::out(out, "out")?, ffi::handle(model, "model")?) };
        ffi::give(out, limbeck_bundle { bundle: model.model.bundle().clone() });
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Runs the model on a text of its own, so that the first real call is not
/// slower than the others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_warm_up(
    model: *const limbeck_model,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
        let model = unsafe { ffi::handle(model, "model") }?;
        Ok(model.model.warm_up()?)
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Frees a model. NULL is allowed. No call may be using it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_free(model: *mut limbeck_model) {
    // SAFETY: `model` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(model) }
}
