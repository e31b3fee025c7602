//! Writing text token by token: which rows go on, what they have read, and when each ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::generate::{ContextPolicy, Finish, GenerateOptions, Generation, GenerationTimes};
use super::scoring::counted_step;
use crate::bundle::Batching;
use crate::post::random::uniform;
use crate::post::sampling::{Sampling, log_probability};
use crate::runtime::cache::Prefix;
use crate::runtime::decoder::{Decoder, Step};
use crate::runtime::memory::{CHUNK, rows_together};
use crate::text::{StopSearch, Utf8Stream};
use crate::{Error, Model, Result};

/// One text.
struct Row {
    /// Its place in the batch, by which its random numbers are drawn.
    number: u64,
    /// Prompt and what was written.
    ids: Vec<u32>,
    /// Tokens of the prompt.
    prompt: usize,
    /// The first token that is still in the context.
    from: usize,
    bytes: Utf8Stream,
    search: StopSearch,
    text: String,
    log_probabilities: Vec<f64>,
    finish: Option<Finish>,
    stop: Option<usize>,
}

/// A token that was written.
pub(super) struct Written {
    pub id: u32,
    /// The text that became certain with it.
    pub text: String,
}

/// The beginning of a prompt.
pub(super) struct Found {
    pub prefix: Arc<Prefix>,
    /// Whether it was kept from an earlier call.
    pub kept: bool,
    /// What reading it took now.
    pub time: Duration,
}

/// Some texts that are written together.
pub(super) struct Decoding<'a> {
    model: &'a Model,
    options: &'a GenerateOptions,
    sampling: Sampling,
    /// Tokens of the prefix, if it was there before.
    cached: usize,
    rows: Vec<Row>,
    /// The rows that go on, in order: those that the decoder holds. Its logits are those after the last token of each.
    active: Vec<usize>,
    decoder: Decoder,
    /// Room for the last tokens, for the text of one, and for choosing the next.
    last: Vec<u32>,
    piece: String,
    order: Vec<u32>,
    as_given: Vec<f32>,
    times: GenerationTimes,
}

