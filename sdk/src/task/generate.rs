//! Writing on from a text.

use std::time::{Duration, Instant};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::decoding::{Decoding, Found, groups};
use super::options::call_limits;
use crate::post::sampling::Sampling;
use crate::runtime::limits::Limits;
use crate::{Cancel, Error, Model, Result};

/// The most stop strings of a call.
const MAX_STOPS: usize = 64;

/// What to do when prompt and new tokens are more than the model's context holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextPolicy {
    /// Return [`Error::ContextOverflow`] before anything is written, if the context might become full.
    #[default]
    Error,
    /// Write until the context is full, and end with [`Finish::Context`]; a prompt that is longer than the context is
    /// [`Error::TooLong`].
    Stop,
    /// Forget the oldest tokens whenever the context is full, and read those that stay anew.
    /// [`Generation::tokens_dropped`] says how many were forgotten.
    Slide {
        /// How many tokens stay; 0: half of the context.
        keep: usize,
    },
}

/// Options of a call that writes text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GenerateOptions {
    /// The most tokens to write. Default 128.
    pub max_new_tokens: usize,
    /// 0 writes the likeliest token each time; above, tokens are drawn, from logits divided by this. Default 0.
    pub temperature: f32,
    /// Draw among so many of the likeliest tokens; 0: all. Default 0.
    pub top_k: usize,
    /// Draw among the fewest likeliest tokens whose probabilities reach this sum; 1: all. Default 1.
    pub top_p: f32,
    /// Logits of tokens that stand in the context are divided by this if positive, and multiplied if negative (CTRL,
    /// Keskar 2019, section 4.1); 1: they are not. Default 1.
    pub repetition_penalty: f32,
    /// Strings that end the text, which ends before them. Default none.
    pub stop: Vec<String>,
    /// Write on after the model's end of text. Default no.
    pub ignore_eos: bool,
    /// Report how likely the model found each token: [`Generation::log_probabilities`]. Default no.
    pub log_probabilities: bool,
    /// Which random numbers tokens are drawn by: with the same seed the same model writes the same text. Each number
    /// is a function of the seed, of the text's place in the batch and of how many tokens were written before it
    /// (SplitMix64 as a counter), and of nothing else. Default 0.
    pub seed: u64,
    /// What to do when the context is full. Default: an error before anything is written.
    pub context: ContextPolicy,
    /// Ends the call from another thread, between two tokens or within one.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        GenerateOptions {
            max_new_tokens: 128,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            stop: Vec::new(),
            ignore_eos: false,
            log_probabilities: false,
            seed: 0,
            context: ContextPolicy::Error,
            cancel: None,
            deadline: None,
        }
    }
}

call_limits!(GenerateOptions);

impl GenerateOptions {
    /// Writes at most so many tokens.
    pub fn max_new_tokens(mut self, tokens: usize) -> Self {
        self.max_new_tokens = tokens;
        self
    }

    /// Draws tokens, from logits divided by this; 0 takes the likeliest.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.temperature = temperature;
        self
    }

    /// Draws among the likeliest `k` tokens.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = k;
        self
    }

    /// Draws among the fewest likeliest tokens whose probabilities reach `p`.
    pub fn top_p(mut self, p: f32) -> Self {
        self.top_p = p;
        self
    }

    /// Makes tokens that stand in the context less likely.
    pub fn repetition_penalty(mut self, penalty: f32) -> Self {
        self.repetition_penalty = penalty;
        self
    }

    /// Ends the text before this string; may be called several times.
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.stop.push(stop.into());
        self
    }

    /// Writes on after the model's end of text.
    pub fn ignore_eos(mut self, ignore: bool) -> Self {
        self.ignore_eos = ignore;
        self
    }

    /// Reports how likely the model found each token.
    pub fn log_probabilities(mut self, report: bool) -> Self {
        self.log_probabilities = report;
        self
    }

    /// Chooses the random numbers.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets what to do when the context is full.
    pub fn context(mut self, policy: ContextPolicy) -> Self {
        self.context = policy;
        self
    }

    pub(super) fn sampling(&self) -> Sampling {
        Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let fail = |text: String| Err(Error::InvalidArgument(text));
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return fail(format!("temperature is {} and must be a number of 0 or more", self.temperature));
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            return fail(format!("top_p is {} and must be from 0 to 1", self.top_p));
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return fail(format!("repetition_penalty is {} and must be above 0", self.repetition_penalty));
        }
        if self.stop.len() > MAX_STOPS {
            return fail(format!("there are {} stop strings and may be {MAX_STOPS}", self.stop.len()));
        }
        if self.stop.iter().any(String::is_empty) {
            return fail("a stop string is empty, and every text has the empty one".to_owned());
        }
        Ok(())
    }
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finish {
    /// The model wrote its end of text.
    EndOfText,
    /// A stop string came.
    Stop,
    /// As many tokens were written as were allowed.
    Length,
    /// The context was full: [`ContextPolicy::Stop`].
    Context,
    /// It has not ended: the stream was given up before.
    Unfinished,
}

