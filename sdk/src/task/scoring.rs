//! How likely a causal model finds tokens.

use std::sync::Arc;
use std::time::Instant;

use crate::bundle::Batching;
use crate::post::sampling::log_probability;
use crate::runtime::cache::{Cache, CacheShape, Prefix};
use crate::runtime::decoder::Step;
use crate::runtime::limits::Limits;
use crate::runtime::memory::{CHUNK, LOGIT_BYTES, rows_together};
use crate::{Error, Model, Result};

/// Reads tokens after those in `cache`, padded on the right to one length, and gives logits from token `from` on, part
/// by part, to `read`: row, token, logits.
fn run(
    model: &Model,
    cache: &mut Cache,
    rows: &[&[u32]],
    from: usize,
    limits: &Limits,
    mut read: impl FnMut(usize, usize, &[f32]),
) -> Result<()> {
    let manifest = model.bundle().manifest();
    let vocabulary = manifest.architecture.vocab_size;
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let by_logits = LOGIT_BYTES / (4 * vocabulary * rows.len().max(1)).max(1);
    let by_tokens = CHUNK / rows.len().max(1);
    let pad = manifest.tokenizer.pad_id as i32;
    let (mut ids, mut mask, mut logits) = (Vec::new(), Vec::new(), Vec::new());
    let mut start = 0;
    while start < longest {
        // Tokens before `from` give no logits but one a run.
        let end = if start < from {
            from.min(start + by_tokens.max(1))
        } else {
            longest.min(start + by_logits.min(by_tokens).max(1))
        };
        let length = end - start;
        ids.clear();
        for row in rows {
            ids.extend((start..end).map(|at| row.get(at).map_or(pad, |&id| id as i32)));
        }
        // Padding stands behind all that is read, where a causal model does not look.
        mask.clear();
        mask.resize(rows.len() * (cache.length() + length), 1);
        let first = if start < from { length - 1 } else { 0 };
        let started = Instant::now();
        let step = Step { ids: &ids, mask: &mask, logits_from: first };
        model.pool().take(limits)?.session()?.step(cache, &step, &mut logits, limits)?;
        let tokens = rows.iter().map(|row| row.len().min(end).saturating_sub(start)).sum();
        model.counters().run(rows.len(), tokens, rows.len() * length, started.elapsed());
        let wanted = length - first;
        for (place, logits) in logits.chunks_exact(vocabulary).enumerate() {
            let (row, at) = (place / wanted, start + first + place % wanted);
            if at >= from {
                read(row, at, logits);
            }
        }
        start = end;
    }
    Ok(())
}

fn fresh(model: &Model, rows: usize, tokens: usize) -> Result<Cache> {
    Cache::new(CacheShape::of(model.bundle().manifest())?, rows, tokens.max(1))
}

/// The logits after every token of one row, `[length, vocabulary]`.
pub(crate) fn all_logits(model: &Model, ids: &[u32], limits: &Limits) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    let mut cache = fresh(model, 1, ids.len())?;
    run(model, &mut cache, &[ids], 0, limits, |_, _, logits| all.extend_from_slice(logits))?;
    Ok(all)
}

/// The natural log of the probability of each token from `first` on (at least 1), given those before it.
pub(super) fn log_probabilities(model: &Model, ids: &[u32], first: usize, limits: &Limits) -> Result<Vec<f64>> {
    let Some((_, read)) = ids.split_last() else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(ids.len().saturating_sub(first));
    let mut cache = fresh(model, 1, read.len())?;
    let mut failed = false;
    run(model, &mut cache, &[read], first.saturating_sub(1), limits, |_, at, logits| {
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
    let mut cache = fresh(model, 1, ids.len())?;
    run(model, &mut cache, &[ids], ids.len(), limits, |_, _, _| {})?;
    let prefix = Arc::new(cache.prefix(ids)?);
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
    let mut cache = fresh(model, 1, context.len())?;
    if let Some(prefix) = prefix {
        cache.restart(1, prefix)?;
    }
    let missing = || Error::Internal("a token without a logit".to_owned());
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); continuations.len()];
    let mut failed = false;
    run(model, &mut cache, &[rest], rest.len().saturating_sub(1), limits, |_, _, logits| {
        for (found, ids) in found.iter_mut().zip(continuations) {
            match ids.first().map(|&id| log_probability(logits, id as usize)) {
                Some(Some(value)) => found.push(value),
                Some(None) => failed = true,
                None => {}
            }
        }
    })?;

    // All tokens but the last of each continuation are read, side by side.
    let whole = cache.prefix(context)?;
    let mut longer: Vec<usize> = (0..continuations.len()).filter(|&at| continuations[at].len() > 1).collect();
    longer.sort_by_key(|&at| std::cmp::Reverse(continuations[at].len()));
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
        let mut cache = fresh(model, rows.len(), tokens)?;
        cache.restart(rows.len(), &whole)?;
        run(model, &mut cache, &rows, 0, limits, |row, at, logits| {
            let Some(&number) = group.get(row) else { return };
            match continuations[number].get(at + 1).map(|&id| log_probability(logits, id as usize)) {
                Some(Some(value)) => found[number].push(value),
                Some(None) => failed = true,
                // Padding.
                None => {}
            }
        })?;
    }
    if failed { Err(missing()) } else { Ok(found) }
}
