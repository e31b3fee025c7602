//! A smaller model of the same weights: without the tokens that texts of its kind do not have.

mod tokenizer;
mod vocabulary;

pub use tokenizer::{TrimmedTokenizer, count_tokens};
pub use vocabulary::{VocabularyReport, trim_vocabulary};
