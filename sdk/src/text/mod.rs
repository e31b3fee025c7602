//! Text to token ids, which of them go into which run, and back to places in the text.

mod bytes;
mod chunk;
mod encoding;
mod library;
mod offsets;
mod template;
mod tokenizer;
pub(crate) mod window;
mod word_piece;

pub(crate) use bytes::{StopSearch, TokenBytes, Utf8Stream};
pub(crate) use encoding::Encoded;
pub use encoding::Tokens;
pub use offsets::TextSpan;
pub(crate) use offsets::{locate, whole_clusters};
pub(crate) use template::Template;
pub(crate) use tokenizer::TextTokenizer;
