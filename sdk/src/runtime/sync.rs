//! What [`lending`](super::lending) is built on, so that `tests/loom` can put loom's in its place.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
