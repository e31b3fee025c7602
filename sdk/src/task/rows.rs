//! Running many rows of tokens: which of them go together, and on which
//! session.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bundle::Batching;
use crate::runtime::limits::Limits;
use crate::runtime::lock;
use crate::runtime::session::{Batch, Output};
use crate::text::Template;
use crate::{Error, Model, Result};

/// One window of one text, or of two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    /// Ids, special tokens included.
    pub ids: Vec<i32>,
    /// Token types.
    pub types: Vec<i32>,
}

impl Row {
    /// The row of some tokens of one text or two, with special tokens.
    pub(crate) fn new(template: &Template, first: &[u32], second: &[u32]) -> Row {
        Row {
            ids: template.ids(first, second).map(|id| id as i32).collect(),
            types: template.types(first.len(), second.len()).map(|id| id as i32).collect(),
        }
    }
}

/// What the graph gave for one row.
pub(crate) struct RowOutput<'a> {
    outputs: &'a [Output<'a>],
    row: usize,
    tokens: usize,
}

impl<'a> RowOutput<'a> {
    /// The values of output `number`, without those of padding.
    pub(crate) fn values(&self, number: usize) -> &'a [f32] {
        self.outputs.get(number).map_or(&[], |output| output.row(self.row, self.tokens))
    }
}

/// What was read of one row, and how long the run took.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Outcome<T> {
    pub value: T,
    /// Which run it was part of, and how long that took.
    pub run: usize,
    pub time: Duration,
}

/// How long the runs took that some rows were part of; rows that ran together count once.
pub(crate) fn time_of<T>(outcomes: &[Outcome<T>]) -> Duration {
    let mut runs: Vec<(usize, Duration)> = outcomes.iter().map(|outcome| (outcome.run, outcome.time)).collect();
    runs.sort_unstable();
    runs.dedup();
    runs.into_iter().map(|(_, time)| time).sum()
}

/// Runs all rows, lets `read` take from each row's output what the task needs, and returns that in the order of
/// the rows.
///
/// With a pool of several sessions the batches are spread over them, on this
/// thread and on further ones that end before this function returns.
pub(crate) fn run<T: Send + Default>(
    model: &Model,
    rows: &[Row],
    limits: &Limits,
    read: impl Fn(usize, &RowOutput<'_>) -> Result<T> + Sync,
) -> Result<Vec<Outcome<T>>> {
    // Only this function is compiled once for each task; what does the work is not generic.
    let values: Mutex<Vec<T>> = Mutex::new(rows.iter().map(|_| T::default()).collect());
    let runs = run_batches(model, rows, limits, &|row, output| {
        let value = read(row, output)?;
        if let Some(place) = lock(&values).get_mut(row) {
            *place = value;
        }
        Ok(())
    });
    model.counters().call(runs.is_err());
    let values = values.into_inner().map_err(|_| panicked())?;
    Ok(values.into_iter().zip(runs?).map(|(value, (run, time))| Outcome { value, run, time }).collect())
}

/// Takes what a task needs of the output of one row.
type Read<'a> = &'a (dyn Fn(usize, &RowOutput<'_>) -> Result<()> + Sync);

fn panicked() -> Error {
    Error::Internal("a batch thread panicked".to_owned())
}

/// Runs all rows and tells for each which run it was part of, and how long that took.
fn run_batches(model: &Model, rows: &[Row], limits: &Limits, read: Read<'_>) -> Result<Vec<(usize, Duration)>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let batches = match model.bundle().manifest().batching {
        Batching::Padded => group(&lengths, model.pool().batch_tokens()),
        Batching::Single => (0..rows.len()).map(|row| vec![row]).collect(),
    };
    let runs: Mutex<Vec<(usize, Duration)>> = Mutex::new(vec![Default::default(); rows.len()]);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let work = || {
        while !stop.load(Ordering::Relaxed)
            && let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some(batch) = batches.get(number)
        {
            match run_batch(model, rows, batch, limits, read) {
                Ok(time) => {
                    let mut runs = lock(&runs);
                    for &row in batch {
                        runs[row] = (number, time);
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
        Ok(None) => runs.into_inner().map_err(|_| panicked()),
        Ok(Some(error)) => Err(error),
        Err(_) => Err(panicked()),
    }
}

fn run_batch(model: &Model, rows: &[Row], members: &[usize], limits: &Limits, read: Read<'_>) -> Result<Duration> {
    let start = Instant::now();
    let batch = pad(rows, members, model.bundle().manifest().tokenizer.pad_id as i32);
    model.pool().take(limits)?.session()?.run(&batch, limits, |outputs| {
        let mut members = members.iter().enumerate();
        members.try_for_each(|(row, &member)| read(member, &RowOutput { outputs, row, tokens: rows[member].ids.len() }))
    })?;
    let time = start.elapsed();
    let tokens = members.iter().map(|&row| rows[row].ids.len()).sum();
    model.counters().run(batch.rows, tokens, batch.rows * batch.length, time);
    Ok(time)
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

/// Puts rows of one length bucket together, at most `budget` tokens a batch with its padding. A row is never
/// padded beyond its bucket: by an eighth of its length, or to the next multiple of 8 where it is short.
fn group(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for row in order {
        let fits =
            |batch: &Vec<usize>| (batch.len() + 1) * longest <= budget && bucket(lengths[row]) == bucket(longest);
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

/// The length up to which rows of this length may be padded.
fn bucket(length: usize) -> usize {
    // Eight buckets to each doubling of the length, as steps of a power of two.
    let step = (length.next_power_of_two() / 16).max(8);
    length.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(ids: &[i32]) -> Row {
        Row { ids: ids.to_vec(), types: vec![0; ids.len()] }
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
        assert_eq!(group(&[10, 300, 12, 290, 9, 8], 2048), [vec![1, 3], vec![2, 0, 4], vec![5]]);
        assert_eq!(group(&[], 2048), Vec::<Vec<usize>>::new());
        assert_eq!([1, 8, 9, 17, 128, 129, 145, 512].map(bucket), [8, 8, 16, 24, 128, 144, 160, 512]);
    }

    #[test]
    fn rows_that_ran_together_count_once() {
        let outcome = |run, ms| Outcome { value: (), run, time: Duration::from_millis(ms) };
        let outcomes = [outcome(0, 5), outcome(1, 5), outcome(0, 5), outcome(2, 7)];
        assert_eq!(time_of(&outcomes), Duration::from_millis(17));
        assert_eq!(time_of::<()>(&[]), Duration::ZERO);
    }

    #[test]
    fn outputs_are_read_without_padding() {
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        let output = |per_token| Output::new(&values, 2, 3, per_token);
        assert_eq!(output(true).row(1, 2), [6.0, 7.0, 8.0, 9.0]);
        assert_eq!(output(false).row(1, 2), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
        assert!(output(true).row(2, 1).is_empty());
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_batch_within_budget_and_bucket(
            lengths in proptest::collection::vec(0usize..3000, 0..200),
            budget in 1usize..5000,
        ) {
            let batches = group(&lengths, budget);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|&row| lengths[row]).max().unwrap();
                // One row alone may be over the budget: it cannot be split.
                prop_assert!(batch.len() == 1 || batch.len() * longest <= budget);
                for &row in batch {
                    prop_assert!(longest <= bucket(lengths[row]));
                    prop_assert!(bucket(lengths[row]) <= (lengths[row] + 7).max(lengths[row] * 9 / 8 + 1));
                }
            }
        }
    }
}
