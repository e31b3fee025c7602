//! The manifest: what a bundle says about its model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a bundle says about its model. Stored as JSON in the section
/// `manifest.json`; fields unknown to this version are skipped, so that later
/// minor versions of the format can add some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the model: 1 to 128 of `A-Z a-z 0-9 . _ -`.
    pub id: String,
    /// Version of the model, for people.
    pub version: String,
    /// Build number, counted up with each build of the same id.
    pub build: u64,
    /// What the model does.
    pub task: Task,
    /// What the model is.
    pub architecture: Architecture,
    /// Languages the model was made for, as BCP 47 tags.
    pub languages: Vec<String>,
    /// The most tokens of one input, special tokens included.
    pub max_tokens: usize,
    /// What turns logits into probabilities.
    pub activation: Activation,
    /// How the labels of [`Task::TokenClassification`] mark where an entity begins and ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tagging: Option<TagScheme>,
    /// The vectors of [`Task::SentenceEmbedding`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub embedding: Option<EmbeddingSpec>,
    /// Which labels of [`Task::PairClassification`] say that the first text implies the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entailment: Option<EntailmentSpec>,
    /// What [`Task::Generation`] needs beside the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<GenerationSpec>,
    /// The graph's inputs.
    pub inputs: Vec<TensorSpec>,
    /// The graph's outputs.
    pub outputs: Vec<TensorSpec>,
    /// How texts may be run together.
    pub batching: Batching,
    /// Operator set version by domain (`ai.onnx`, `com.microsoft`).
    pub opset: BTreeMap<String, u32>,
    /// Operators used, as `domain:Name`, sorted.
    pub operators: Vec<String>,
    /// What is needed to run the model.
    pub requires: Requires,
    /// The tokenizer's facts.
    pub tokenizer: TokenizerSpec,
    /// Where the model came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
    /// Measured quality.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// Measured speed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How weights are stored, and what that costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
}

/// What a model does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Task {
    /// One text in, a score for each label out.
    TextClassification,
    /// Two texts in, a score for each label out.
    PairClassification,
    /// A label for each token: entities, parts of speech.
    TokenClassification,
    /// A question and a text in, the piece of the text that answers it out.
    QuestionAnswering,
    /// A text in, a vector out.
    SentenceEmbedding,
    /// A text with masked tokens in, what could stand there out.
    FillMask,
    /// Two texts in, how likely the first stands before the second out.
    Order,
    /// A text in, how likely each of its tokens was put there in place of another out.
    Replaced,
    /// A text in, the tokens that may follow it out; the graph keeps keys and values of earlier tokens.
    Generation,
    /// A task this version of the library does not know.
    #[serde(untagged)]
    Other(String),
}

impl Task {
    /// The name as it stands in the manifest.
    pub fn name(&self) -> &str {
        match self {
            Task::TextClassification => "text-classification",
            Task::PairClassification => "pair-classification",
            Task::TokenClassification => "token-classification",
            Task::QuestionAnswering => "question-answering",
            Task::SentenceEmbedding => "sentence-embedding",
            Task::FillMask => "fill-mask",
            Task::Order => "order",
            Task::Replaced => "replaced",
            Task::Generation => "generation",
            Task::Other(name) => name,
        }
    }
}

/// What turns a model's logits into probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Activation {
    /// Exactly one label holds: probabilities add up to 1.
    Softmax,
    /// Each label holds or not, independently of the others.
    Sigmoid,
    /// The logits are the answer (regression).
    None,
}

/// How the labels of tokens mark entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TagScheme {
    /// `B-X` begins an entity X, `I-X` goes on, `O` is outside.
    Bio,
    /// As BIO, with `E-X` for the last and `S-X` for a single token or word.
    Bioes,
    /// Every label is a kind of its own: tokens side by side with the same label belong together.
    Plain,
}

/// How token vectors become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean,
    /// The first token's.
    Cls,
    /// The largest value of each dimension.
    Max,
}

/// The vectors of an embedding model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmbeddingSpec {
    /// Values of a vector.
    pub dimensions: usize,
    /// How token vectors become one. Done by the graph if its first output is `[batch, hidden]`, by the library
    /// if it is `[batch, length, hidden]`.
    pub pooling: Pooling,
    /// Whether vectors are scaled to length 1.
    pub normalize: bool,
}

