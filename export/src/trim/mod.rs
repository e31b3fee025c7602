//! A smaller model of the same weights: without the tokens, feed-forward units, attention heads or layers that texts of
//! its kind need least.

mod structure;
mod tokenizer;
mod vocabulary;

use std::path::Path;

use anyhow::{Result, ensure};

pub(crate) use structure::{Data, Part, trim_part};
pub use structure::{StructureReport, trim_ffn, trim_heads, trim_layers};
pub use tokenizer::{TrimmedTokenizer, count_tokens};
pub use vocabulary::{VocabularyReport, trim_vocabulary};

/// Refuses to write a smaller model over the whole one.
fn other_folder(folder: &Path, out: &Path) -> Result<()> {
    let same = folder.canonicalize().ok().zip(out.canonicalize().ok()).is_some_and(|(a, b)| a == b);
    ensure!(!same, "{} is the model itself: give another folder with --out", out.display());
    Ok(())
}
