//! Where the CLI finds ONNX Runtime. (The sdk itself reads no such variable.)

use std::path::PathBuf;

use clap::Args;

/// The option shared by the verbs that run a bundle.
#[derive(Args)]
pub(super) struct Engine {
    /// ONNX Runtime library (libonnxruntime.so, 1.24 or newer); default: ORT_DYLIB_PATH, the one
    /// this program was built with, then beside the program and the system's
    #[arg(long, value_name = "LIBRARY")]
    pub runtime: Option<PathBuf>,
}

impl Engine {
    /// The library to load; `None` leaves the search to the sdk.
    pub(super) fn path(&self) -> Option<PathBuf> {
        if let Some(path) = &self.runtime {
            return Some(path.clone());
        }
        if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|p| !p.is_empty()) {
            return Some(path.into());
        }
        option_env!("LIMBECK_ORT_DYLIB").map(PathBuf::from).filter(|path| path.is_file())
    }

    /// Loads the library now, so that a missing one is the first thing a user hears of.
    pub(super) fn load(&self) -> anyhow::Result<()> {
        limbeck::runtime::load(self.path().as_deref())?;
        Ok(())
    }
}
