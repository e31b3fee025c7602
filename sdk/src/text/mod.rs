//! Text to token ids, and which of them go into which run.

mod chunk;
mod tokenizer;
pub(crate) mod window;

pub(crate) use tokenizer::TextTokenizer;
pub use tokenizer::Tokens;