/// The labels of a model that was trained to tell what follows from a text (NLI).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntailmentSpec {
    /// Index of the label "the first text implies the second".
    pub entailment: usize,
    /// Index of the label against which it is weighed when several labels can hold: "contradiction", or "not
    /// entailment" where there are only two.
    pub contradiction: usize,
}

/// What a causal language model needs to be run token by token. Layers and heads are those of [`Architecture`], the
/// context length is [`Manifest::max_tokens`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationSpec {
    /// Values of one key or value of one head.
    pub head_size: usize,
    /// Tokens that end a text.
    pub eos_ids: Vec<u32>,
    /// The token that stands before a text of its own, if the model was trained with one: `<|endoftext|>` of GPT-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bos_id: Option<u32>,
}

/// How texts may be run together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Batching {
    /// Texts may be padded to one length and run as one batch: the graph masks
    /// padding and no value depends on batch mates.
    Padded,
    /// Each text is run alone, because the graph has no mask or computes one
    /// quantization scale over its whole input.
    Single,
}

/// Shape of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    /// `bert`, `mpnet`, ...
    pub family: String,
    /// Number of transformer layers.
    pub layers: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Attention heads a layer.
    pub attention_heads: usize,
    /// Width of the feed-forward part.
    pub intermediate_size: usize,
    /// Rows of the token table; every token id is below it.
    pub vocab_size: usize,
    /// Number of parameters of the whole network.
    pub parameters: u64,
}

/// An input or output of the graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSpec {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    #[serde(rename = "type")]
    pub element: ElementType,
    /// Names of the axes, outermost first: `["batch","length"]`.
    pub axes: Vec<String>,
}

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ElementType {
    /// 32-bit signed integers.
    Int32,
    /// 64-bit signed integers.
    Int64,
    /// 32-bit floating point.
    Float32,
}

/// What is needed to run the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requires {
    /// Lowest version of this library, as `major.minor.patch`.
    pub sdk: String,
    /// Lowest ONNX Runtime API number (24 is ONNX Runtime 1.24).
    pub onnxruntime_api: u32,
}

/// The tokenizer's facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenizerSpec {
    /// The library that wrote the file and reads it: `tokenizers`.
    pub library: String,
    /// Its version.
    pub version: String,
    /// Id used to pad short texts of a batch.
    pub pad_id: u32,
    /// Id of the token that stands for a word to be guessed; for [`Task::FillMask`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_id: Option<u32>,
}

/// Where a model came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// SHA-256 of the teacher's weights, in hex.
    pub teacher_sha256: String,
    /// SHA-256 of the recipe, in hex.
    pub recipe_sha256: String,
    /// The program that wrote the bundle and its version.
    pub exporter: String,
}

/// Measured quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// `accuracy`, `f1`, ...
    pub metric: String,
    /// The split it was measured on: `test`.
    pub split: String,
    /// The value.
    pub value: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end of the 95% interval.
    pub high: f64,
    /// Number of examples.
    pub examples: u64,
}

/// Measured speed of one text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median, in milliseconds.
    pub p50_ms: f64,
    /// Threads used.
    pub threads: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// The machine, in words.
    pub machine: String,
}

/// How weights are stored, and what that costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// `none`; `int8-by-token`: an activation scale for each token, so that an answer depends on its text alone, and
    /// layers that give the same bits on every processor; `ternary`: the same with weights of -1, 0 and 1;
    /// `int8-dynamic`: one activation scale for the whole input; `int8-static`: activation scales that were found
    /// beforehand; `int8-weights` and `int4-weights`: weights with a scale for each block; `fp16`: weights of 16 bits.
    /// `-mixed` at the end: some layers or the token table are stored with more bits.
    pub mode: String,
    /// How the token table is stored, where the mode does not say it: `fp32`, `fp16`, `int8` or `int4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Weights of a block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u32>,
    /// What is the same whatever a text is run with: `rounding`, its answer but for the last digits of fp32; `alone`,
    /// its answer because each text is run by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<String>,
    /// What is the same on all processors: `rounding`, answers but for the last digits of fp32; `layers`, the bits
    /// that layers make of the same input, and else rounding; `codes`, neither: activations may be rounded to other
    /// codes, or not be rounded at all, where a processor has other kernels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processors: Option<String>,
    /// Loss of quality against full precision, in the unit of
    /// [`Quality::value`]; for a model that writes text, by what share of
    /// it its perplexity is higher. Negative when it became better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured_drop: Option<f64>,
}
