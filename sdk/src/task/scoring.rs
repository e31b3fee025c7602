//! How likely a causal model finds tokens.

use std::sync::Arc;
use std::time::Instant;

use crate::bundle::{Batching, SelfTest};
use crate::post::sampling::{log_probability, log_sum};
use crate::runtime::cache::Prefix;
use crate::runtime::decoder::{Decoder, Step};
use crate::runtime::limits::Limits;
use crate::runtime::memory::{CHUNK, LOGIT_BYTES, rows_together};
use crate::{Error, Model, Result};

/// Reads tokens after those that a row holds, and gives logits from token `from` on, part by part, to `read`: token, logits.
fn run(
    model: &Model,
    decoder: &mut Decoder,
    row: usize,
    ids: &[u32],
    from: usize,
    mut read: impl FnMut(usize, &[f32]),
) -> Result<()> {
    let vocabulary = model.bundle().manifest().architecture.vocab_size;
    let by_logits = decoder.logits_room().clamp(1, CHUNK);
    let mut start = 0;
    while start < ids.len() {
        // Tokens before `from` give no logits but one a run.
        let end = if start < from { from.min(start + CHUNK) } else { start + by_logits }.min(ids.len());
        let first = if start < from { end - start - 1 } else { 0 };
        let step = Step { rows: row..row + 1, ids: &ids[start..end], logits_from: first, logits_at: 0 };
        counted_step(model, decoder, &step)?;
        let logits = decoder.logits(0..end - start - first);
        for (place, logits) in logits.chunks_exact(vocabulary).enumerate() {
            let at = start + first + place;
            if at >= from {
                read(at, logits);
            }
        }
        start = end;
    }
    Ok(())
}

/// One step, counted. The session is lent for it only: texts that are read or written at one time take turns, whoever waits
/// between their steps.
pub(super) fn counted_step(model: &Model, decoder: &mut Decoder, step: &Step<'_>) -> Result<()> {
    let started = Instant::now();
    decoder.step(model.pool().take(decoder.limits())?.session()?, step)?;
    model.counters().run(step.rows.len(), step.ids.len(), step.ids.len(), started.elapsed());
    Ok(())
}

/// For rows that begin with nothing, of which logits of so many tokens are read, as many at a time as [`LOGIT_BYTES`] has.
fn fresh(model: &Model, rows: usize, tokens: usize, logits: usize, limits: &Limits) -> Result<Decoder> {
    let manifest = model.bundle().manifest();
    let by_bytes = LOGIT_BYTES / (4 * manifest.architecture.vocab_size).max(1);
    let logits = logits.min(by_bytes).clamp(1, CHUNK).max(rows);
    Decoder::new(manifest, rows, tokens.max(1), logits, limits.clone())
}

/// Of the logits after every token of one row, `[length, vocabulary]`, those that [`SelfTest::sample`] would take of all.
pub(crate) fn sampled_logits(model: &Model, ids: &[u32], limits: &Limits) -> Result<Vec<f32>> {
    let vocabulary = model.bundle().manifest().architecture.vocab_size;
    let mut sampled = SelfTest::places(ids.len().saturating_mul(vocabulary)).peekable();
    let mut found = Vec::new();
    let mut decoder = fresh(model, 1, ids.len(), ids.len(), limits)?;
    run(model, &mut decoder, 0, ids, 0, |at, logits| {
        let first = at * vocabulary;
        while let Some(place) = sampled.next_if(|&place| place < first + logits.len()) {
            found.extend(place.checked_sub(first).and_then(|place| logits.get(place)));
        }
    })?;
    Ok(found)
}

/// The natural log of the probability of each token from `first` on (at least 1), given those before it.
pub(super) fn log_probabilities(model: &Model, ids: &[u32], first: usize, limits: &Limits) -> Result<Vec<f64>> {
    let Some((_, read)) = ids.split_last() else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(ids.len().saturating_sub(first));
    let from = first.saturating_sub(1);
    let mut decoder = fresh(model, 1, read.len(), read.len().saturating_sub(from), limits)?;
    let mut failed = false;
    run(model, &mut decoder, 0, read, from, |at, logits| {
        match ids.get(at + 1).and_then(|&id| log_probability(logits, id as usize)) {
            Some(found_here) => found.push(found_here),
            None => failed = true,
        }
    })?;
    match failed {
        false => Ok(found),
        true => Err(Error::Internal("a token without a logit".to_owned())),
    }
}

