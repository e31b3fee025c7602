//! What models do: one file a task, and how rows of tokens are run for all of
//! them.

pub(crate) mod classify;
mod rows;
