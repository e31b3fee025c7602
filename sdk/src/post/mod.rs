//! Logits to answers: pure functions.

pub(crate) mod aggregate;
pub(crate) mod entities;
pub(crate) mod logistic;
pub(crate) mod pooling;
pub(crate) mod random;
pub(crate) mod sampling;
pub(crate) mod softmax;
pub(crate) mod span;
