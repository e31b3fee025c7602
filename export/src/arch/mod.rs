//! The model family: configuration, parameter layout and forward passes (libtorch).
//!
//! One [`ModelConfig`] describes every architecture, so the forward pass is written once; what sets an
//! architecture apart (names in files, the start of a classification head) hangs on its [`Family`].

mod attention;
mod capture;
mod config;
mod dropout;
mod embeddings;
mod encoder;
mod flops;
mod head;
mod layout;
mod model;
mod presets;
mod store;
mod tokens;

pub use attention::visible_pairs;
pub use capture::{Capture, Layers, Projections};
pub use config::{Activation, AttentionPattern, Family, ModelConfig, Sharing};
pub use encoder::{Encoded, Encoder};
pub use flops::{ElectraCost, flops};
pub(crate) use head::{DenseActivation, HeadStart, masked_lm_activation};
pub use head::{Head, Pooling};
pub use layout::{Init, ParameterCount, Spec, count_parameters, parameter_layout};
pub use model::{Model, ModelOutput};
pub use presets::{Preset, preset, preset_names};
pub use store::{Params, Scope};
pub(crate) use store::{initial_value, new_head};
