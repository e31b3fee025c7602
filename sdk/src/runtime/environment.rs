//! The process-wide environment of ONNX Runtime.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use ort::environment::{Environment, EnvironmentBuilder};
use ort::logging::LogLevel;

use super::{library, lock, log};
use crate::{Error, Result};

/// The ONNX Runtime library in use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeInfo {
    /// Its version: `1.24.4`.
    pub version: String,
    /// The file, or the bare name that the system's loader resolved.
    pub path: PathBuf,
}

struct Loaded {
    info: RuntimeInfo,
    environment: Environment,
}

static LOADED: OnceLock<Loaded> = OnceLock::new();
static LOADING: Mutex<()> = Mutex::new(());

/// Loads ONNX Runtime, or returns the one loaded before.
///
/// With a path, that file is loaded. Without one the library is looked for, in
/// this order: beside the running executable; in the folders given to
/// [`provide_search_dir`](super::provide_search_dir); by the system's loader
/// (`libonnxruntime.so.1`, `libonnxruntime.so` on Linux and Android,
/// `libonnxruntime.dylib` on Apple systems, `onnxruntime.dll` on Windows).
///
/// Versions from 1.24 on are accepted. Official builds from 1.29 on send usage
/// data to their maker unless the environment variable `ORT_DISABLE_TELEMETRY`
/// is `1` before they are loaded; without it such a library is refused. This is
/// the only environment variable that limbeck reads.
///
/// # Errors
/// [`Error::RuntimeNotFound`] if there is no library, and
/// [`Error::RuntimeIncompatible`] if it is too old, is no ONNX Runtime, would
/// send usage data, or if another library than the one asked for is in use.
pub fn load(path: Option<&Path>) -> Result<RuntimeInfo> {
    loaded_or_load(path).map(|loaded| loaded.info.clone())
}

/// The library loaded so far, if any.
pub fn loaded() -> Option<&'static RuntimeInfo> {
    LOADED.get().map(|loaded| &loaded.info)
}

/// The environment, loading the library if nobody has.
pub(crate) fn environment(path: Option<&Path>) -> Result<&'static Environment> {
    loaded_or_load(path).map(|loaded| &loaded.environment)
}

/// Changes from which level on ONNX Runtime gives messages, if it is loaded.
pub(super) fn set_log_level(level: log::LogLevel) {
    if let Some(loaded) = LOADED.get() {
        loaded.environment.set_log_level(log::to_ort(level));
    }
}

/// The API number of the library loaded: 24 for version 1.24.
pub(crate) fn api_version() -> u32 {
    loaded().and_then(|info| library::minor_version(&info.version)).unwrap_or(0)
}

fn loaded_or_load(path: Option<&Path>) -> Result<&'static Loaded> {
    let _one_at_a_time = lock(&LOADING);
    if let Some(loaded) = LOADED.get() {
        return match path {
            Some(path) if !library::same_file(path, &loaded.info.path) => Err(Error::RuntimeIncompatible {
                path: path.to_owned(),
                reason: format!(
                    "cannot be loaded, because this process already uses {} (version {}), and a process can hold one only",
                    loaded.info.path.display(),
                    loaded.info.version
                ),
            }),
            _ => Ok(loaded),
        };
    }
    let (info, builder) = library::open(path)?;
    let environment = build(builder, &info)?;
    Ok(LOADED.get_or_init(|| Loaded { info, environment }))
}

fn build(builder: EnvironmentBuilder, info: &RuntimeInfo) -> Result<Environment> {
    // Given a logger, ONNX Runtime does not write to stderr, and `ort` does
    // not look at the environment variable ORT_LOG.
    let environment = builder
        .with_name("limbeck")
        .with_telemetry(false)
        .with_logger(Arc::new(|level: LogLevel, _: &str, _: &str, place: &str, message: &str| {
            log::tell(log::from_ort(level), &format!("ONNX Runtime: {message} ({place})"));
        }))
        .build()
        .map_err(|error| Error::RuntimeIncompatible {
            path: info.path.clone(),
            reason: format!("cannot be started, perhaps because another part of this process did so before: {error}"),
        })?;
    environment.set_log_level(log::to_ort(log::lowest()));
    Ok(environment)
}
