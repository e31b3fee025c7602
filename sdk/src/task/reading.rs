//! From texts to the rows that the model reads, and what was read of them.

use std::ops::Range;
use std::time::Instant;

use super::options::{Overflow, Timings, Usage};
use super::rows::{Outcome, Row};
use crate::bundle::Task;
use crate::runtime::limits::Limits;
use crate::text::window::{self, Keep, best_window};
use crate::text::{Encoded, Template};
use crate::{Error, Model, Result};

/// How much is asked of the tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Ids alone.
    Ids,
    /// Ids, places in the text, words.
    Words,
}

/// One text, or two, as the model reads it.
pub(crate) struct Reading {
    /// The tokens of the texts; the second is empty where there is one text.
    pub texts: [Encoded; 2],
    /// The tokens of both texts that each window holds.
    pub windows: Vec<[Range<usize>; 2]>,
    /// The rows of the windows, as places in the list that [`read_one`] and [`read_pair`] added them to.
    pub rows: Range<usize>,
    /// What was read.
    pub usage: Usage,
}

impl Reading {
    /// How many tokens each window holds, special ones not counted: its weight where windows are averaged.
    pub(crate) fn weights(&self) -> Vec<usize> {
        self.windows.iter().map(|[first, second]| first.len() + second.len()).collect()
    }

    /// The `columns` values of each token of the one text that some window holds; the others were dropped. `outcomes` are
    /// those of this reading's rows, each `[length, columns]`.
    pub(crate) fn by_token<'o>(
        &self,
        model: &Model,
        outcomes: &'o [Outcome<Vec<f32>>],
        columns: usize,
    ) -> Result<Vec<&'o [f32]>> {
        let windows: Vec<Range<usize>> = self.windows.iter().map(|[first, _]| first.clone()).collect();
        let read = windows.last().map_or(0, |window| window.end);
        let offset = model.tokenizer().one().first_at();
        let words = self.texts[0].words.get(..read).unwrap_or_default();
        let of_token = |(at, window): (usize, usize)| {
            let column = (offset + at - windows[window].start) * columns;
            let values = outcomes.get(window).and_then(|outcome| outcome.value.get(column..column + columns));
            values.ok_or_else(|| Error::Internal("a token without logits".to_owned()))
        };
        word_windows(&windows, words).into_iter().enumerate().map(of_token).collect()
    }

    /// The same two texts in the other order, laid out as that pair would be by itself.
    pub(crate) fn swapped(
        &self,
        model: &Model,
        keep: Keep,
        overflow: Overflow,
        rows: &mut Vec<Row>,
    ) -> Result<Reading> {
        let [first, second] = self.texts.clone();
        pair(model, [second, first], keep, overflow, Instant::now(), rows)
    }
}

/// Refuses a model that was made for another task than one of these.
pub(crate) fn require(model: &Model, tasks: &[Task], want: &'static str) -> Result<()> {
    let manifest = model.bundle().manifest();
    match tasks.contains(&manifest.task) {
        true => Ok(()),
        false => Err(Error::WrongTask { model: manifest.id.clone(), have: manifest.task.name().to_owned(), want }),
    }
}

/// Tokenizes a text, cuts it into windows and adds their rows.
pub(crate) fn read_one(
    model: &Model,
    text: &str,
    detail: Detail,
    overflow: Overflow,
    limits: &Limits,
    rows: &mut Vec<Row>,
) -> Result<Reading> {
    let start = Instant::now();
    let template = model.tokenizer().one();
    let text = encode(model, text, detail, limits)?;
    // `Model` has checked that there is room for at least one token.
    let room = model.bundle().manifest().max_tokens.saturating_sub(template.len());
    let plan = window::plan(text.ids.len(), room, template.len(), overflow)?;
    let windows = plan.windows.into_iter().map(|window| [window, 0..0]).collect();
    reading([text, Encoded::default()], windows, plan.dropped, template, start, rows)
}

/// [`read_one`] for two texts in one row.
pub(crate) fn read_pair(
    model: &Model,
    texts: [&str; 2],
    details: [Detail; 2],
    keep: Keep,
    overflow: Overflow,
    limits: &Limits,
    rows: &mut Vec<Row>,
) -> Result<Reading> {
    let start = Instant::now();
    let first = encode(model, texts[0], details[0], limits)?;
    let second = encode(model, texts[1], details[1], limits)?;
    pair(model, [first, second], keep, overflow, start, rows)
}

