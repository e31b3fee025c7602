//! Writing text token by token: which rows go on, what they have read, and when each ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::generate::{ContextPolicy, Finish, GenerateOptions, Generation, GenerationTimes};
use crate::bundle::Batching;
use crate::post::random::uniform;
use crate::post::sampling::{Sampling, log_probability};
use crate::runtime::cache::{Cache, CacheShape, Prefix};
use crate::runtime::decoder::Step;
use crate::runtime::limits::Limits;
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
    limits: Limits,
    options: &'a GenerateOptions,
    sampling: Sampling,
    prefix: Option<Arc<Prefix>>,
    /// Tokens of the prefix, if it was there before.
    cached: usize,
    rows: Vec<Row>,
    /// The rows that go on, in order: those that the cache holds, once it holds any.
    active: Vec<usize>,
    cache: Cache,
    /// Mask of the cache, a list a row.
    masks: Vec<Vec<i32>>,
    /// Whether the cache holds all tokens of the rows but the last.
    read: bool,
    logits: Vec<f32>,
    /// Room for what each step is given.
    ids: Vec<i32>,
    mask: Vec<i32>,
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
            .map(|(number, ids)| {
                let prompt = ids.len();
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
                    log_probabilities: Vec::new(),
                    finish: (options.max_new_tokens == 0).then_some(Finish::Length),
                    stop: None,
                })
            })
            .collect::<Result<_>>()?;
        let active: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].finish.is_none()).collect();
        let cache = Cache::new(CacheShape::of(model.bundle().manifest())?, rows.len(), capacity)?;
        Ok(Decoding {
            model,
            limits: options.limits(),
            sampling: options.sampling(),
            options,
            cached: prefix.as_ref().filter(|found| found.kept).map_or(0, |found| found.prefix.ids.len()),
            times: GenerationTimes {
                prefill: prefix.as_ref().map_or(Duration::ZERO, |found| found.time),
                ..GenerationTimes::default()
            },
            prefix: prefix.map(|found| found.prefix),
            masks: Vec::new(),
            active,
            cache,
            read: false,
            logits: Vec::new(),
            ids: Vec::with_capacity(rows.len() * CHUNK),
            mask: Vec::with_capacity(rows.len() * capacity),
            rows,
        })
    }

    /// Writes one token in each text that goes on; none once all have ended.
    pub(super) fn next(&mut self) -> Result<Vec<Written>> {
        if self.active.is_empty() {
            return Ok(Vec::new());
        }
        let start = Instant::now();
        if self.read && self.cache.length() < self.cache.capacity() {
            self.read_last()?;
            self.times.decode += start.elapsed();
        } else {
            self.read_all()?;
            self.times.prefill += start.elapsed();
        }
        let start = Instant::now();
        let vocabulary = self.model.bundle().manifest().architecture.vocab_size;
        let mut written = Vec::with_capacity(self.active.len());
        for (&row, logits) in self.active.iter().zip(self.logits.chunks_exact_mut(vocabulary)) {
            let Row { number, ids, prompt, from, log_probabilities, .. } = &mut self.rows[row];
            let draw = (ids.len() - *prompt) as u64;
            let seen = ids.get(*from..).unwrap_or_default();
            // Choosing changes the logits.
            let as_given = self.options.log_probabilities.then(|| logits.to_vec());
            let id = self.sampling.choose(logits, seen, || uniform(self.options.seed, *number, draw));
            log_probabilities.extend(as_given.and_then(|logits| log_probability(&logits, id as usize)));
            written.push((row, id));
        }
        let written = written.into_iter().map(|(row, id)| self.write(row, id)).collect::<Result<Vec<_>>>()?;
        let going: Vec<usize> =
            (0..self.active.len()).filter(|&at| self.rows[self.active[at]].finish.is_none()).collect();
        if going.len() < self.active.len() {
            self.cache.keep(&going);
            self.masks = going.iter().map(|&at| std::mem::take(&mut self.masks[at])).collect();
            self.active = going.iter().map(|&at| self.active[at]).collect();
        }
        self.times.sampling += start.elapsed();
        Ok(written)
    }

    /// Adds a token to a text and finds out whether it ends there.
    fn write(&mut self, row: usize, id: u32) -> Result<Written> {
        let manifest = self.model.bundle().manifest();
        let context = manifest.max_tokens;
        let eos = manifest.generation.as_ref().is_some_and(|spec| spec.eos_ids.contains(&id));
        let ends = eos && !self.options.ignore_eos;
        let token = self.model.causal()?.bytes.get(id);
        let this = &mut self.rows[row];
        this.ids.push(id);
        let mut text = String::new();
        if !ends {
            let mut piece = String::new();
            this.bytes.push(token, &mut piece);
            (text, this.stop) = this.search.push(&piece);
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
                    self.read = false;
                }
                _ => this.finish = Some(Finish::Context),
            }
        }
        if this.finish.is_some() && this.stop.is_none() {
            let mut rest = String::new();
            this.bytes.finish(&mut rest);
            // What was held back may yet become a stop string with half a character that comes now.
            let (more, stop) = this.search.push(&rest);
            text.push_str(&more);
            match stop {
                Some(_) => (this.stop, this.finish) = (stop, Some(Finish::Stop)),
                None => text.push_str(&this.search.finish()),
            }
        }
        this.text.push_str(&text);
        Ok(Written { id, text })
    }

    /// Reads the last token of each row.
    fn read_last(&mut self) -> Result<()> {
        self.ids.clear();
        for &row in &self.active {
            self.ids.push(self.rows[row].ids.last().copied().unwrap_or_default() as i32);
        }
        self.masks.iter_mut().for_each(|mask| mask.push(1));
        self.step(0)
    }

    /// Reads all that is in the context of each row, from the beginning: padded on the left, so that all end together.
    fn read_all(&mut self) -> Result<()> {
        let fresh = |row: &Row| row.from == 0;
        let prefix = self.prefix.clone().filter(|_| self.active.iter().all(|&row| fresh(&self.rows[row])));
        let shared = prefix.as_ref().map_or(0, |prefix| prefix.ids.len());
        match &prefix {
            Some(prefix) => self.cache.restart(self.active.len(), prefix)?,
            None => self.cache.reset(self.active.len()),
        }
        self.masks = self.active.iter().map(|_| vec![1; shared]).collect();
        let rest = |row: &Row| row.ids.len() - row.from - shared;
        let longest = self.active.iter().map(|&row| rest(&self.rows[row])).max().unwrap_or(0);
        let chunk = (CHUNK / self.active.len().max(1)).max(1);
        let pad = self.model.bundle().manifest().tokenizer.pad_id as i32;
        for start in (0..longest).step_by(chunk) {
            let end = longest.min(start + chunk);
            self.ids.clear();
            for (&row, mask) in self.active.iter().zip(&mut self.masks) {
                let row = &self.rows[row];
                let padding = longest - rest(row);
                for at in start..end {
                    let id = at.checked_sub(padding).and_then(|at| row.ids.get(row.from + shared + at));
                    self.ids.push(id.map_or(pad, |&id| id as i32));
                    mask.push(i32::from(id.is_some()));
                }
            }
            // Of what was read only the end of the last part is wanted; a run gives one token at least.
            self.step(end - start - 1)?;
        }
        self.read = true;
        Ok(())
    }

    fn step(&mut self, logits_from: usize) -> Result<()> {
        self.mask.clear();
        self.mask.extend(self.masks.iter().flatten());
        let start = Instant::now();
        let step = Step { ids: &self.ids, mask: &self.mask, logits_from };
        // Lent for one step only: texts that are written at one time take turns, whoever waits between them.
        let mut session = self.model.pool().take(&self.limits)?;
        session.session()?.step(&mut self.cache, &step, &mut self.logits, &self.limits)?;
        let (rows, padded) = (self.active.len(), self.ids.len());
        let length = padded.checked_div(rows).unwrap_or(0);
        let tokens = self.masks.iter().flat_map(|mask| mask.iter().rev().take(length)).filter(|&&mask| mask != 0);
        self.model.counters().run(rows, tokens.count(), padded, start.elapsed());
        Ok(())
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
