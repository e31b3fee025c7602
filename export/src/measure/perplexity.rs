//! Perplexity of a bundle that writes text, through the sdk.

use anyhow::{Result, ensure};
use limbeck::{Error, Model};
use serde::Serialize;

use crate::progress::Reporter;

/// How surprised a model is by some texts together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextQuality {
    /// e to the negative mean log probability of a token, over the tokens of all texts.
    pub perplexity: f64,
    /// Negative log probability in bits, by the bytes of the tokens that were scored.
    pub bits_per_byte: f64,
    /// Tokens that were scored: of each text all but the first, which has nothing before it.
    pub tokens: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Windows that the texts were read in.
    pub windows: usize,
    /// Texts that were scored.
    pub texts: usize,
    /// Texts of fewer than two tokens, which were not.
    pub too_short: usize,
}

/// Scores each text by itself; one longer than the context is read in overlapping windows.
///
/// # Errors
/// No text of two tokens at least; those of the sdk.
pub fn text_quality(model: &Model, texts: &[String], reporter: &Reporter) -> Result<TextQuality> {
    let bar = reporter.bar("perplexity", texts.len() as u64, 0);
    let (mut log_probability, mut too_short) = (0.0, 0);
    let [mut tokens, mut bytes, mut windows] = [0; 3];
    for (done, text) in texts.iter().enumerate() {
        match model.perplexity(text) {
            Ok(found) => {
                log_probability += found.log_probability;
                tokens += found.tokens;
                bytes += found.bytes;
                windows += found.windows;
            }
            // The options are the default ones: only the text can be wrong.
            Err(Error::InvalidArgument(_)) => too_short += 1,
            Err(error) => return Err(error.into()),
        }
        bar.advance(done as u64 + 1, "scoring");
    }
    bar.finish();
    ensure!(tokens > 0, "no text has two tokens or more: nothing can be scored");
    Ok(TextQuality {
        perplexity: (-log_probability / tokens as f64).exp(),
        bits_per_byte: -log_probability / std::f64::consts::LN_2 / bytes.max(1) as f64,
        tokens,
        bytes,
        windows,
        texts: texts.len() - too_short,
        too_short,
    })
}
