//! One file a task.
pub mod classify;
