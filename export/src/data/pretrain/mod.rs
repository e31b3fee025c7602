//! What language models are pretrained on: documents in tokens, cut into segments, pairs and windows.

mod documents;
mod pairs;
mod vocabulary;
mod windows;

pub use documents::{Documents, read_documents};
pub use pairs::{Frame, Segments, SentenceTask};
pub use vocabulary::{continues_word, end_of_text};
pub use windows::packed_windows;