/// Wall-clock time by stage. Texts that were written together each have the time of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GenerationTimes {
    /// Text to token ids.
    pub tokenize: Duration,
    /// Reading prompts, to the logits of the first new token, and what is read anew when the context is full.
    pub prefill: Duration,
    /// The runs for all further tokens.
    pub decode: Duration,
    /// Choosing tokens, and making text of them.
    pub sampling: Duration,
}

impl Serialize for GenerationTimes {
    /// As milliseconds: `tokenize_ms`, `prefill_ms`, `decode_ms`, `sampling_ms`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("GenerationTimes", 4)?;
        for (name, time) in [
            ("tokenize_ms", self.tokenize),
            ("prefill_ms", self.prefill),
            ("decode_ms", self.decode),
            ("sampling_ms", self.sampling),
        ] {
            fields.serialize_field(name, &(time.as_secs_f64() * 1e3))?;
        }
        fields.end()
    }
}

/// A text that was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Generation {
    /// The text after the prompt, without end of text or stop string. Bytes that are no UTF-8 are U+FFFD; `ids` has
    /// them as they are.
    pub text: String,
    /// Its tokens; the one that ended it is among them.
    pub ids: Vec<u32>,
    /// Natural log of the probability that the model gave each of them, before penalty, temperature and the rest; empty
    /// unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_probabilities: Vec<f64>,
    /// Why it ended.
    pub finish: Finish,
    /// The stop string that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<String>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens of the prompt that were not read anew: see [`Prompt`](crate::Prompt).
    pub cached_tokens: usize,
    /// Tokens written.
    pub generated_tokens: usize,
    /// Tokens at the beginning that were forgotten: [`ContextPolicy::Slide`].
    pub tokens_dropped: usize,
    /// Examples that stand in the prompt: see [`Prompt`](crate::Prompt).
    pub examples: usize,
    /// Examples for which there was no room.
    pub examples_dropped: usize,
    /// Time by stage.
    #[serde(flatten)]
    pub times: GenerationTimes,
}

/// A token as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// Its id.
    pub id: u32,
    /// The text that became certain with it: whole characters, and nothing that may yet be part of a stop string. May
    /// be empty.
    pub text: String,
}

/// A text while it is written: an iterator over its tokens. No session is kept between two of them. After an error or
/// the end there are no more.
pub struct Generating<'a> {
    decoding: Decoding<'a>,
    /// Examples in the prompt, and those left out.
    examples: (usize, usize),
    tokenize: Duration,
    counted: bool,
}

impl Generating<'_> {
    /// Writes to the end and gives the whole text.
    ///
    /// # Errors
    /// Those of the iterator.
    pub fn finish(mut self) -> Result<Generation> {
        for piece in self.by_ref() {
            piece?;
        }
        Ok(self.stop())
    }

    /// The text as far as it was written; [`Finish::Unfinished`] if it has not ended. It is what the pieces had: what was held back,
    /// half a character or what might have become a stop string, is not part of it.
    pub fn stop(mut self) -> Generation {
        // There is one row, always.
        let mut results = self.decoding.results(self.tokenize);
        let (examples, examples_dropped) = self.examples;
        Generation { examples, examples_dropped, ..results.remove(0) }
    }

    /// Says how many examples the prompt has, and how many were left out.
    pub(super) fn with_examples(mut self, examples: usize, dropped: usize) -> Self {
        self.examples = (examples, dropped);
        self
    }
}

/// A stream that its caller has ended is a call too.
impl Drop for Generating<'_> {
    fn drop(&mut self) {
        self.decoding.count(false, &mut self.counted);
    }
}

impl Iterator for Generating<'_> {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        if self.decoding.is_done() {
            return None;
        }
        let written = self.decoding.next();
        if written.is_err() || self.decoding.is_done() {
            self.decoding.count(written.is_err(), &mut self.counted);
        }
        match written {
            Ok(written) => written.map(|written| Ok(Piece { id: written.id, text: written.text })),
            Err(error) => {
                self.decoding.give_up();
                Some(Err(error))
            }
        }
    }
}

