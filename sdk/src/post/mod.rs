//! Logits to answers: pure functions.

pub(crate) mod aggregate;
pub(crate) mod softmax;
