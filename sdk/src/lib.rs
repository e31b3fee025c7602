//! limbeck: run distilled language models from one bundle.

pub mod bundle;
mod error;
mod model;
pub mod runtime;
mod task;

pub use bundle::{Bundle, BundleError, BundleWriter, Manifest, SectionInfo, SectionKind};
pub use error::{Code, Error, Result};
pub use model::{Model, ModelBuilder};
pub use runtime::cancel::Cancel;
pub use task::classify::{Classification, ClassifyOptions, Overflow, Scored, Timings, Usage};
