//! The model family: configuration, parameter layout and forward passes (libtorch).
//!
//! Parameters carry their Hugging Face names everywhere, so that a checkpoint, a
//! gradient in a log line and a tensor in an error message are called the same.

mod attention;
mod config;
mod embeddings;
mod encoder;
mod heads;
mod layout;
mod store;

pub use attention::masked_bias;
pub use config::{Activation, Family, ModelConfig};
pub use encoder::{Capture, Encoded, Encoder};
pub use heads::{Classifier, ClassifierOutput, Head};
pub use layout::{ParameterCount, Spec, count_parameters, flops, parameter_layout};
pub(crate) use store::initial_value;
pub use store::{Params, Scope};