impl Model {
    /// Writes on from a text, token by token.
    ///
    /// ```no_run
    /// # let model = limbeck::Model::open("lm.limbeck")?;
    /// let options = limbeck::GenerateOptions::new().max_new_tokens(40).stop("\n");
    /// for piece in model.generate("Once upon", &options)? {
    ///     print!("{}", piece?.text);
    /// }
    /// let whole = model.generate("Once upon", &options)?.finish()?;
    /// println!("{} tokens, {:?}", whole.generated_tokens, whole.finish);
    /// # Ok::<(), limbeck::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model writes no text; [`Error::InvalidArgument`] for options out of range and for a
    /// prompt without tokens; [`Error::ContextOverflow`] or [`Error::TooLong`] by [`GenerateOptions::context`];
    /// [`Error::Cancelled`] and [`Error::DeadlineExceeded`], also from each piece; [`Error::Inference`].
    pub fn generate<'a>(&'a self, prompt: &str, options: &'a GenerateOptions) -> Result<Generating<'a>> {
        self.causal()?;
        options.check()?;
        let start = Instant::now();
        let ids = self.prompt_ids(prompt, &options.limits());
        let begun = ids.and_then(|ids| self.generating(ids, None, options, start.elapsed()));
        // What is written counts once it ends; what does not begin counts here.
        begun.inspect_err(|error| self.count_failure(error))
    }

    /// Writes on from token ids that begin with those of `prefix`.
    pub(super) fn generating<'a>(
        &'a self,
        ids: Vec<u32>,
        prefix: Option<Found>,
        options: &'a GenerateOptions,
        tokenize: Duration,
    ) -> Result<Generating<'a>> {
        let decoding = Decoding::new(self, options, vec![(0, ids)], prefix)?;
        Ok(Generating { decoding, examples: (0, 0), tokenize, counted: false })
    }

    /// Writes on from many texts, as many together as the memory plan allows; answers come in the order of the
    /// prompts. Each is what its prompt would get alone, but for rounding, and, where tokens are drawn, for its place
    /// in the batch.
    ///
    /// # Errors
    /// Those of [`generate`](Model::generate); the first error ends the whole call.
    pub fn generate_batch(&self, prompts: &[&str], options: &GenerateOptions) -> Result<Vec<Generation>> {
        self.causal()?;
        options.check()?;
        let (start, limits) = (Instant::now(), options.limits());
        let ids: Result<Vec<_>> = prompts.iter().map(|prompt| self.prompt_ids(prompt, &limits)).collect();
        let answers = ids.and_then(|ids| self.write_batch(&ids, options, start.elapsed()));
        self.count(&answers);
        answers
    }

    /// Counts a call, unless it was refused.
    pub(super) fn count<T>(&self, outcome: &Result<T>) {
        match outcome {
            Ok(_) => self.counters().call(false),
            Err(error) => self.count_failure(error),
        }
    }

    /// Counts a call that failed, unless the model had nothing to do with it: its text or options were refused.
    pub(super) fn count_failure(&self, error: &Error) {
        let refused = matches!(
            error,
            Error::TooLong { .. } | Error::ContextOverflow { .. } | Error::InvalidArgument(_) | Error::WrongTask { .. }
        );
        if !refused {
            self.counters().call(true);
        }
    }

    fn write_batch(&self, ids: &[Vec<u32>], options: &GenerateOptions, tokenize: Duration) -> Result<Vec<Generation>> {
        let lengths: Vec<usize> = ids.iter().map(Vec::len).collect();
        let mut answers: Vec<Option<Generation>> = vec![None; ids.len()];
        for group in groups(self, &lengths, options) {
            let prompts = group.iter().map(|&row| (row as u64, ids[row].clone())).collect();
            let mut decoding = Decoding::new(self, options, prompts, None)?;
            while !decoding.is_done() {
                decoding.next()?;
            }
            for (row, answer) in group.into_iter().zip(decoding.results(tokenize)) {
                answers[row] = Some(answer);
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// The bytes that tokens stand for, which need not be UTF-8; special tokens and ids without a token stand for none.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model writes no text.
    pub fn token_bytes(&self, ids: &[u32]) -> Result<Vec<u8>> {
        let bytes = &self.causal()?.bytes;
        Ok(ids.iter().flat_map(|&id| bytes.get(id).iter().copied()).collect())
    }

    /// The tokens of a prompt: an empty one is the token that texts begin with.
    pub(super) fn prompt_ids(&self, prompt: &str, limits: &Limits) -> Result<Vec<u32>> {
        limits.check()?;
        self.after_beginning(self.tokenizer().ids(prompt, limits)?.ids)
    }

    /// The tokens of a text with what prompts begin with before them.
    pub(super) fn after_beginning(&self, text: Vec<u32>) -> Result<Vec<u32>> {
        let mut ids: Vec<u32> = self.tokenizer().one().before().collect();
        ids.extend(text);
        if ids.is_empty() {
            ids.extend(self.bundle().manifest().generation.as_ref().and_then(|spec| spec.bos_id));
        }
        match ids.is_empty() {
            false => Ok(ids),
            true => Err(Error::InvalidArgument(
                "the prompt has no tokens, and the model has none that texts begin with: give it some text".to_owned(),
            )),
        }
    }
}
