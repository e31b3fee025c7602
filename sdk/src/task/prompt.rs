//! Prompts with examples, and choosing between completions as GPT-3 was evaluated (Brown 2020, section 2.4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::decoding::Found;
use super::generate::{ContextPolicy, GenerateOptions, Generating};
use super::options::{Timings, call_limits};
use super::scoring;
use crate::post::softmax::softmax;
use crate::runtime::cache::Prefix;
use crate::runtime::limits::Limits;
use crate::{Cancel, Error, Model, Result};

/// The most completions of one call.
const MAX_CANDIDATES: usize = 10_000;

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
    examples: Vec<(String, String)>,
    query: String,
    separator: String,
    max_tokens: Option<usize>,
    all_examples: bool,
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

    /// Makes an example that does not fit an error, [`Error::TooLong`].
    pub fn all_examples(mut self) -> Self {
        self.all_examples = true;
        self
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.shared(self.examples.len()) + &self.query
    }

    /// What stands before the query with the first `examples` examples.
    fn shared(&self, examples: usize) -> String {
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

/// A prompt as tokens.
struct Ready {
    /// Tokens of the prompt without the white space at its end, if completions follow.
    ids: Vec<u32>,
    /// The text of those tokens.
    text: String,
    /// The white space.
    space: String,
    /// How many tokens are the same for other queries; fewer than all.
    shared: usize,
    examples: usize,
}

/// A prompt on a model, to be completed.
pub struct Prompted<'a> {
    model: &'a Model,
    prompt: &'a Prompt,
}

