//! A loaded model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::task::classify::{Classification, ClassifyOptions};
use crate::{Bundle, Result};

/// A model ready to run. `Send + Sync`: share it by reference or `Arc`.
#[derive(Debug)]
pub struct Model(());

impl Model {
    /// Opens a bundle file with the default settings.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Model::builder().open(path)
    }
    /// Settings to be changed before opening.
    pub fn builder() -> ModelBuilder {
        ModelBuilder::default()
    }
    /// The bundle behind the model.
    pub fn bundle(&self) -> &Bundle {
        todo!()
    }
    /// Runs the model once, so that the first real call is not slower.
    pub fn warm_up(&self) -> Result<()> {
        todo!()
    }
    /// Classifies one text with the default options.
    pub fn classify(&self, text: &str) -> Result<Classification> {
        self.classify_with(text, &ClassifyOptions::default())
    }
    /// Classifies one text.
    pub fn classify_with(&self, _text: &str, _options: &ClassifyOptions) -> Result<Classification> {
        todo!()
    }
    /// Classifies many texts; answers come in the order of the texts.
    pub fn classify_batch(&self, _texts: &[&str], _options: &ClassifyOptions) -> Result<Vec<Classification>> {
        todo!()
    }
}

/// Settings of a [`Model`].
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    threads: usize,
    spinning: bool,
    sessions: usize,
    runtime_path: Option<PathBuf>,
}

impl Default for ModelBuilder {
    fn default() -> Self {
        ModelBuilder { threads: 1, spinning: false, sessions: 1, runtime_path: None }
    }
}

impl ModelBuilder {
    /// Threads that one run may use inside an operator. Default 1.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
    /// Whether idle threads of a run spin instead of sleeping. Default off.
    pub fn spinning(mut self, spinning: bool) -> Self {
        self.spinning = spinning;
        self
    }
    /// The most sessions of the pool: how many calls can run at one time. Default 1.
    pub fn sessions(mut self, sessions: usize) -> Self {
        self.sessions = sessions;
        self
    }
    /// The ONNX Runtime library to load; see [`runtime::load`](crate::runtime::load).
    pub fn runtime_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.runtime_path = Some(path.into());
        self
    }
    /// Opens a bundle file.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Model> {
        self.open_bundle(Bundle::open(path)?)
    }
    /// Opens a bundle held in memory.
    pub fn open_bytes(self, bytes: impl Into<Arc<[u8]>>) -> Result<Model> {
        self.open_bundle(Bundle::from_bytes(bytes)?)
    }
    /// Opens a bundle that was opened before.
    pub fn open_bundle(self, _bundle: Bundle) -> Result<Model> {
        todo!()
    }
}
