//! Text to token ids for training, with the bundle's own tokenizer.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokenizers::Tokenizer;

use super::Example;

/// A tokenized example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedExample {
    /// Token ids with special tokens, at most the encoder's maximum.
    pub ids: Vec<i64>,
    /// Index of the label.
    pub label: usize,
}

/// Tokenized examples and what did not fit.
#[derive(Clone, Debug, Default)]
pub struct Encoding {
    /// In the order of the input.
    pub examples: Vec<EncodedExample>,
    /// Texts longer than the maximum.
    pub truncated: usize,
    /// Tokens that were cut from them.
    pub tokens_dropped: usize,
}

/// A tokenizer with a fixed maximum length.
pub struct Encoder {
    tokenizer: Tokenizer,
    max_tokens: usize,
}

impl Encoder {
    /// Reads `tokenizer.json`; its own truncation and padding are switched off.
    ///
    /// # Errors
    /// An unreadable tokenizer, or one whose ids do not fit a model of `vocab_size`.
    pub fn new(tokenizer: &Path, max_tokens: usize, vocab_size: usize) -> Result<Self> {
        let path = tokenizer.display();
        let mut tokenizer = Tokenizer::from_file(tokenizer).map_err(|e| anyhow::anyhow!("{e}")).with_context(|| {
            format!("{path} is not a tokenizer that HF tokenizers {} reads", crate::TOKENIZERS_VERSION)
        })?;
        tokenizer.with_truncation(None).map_err(|e| anyhow::anyhow!("{e}"))?;
        tokenizer.with_padding(None);
        let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0) as usize;
        if highest >= vocab_size {
            bail!("{path} has token id {highest}, but the model's vocabulary ends at {}", vocab_size - 1);
        }
        Ok(Self { tokenizer, max_tokens })
    }

    /// Encodes examples whose labels are among `labels`.
    pub fn encode(&self, examples: &[Example], labels: &[String]) -> Result<Encoding> {
        let mut encoding = Encoding::default();
        for example in examples {
            let label = labels.iter().position(|l| *l == example.label).with_context(|| {
                format!(
                    "{}: label \"{}\" is not among the model's: {}",
                    example.source,
                    example.label,
                    labels.join(", ")
                )
            })?;
            let tokens = self
                .tokenizer
                .encode(example.text.as_str(), true)
                .map_err(|e| anyhow::anyhow!("{}: cannot tokenize: {e}", example.source))?;
            let mut ids: Vec<i64> = tokens.get_ids().iter().map(|&id| i64::from(id)).collect();
            if ids.len() > self.max_tokens {
                encoding.truncated += 1;
                encoding.tokens_dropped += ids.len() - self.max_tokens;
                // The closing special token stays.
                let last = ids[ids.len() - 1];
                ids.truncate(self.max_tokens);
                ids[self.max_tokens - 1] = last;
            }
            encoding.examples.push(EncodedExample { ids, label });
        }
        Ok(encoding)
    }
}