/// Reads tokens, or goes on from where they were kept.
pub(super) fn prefix(model: &Model, ids: &[u32], limits: &Limits) -> Result<(Arc<Prefix>, bool)> {
    let prefixes = &model.causal()?.prefixes;
    if let Some(prefix) = prefixes.get(ids) {
        return Ok((prefix, true));
    }
    let mut decoder = fresh(model, 1, ids.len(), 1, limits)?;
    run(model, &mut decoder, 0, ids, ids.len(), |_, _| {})?;
    let prefix = Arc::new(decoder.cache().prefix(ids)?);
    prefixes.put(&prefix);
    Ok((prefix, false))
}

/// The natural logs of the probabilities of the tokens of each continuation, after `context`, which is not empty. What
/// `prefix` holds of the context is not read again; one more token at least is left to read.
pub(super) fn continuations(
    model: &Model,
    context: &[u32],
    prefix: Option<&Prefix>,
    continuations: &[Vec<u32>],
    limits: &Limits,
) -> Result<Vec<Vec<f64>>> {
    let shared = prefix.map_or(0, |prefix| prefix.ids.len());
    let rest = context.get(shared..).unwrap_or_default();
    let mut decoder = fresh(model, 1, context.len(), 1, limits)?;
    decoder.restart(1, prefix)?;
    let missing = || Error::Internal("a token without a logit".to_owned());
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); continuations.len()];
    let mut failed = false;
    run(model, &mut decoder, 0, rest, rest.len().saturating_sub(1), |_, logits| {
        // Once for all: there may be thousands of continuations.
        let (highest, log_sum) = log_sum(logits);
        let log_probability = |id: u32| Some(f64::from(*logits.get(id as usize)?) - highest - log_sum);
        for (found, ids) in found.iter_mut().zip(continuations) {
            match ids.first().map(|&id| log_probability(id)) {
                Some(Some(value)) => found.push(value),
                Some(None) => failed = true,
                None => {}
            }
        }
    })?;

    // All tokens but the last of each continuation are read.
    let mut longer: Vec<usize> = (0..continuations.len()).filter(|&at| continuations[at].len() > 1).collect();
    longer.sort_by_key(|&at| std::cmp::Reverse(continuations[at].len()));
    if longer.is_empty() {
        return if failed { Err(missing()) } else { Ok(found) };
    }
    let whole = decoder.cache().prefix(context)?;
    drop(decoder);
    let mut rest = &longer[..];
    let vocabulary = model.bundle().manifest().architecture.vocab_size;
    while let Some(&first) = rest.first() {
        let tokens = context.len() + continuations[first].len() - 1;
        let together = match model.bundle().manifest().batching {
            Batching::Padded => rows_together(model.pool().batch_tokens(), tokens, vocabulary),
            Batching::Single => 1,
        };
        let group;
        (group, rest) = rest.split_at(together.min(rest.len()));
        let rows: Vec<&[u32]> =
            group.iter().filter_map(|&at| continuations[at].split_last().map(|(_, read)| read)).collect();
        let longest = continuations[first].len() - 1;
        // Token by token takes fewer runs where there are more rows than tokens.
        let by_row = rows.len() < longest;
        let mut decoder = fresh(model, rows.len(), tokens, if by_row { longest } else { 1 }, limits)?;
        decoder.restart(rows.len(), Some(&whole))?;
        let mut take = |row: usize, at: usize, logits: &[f32]| {
            let number = group[row];
            match continuations[number].get(at + 1).map(|&id| log_probability(logits, id as usize)) {
                Some(Some(value)) => found[number].push(value),
                _ => failed = true,
            }
        };
        if by_row {
            for (row, ids) in rows.iter().enumerate() {
                run(model, &mut decoder, row, ids, 0, |at, logits| take(row, at, logits))?;
            }
            continue;
        }
        for at in 0..longest {
            // The longest rows come first.
            let ids: Vec<u32> = rows.iter().map_while(|row| row.get(at)).copied().collect();
            let step = Step { rows: 0..ids.len(), ids: &ids, logits_from: 0, logits_at: 0 };
            counted_step(model, &mut decoder, &step)?;
            limits.check()?;
            let logits = decoder.logits(0..ids.len());
            logits.chunks_exact(vocabulary).enumerate().for_each(|(row, logits)| take(row, at, logits));
        }
    }
    if failed { Err(missing()) } else { Ok(found) }
}
