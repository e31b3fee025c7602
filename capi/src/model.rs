//! MODEL

use std::ffi::c_char;
use std::sync::{Arc, OnceLock};

use limbeck_sdk::runtime::Provider;
use limbeck_sdk::{Model, ModelBuilder};

use crate::bundle::limbeck_bundle;
use crate::env::limbeck_env;
use crate::error::limbeck_error;
use crate::ffi::{self, Failure, Growing, guard};
use crate::open::{bundle_options, limbeck_bundle_options};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// A model ready to run. A const handle may be used from many threads: as many
/// calls run at one time as the model has sessions, others wait their turn. The
/// env and the bundle it was opened with may be freed before it, and its results
/// outlive it.
pub struct limbeck_model {
    pub(crate) model: Arc<Model>,
    providers: OnceLock<String>,
    mask_token: OnceLock<String>,
}

impl limbeck_model {
    pub(crate) fn new(model: Arc<Model>) -> limbeck_model {
        limbeck_model { model, providers: OnceLock::new(), mask_token: OnceLock::new() }
    }
}

/// Options of limbeck_model_open. Only read during the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_model_options {
    /// Size of this struct; set by limbeck_model_options_init.
    pub size: usize,
    /// Threads that one call may use inside an operator, up to 256. 1: the call
    /// runs on the thread that makes it, and no other is started. 0: as the env
    /// says, or else 1.
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
    /// The most private memory, in bytes, that the model may use with all
    /// sessions at work on the longest texts: kept by smaller batches, fewer
    /// sessions and slower weights, or else LIMBECK_MEMORY_BUDGET. 0: no limit.
    pub memory_budget: u64,
    /// Backends to use, the best first: "cpu", "xnnpack", "nnapi", "coreml",
    /// "qnn", "cuda". What cannot be had is no error: see
    /// limbeck_model_providers_json. NULL: the CPU, which is always the last resort.
    pub providers: *const limbeck_str,
    /// How many providers there are.
    pub provider_count: usize,
    /// What must hold for the bundle, and what helps to read it. NULL: defaults.
    pub bundle: *const limbeck_bundle_options,
}

// SAFETY: repr(C), size first; on 64-bit systems no padding, on others only where
// zeros are written by `init`; every field takes any bits; zeros are the defaults.
unsafe impl Growing for limbeck_model_options {
    const FIRST_SIZE: usize = size_of::<limbeck_model_options>();
}

/// What limbeck_model_self_test found. Yours, plain numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_self_test {
    /// Size of this struct; set by limbeck_self_test_init.
    pub size: usize,
    /// Inputs that were run; 0 if the bundle has none.
    pub vectors: usize,
    /// The largest difference found, as part of what was expected.
    pub largest_difference: f32,
    /// The most that the bundle allows.
    pub tolerance: f32,
}

// SAFETY: repr(C), size first, no padding; every field takes any bits.
unsafe impl Growing for limbeck_self_test {
    const FIRST_SIZE: usize = size_of::<limbeck_self_test>();
}

/// How much memory a model is expected to use, with the budget kept. Yours, plain numbers.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_memory {
    /// Size of this struct; set by limbeck_memory_init.
    pub size: usize,
    /// The budget that was set, in bytes; 0: none.
    pub budget: u64,
    /// The most private memory expected, in bytes. Weights mapped from a file are
    /// not in it, nor are texts, answers, and ONNX Runtime's own code.
    pub expected: u64,
    /// Sessions that may run at one time.
    pub sessions: usize,
    /// Tokens of one batch, padding included; a text alone may have more.
    pub batch_tokens: usize,
    /// 1: weights are rearranged for speed, which takes the memory of a copy.
    pub prepacked: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: as for limbeck_model_options.
unsafe impl Growing for limbeck_memory {
    const FIRST_SIZE: usize = size_of::<limbeck_memory>();
}