impl Prompted<'_> {
    /// Chooses between completions with the default options.
    ///
    /// # Errors
    /// Those of [`choose_with`](Prompted::choose_with).
    pub fn choose(&self, completions: &[&str]) -> Result<Choices> {
        self.choose_with(completions, &ChooseOptions::default())
    }

    /// Chooses between completions. White space at the end of the prompt counts to the completions: tokens begin with
    /// a space more often than they end with one.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model writes no text; [`Error::InvalidArgument`] for no completions or one without
    /// tokens; [`Error::TooLong`] if query and longest completion are more than the context holds;
    /// [`Error::Cancelled`], [`Error::DeadlineExceeded`], [`Error::Inference`].
    pub fn choose_with(&self, completions: &[&str], options: &ChooseOptions) -> Result<Choices> {
        let limits = options.limits();
        let outcome = self.choose_within(completions, options, &limits);
        self.count(&outcome);
        outcome
    }

    fn choose_within(&self, completions: &[&str], options: &ChooseOptions, limits: &Limits) -> Result<Choices> {
        if !(1..=MAX_CANDIDATES).contains(&completions.len()) {
            return Err(Error::InvalidArgument(format!(
                "there are {} completions and must be 1 to {MAX_CANDIDATES}",
                completions.len()
            )));
        }
        let (scores, mut usage) = self.scores(self.prompt, completions, limits)?;
        let mut ranks = self.ranks(&scores, completions, &options.scoring, limits)?;
        if !options.content_free.is_empty() {
            let mut mean = vec![0f64; completions.len()];
            for query in &options.content_free {
                // With the examples that the query itself had: those that are left out are the last.
                let mut prompt = self.prompt.clone().query(query.as_str()).all_examples();
                prompt.examples.truncate(usage.examples);
                let (scores, more) = self.scores(&prompt, completions, limits)?;
                usage.timings.tokenize += more.timings.tokenize;
                usage.timings.inference += more.timings.inference;
                let ranks = self.ranks(&scores, completions, &options.scoring, limits)?;
                mean.iter_mut().zip(probabilities(&ranks)).for_each(|(mean, p)| *mean += p);
            }
            let sum = mean.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            let log = |p: f64| p.max(f64::MIN_POSITIVE).ln();
            let own = probabilities(&ranks);
            ranks = own.iter().zip(&mean).map(|(&own, &mean)| log(own) - log(mean / sum)).collect();
            let calibrated = probabilities(&ranks);
            ranks = calibrated.into_iter().map(log).collect();
        }
        let probabilities = probabilities(&ranks);
        let mut choices: Vec<Choice> = scores
            .into_iter()
            .zip(completions)
            .enumerate()
            .map(|(index, (likelihood, text))| Choice {
                index,
                text: (*text).to_owned(),
                score: ranks[index],
                probability: probabilities[index] as f32,
                likelihood,
            })
            .collect();
        choices.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Choices { choices, usage })
    }

    /// How likely a completion is.
    ///
    /// # Errors
    /// Those of [`choose_with`](Prompted::choose_with).
    pub fn score(&self, completion: &str) -> Result<Score> {
        self.score_with(completion, &ChooseOptions::default())
    }

    /// [`score`](Prompted::score) with the limits of `options`; the rest of them is not read.
    ///
    /// # Errors
    /// Those of [`choose_with`](Prompted::choose_with).
    pub fn score_with(&self, completion: &str, options: &ChooseOptions) -> Result<Score> {
        let outcome = self.scores(self.prompt, &[completion], &options.limits());
        self.count(&outcome);
        super::only(outcome?.0)
    }

    /// Writes on from the prompt. Examples that leave no room for `options.max_new_tokens` are left out, where
    /// [`ContextPolicy::Error`] is the policy.
    ///
    /// # Errors
    /// Those of [`Model::generate`].
    pub fn generate<'b>(&'b self, options: &'b GenerateOptions) -> Result<Generating<'b>> {
        options.check()?;
        let (start, limits) = (Instant::now(), options.limits());
        // The other policies say themselves what happens when the context is full.
        let reserve = if options.context == ContextPolicy::Error { options.max_new_tokens } else { 1 };
        let ready = self.ready(self.prompt, reserve, false, &limits)?;
        let tokenize = start.elapsed();
        // A prompt longer than the context is refused or cut by the policy of `options`, not read here.
        let fits = ready.ids.len() <= self.model.bundle().manifest().max_tokens;
        let start = Instant::now();
        let prefix = if fits { self.prefix(&ready, &limits)? } else { None };
        let prefix = prefix.map(|(prefix, kept)| Found { prefix, kept, time: start.elapsed() });
        self.model.generating(ready.ids, prefix, options, tokenize)
    }

    fn count<T>(&self, outcome: &Result<T>) {
        if self.model.causal().is_ok() {
            self.model.counters().call(outcome.is_err());
        }
    }

    /// The scores by which completions are compared.
    fn ranks(&self, scores: &[Score], completions: &[&str], scoring: &Scoring, limits: &Limits) -> Result<Vec<f64>> {
        Ok(match scoring {
            Scoring::Sum => scores.iter().map(|score| score.log_probability).collect(),
            Scoring::PerToken => scores.iter().map(Score::per_token).collect(),
            Scoring::PerByte => scores.iter().map(Score::per_byte).collect(),
            Scoring::AnswerContext(context) => {
                // The white space that was moved to the completions of the prompt is moved here too.
                let (alone, _) = self.scores(&Prompt::new(context.as_str()), completions, limits)?;
                scores.iter().zip(&alone).map(|(own, alone)| own.log_probability - alone.log_probability).collect()
            }
        })
    }

    fn scores(&self, prompt: &Prompt, completions: &[&str], limits: &Limits) -> Result<(Vec<Score>, PromptUsage)> {
        let start = Instant::now();
        let space = prompt.query.len() - prompt.query.trim_end().len();
        // No token is less than a byte of text.
        let longest = completions.iter().map(|completion| completion.len() + space).max().unwrap_or(0);
        let context = self.model.bundle().manifest().max_tokens;
        let mut reserve = 0;
        let mut ready = self.ready(prompt, reserve, true, limits)?;
        let mut ids = self.completion_ids(&ready, completions, limits)?;
        // How long completions are is known only beside their prompt.
        for _ in 0..2 {
            let needed = ids.iter().map(Vec::len).max().unwrap_or(0).min(longest.max(1));
            if ready.ids.len() + needed <= context || needed <= reserve {
                break;
            }
            reserve = needed;
            ready = self.ready(prompt, reserve, true, limits)?;
            ids = self.completion_ids(&ready, completions, limits)?;
        }
        let most = ids.iter().map(Vec::len).max().unwrap_or(0);
        if ready.ids.len() + most > context {
            return Err(Error::TooLong { tokens: ready.ids.len() + most, max: context });
        }
        let tokenize = start.elapsed();

        let start = Instant::now();
        let prefix = self.prefix(&ready, limits)?;
        let shared = prefix.as_ref().map(|(prefix, _)| prefix.as_ref());
        let found = scoring::continuations(self.model, &ready.ids, shared, &ids, limits)?;
        let inference = start.elapsed();
        let cached_tokens = match &prefix {
            Some((prefix, true)) => prefix.ids.len(),
            _ => 0,
        };
        let scores = found.into_iter().zip(completions).map(|(token_log_probabilities, completion)| Score {
            log_probability: token_log_probabilities.iter().sum(),
            tokens: token_log_probabilities.len(),
            bytes: ready.space.len() + completion.len(),
            token_log_probabilities,
        });
        let usage = PromptUsage {
            prompt_tokens: ready.ids.len(),
            cached_tokens,
            examples: ready.examples,
            examples_dropped: prompt.examples.len() - ready.examples,
            timings: Timings { tokenize, inference, post: Duration::ZERO },
        };
        Ok((scores.collect(), usage))
    }

    /// The tokens of each completion after the prompt: those that are added when both are tokenized together, or,
    /// where that would change the tokens of the prompt, those of the completion by itself.
    fn completion_ids(&self, ready: &Ready, completions: &[&str], limits: &Limits) -> Result<Vec<Vec<u32>>> {
        let tokenizer = self.model.tokenizer();
        let special = tokenizer.one().before().count();
        let own = ready.ids.get(special..).unwrap_or_default();
        completions
            .iter()
            .map(|completion| {
                let completion = format!("{}{completion}", ready.space);
                let mut ids = tokenizer.ids(&format!("{}{completion}", ready.text), limits)?.ids;
                // A prompt without text of its own is the token that texts begin with.
                let before = if ready.text.is_empty() { &[] } else { own };
                ids = match ids.strip_prefix(before) {
                    Some(ids) => ids.to_vec(),
                    None => tokenizer.ids(&completion, limits)?.ids,
                };
                match ids.is_empty() {
                    false => Ok(ids),
                    true => Err(Error::InvalidArgument("a completion has no tokens: give it some text".to_owned())),
                }
            })
            .collect()
    }

    /// As many examples as leave room for `reserve` tokens.
    fn ready(&self, prompt: &Prompt, reserve: usize, completed: bool, limits: &Limits) -> Result<Ready> {
        let model = self.model;
        model.causal()?;
        let context = model.bundle().manifest().max_tokens;
        let most = prompt.max_tokens.unwrap_or(usize::MAX).min(context.saturating_sub(reserve));
        let space = match completed {
            true => prompt.query.get(prompt.query.trim_end().len()..).unwrap_or_default(),
            false => "",
        };
        let ready = |examples: usize| -> Result<Ready> {
            let before = prompt.shared(examples);
            let mut text = before.clone() + &prompt.query;
            text.truncate(text.len() - space.len());
            let ids = model.prompt_ids(&text, limits)?;
            // Where tokens cross from the examples into the query, or depend on it, another query has others: then
            // fewer are the same, or none is found again. What is read is right in any case.
            let shared = match before.is_empty() {
                true => 0,
                false => {
                    let places = model.tokenizer().words(&text, limits)?.offsets;
                    let inside = places.iter().take_while(|place| place.end <= before.len()).count();
                    (ids.len().saturating_sub(places.len()) + inside).min(ids.len() - 1)
                }
            };
            Ok(Ready { ids, text, space: space.to_owned(), shared, examples })
        };
        let all = ready(prompt.examples.len())?;
        if all.ids.len() <= most || (prompt.examples.is_empty() && prompt.max_tokens.is_none()) {
            return Ok(all);
        }
        if prompt.all_examples || prompt.examples.is_empty() {
            return Err(Error::TooLong { tokens: all.ids.len(), max: most });
        }
        // More examples have more tokens: the most that fit are found by halving.
        let (mut low, mut high, mut best) = (0, prompt.examples.len(), None);
        while low < high {
            let middle = (low + high) / 2;
            let tried = ready(middle)?;
            if tried.ids.len() <= most {
                low = middle + 1;
                best = Some(tried);
            } else {
                high = middle;
                if middle == 0 {
                    return Err(Error::TooLong { tokens: tried.ids.len(), max: most });
                }
            }
        }
        best.ok_or(Error::TooLong { tokens: all.ids.len(), max: most })
    }

    /// What is kept of the beginning, or read now, and whether it was there; none where nothing is shared.
    fn prefix(&self, ready: &Ready, limits: &Limits) -> Result<Option<(Arc<Prefix>, bool)>> {
        match ready.ids.get(..ready.shared) {
            Some(shared) if !shared.is_empty() => scoring::prefix(self.model, shared, limits).map(Some),
            _ => Ok(None),
        }
    }
}

