//! How surprised a causal model is by a text.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::options::{Timings, call_limits};
use super::scoring;
use crate::{Cancel, Error, Model, Result};

/// Options of [`Model::perplexity_with`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PerplexityOptions {
    /// Tokens of context that the first token scored in each further window has at least, where a text is longer than
    /// the model's context. Default 0: half of the context.
    pub stride: usize,
    /// Score the first token too, after the token that texts begin with. Default no: it has nothing before it, and PyPI
    /// transformers leaves it out.
    pub from_start: bool,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

call_limits!(PerplexityOptions);

impl PerplexityOptions {
    /// Sets the least context of a token in a further window.
    pub fn stride(mut self, tokens: usize) -> Self {
        self.stride = tokens;
        self
    }

    /// Scores the first token too.
    pub fn from_start(mut self, from_start: bool) -> Self {
        self.from_start = from_start;
        self
    }
}

/// How likely a model finds a text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Perplexity {
    /// e to the negative mean log probability of a token.
    pub perplexity: f64,
    /// Negative log probability in bits, by the bytes of the tokens that were scored; comparable between tokenizers.
    pub bits_per_byte: f64,
    /// Natural log of the probability of the tokens scored.
    pub log_probability: f64,
    /// Tokens that were scored.
    pub tokens: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Windows that the text was read in; 1 unless it is longer than the context.
    pub windows: usize,
    /// Time by stage.
    #[serde(flatten)]
    pub timings: Timings,
}

impl Model {
    /// How surprised the model is by a text, with the default options.
    ///
    /// # Errors
    /// Those of [`perplexity_with`](Model::perplexity_with).
    pub fn perplexity(&self, text: &str) -> Result<Perplexity> {
        self.perplexity_with(text, &PerplexityOptions::default())
    }

    /// How surprised the model is by a text. A text longer than the context is read in overlapping windows, each token
    /// scored once.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model writes no text; [`Error::InvalidArgument`] for a text of too few tokens, for a
    /// stride that is no less than the context, and for `from_start` where the model has no token that texts begin
    /// with; [`Error::Cancelled`], [`Error::DeadlineExceeded`], [`Error::Inference`].
    pub fn perplexity_with(&self, text: &str, options: &PerplexityOptions) -> Result<Perplexity> {
        let causal = self.causal()?;
        let outcome = (|| -> Result<Perplexity> {
            let (start, limits) = (Instant::now(), options.limits());
            let mut ids: Vec<u32> = match options.from_start {
                false => self.tokenizer().one().before().collect(),
                true => {
                    let bos = self.bundle().manifest().generation.as_ref().and_then(|spec| spec.bos_id);
                    let missing = || Error::InvalidArgument("the model has no token that texts begin with".to_owned());
                    vec![bos.ok_or_else(missing)?]
                }
            };
            ids.extend(self.tokenizer().ids(text, &limits)?.ids);
            let context = self.bundle().manifest().max_tokens;
            let overlap = (if options.stride == 0 { context / 2 } else { options.stride }).max(1);
            if overlap >= context {
                return Err(Error::InvalidArgument(format!(
                    "stride is {overlap} and must be less than the context of {context} tokens"
                )));
            }
            if ids.len() < 2 {
                return Err(Error::InvalidArgument(
                    "the text has too few tokens: there must be one to score and one before it".to_owned(),
                ));
            }
            let tokenize = start.elapsed();
            let start = Instant::now();
            let (mut log_probability, mut done, mut windows) = (0.0, 1, 0);
            while done < ids.len() {
                let from = if windows == 0 { 0 } else { done - overlap };
                let window = ids.get(from..ids.len().min(from + context)).unwrap_or_default();
                let found = scoring::log_probabilities(self, window, done - from, &limits)?;
                log_probability += found.iter().sum::<f64>();
                done = from + window.len();
                windows += 1;
            }
            let (tokens, bytes) =
                (ids.len() - 1, ids.iter().skip(1).map(|&id| causal.bytes.get(id).len()).sum::<usize>());
            Ok(Perplexity {
                perplexity: (-log_probability / tokens as f64).exp(),
                bits_per_byte: -log_probability / std::f64::consts::LN_2 / bytes.max(1) as f64,
                log_probability,
                tokens,
                bytes,
                windows,
                timings: Timings { tokenize, inference: start.elapsed(), post: Duration::ZERO },
            })
        })();
        self.count(&outcome);
        outcome
    }
}
