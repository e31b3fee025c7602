//! One run of ONNX Runtime.

use std::sync::Arc;

use ort::session::RunOptions;

use super::cancel::Interrupt;
use super::session::failed;
use crate::Result;

/// A run that can be ended from another thread.
pub(super) struct Run {
    pub(super) options: RunOptions,
}

impl Run {
    pub(super) fn new() -> Result<Arc<Run>> {
        Ok(Arc::new(Run { options: RunOptions::new().map_err(failed("run the model"))? }))
    }
}

impl Interrupt for Run {
    fn interrupt(&self) {
        // It only sets a flag, which cannot fail.
        let _ = self.options.terminate();
    }
}
