//! Extractive question answering: the piece of a text that answers a question.

use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_pair, require};
use super::rows::{self, Outcome};
use crate::bundle::Task;
use crate::post::span::{Candidates, candidates};
use crate::text::window::Keep;
use crate::text::{TextSpan, locate, whole_clusters};
use crate::{Cancel, Error, Model, Overflow, Result};

/// Options of a question answering call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnswerOptions {
    /// The most tokens of an answer. Default 15.
    pub max_answer_tokens: usize,
    /// How many answers to give, the best ones. Default 1.
    pub top_k: usize,
    /// What to do with a text that is too long beside the question, which is never cut. Default: windows. The
    /// best pieces of all windows compete with their probabilities; those of the same words add them up.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        AnswerOptions { max_answer_tokens: 15, top_k: 1, overflow: Overflow::AutoWindow, cancel: None, deadline: None }
    }
}

call_options!(AnswerOptions);

impl AnswerOptions {
    /// Sets the most tokens of an answer.
    pub fn max_answer_tokens(mut self, tokens: usize) -> Self {
        self.max_answer_tokens = tokens;
        self
    }
    /// Gives the best `k` answers.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = k;
        self
    }
}

/// What was found for one question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answers {
    /// The answers, the best first. Empty only if the text has no tokens.
    pub answers: Vec<Answer>,
    /// The score of "the text does not say", to be compared with those of answers: the lowest of all windows.
    /// Only a model that was trained on such questions (SQuAD 2) gives it a meaning.
    pub no_answer: f32,
    /// What was read and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

impl Answers {
    /// The best answer, if it scores better than "the text does not say". For models that were trained on
    /// questions without an answer; for others use the first of [`Answers::answers`].
    pub fn best(&self) -> Option<&Answer> {
        self.answers.first().filter(|answer| answer.score > self.no_answer)
    }
}

/// A piece of the text that answers a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// The piece itself, of whole words.
    pub text: String,
    /// Where it stands.
    pub span: TextSpan,
    /// Probability that the answer starts there times probability that it ends there, summed over all places
    /// and windows with the same words: above 1 only if they are found several times.
    pub score: f32,
}

impl Model {
    /// Answers a question from a text with the default options.
    ///
    /// # Errors
    /// Those of [`answer_with`](Model::answer_with).
    pub fn answer(&self, question: &str, text: &str) -> Result<Answers> {
        self.answer_with(question, text, &AnswerOptions::default())
    }

    /// Answers a question from a text.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model answers no questions; [`Error::TooLong`] also if the question leaves no
    /// room for the text; else those of [`classify_with`](Model::classify_with).
    pub fn answer_with(&self, question: &str, text: &str, options: &AnswerOptions) -> Result<Answers> {
        super::only(self.answer_batch(&[(question, text)], options)?)
    }

    /// Answers many questions, each from its own text; answers come in the order of the questions.
    ///
    /// # Errors
    /// Those of [`answer_with`](Model::answer_with); the first error ends the whole call.
    pub fn answer_batch(&self, questions: &[(&str, &str)], options: &AnswerOptions) -> Result<Vec<Answers>> {
        require(self, &[Task::QuestionAnswering], "question-answering")?;
        for (name, value) in [("max_answer_tokens", options.max_answer_tokens), ("top_k", options.top_k)] {
            if value == 0 {
                return Err(Error::InvalidArgument(format!("{name} is 0 and must be at least 1")));
            }
        }
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = questions
            .iter()
            .map(|&(question, text)| {
                let details = [Detail::Ids, Detail::Words];
                read_pair(self, [question, text], details, Keep::First, options.overflow, &limits, &mut rows)
            })
            .collect::<Result<Vec<_>>>()?;

        // For each row where its tokens of the text stand in it.
        let template = self.tokenizer().two()?;
        let places: Vec<_> = readings
            .iter()
            .flat_map(|reading| &reading.windows)
            .map(|[question, text]| {
                let start = template.second_at(question.len());
                start..start + text.len()
            })
            .collect();
        // Some pieces become the same when they are widened to whole words.
        let count = options.top_k.saturating_mul(2).saturating_add(10);
        let has_first = template.first_at() > 0;
        let outcomes = rows::run(self, &rows, &limits, |row, output| {
            let place = places.get(row).cloned().unwrap_or_default();
            let logits = |number: usize| -> Vec<f32> {
                let values = output.values(number);
                // Without a token before the question nothing stands for "no answer".
                let none = if has_first { values.first().copied() } else { None }.unwrap_or(f32::NEG_INFINITY);
                let text = values.get(place.clone()).unwrap_or_default();
                std::iter::once(none).chain(text.iter().copied()).collect()
            };
            Ok(candidates(&logits(0), &logits(1), options.max_answer_tokens, count))
        })?;
        Ok(readings
            .iter()
            .zip(questions)
            .map(|(reading, (_, text))| answers(text, reading, &outcomes, options))
            .collect())
    }
}

/// The answers of one text from the best pieces of its windows.
fn answers(text: &str, reading: &Reading, outcomes: &[Outcome<Candidates>], options: &AnswerOptions) -> Answers {
    let mut usage = reading.usage;
    let outcomes = outcomes.get(reading.rows.clone()).unwrap_or_default();
    usage.timings.inference = rows::time_of(outcomes);
    let start = Instant::now();

    let tokens = &reading.texts[1];
    let mut found: Vec<Found> = Vec::new();
    for (window, outcome) in reading.windows.iter().zip(outcomes) {
        for candidate in &outcome.value.best {
            let [first, last] = [candidate.start, candidate.end].map(|at| tokens.word_of(window[1].start + at));
            let bytes = whole_clusters(text, tokens.bytes_of(first.start..last.end));
            let words = text.get(bytes.clone()).unwrap_or_default().to_lowercase();
            match found.iter_mut().find(|other| other.words == words) {
                Some(same) => {
                    same.score += candidate.score;
                    if candidate.score > same.best {
                        (same.best, same.bytes) = (candidate.score, bytes);
                    }
                }
                None => found.push(Found { words, bytes, best: candidate.score, score: candidate.score }),
            }
        }
    }
    // A stable sort: of equals the one found first stays first.
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(options.top_k);
    let ranges: Vec<_> = found.iter().map(|found| found.bytes.clone()).collect();
    let answers = found
        .iter()
        .zip(locate(text, &ranges))
        .map(|(found, span)| Answer { text: span.of(text).to_owned(), span, score: found.score })
        .collect();
    let no_answer = outcomes.iter().map(|outcome| outcome.value.none).fold(f32::INFINITY, f32::min);
    usage.timings.post = start.elapsed();
    Answers { answers, no_answer, usage }
}

/// A piece of the text, and all that was found with the same words.
struct Found {
    words: String,
    bytes: std::ops::Range<usize>,
    best: f32,
    score: f32,
}