/// What a model has done since it was opened. Yours, plain numbers, which only grow.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct limbeck_metrics {
    /// Size of this struct; set by limbeck_metrics_init.
    pub size: usize,
    /// Calls that reached the model: one for a text, one for a batch.
    pub calls: u64,
    /// Calls that failed while running; those cancelled or out of time among them.
    pub failures: u64,
    /// Runs of the graph.
    pub runs: u64,
    /// Windows that were run: one for a text, more for a long one.
    pub rows: u64,
    /// Tokens of those windows.
    pub tokens: u64,
    /// Tokens of padding beside them.
    pub padding: u64,
    /// Microseconds that runs took, waiting for a session included.
    pub run_micros: u64,
}

// SAFETY: as for limbeck_model_options.
unsafe impl Growing for limbeck_metrics {
    const FIRST_SIZE: usize = size_of::<limbeck_metrics>();
}

/// Prepares options to be changed, or a struct to be filled; pass its sizeof.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_options_init(options: *mut limbeck_model_options, size: usize) {
    // SAFETY: `options` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(options, size) }
}

/// Prepares `report` to be filled; pass sizeof(limbeck_self_test).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_self_test_init(report: *mut limbeck_self_test, size: usize) {
    // SAFETY: `report` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(report, size) }
}

/// Prepares `memory` to be filled; pass sizeof(limbeck_memory).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_memory_init(memory: *mut limbeck_memory, size: usize) {
    // SAFETY: `memory` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(memory, size) }
}

/// Prepares `metrics` to be filled; pass sizeof(limbeck_metrics).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_metrics_init(metrics: *mut limbeck_metrics, size: usize) {
    // SAFETY: `metrics` is NULL or has `size` bytes, by its documentation.
    unsafe { ffi::init(metrics, size) }
}

/// Opens a bundle file, verifies it, and makes its model ready. The path is as
/// in limbeck_bundle_open. `options` may be NULL. Safe from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_open(
    env: *const limbeck_env,
    path: *const c_char,
    path_length: usize,
    options: *const limbeck_model_options,
    out: *mut *mut limbeck_model,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        unsafe {
            let out = ffi::out(out, "out")?;
            // ONNX Runtime is process-wide; the handle is the proof that it is loaded.
            let env = ffi::handle(env, "env")?;
            let path = ffi::path(path, path_length, "path")?;
            let options: limbeck_model_options = ffi::read(options, "options")?;
            let model = builder(env, &options)?.open(path)?;
            ffi::give(out, limbeck_model::new(Arc::new(model)));
            Ok(())
        }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Makes the model of a bundle ready, which may have been opened in any way. The
/// bundle stays yours. `options` may be NULL; keys and lowest build in them are
/// checked, it is too late to decrypt. Safe from any thread.
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
        unsafe {
            let out = ffi::out(out, "out")?;
            let (env, bundle) = (ffi::handle(env, "env")?, ffi::handle(bundle, "bundle")?);
            let model = builder(env, &ffi::read(options, "options")?)?.open_bundle(bundle.bundle.clone())?;
            ffi::give(out, limbeck_model::new(Arc::new(model)));
            Ok(())
        }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// # Safety
/// The pointers of `options` are NULL or as the header says.
unsafe fn builder(env: &limbeck_env, options: &limbeck_model_options) -> Result<ModelBuilder, Failure> {
    ffi::reserved("options->reserved", options.reserved)?;
    // SAFETY: by this function's contract.
    let (names, options_of_bundle) = unsafe {
        let names = ffi::texts(options.providers, options.provider_count, "options->providers")?;
        (names, bundle_options(options.bundle, "options->bundle")?)
    };
    let providers = names.into_iter().map(str::parse::<Provider>).collect::<limbeck_sdk::Result<Vec<_>>>()?;
    let mut builder: ModelBuilder = Model::builder()
        .spinning(ffi::switch("options->spinning", options.spinning)?)
        .providers(providers)
        .bundle_options(options_of_bundle);
    if let Some(threads) = [options.threads, env.threads].into_iter().find(|threads| *threads != 0) {
        builder = builder.threads(threads as usize);
    }
    if options.sessions != 0 {
        builder = builder.sessions(options.sessions as usize);
    }
    if options.memory_budget != 0 {
        builder = builder.memory_budget(options.memory_budget);
    }
    Ok(builder)
}

