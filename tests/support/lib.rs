//! What the tests share.

pub mod bare_runtime;
pub mod cache;
