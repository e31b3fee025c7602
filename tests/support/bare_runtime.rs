//! ONNX Runtime without the sdk around it.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::SessionBuilder;

/// What sessions are made with, for comparing graphs without the sdk's text handling.
///
/// One process must use either this or the sdk: each makes ONNX Runtime's one environment.
///
/// # Panics
/// Without ONNX Runtime.
pub fn builder() -> SessionBuilder {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        let library = crate::cache::onnxruntime();
        let builder = ort::init_from(&library).expect("an ONNX Runtime library that loads");
        builder.with_name("limbeck-tests").with_telemetry(false).build().expect("ONNX Runtime's environment")
    });
    Session::builder(environment).and_then(|builder| Ok(builder.with_intra_threads(1)?)).expect("a session builder")
}

/// A session on a graph file.
///
/// # Panics
/// When the graph does not load: that is what the tests look for.
pub fn session(graph: &Path) -> Session {
    builder().commit_from_file(graph).expect("a graph that loads")
}
