//! Running many rows of tokens: which of them go together, and on which
//! session.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bundle::Batching;
use crate::runtime::limits::Limits;
use crate::runtime::lock;
use crate::runtime::session::Batch;
use crate::{Error, Model, Result};

/// Tokens of one batch, padding included. Larger batches are no faster on a
/// CPU and need more memory.
const BATCH_TOKENS: usize = 2048;

/// One window of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// Which text it belongs to.
    pub text: usize,
    /// Tokens without the special ones.
    pub content: usize,
    pub ids: Vec<i32>,
    pub types: Vec<i32>,
}

/// What came out of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub logits: Vec<f32>,
    pub time: Duration,
}

/// Runs all rows and returns their outcomes in the order of the rows.
///
/// With a pool of several sessions the batches are spread over them, on this
/// thread and on further ones that end before this function returns.
pub(crate) fn run(model: &Model, rows: &[Row], limits: &Limits) -> Result<Vec<Outcome>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let batches = match model.bundle().manifest().batching {
        Batching::Padded => group(&lengths),
        Batching::Single => (0..rows.len()).map(|row| vec![row]).collect(),
    };
    let outcomes = Mutex::new(vec![Outcome::default(); rows.len()]);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let work = || {
        while !stop.load(Ordering::Relaxed)
            && let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed))
        {
            match run_batch(model, rows, batch, limits) {
                Ok(done) => {
                    let mut outcomes = lock(&outcomes);
                    for (&row, outcome) in batch.iter().zip(done) {
                        outcomes[row] = outcome;
                    }
                }
                Err(error) => {
                    stop.store(true, Ordering::Relaxed);
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    let helpers = model.pool().limit().min(batches.len()).saturating_sub(1);
    if helpers == 0 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                // Without the thread the work is done all the same, by fewer.
                let name = "limbeck-batch".to_owned();
                let _ = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
            }
            work();
        });
    }
    match failure.into_inner() {
        Ok(None) => outcomes.into_inner().map_err(|_| Error::Internal("a batch thread panicked".to_owned())),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(Error::Internal("a batch thread panicked".to_owned())),
    }
}

fn run_batch(model: &Model, rows: &[Row], members: &[usize], limits: &Limits) -> Result<Vec<Outcome>> {
    let start = Instant::now();
    let batch = pad(rows, members, model.bundle().manifest().tokenizer.pad_id as i32);
    let logits = model.pool().take(limits)?.session()?.run(&batch, limits)?;
    let time = start.elapsed();
    let labels = model.bundle().labels().len().max(1);
    Ok(logits.chunks(labels).map(|logits| Outcome { logits: logits.to_vec(), time }).collect())
}

fn pad(rows: &[Row], members: &[usize], pad_id: i32) -> Batch {
    let length = members.iter().map(|&row| rows[row].ids.len()).max().unwrap_or(0);
    let mut batch = Batch { rows: members.len(), length, ..Batch::default() };
    for &row in members {
        let Row { ids, types, .. } = &rows[row];
        let padding = length - ids.len();
        batch.ids.extend(ids.iter().copied().chain(std::iter::repeat_n(pad_id, padding)));
        batch.types.extend(types.iter().copied().chain(std::iter::repeat_n(0, padding)));
        batch.mask.extend(std::iter::repeat_n(1, ids.len()).chain(std::iter::repeat_n(0, padding)));
    }
    batch
}

/// Puts rows of like length together: at most `BATCH_TOKENS` tokens a batch
/// with its padding, and no row that would be padding by more than a quarter.
fn group(lengths: &[usize]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for row in order {
        let fits = |batch: &Vec<usize>| {
            (batch.len() + 1) * longest <= BATCH_TOKENS && longest - lengths[row] <= (longest / 4).max(8)
        };
        match batches.last_mut().filter(|batch| fits(batch)) {
            Some(batch) => batch.push(row),
            None => {
                longest = lengths[row];
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(ids: &[i32]) -> Row {
        Row { text: 0, content: ids.len(), ids: ids.to_vec(), types: vec![0; ids.len()] }
    }

    #[test]
    fn padding_is_masked() {
        let rows = [row(&[5, 6, 7]), row(&[8]), row(&[9, 10])];
        let batch = pad(&rows, &[0, 2], 99);
        assert_eq!((batch.rows, batch.length), (2, 3));
        assert_eq!(batch.ids, [5, 6, 7, 9, 10, 99]);
        assert_eq!(batch.mask, [1, 1, 1, 1, 1, 0]);
        assert_eq!(batch.types, [0; 6]);
    }

    #[test]
    fn like_lengths_go_together() {
        assert_eq!(group(&[10, 300, 12, 280, 9]), [vec![1, 3], vec![2, 0, 4]]);
        assert_eq!(group(&[]), Vec::<Vec<usize>>::new());
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_batch_within_the_budget(lengths in proptest::collection::vec(0usize..3000, 0..200)) {
            let batches = group(&lengths);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|&row| lengths[row]).max().unwrap();
                // One row alone may be over the budget: it cannot be split.
                prop_assert!(batch.len() == 1 || batch.len() * longest <= BATCH_TOKENS);
            }
        }
    }
}
