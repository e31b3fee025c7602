//! A graph as ONNX Runtime runs it, after its own fusions, written to a file: for the list of operators that a small build
//! must have, and for builds that read nothing but that.

use std::path::Path;

use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::session::{SessionOptions, configure, failed, lost, read_graph};
use super::{Provider, environment, weights};
use crate::bundle::WEIGHTS;
use crate::{Bundle, Result};

/// How far ONNX Runtime rewrites a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Optimization {
    /// Constants are computed, nodes that do nothing left out.
    Basic,
    /// And nodes become one where it has an operator for them.
    Extended,
    /// All it does, as sessions of this library are made.
    All,
}

/// The form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GraphFormat {
    /// ONNX, with its weights.
    Onnx,
    /// ONNX Runtime's own, the only one that its minimal builds read.
    Ort,
}

/// Writes the graph of a bundle to `path` as ONNX Runtime would run it on this processor, weights included. The file is
/// for the version of ONNX Runtime that wrote it; this library does not read it.
///
/// # Errors
/// [`Error::Bundle`](crate::Error::Bundle) for a graph that does not load, [`Error::Inference`](crate::Error::Inference)
/// if ONNX Runtime fails or the file cannot be written.
pub fn save_optimized(bundle: &Bundle, path: &Path, level: Optimization, format: GraphFormat) -> Result<()> {
    let bytes = bundle.bytes_of(WEIGHTS).ok_or_else(lost)?;
    let graph = read_graph(bundle)?;
    let options = SessionOptions::new(1, false, vec![Provider::Cpu], true);
    let builder = Session::builder(environment::environment(None)?).map_err(failed("set up a session"))?;
    let (builder, _) = configure(builder, &options).map_err(failed("set up a session"))?;
    let level = match level {
        Optimization::Basic => GraphOptimizationLevel::Level1,
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::Level3,
    };
    let format = if format == GraphFormat::Ort { "ORT" } else { "ONNX" };
    let mut builder = writing(builder, path, level, format).map_err(failed("set up a session"))?;
    // Copied, so that all of them are written.
    // SAFETY: `bytes` belong to the bundle, which outlives this function, and the session ends before the values do.
    let values = unsafe { weights::add(&mut builder, &graph.tensors, bytes, false) }
        .map_err(|message| crate::Error::Inference { action: "load the model", message })?;
    let session = builder.commit_from_memory(&graph.bytes).map_err(failed("load the model"))?;
    drop(session);
    drop(values);
    Ok(())
}

/// The session writes its graph when it is made.
fn writing(
    builder: SessionBuilder,
    path: &Path,
    level: GraphOptimizationLevel,
    format: &str,
) -> ort::Result<SessionBuilder> {
    let builder = builder.with_optimization_level(level)?.with_config_entry("session.save_model_format", format)?;
    Ok(builder.with_optimized_model_path(path)?)
}
