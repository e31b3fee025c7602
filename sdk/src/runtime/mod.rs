//! ONNX Runtime, once for the whole process.
//!
//! A process can hold one ONNX Runtime only: the first library loaded serves
//! every model until the process ends. [`load`] says which one that is;
//! [`Model::open`](crate::Model::open) calls it when nobody has.
//!
//! Nothing is read from the environment, with one exception, which is
//! documented at [`load`]. Nothing is printed: log messages go to the function
//! given to [`set_logger`], or nowhere, because every failure comes back as an
//! [`Error`](crate::Error).
//! With one thread a run (the default) no thread is started either.

use std::sync::{Mutex, MutexGuard, PoisonError};

mod buffer;
pub(crate) mod cache;
pub(crate) mod cancel;
pub(crate) mod deadline;
pub(crate) mod decoder;
pub(crate) mod environment;
mod graph;
#[cfg(feature = "int8-kernel")]
mod int8_layers;
mod lending;
mod library;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod memory;
mod optimized;
pub(crate) mod pool;
pub(crate) mod prefixes;
mod protobuf;
pub(crate) mod provider;
mod run;
pub(crate) mod session;
mod sync;
#[cfg(feature = "int8-kernel")]
mod ternary_rows;
mod weights;

pub use environment::{RuntimeInfo, load, loaded};
pub use library::provide_search_dir;
pub use log::{LogLevel, set_logger};
pub use memory::MemoryPlan;
pub use optimized::{GraphFormat, Optimization, save_optimized};
pub use provider::{Provider, ProviderReport};

/// Locks a mutex whether or not a thread has panicked while holding it: the
/// states guarded in this crate are whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