impl<'a> Decoding<'a> {
    /// Prompts with their places in the batch, none empty; all begin with `prefix` if there is one, and have more.
    pub(super) fn new(
        model: &'a Model,
        options: &'a GenerateOptions,
        prompts: Vec<(u64, Vec<u32>)>,
        prefix: Option<Found>,
    ) -> Result<Decoding<'a>> {
        let context = model.bundle().manifest().max_tokens;
        let capacity = capacity(model, prompts.iter().map(|(_, ids)| ids.len()).max().unwrap_or(0), options);
        let rows: Vec<Row> = prompts
            .into_iter()
            .map(|(number, mut ids)| {
                let prompt = ids.len();
                // Not from token to token.
                ids.reserve(options.max_new_tokens.min(context));
                let over = prompt.saturating_add(options.max_new_tokens).saturating_sub(context);
                let from = match options.context {
                    ContextPolicy::Error if over > 0 => {
                        return Err(Error::ContextOverflow { prompt, new: options.max_new_tokens, context });
                    }
                    ContextPolicy::Stop if prompt > context => {
                        return Err(Error::TooLong { tokens: prompt, max: context });
                    }
                    ContextPolicy::Slide { keep } if prompt > context => prompt - kept(keep, context),
                    _ => 0,
                };
                Ok(Row {
                    number,
                    ids,
                    prompt,
                    from,
                    bytes: Utf8Stream::default(),
                    search: StopSearch::new(&options.stop),
                    text: String::new(),
                    log_probabilities: Vec::with_capacity(match options.log_probabilities {
                        true => options.max_new_tokens.min(context),
                        false => 0,
                    }),
                    finish: (options.max_new_tokens == 0).then_some(Finish::Length),
                    stop: None,
                })
            })
            .collect::<Result<_>>()?;
        let active: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].finish.is_none()).collect();
        let manifest = model.bundle().manifest();
        let mut decoder = Decoder::new(manifest, rows.len(), capacity, active.len(), options.limits())?;
        let whole = prefix.as_ref().filter(|_| rows.iter().all(|row| row.from == 0));
        decoder.restart(active.len(), whole.map(|found| &*found.prefix))?;
        Ok(Decoding {
            model,
            sampling: options.sampling(),
            options,
            cached: prefix.as_ref().filter(|found| found.kept).map_or(0, |found| found.prefix.ids.len()),
            times: GenerationTimes {
                prefill: prefix.as_ref().map_or(Duration::ZERO, |found| found.time),
                ..GenerationTimes::default()
            },
            last: Vec::with_capacity(rows.len()),
            piece: String::new(),
            order: Vec::new(),
            as_given: Vec::new(),
            active,
            decoder,
            rows,
        })
    }

    /// Writes one token in each text that goes on, and gives that of the first; none once all have ended.
    pub(super) fn next(&mut self) -> Result<Option<Written>> {
        if self.active.is_empty() {
            return Ok(None);
        }
        let start = Instant::now();
        match self.read()? {
            true => self.times.prefill += start.elapsed(),
            false => self.times.decode += start.elapsed(),
        }
        let start = Instant::now();
        let vocabulary = self.model.bundle().manifest().architecture.vocab_size;
        self.last.clear();
        let logits = self.decoder.logits(0..self.active.len());
        for (&row, logits) in self.active.iter().zip(logits.chunks_exact_mut(vocabulary)) {
            let Row { number, ids, prompt, from, log_probabilities, .. } = &mut self.rows[row];
            let draw = (ids.len() - *prompt) as u64;
            let seen = ids.get(*from..).unwrap_or_default();
            let report = self.options.log_probabilities;
            if report {
                // Choosing changes the logits.
                self.as_given.clear();
                self.as_given.extend_from_slice(logits);
            }
            let random = || uniform(self.options.seed, *number, draw);
            let id = self.sampling.choose(logits, seen, &mut self.order, random);
            log_probabilities.extend(report.then(|| log_probability(&self.as_given, id as usize)).flatten());
            self.last.push(id);
        }
        let mut first = None;
        for at in 0..self.active.len() {
            let written = self.write(at, self.last[at])?;
            first.get_or_insert(written);
        }
        let goes_on = |&at: &usize| self.rows[self.active[at]].finish.is_none();
        if !(0..self.active.len()).all(|at| goes_on(&at)) {
            let going: Vec<usize> = (0..self.active.len()).filter(goes_on).collect();
            self.decoder.keep(&going);
            self.active = going.iter().map(|&at| self.active[at]).collect();
        }
        self.times.sampling += start.elapsed();
        Ok(first)
    }

    /// Adds a token to the text at that place among those that go on, and finds out whether it ends there.
    fn write(&mut self, at: usize, id: u32) -> Result<Written> {
        let manifest = self.model.bundle().manifest();
        let context = manifest.max_tokens;
        let eos = manifest.generation.as_ref().is_some_and(|spec| spec.eos_ids.contains(&id));
        let ends = eos && !self.options.ignore_eos;
        let token = self.model.causal()?.bytes.get(id);
        let this = &mut self.rows[self.active[at]];
        this.ids.push(id);
        let mut text = String::new();
        if !ends {
            self.piece.clear();
            this.bytes.push(token, &mut self.piece);
            (text, this.stop) = this.search.push(&self.piece);
        }
        let in_context = this.ids.len() - this.from;
        if ends {
            this.finish = Some(Finish::EndOfText);
        } else if this.stop.is_some() {
            this.finish = Some(Finish::Stop);
        } else if this.ids.len() - this.prompt >= self.options.max_new_tokens {
            this.finish = Some(Finish::Length);
        } else if in_context > context {
            match self.options.context {
                ContextPolicy::Slide { keep } => {
                    this.from = this.ids.len() - kept(keep, context);
                    self.decoder.forget(at);
                }
                _ => this.finish = Some(Finish::Context),
            }
        }
        if this.finish.is_some() && this.stop.is_none() {
            let mut rest = String::new();
            this.bytes.finish(&mut rest);
            // What was held back may yet become a stop string with half a character that comes now.
            let (mut more, mut stop) = this.search.push(&rest);
            text.push_str(&more);
            if stop.is_none() {
                (more, stop) = this.search.finish();
                text.push_str(&more);
            }
            if stop.is_some() {
                (this.stop, this.finish) = (stop, Some(Finish::Stop));
            }
        }
        this.text.push_str(&text);
        Ok(Written { id, text })
    }

    /// Reads what is in the context of each row and was not yet read, and whether any of it was more than the token that was
    /// written last.
    fn read(&mut self) -> Result<bool> {
        let all = 0..self.active.len();
        let anew = all.clone().any(|at| {
            let row = &self.rows[self.active[at]];
            row.ids.len() == row.prompt || self.decoder.cache().length(at) == 0
        });
        let rest = |this: &Self, at: usize| {
            let row = &this.rows[this.active[at]];
            row.ids.get(row.from + this.decoder.cache().length(at)..).unwrap_or_default().len()
        };
        if all.clone().all(|at| rest(self, at) == 1) {
            self.last.clear();
            self.last.extend(self.active.iter().filter_map(|&row| self.rows[row].ids.last()));
            let step = Step { rows: all, ids: &self.last, logits_from: 0, logits_at: 0 };
            counted_step(self.model, &mut self.decoder, &step)?;
            return Ok(anew);
        }
        // Prompts one by one: they differ in length, and nothing is padded.
        for at in all {
            while rest(self, at) > 0 {
                let row = &self.rows[self.active[at]];
                let rest = &row.ids[row.from + self.decoder.cache().length(at)..];
                let ids = &rest[..rest.len().min(CHUNK)];
                // Of a part of a prompt none are wanted; a run gives one token's at least.
                let step = Step { rows: at..at + 1, ids, logits_from: ids.len() - 1, logits_at: at };
                counted_step(self.model, &mut self.decoder, &step)?;
            }
        }
        Ok(true)
    }

    /// Counts the call, once.
    pub(super) fn count(&self, failed: bool, counted: &mut bool) {
        if !std::mem::replace(counted, true) {
            self.model.counters().call(failed);
        }
    }

    /// Ends all texts where they are.
    pub(super) fn give_up(&mut self) {
        self.active.clear();
    }

    /// Whether all texts have ended.
    pub(super) fn is_done(&self) -> bool {
        self.active.is_empty()
    }

    /// What has been written so far, once.
    pub(super) fn results(&mut self, tokenize: Duration) -> Vec<Generation> {
        let times = GenerationTimes { tokenize, ..self.times };
        let stops = &self.options.stop;
        std::mem::take(&mut self.rows)
            .into_iter()
            .map(|row| Generation {
                text: row.text,
                ids: row.ids.get(row.prompt..).unwrap_or_default().to_vec(),
                log_probabilities: row.log_probabilities,
                finish: row.finish.unwrap_or(Finish::Unfinished),
                stop: row.stop.and_then(|stop| stops.get(stop).cloned()),
                prompt_tokens: row.prompt,
                cached_tokens: self.cached,
                generated_tokens: row.ids.len() - row.prompt,
                tokens_dropped: row.from,
                examples: 0,
                examples_dropped: 0,
                times,
            })
            .collect()
    }
}

/// How many tokens stay when the context is full.
fn kept(keep: usize, context: usize) -> usize {
    match keep {
        0 => (context / 2).max(1),
        keep => keep.min(context),
    }
}

/// Tokens that a row needs room for.
pub(super) fn capacity(model: &Model, prompt: usize, options: &GenerateOptions) -> usize {
    // The last token is written and not read.
    let all = prompt.saturating_add(options.max_new_tokens.saturating_sub(1));
    all.min(model.bundle().manifest().max_tokens).max(1)
}

/// Which prompts are written together: those of like lengths, as many as the model's memory plan allows.
pub(super) fn groups(model: &Model, lengths: &[usize], options: &GenerateOptions) -> Vec<Vec<usize>> {
    let single = model.bundle().manifest().batching == Batching::Single;
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for row in order {
        match groups.last_mut().filter(|group| group.len() < room) {
            Some(group) => group.push(row),
            None => {
                let tokens = capacity(model, lengths[row], options);
                let vocabulary = model.bundle().manifest().architecture.vocab_size;
                room = if single { 1 } else { rows_together(model.pool().batch_tokens(), tokens, vocabulary) };
                groups.push(vec![row]);
            }
        }
    }
    groups
}
