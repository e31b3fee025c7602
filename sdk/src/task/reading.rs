//! From texts to the rows that the model reads, and what was read of them.

use std::ops::Range;
use std::time::Instant;

use super::options::{Overflow, Timings, Usage};
use super::rows::Row;
use crate::bundle::Task;
use crate::runtime::limits::Limits;
use crate::text::window::{self, Keep};
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
    let template = model.tokenizer().two()?;
    let first = encode(model, texts[0], details[0], limits)?;
    let second = encode(model, texts[1], details[1], limits)?;
    let room = model.bundle().manifest().max_tokens.saturating_sub(template.len());
    let plan = window::plan_pair([first.ids.len(), second.ids.len()], room, template.len(), overflow, keep)?;
    reading([first, second], plan.windows, plan.dropped, template, start, rows)
}

fn encode(model: &Model, text: &str, detail: Detail, limits: &Limits) -> Result<Encoded> {
    limits.check()?;
    match detail {
        Detail::Ids => model.tokenizer().ids(text, limits),
        Detail::Words => model.tokenizer().words(text, limits),
    }
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