/// Cuts two texts into windows and adds their rows.
fn pair(
    model: &Model,
    [first, second]: [Encoded; 2],
    keep: Keep,
    overflow: Overflow,
    start: Instant,
    rows: &mut Vec<Row>,
) -> Result<Reading> {
    let template = model.tokenizer().two()?;
    let room = model.bundle().manifest().max_tokens.saturating_sub(template.len());
    let plan = window::plan_pair([first.ids.len(), second.ids.len()], room, template.len(), overflow, keep)?;
    reading([first, second], plan.windows, plan.dropped, template, start, rows)
}

fn encode(model: &Model, text: &str, detail: Detail, limits: &Limits) -> Result<Encoded> {
    limits.check()?;
    match detail {
        Detail::Ids => model.tokenizer().ids(text, limits),
        Detail::Words => {
            let mut encoded = model.tokenizer().words(text, limits)?;
            encoded.offsets.iter_mut().for_each(|range| *range = without_space(text, range.clone()));
            Ok(encoded)
        }
    }
}

/// A token's place without the white space that some tokenizers (ALBERT's, GPT-2's) take for a part of it; of one that is
/// nothing else, where the word after it begins.
fn without_space(text: &str, range: Range<usize>) -> Range<usize> {
    let token = text.get(range.clone()).unwrap_or_default();
    let start = range.start + token.len() - token.trim_start().len();
    start..start + token.trim().len()
}

fn reading(
    texts: [Encoded; 2],
    windows: Vec<[Range<usize>; 2]>,
    dropped: usize,
    template: &Template,
    start: Instant,
    rows: &mut Vec<Row>,
) -> Result<Reading> {
    let tokens = texts[0].ids.len() + texts[1].ids.len();
    if tokens + template.len() == 0 {
        return Err(Error::InvalidArgument(
            "the text has no tokens, and this model's tokenizer adds none: there is nothing to read".to_owned(),
        ));
    }
    let from = rows.len();
    rows.extend(windows.iter().map(|window| {
        let [first, second] = [0, 1].map(|i| texts[i].ids.get(window[i].clone()).unwrap_or_default());
        Row::new(template, first, second)
    }));
    let usage = Usage {
        tokens_used: tokens - dropped + template.len(),
        tokens_dropped: dropped,
        windows: windows.len(),
        timings: Timings { tokenize: start.elapsed(), ..Timings::default() },
    };
    Ok(Reading { texts, windows, rows: from..rows.len(), usage })
}

/// The window from which each token is read: for all tokens of a word one that holds them all, where there is one.
fn word_windows(windows: &[Range<usize>], words: &[usize]) -> Vec<usize> {
    let mut best = best_window(windows, words.len());
    let mut end = 0;
    for word in words.chunk_by(|a, b| a == b) {
        let tokens = end..end + word.len();
        end = tokens.end;
        let holds = |window: &Range<usize>| window.start <= tokens.start && tokens.end <= window.end;
        let chosen = best.get(tokens.start).copied().unwrap_or(0);
        let whole = match windows.get(chosen).is_some_and(holds) {
            true => Some(chosen),
            false => {
                // Windows are in order: the one that holds the end may hold the start too.
                let near = chosen.saturating_sub(1)..(chosen + 2).min(windows.len());
                near.into_iter().find(|&window| holds(&windows[window]))
            }
        };
        if let (Some(window), Some(best)) = (whole, best.get_mut(tokens)) {
            best.fill(window);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_without_the_space_around_it() {
        let text = "the [MASK]\u{3000} film";
        for (range, wanted) in [(3..10, 4..10), (4..10, 4..10), (3..13, 4..10), (3..4, 4..4), (99..100, 99..99)] {
            assert_eq!(without_space(text, range.clone()), wanted, "{range:?}");
        }
    }

    #[test]
    fn words_are_read_whole_from_one_window() {
        let windows = [0..10, 6..16, 12..20];
        // A word of tokens 7 to 10, which crosses the border where the best window changes.
        let words = [0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let chosen = word_windows(&windows, &words);
        assert_eq!(chosen[7..11], [1; 4]);
        assert_eq!((chosen[0], chosen[6], chosen[11], chosen[19]), (0, 0, 1, 2));
        // A word longer than any window is read where each token is seen best.
        let long = word_windows(&windows, &[0; 20]);
        assert_eq!(long, best_window(&windows, 20));
    }
}
