//! Prompts on a model: choosing between completions, scoring one, writing on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::contextual::{calibrated, log_softmax, quotient};
use super::decoding::Found;
use super::generate::{ContextPolicy, GenerateOptions, Generating};
use super::options::Timings;
use super::prompt::{Choice, Choices, ChooseOptions, Prompt, PromptUsage, Score, Scoring};
use super::scoring;
use crate::runtime::cache::Prefix;
use crate::runtime::limits::Limits;
use crate::text::Encoded;
use crate::{Error, Model, Result};

/// The most completions of one call.
const MAX_CANDIDATES: usize = 10_000;

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
        self.model.count(&outcome);
        outcome
    }

    fn choose_within(&self, completions: &[&str], options: &ChooseOptions, limits: &Limits) -> Result<Choices> {
        if !(1..=MAX_CANDIDATES).contains(&completions.len()) {
            return Err(Error::InvalidArgument(format!(
                "there are {} completions and must be 1 to {MAX_CANDIDATES}",
                completions.len()
            )));
        }
        let mut prompt = self.prompt.clone();
        for query in &options.content_free {
            // All of them have the examples that fit the longest.
            let fitting = self.fit(&prompt.clone().query(query.as_str()), completions, limits)?.0.examples;
            prompt.examples.truncate(fitting);
        }
        let (scores, mut usage) = self.scores(&prompt, completions, limits)?;
        usage.examples_dropped = self.prompt.examples.len() - usage.examples;
        let alone = match &options.scoring {
            Scoring::AnswerContext(context) => self.alone(context, completions, limits)?,
            _ => Vec::new(),
        };
        let ranks_of = |scores: &[Score]| ranks(scores, &alone, &options.scoring);
        let mut ranks = ranks_of(&scores);
        if !options.content_free.is_empty() {
            prompt.examples.truncate(usage.examples);
            let mut content_free = Vec::with_capacity(options.content_free.len());
            for query in &options.content_free {
                let prompt = prompt.clone().query(query.as_str()).all_examples();
                let (scores, more) = self.scores(&prompt, completions, limits)?;
                usage.timings.tokenize += more.timings.tokenize;
                usage.timings.inference += more.timings.inference;
                content_free.push(ranks_of(&scores));
            }
            ranks = calibrated(&ranks, &content_free);
        }
        let probabilities: Vec<f64> = log_softmax(&ranks).into_iter().map(f64::exp).collect();
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

    /// The scores of completions after the context of [`Scoring::AnswerContext`]. White space at its end counts to the
    /// completions as the query's does, but to none that begins with its own after a query without: it would be doubled.
    fn alone(&self, context: &str, completions: &[&str], limits: &Limits) -> Result<Vec<Score>> {
        let (text, space) = context.split_at(context.trim_end().len());
        let bare = !self.prompt.query.ends_with(char::is_whitespace);
        let spaced = completions.iter().map(|completion| match bare && completion.starts_with(char::is_whitespace) {
            true => (*completion).to_owned(),
            false => format!("{space}{completion}"),
        });
        let spaced: Vec<String> = spaced.collect();
        let spaced: Vec<&str> = spaced.iter().map(String::as_str).collect();
        Ok(self.scores(&Prompt::new(text), &spaced, limits)?.0)
    }

    /// How likely a completion is, after all examples.
    ///
    /// # Errors
    /// Those of [`choose_with`](Prompted::choose_with); [`Error::TooLong`] also where examples have no room, of which a
    /// score could not tell.
    pub fn score(&self, completion: &str) -> Result<Score> {
        self.score_with(completion, &ChooseOptions::default())
    }

    /// [`score`](Prompted::score) with the limits of `options`; the rest of them is not read.
    ///
    /// # Errors
    /// Those of [`score`](Prompted::score).
    pub fn score_with(&self, completion: &str, options: &ChooseOptions) -> Result<Score> {
        let outcome = self.scores(&self.prompt.clone().all_examples(), &[completion], &options.limits());
        self.model.count(&outcome);
        super::only(outcome?.0)
    }

    /// Writes on from the prompt. Examples that leave no room for `options.max_new_tokens`, or for one token where
    /// [`ContextPolicy::Error`] is not the policy, are left out, and [`Generation::examples_dropped`](crate::Generation::examples_dropped)
    /// says how many.
    ///
    /// # Errors
    /// Those of [`Model::generate`].
    pub fn generate<'b>(&'b self, options: &'b GenerateOptions) -> Result<Generating<'b>> {
        self.model.causal()?;
        options.check()?;
        // What is written counts once it ends; what does not begin counts here.
        self.begin(options).inspect_err(|error| self.model.count_failure(error))
    }

    fn begin<'b>(&'b self, options: &'b GenerateOptions) -> Result<Generating<'b>> {
        let (start, limits) = (Instant::now(), options.limits());
        // The other policies say themselves what happens when the context is full.
        let reserve = if options.context == ContextPolicy::Error { options.max_new_tokens } else { 1 };
        let context = self.model.bundle().manifest().max_tokens;
        if reserve >= context {
            let prompt = self.ready(&Prompt::new(self.prompt.query.as_str()), 0, false, &limits)?.ids.len();
            return Err(Error::ContextOverflow { prompt, new: reserve, context });
        }
        let all_needed = self.prompt.all_examples && !self.prompt.examples.is_empty();
        let ready = match self.ready(self.prompt, reserve, false, &limits) {
            Err(Error::TooLong { .. }) if options.context != ContextPolicy::Error && !all_needed => {
                self.without_examples(&limits)?
            }
            ready => ready?,
        };
        let tokenize = start.elapsed();
        // A prompt longer than the context is refused or cut by the policy of `options`, not read here.
        let room = if options.context == ContextPolicy::Error { context.saturating_sub(reserve) } else { context };
        let fits = ready.ids.len() <= room && options.max_new_tokens > 0;
        let start = Instant::now();
        let prefix = if fits { self.prefix(&ready, &limits)? } else { None };
        let prefix = prefix.map(|(prefix, kept)| Found { prefix, kept, time: start.elapsed() });
        let dropped = self.prompt.examples.len() - ready.examples;
        Ok(self.model.generating(ready.ids, prefix, options, tokenize)?.with_examples(ready.examples, dropped))
    }

    /// The prompt alone, longer than the context or not; as long as it is allowed to be by itself.
    fn without_examples(&self, limits: &Limits) -> Result<Ready> {
        let mut alone = self.prompt.clone();
        (alone.examples, alone.max_tokens) = (Vec::new(), None);
        let ready = self.ready(&alone, 0, false, limits)?;
        match self.prompt.max_tokens {
            Some(max) if ready.ids.len() > max => Err(Error::TooLong { tokens: ready.ids.len(), max }),
            _ => Ok(ready),
        }
    }

    /// A prompt with as many examples as leave room for the longest completion, and the completions' tokens.
    fn fit(&self, prompt: &Prompt, completions: &[&str], limits: &Limits) -> Result<(Ready, Vec<Vec<u32>>)> {
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
        Ok((ready, ids))
    }

    fn scores(&self, prompt: &Prompt, completions: &[&str], limits: &Limits) -> Result<(Vec<Score>, PromptUsage)> {
        let start = Instant::now();
        let (ready, ids) = self.fit(prompt, completions, limits)?;
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
            let Encoded { ids, offsets, .. } = model.tokenizer().words(&text, limits)?;
            let ids = model.after_beginning(ids)?;
            // Where tokens cross from the examples into the query, or depend on it, another query has others: then
            // fewer are the same, or none is found again. What is read is right in any case.
            let shared = match before.is_empty() {
                true => 0,
                false => {
                    let inside = offsets.iter().take_while(|place| place.end <= before.len()).count();
                    (ids.len().saturating_sub(offsets.len()) + inside).min(ids.len() - 1)
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

/// The scores by which completions are compared; `alone` has those after the context of [`Scoring::AnswerContext`].
fn ranks(scores: &[Score], alone: &[Score], scoring: &Scoring) -> Vec<f64> {
    match scoring {
        Scoring::Sum => scores.iter().map(|score| score.log_probability).collect(),
        Scoring::PerToken => scores.iter().map(Score::per_token).collect(),
        Scoring::PerByte => scores.iter().map(Score::per_byte).collect(),
        Scoring::AnswerContext(_) => {
            scores.iter().zip(alone).map(|(own, alone)| quotient(own.log_probability, alone.log_probability)).collect()
        }
    }
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