/// The bundle of a model, as a handle of your own that may outlive the model.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_bundle(
    model: *const limbeck_model,
    out: *mut *mut limbeck_bundle,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model) = unsafe { (ffi::out(out, "out")?, ffi::handle(model, "model")?) };
        ffi::give(out, limbeck_bundle::new(model.model.bundle().clone()));
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Runs the model on a text of its own, so that the first real call is not slower.
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

/// Runs the inputs that were packed with the model and compares what comes of them
/// with what is expected: LIMBECK_SELF_TEST if this device gives something else.
/// `report` may be NULL; it is filled on success.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_self_test(
    model: *const limbeck_model,
    report: *mut limbeck_self_test,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
        let model = unsafe { ffi::handle(model, "model") }?;
        // SAFETY: `report` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::check_room(report, "report") }?;
        let found = model.model.self_test()?;
        if report.is_null() {
            return Ok(());
        }
        let limbeck_sdk::SelfTestReport { vectors, largest_difference, tolerance, .. } = found;
        // SAFETY: as above.
        unsafe { ffi::write(report, "report", &limbeck_self_test { size: 0, vectors, largest_difference, tolerance }) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// How many tokens a text has for this model, special tokens included and uncut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_count_tokens(
    model: *const limbeck_model,
    text: *const c_char,
    length: usize,
    out: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, model, text) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::handle(model, "model")?, ffi::text(text, length, "text")?)
        };
        *out = model.model.tokenize(text)?.ids.len();
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// How many floats an embedding of this model has; 0 if it makes none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_embedding_size(model: *const limbeck_model) -> usize {
    // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(model, 0, |model| embedding_size(&model.model)) }
}

pub(crate) fn embedding_size(model: &Model) -> usize {
    model.bundle().manifest().embedding.as_ref().map_or(0, |spec| spec.dimensions)
}

/// What stands in a text for a word to be guessed: "[MASK]"; empty if it guesses none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_mask_token(model: *const limbeck_model) -> limbeck_str {
    // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
    unsafe {
        ffi::get(model, limbeck_str::EMPTY, |model| {
            limbeck_str::view(model.mask_token.get_or_init(|| model.model.mask_token().unwrap_or_default()))
        })
    }
}

/// Which providers were asked for and what became of them: `{"requested": ["cuda"],
/// "refused": [{"provider": "cuda", "reason": "..."}], "nodes":
/// {"CPUExecutionProvider": 42}}`; without nodes all run on the CPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_providers_json(model: *const limbeck_model) -> limbeck_str {
    // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
    unsafe {
        ffi::get(model, limbeck_str::EMPTY, |model| {
            limbeck_str::view(model.providers.get_or_init(|| providers_json(&model.model)))
        })
    }
}

fn providers_json(model: &Model) -> String {
    let report = model.providers();
    let requested: Vec<&str> = report.requested.iter().map(|provider| provider.name()).collect();
    let refused: Vec<_> = report
        .refused
        .iter()
        .map(|(provider, reason)| serde_json::json!({ "provider": provider.name(), "reason": reason }))
        .collect();
    serde_json::json!({ "requested": requested, "refused": refused, "nodes": report.nodes }).to_string()
}

/// Fills `out` with how much memory the model is expected to use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_memory(
    model: *const limbeck_model,
    out: *mut limbeck_memory,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
        let plan = unsafe { ffi::handle(model, "model") }?.model.memory();
        let memory = limbeck_memory {
            size: 0,
            budget: plan.budget.unwrap_or(0),
            expected: plan.expected,
            sessions: plan.sessions,
            batch_tokens: plan.batch_tokens,
            prepacked: plan.prepacked.into(),
            reserved: 0,
        };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &memory) }
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Fills `out` with what the model has done so far.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_model_metrics(
    model: *const limbeck_model,
    out: *mut limbeck_metrics,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: `model` is NULL or a live handle (rule 3 of the header).
        let metrics = unsafe { ffi::handle(model, "model") }?.model.metrics();
        let limbeck_sdk::Metrics { calls, failures, runs, rows, tokens, padding, run_micros, .. } = metrics;
        let metrics = limbeck_metrics { size: 0, calls, failures, runs, rows, tokens, padding, run_micros };
        // SAFETY: `out` is NULL or a struct of its own size, by the header's rules.
        unsafe { ffi::write(out, "out", &metrics) }
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
