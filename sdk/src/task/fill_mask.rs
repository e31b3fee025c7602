//! Guessing masked words.

use std::ops::Range;
use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_one, require};
use super::rows::{self, Outcome};
use crate::bundle::Task;
use crate::post::softmax::{descending, softmax};
use crate::text::window::best_window;
use crate::text::{TextSpan, locate};
use crate::{Cancel, Error, Model, Overflow, Result};

/// Options of a call that guesses masked words.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FillMaskOptions {
    /// How many guesses to give for each mask. Default 5.
    pub top_k: usize,
    /// What to do with a text that is too long. Default: windows. Each mask is guessed in the window that shows
    /// most of the text around it.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

impl Default for FillMaskOptions {
    fn default() -> Self {
        FillMaskOptions { top_k: 5, overflow: Overflow::AutoWindow, cancel: None, deadline: None }
    }
}

call_options!(FillMaskOptions);

impl FillMaskOptions {
    /// Gives the best `k` guesses for each mask.
    pub fn top_k(mut self, k: usize) -> Self {
        self.top_k = k;
        self
    }
}

/// What was guessed in one text.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FilledMasks {
    /// The masks in the order of the text. Those in a part that was dropped are missing.
    pub masks: Vec<FilledMask>,
    /// What was read and how long it took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// One mask with what could stand there.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FilledMask {
    /// Where the mask stands.
    pub span: TextSpan,
    /// The guesses, the likeliest first.
    pub guesses: Vec<Guess>,
}

/// What could stand in place of a mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Guess {
    /// The token as text.
    pub text: String,
    /// The token as it stands in the vocabulary: `##ing`.
    pub token: String,
    /// Its id.
    pub id: u32,
    /// Its probability among all tokens of the vocabulary.
    pub probability: f32,
}

impl Model {
    /// The token that stands for a word to be guessed, to be put into texts: `[MASK]`. None if the model guesses
    /// no words.
    pub fn mask_token(&self) -> Option<String> {
        self.tokenizer().token_text(self.bundle().manifest().tokenizer.mask_id?)
    }

    /// Guesses the masked words of one text with the default options.
    ///
    /// # Errors
    /// Those of [`fill_mask_with`](Model::fill_mask_with).
    pub fn fill_mask(&self, text: &str) -> Result<FilledMasks> {
        self.fill_mask_with(text, &FillMaskOptions::default())
    }

    /// Guesses the masked words of one text.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model guesses no words; [`Error::InvalidArgument`] if the text has no mask;
    /// else those of [`classify_with`](Model::classify_with).
    pub fn fill_mask_with(&self, text: &str, options: &FillMaskOptions) -> Result<FilledMasks> {
        super::only(self.fill_mask_batch(&[text], options)?)
    }

    /// Guesses the masked words of many texts; answers come in the order of the texts.
    ///
    /// # Errors
    /// Those of [`fill_mask_with`](Model::fill_mask_with); the first error ends the whole call.
    pub fn fill_mask_batch(&self, texts: &[&str], options: &FillMaskOptions) -> Result<Vec<FilledMasks>> {
        require(self, &[Task::FillMask], "fill-mask")?;
        let manifest = self.bundle().manifest();
        let mask = manifest.tokenizer.mask_id.ok_or_else(|| Error::Internal("no mask token".to_owned()))?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let readings = texts
            .iter()
            .map(|text| {
                let reading = read_one(self, text, Detail::Words, options.overflow, &limits, &mut rows)?;
                match reading.texts[0].ids.contains(&mask) {
                    true => Ok(reading),
                    false => Err(Error::InvalidArgument(format!(
                        "a text has no {}: put it where a word is to be guessed",
                        self.mask_token().unwrap_or_default()
                    ))),
                }
            })
            .collect::<Result<Vec<_>>>()?;

        // For each row the places in it of the masks that are guessed there.
        let offset = self.tokenizer().one().first_at();
        let masks: Vec<Masks> = readings.iter().map(|reading| Masks::of(reading, mask)).collect();
        let places: Vec<Vec<usize>> = readings
            .iter()
            .zip(&masks)
            .flat_map(|(reading, masks)| {
                reading.windows.iter().enumerate().map(move |(window, [tokens, _])| {
                    masks.in_window(window).map(|(_, at)| offset + at - tokens.start).collect()
                })
            })
            .collect();
        let vocabulary = manifest.architecture.vocab_size;
        let outcomes = rows::run(self, &rows, &limits, |row, output| {
            let logits = output.values(0);
            places
                .get(row)
                .into_iter()
                .flatten()
                .map(|&at| {
                    limits.check()?;
                    let logits = logits.get(at * vocabulary..(at + 1) * vocabulary);
                    self.guesses(logits.unwrap_or_default(), options.top_k)
                })
                .collect::<Result<Vec<_>>>()
        })?;
        let filled = readings.iter().zip(&masks).zip(texts);
        Ok(filled.map(|((reading, masks), text)| masks.filled(text, reading, &outcomes)).collect())
    }

    fn guesses(&self, logits: &[f32], count: usize) -> Result<Vec<Guess>> {
        let probabilities = softmax(logits);
        let best = descending(logits).into_iter().take(count);
        best.map(|index| {
            let id = index as u32;
            Ok(Guess {
                text: self.tokenizer().decode(&[id])?,
                token: self.tokenizer().token_text(id).unwrap_or_default(),
                id,
                probability: probabilities.get(index).copied().unwrap_or(0.0),
            })
        })
        .collect()
    }
}

/// The masks of one text that some window holds: the token of each, and the window where it is guessed.
struct Masks(Vec<(usize, usize)>);

impl Masks {
    fn of(reading: &Reading, mask: u32) -> Masks {
        let windows: Vec<Range<usize>> = reading.windows.iter().map(|[tokens, _]| tokens.clone()).collect();
        let read = windows.last().map_or(0, |window| window.end);
        let best = best_window(&windows, read);
        let ids = reading.texts[0].ids.iter().zip(best).enumerate();
        Masks(ids.filter(|(_, (id, _))| **id == mask).map(|(at, (_, window))| (at, window)).collect())
    }

    /// Number and token of the masks that are guessed in a window.
    fn in_window(&self, window: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let here = self.0.iter().enumerate().filter(move |(_, (_, own))| *own == window);
        here.map(|(number, &(at, _))| (number, at))
    }

    fn filled(&self, text: &str, reading: &Reading, outcomes: &[Outcome<Vec<Vec<Guess>>>]) -> FilledMasks {
        let start = Instant::now();
        let mut usage = reading.usage;
        let outcomes = outcomes.get(reading.rows.clone()).unwrap_or_default();
        usage.timings.inference = rows::time_of(outcomes);
        let tokens = &reading.texts[0];
        let ranges: Vec<_> = self.0.iter().map(|&(at, _)| tokens.bytes_of(at..at + 1)).collect();
        let mut masks: Vec<FilledMask> =
            locate(text, &ranges).into_iter().map(|span| FilledMask { span, guesses: Vec::new() }).collect();
        for (window, outcome) in outcomes.iter().enumerate() {
            for ((number, _), guesses) in self.in_window(window).zip(&outcome.value) {
                if let Some(mask) = masks.get_mut(number) {
                    mask.guesses = guesses.clone();
                }
            }
        }
        usage.timings.post = start.elapsed();
        FilledMasks { masks, usage }
    }
}
