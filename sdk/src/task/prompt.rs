//! Prompts with examples, as GPT-3 was evaluated (Brown 2020, section 2.4): what is asked, and what comes of it.

use std::time::Instant;

use serde::Serialize;

use super::options::{Timings, call_limits};
use crate::Cancel;

/// A text to be completed: an instruction, examples with their completions, and a query; any of the first two may be
/// missing (zero-shot, one-shot, few-shot).
///
/// The parts are put together as they are, with the separator between them, so that the text is what was meant to the
/// byte. The model reads instruction and examples once, and goes on from there for every query, as long as what it
/// read is among what [`ModelBuilder::prefix_cache`](crate::ModelBuilder::prefix_cache) has room for.
///
/// ```
/// let prompt = limbeck::Prompt::new("Q: What is 17 plus 4?\nA:")
///     .instruction("Add the numbers.")
///     .example("Q: What is 98 plus 45?\nA:", " 143")
///     .example("Q: What is 2 plus 2?\nA:", " 4");
/// assert!(prompt.text().starts_with("Add the numbers.\n\nQ: What is 98"));
/// assert!(prompt.text().ends_with("A: 4\n\nQ: What is 17 plus 4?\nA:"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    instruction: String,
    pub(super) examples: Vec<(String, String)>,
    pub(super) query: String,
    separator: String,
    pub(super) max_tokens: Option<usize>,
    pub(super) all_examples: bool,
}

impl Prompt {
    /// A prompt of a query alone.
    pub fn new(query: impl Into<String>) -> Prompt {
        Prompt {
            instruction: String::new(),
            examples: Vec::new(),
            query: query.into(),
            separator: "\n\n".to_owned(),
            max_tokens: None,
            all_examples: false,
        }
    }

    /// Puts an instruction first.
    pub fn instruction(mut self, text: impl Into<String>) -> Self {
        self.instruction = text.into();
        self
    }

    /// Adds an example: a text as the query, and its completion, usually with the space before it.
    pub fn example(mut self, text: impl Into<String>, completion: impl Into<String>) -> Self {
        self.examples.push((text.into(), completion.into()));
        self
    }

    /// What stands between instruction, examples and query. Default two line ends.
    pub fn separator(mut self, separator: impl Into<String>) -> Self {
        self.separator = separator.into();
        self
    }

    /// The same prompt for another query.
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.query = query.into();
        self
    }

    /// The most tokens of the prompt. Examples that do not fit are left out, the last ones first, and reported.
    /// Default: the context less what is to follow.
    pub fn max_tokens(mut self, tokens: usize) -> Self {
        self.max_tokens = Some(tokens);
        self
    }

    /// Makes an example that does not fit an error, [`Error::TooLong`](crate::Error::TooLong).
    pub fn all_examples(mut self) -> Self {
        self.all_examples = true;
        self
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.shared(self.examples.len()) + &self.query
    }

    /// What stands before the query with the first `examples` examples.
    pub(super) fn shared(&self, examples: usize) -> String {
        let mut text = String::new();
        if !self.instruction.is_empty() {
            text.push_str(&self.instruction);
            text.push_str(&self.separator);
        }
        for (example, completion) in self.examples.iter().take(examples) {
            text.push_str(example);
            text.push_str(completion);
            text.push_str(&self.separator);
        }
        text
    }
}

/// How completions are compared (GPT-3, section 2.4). All are differences of natural logs.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Scoring {
    /// The log probability of the completion, the sum over its tokens.
    Sum,
    /// That sum by the number of tokens: GPT-3's rule for most tasks.
    #[default]
    PerToken,
    /// That sum by the number of bytes, white space before the completion included: it does not depend on the tokenizer.
    PerByte,
    /// The log of P(completion | prompt) / P(completion | this text), for completions that are likely by themselves:
    /// GPT-3's rule for ARC, OpenBookQA and RACE, with `Answer: ` or `A: `.
    AnswerContext(String),
}

/// Options of calls that score text.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ChooseOptions {
    /// How completions are compared. Default: by token.
    pub scoring: Scoring,
    /// Contextual calibration (Zhao 2021, section 4): queries without content, as `Review: N/A\nSentiment:`, that stand
    /// in place of the query with the same examples. A completion's probability is divided by its mean probability
    /// there. Default none: not calibrated.
    pub content_free: Vec<String>,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

call_limits!(ChooseOptions);

impl ChooseOptions {
    /// Sets how completions are compared.
    pub fn scoring(mut self, scoring: Scoring) -> Self {
        self.scoring = scoring;
        self
    }

    /// Adds a query without content to calibrate by; may be called several times.
    pub fn content_free(mut self, query: impl Into<String>) -> Self {
        self.content_free.push(query.into());
        self
    }
}

/// How likely a completion is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Score {
    /// Natural log of its probability after the prompt.
    pub log_probability: f64,
    /// Tokens of the completion.
    pub tokens: usize,
    /// Its bytes, with the white space that stood at the end of the prompt.
    pub bytes: usize,
    /// Natural log of the probability of each of its tokens.
    pub token_log_probabilities: Vec<f64>,
}

impl Score {
    /// The log probability by token; 0 of no tokens.
    pub fn per_token(&self) -> f64 {
        self.log_probability / (self.tokens.max(1) as f64)
    }

    /// The log probability by byte; 0 of no bytes.
    pub fn per_byte(&self) -> f64 {
        self.log_probability / (self.bytes.max(1) as f64)
    }
}

/// What was read for a prompt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PromptUsage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of those, tokens that were read in an earlier call.
    pub cached_tokens: usize,
    /// Examples that stand in the prompt.
    pub examples: usize,
    /// Examples for which there was no room.
    pub examples_dropped: usize,
    /// Time by stage.
    #[serde(flatten)]
    pub timings: Timings,
}

/// A completion with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Choice {
    /// Its place among the completions given.
    pub index: usize,
    /// The completion.
    pub text: String,
    /// What completions are compared by: see [`Scoring`]. After calibration the log of the calibrated probability.
    pub score: f64,
    /// The softmax of the scores of all completions.
    pub probability: f32,
    /// How likely it is after the prompt.
    #[serde(flatten)]
    pub likelihood: Score,
}

/// Completions, the best first.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Choices {
    /// The completions; of equal scores the one given first goes first.
    pub choices: Vec<Choice>,
    /// What was read.
    #[serde(flatten)]
    pub usage: PromptUsage,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_put_together_to_the_byte() {
        let prompt = Prompt::new("Q: c\nA:").example("Q: a\nA:", " 1").example("Q: b\nA:", " 2").separator("\n");
        assert_eq!(prompt.text(), "Q: a\nA: 1\nQ: b\nA: 2\nQ: c\nA:");
        assert_eq!(prompt.shared(1), "Q: a\nA: 1\n");
        assert_eq!(prompt.clone().instruction("Do.").query("x").text(), format!("Do.\n{}x", prompt.shared(2)));
        assert_eq!(Prompt::new("\n\nQ: What is 98 plus 45?\n\nA:").text(), "\n\nQ: What is 98 plus 45?\n\nA:");
    }
}