fn probabilities(logs: &[f64]) -> Vec<f64> {
    let logs: Vec<f32> = {
        let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logs.iter().map(|&log| (log - highest) as f32).collect()
    };
    softmax(&logs).into_iter().map(f64::from).collect()
}

impl Model {
    /// A prompt on this model, to be completed.
    ///
    /// ```no_run
    /// # let model = limbeck::Model::open("lm.limbeck")?;
    /// let prompt = limbeck::Prompt::new("Review: a dull film\nSentiment:")
    ///     .example("Review: warm and clever\nSentiment:", " good")
    ///     .example("Review: two hours of nothing\nSentiment:", " bad");
    /// let pick = model.prompt(&prompt).choose(&[" good", " bad"])?;
    /// println!("{} {:.3}", pick.choices[0].text, pick.choices[0].probability);
    /// # Ok::<(), limbeck::Error>(())
    /// ```
    pub fn prompt<'a>(&'a self, prompt: &'a Prompt) -> Prompted<'a> {
        Prompted { model: self, prompt }
    }
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

    #[test]
    fn probabilities_of_logs_that_differ_by_much() {
        let found = probabilities(&[-2000.0, -2000.0, -9000.0]);
        assert!((found[0] - 0.5).abs() < 1e-6 && found[2] == 0.0);
    }
}
