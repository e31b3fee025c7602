//! A smaller model of the same weights: without the tokens, feed-forward units, attention heads or layers that texts of its kind need least.

mod structure;
mod tokenizer;
mod vocabulary;

pub use structure::{StructureReport, trim_ffn, trim_heads, trim_layers};
pub use tokenizer::{TrimmedTokenizer, count_tokens};
pub use vocabulary::{VocabularyReport, trim_vocabulary};
