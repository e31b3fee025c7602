//! What models do: one file a task, and how rows of tokens are read and run for all of them.

pub(crate) mod answer;
pub(crate) mod classify;
mod contextual;
mod decoding;
pub(crate) mod embed;
pub(crate) mod few_shot;
pub(crate) mod fill_mask;
pub(crate) mod generate;
pub(crate) mod options;
pub(crate) mod order;
pub(crate) mod perplexity;
pub(crate) mod prompt;
pub(crate) mod prompted;
mod reading;
pub(crate) mod replaced;
pub(crate) mod rerank;
mod rows;
pub(crate) mod scoring;
pub(crate) mod self_test;
pub(crate) mod tag;
pub(crate) mod zero_shot;

use crate::bundle::Task;
use crate::runtime::limits::Limits;
use crate::text::Template;
use crate::{Error, Model, Result};

/// The answer of a call that was given one text.
fn only<T>(answers: Vec<T>) -> Result<T> {
    answers.into_iter().next().ok_or_else(|| Error::Internal("one text gave no answer".to_owned()))
}

/// Runs the model once, on a few tokens.
pub(crate) fn warm_up(model: &Model) -> Result<()> {
    let pad = model.bundle().manifest().tokenizer.pad_id;
    if model.bundle().manifest().task == Task::Generation {
        return scoring::sampled_logits(model, &[pad; 3], &Limits::default()).map(drop);
    }
    let template: &Template = model.tokenizer().one();
    let row = rows::Row::new(template, &[pad; 3], &[]);
    rows::run(model, &[row], &Limits::default(), |_, _| Ok(())).map(drop)
}
