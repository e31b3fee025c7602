//! ONNX graphs, written from weights without a tracer.
//!
//! One writer makes every architecture and head. [`Profile::Ort`] is already fused the way ONNX Runtime runs best;
//! [`Profile::Portable`] uses standard operators only, for other engines and for execution providers that take no
//! contrib operator.

mod activation;
mod attention;
mod blocks;
mod builder;
mod describe;
mod encoder_layer;
mod head;
mod heads;
mod linear;
mod model;
mod operators;
mod positions;
pub mod proto;
mod units;

pub use builder::{BuiltGraph, OPSET, WEIGHTS_NAME};
pub use describe::{Description, TensorDescription, describe};
pub use encoder_layer::{fits_int8_layers, fits_static_int8};
pub use head::{END_LOGITS, LAST_HIDDEN, LOGITS, POOLER_OUTPUT, SENTENCE_EMBEDDING, SENTENCE_LOGITS, START_LOGITS};
pub use heads::kept_head_size;
pub use linear::WeightMode;
pub(crate) use linear::matrix;
pub use model::{Parts, build, build_of_parts};
pub use operators::{Form, Operators, Part};
pub use units::{KeepFloat, Unit, units};

use serde::{Deserialize, Serialize};

use crate::checkpoint::Arrays;

/// For which engines a graph is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// ONNX Runtime's CPU kernels: its contrib operators where they are faster.
    #[default]
    Ort,
    /// Operators of `ai.onnx` only: [`PORTABLE_OPERATORS`].
    Portable,
}

/// Every operator that a graph of [`Profile::Portable`] may hold.
pub const PORTABLE_OPERATORS: [&str; 33] = [
    "ai.onnx:Add",
    "ai.onnx:Cast",
    "ai.onnx:Concat",
    "ai.onnx:CumSum",
    "ai.onnx:Div",
    "ai.onnx:DynamicQuantizeLinear",
    "ai.onnx:Equal",
    "ai.onnx:Erf",
    "ai.onnx:Gather",
    "ai.onnx:Gemm",
    "ai.onnx:Identity",
    "ai.onnx:LayerNormalization",
    "ai.onnx:MatMul",
    "ai.onnx:MatMulInteger",
    "ai.onnx:Max",
    "ai.onnx:Mul",
    "ai.onnx:QuantizeLinear",
    "ai.onnx:Range",
    "ai.onnx:ReduceL2",
    "ai.onnx:ReduceMax",
    "ai.onnx:ReduceMean",
    "ai.onnx:ReduceSum",
    "ai.onnx:Relu",
    "ai.onnx:Reshape",
    "ai.onnx:Shape",
    "ai.onnx:Slice",
    "ai.onnx:Softmax",
    "ai.onnx:Split",
    "ai.onnx:Squeeze",
    "ai.onnx:Sub",
    "ai.onnx:Tanh",
    "ai.onnx:Transpose",
    "ai.onnx:Unsqueeze",
];

/// What the graph should look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphOptions {
    /// For which engines.
    pub profile: Profile,
    /// Storage of matrices, and of the token table unless `table` says another.
    pub weights: WeightMode,
    /// Storage of the token table; that of [`WeightMode::Int8Layers`] is int8 with a scale for each row.
    pub table: Option<WeightMode>,
    /// What the parts that [`KeepFloat`] names are stored as.
    pub kept: WeightMode,
    /// What the nodes of [`Profile::Ort`] are.
    pub operators: Operators,
    /// Take an `attention_mask` and so padded batches; without it every row must be whole.
    pub mask: bool,
    /// Take `token_type_ids`; without them every token has type 0, folded into the position table.
    pub token_types: bool,
    /// Give the last hidden state too, for parity tests. The last layer is then computed for all tokens, also where
    /// the head reads the first one alone.
    pub hidden_output: bool,
    /// Take the keys and values of earlier tokens, and give those of all tokens (causal models): [`build`] says how.
    pub cache: bool,
    /// Take `logits_from`, and give the logits of this run's tokens from that one on (causal language models).
    pub logits_from: bool,
}
