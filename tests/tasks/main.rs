//! What each task of the sdk answers, against libtorch and the plainest way to the same result.

mod answers;
mod batches;
mod calibration;
mod classes;
mod embeddings;
mod generation;
mod hostile_layers;
mod int8;
mod masks;
mod order;
mod prompts;
mod replaced;
mod rounded_training;
mod self_tests;
mod shrunk;
mod tags;
mod texts;
mod trimmed;
mod two_texts;
mod weights;
