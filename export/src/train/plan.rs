//! Which examples each step of a run sees.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::TrainOptions;
use crate::data::{EncodedExample, epoch_batches, token_batches};

/// The examples of a step, by micro-batch.
pub(super) type Step = Vec<Vec<usize>>;

/// The steps of a whole run: a function of data, options and seed.
pub(super) struct Plan<'a> {
    options: &'a TrainOptions,
    lengths: Vec<usize>,
    seed: u64,
    /// Micro-batches a step, of all processes.
    micro: usize,
    /// Steps up to the end of each epoch.
    ends: Vec<u64>,
}

impl Plan<'_> {
    /// `ranks` processes take part in each step.
    ///
    /// # Errors
    /// No examples; one that is longer than `batch_tokens`.
    pub(super) fn new<'a>(
        stage: &str,
        examples: &[EncodedExample],
        options: &'a TrainOptions,
        seed: u64,
        ranks: usize,
    ) -> Result<Plan<'a>> {
        ensure!(!examples.is_empty(), "{stage}: there is nothing to train on");
        let lengths = examples.iter().map(|example| length(example, options)).collect();
        let micro = options.accumulate.saturating_mul(ranks);
        let mut plan = Plan { options, lengths, seed, micro, ends: Vec::new() };
        if let Some(budget) = options.batch_tokens {
            let longest = plan.lengths.iter().enumerate().max_by_key(|(_, length)| **length);
            if let Some((index, &length)) = longest {
                ensure!(
                    length <= budget,
                    "{stage}: batch_tokens is {budget}, and example {index} alone has {length}; allow more, or cut \
                     texts shorter with max_tokens"
                );
            }
        }
        ensure!(
            !options.drop_last || plan.lengths.len() >= plan.rows(),
            "{stage}: drop_last leaves nothing of {} rows, fewer than the {} of a step",
            plan.lengths.len(),
            plan.rows()
        );
        let mut end = 0;
        for epoch in 0.. {
            match options.steps {
                Some(steps) if end >= steps => break,
                None if epoch >= options.epochs => break,
                _ => {}
            }
            end += match options.batch_tokens {
                // Each epoch is cut anew, and its steps must be known before the first one for schedule and time left.
                Some(_) => plan.steps(epoch).len() as u64,
                None if options.drop_last => (plan.lengths.len() / plan.rows()) as u64,
                None => plan.lengths.len().div_ceil(plan.rows()) as u64,
            };
            plan.ends.push(end);
        }
        Ok(plan)
    }

    /// What each example costs, in tokens.
    pub(super) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Rows a step, without `batch_tokens`.
    fn rows(&self) -> usize {
        self.options.batch_size.saturating_mul(self.micro)
    }

    /// Steps in all.
    pub(super) fn total(&self) -> u64 {
        self.options.steps.or(self.ends.last().copied()).unwrap_or(0)
    }

    /// How many examples of each length all steps see together.
    pub(super) fn seen(&self) -> BTreeMap<usize, u64> {
        let mut seen = BTreeMap::new();
        let mut left = self.total();
        for epoch in 0..self.ends.len() {
            let steps = self.steps(epoch);
            for &index in steps.iter().take(usize::try_from(left).unwrap_or(usize::MAX)).flatten().flatten() {
                *seen.entry(self.lengths[index]).or_default() += 1;
            }
            left = left.saturating_sub(steps.len() as u64);
        }
        seen
    }

    /// The epoch (from 0) of a step (from 0), and which of its steps it is.
    pub(super) fn position(&self, step: u64) -> (usize, usize) {
        let epoch = self.ends.partition_point(|&end| end <= step);
        let start = if epoch == 0 { 0 } else { self.ends[epoch - 1] };
        (epoch, (step - start) as usize)
    }

    /// Whether an epoch ends after so many steps.
    pub(super) fn is_end(&self, steps: u64) -> bool {
        self.ends.binary_search(&steps).is_ok()
    }

    /// The steps of an epoch (from 0). Row batches are cut as one batch of all micro-batches would be, so that
    /// accumulation changes the memory that is needed and nothing else.
    pub(super) fn steps(&self, epoch: usize) -> Vec<Step> {
        match self.options.batch_tokens {
            Some(budget) => {
                let batches = token_batches(&self.lengths, budget, self.seed, epoch);
                batches.chunks(self.micro).map(<[Vec<usize>]>::to_vec).collect()
            }
            None => {
                let batches = epoch_batches(&self.lengths, self.rows(), self.options.drop_last, self.seed, epoch);
                let cut = |batch: Vec<usize>| batch.chunks(self.options.batch_size).map(<[usize]>::to_vec).collect();
                batches.into_iter().map(cut).collect()
            }
        }
    }
}

/// What an example costs: the tokens of its text. By a budget of tokens two texts that are read apart count as two
/// of the longer one, since each is padded to the longest of its kind.
fn length(example: &EncodedExample, options: &TrainOptions) -> usize {
    match (options.batch_tokens, example.partner.len()) {
        (Some(_), partner @ 1..) => 2 * example.ids.len().max(partner),
        _ => example.ids.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Target;

    fn examples(count: usize) -> Vec<EncodedExample> {
        (0..count).map(|i| EncodedExample::new(vec![1; 3 + (i * 7) % 11], Target::Class(0))).collect()
    }

    #[test]
    fn micro_batches_are_pieces_of_the_large_batch() {
        let examples = examples(50);
        let large = TrainOptions { batch_size: 12, epochs: 2, ..Default::default() };
        let small = TrainOptions { batch_size: 4, accumulate: 3, ..large.clone() };
        let (large, small) =
            (Plan::new("s", &examples, &large, 9, 1).unwrap(), Plan::new("s", &examples, &small, 9, 1).unwrap());
        assert_eq!((large.total(), small.total()), (10, 10));
        for epoch in 0..2 {
            let (whole, cut) = (large.steps(epoch), small.steps(epoch));
            assert!(whole.iter().all(|step| step.len() == 1));
            assert!(cut.iter().flatten().all(|micro| micro.len() <= 4));
            let cut: Vec<_> = cut.into_iter().map(|step| vec![step.concat()]).collect();
            assert_eq!(whole, cut);
        }
    }

    #[test]
    fn the_last_step_is_left_out_if_it_is_not_full() {
        let examples = examples(50);
        let all = TrainOptions { batch_size: 4, accumulate: 3, epochs: 3, ..Default::default() };
        let full = TrainOptions { drop_last: true, ..all.clone() };
        let (all, full) =
            (Plan::new("s", &examples, &all, 9, 1).unwrap(), Plan::new("s", &examples, &full, 9, 1).unwrap());
        assert_eq!((all.total(), full.total()), (15, 12));
        let left_out = |epoch: usize| -> Vec<usize> {
            let kept = full.steps(epoch).concat().concat();
            assert_eq!((full.steps(epoch).len(), kept.len()), (4, 48));
            (0..50).filter(|row| !kept.contains(row)).collect()
        };
        assert!(left_out(0) != left_out(1) || left_out(1) != left_out(2), "always the same rows");
        let few = TrainOptions { batch_size: 64, drop_last: true, ..Default::default() };
        let error = Plan::new("s", &examples, &few, 9, 1).err().unwrap().to_string();
        assert!(error.contains("drop_last leaves nothing of 50 rows"), "{error}");
    }

    /// Batches are of like lengths, and the one that is not full would be of the longest rows.
    #[test]
    fn the_longest_are_not_always_left_out() {
        let examples: Vec<EncodedExample> =
            (0..50).map(|i| EncodedExample::new(vec![1; 3 + i], Target::Class(0))).collect();
        let options = TrainOptions { batch_size: 12, drop_last: true, epochs: 20, ..Default::default() };
        let plan = Plan::new("s", &examples, &options, 9, 1).unwrap();
        let seen: Vec<usize> = (0..20).flat_map(|epoch| plan.steps(epoch).concat().concat()).collect();
        let times = |row: usize| seen.iter().filter(|&&seen| seen == row).count();
        assert_eq!((plan.total(), seen.len()), (80, 20 * 48));
        assert!((0..50).all(|row| times(row) >= 15), "each row is left out of one epoch in 25");
    }

    #[test]
    fn positions_count_through_epochs_of_unequal_length() {
        let examples = examples(200);
        let options = TrainOptions { batch_tokens: Some(30), accumulate: 2, epochs: 20, ..Default::default() };
        let plan = Plan::new("s", &examples, &options, 3, 1).unwrap();
        let counts: Vec<usize> = (0..20).map(|epoch| plan.steps(epoch).len()).collect();
        assert_eq!(plan.total(), counts.iter().sum::<usize>() as u64);
        assert!(counts.iter().any(|&count| count != counts[0]), "{counts:?} would prove nothing");
        let mut step = 0;
        for (epoch, &count) in counts.iter().enumerate() {
            for position in 0..count {
                assert_eq!(plan.position(step), (epoch, position));
                step += 1;
                assert_eq!(plan.is_end(step), position + 1 == count);
            }
        }
        let rows = |micro: &Vec<usize>| micro.len() * micro.iter().map(|&i| examples[i].ids.len()).max().unwrap();
        assert!(plan.steps(0).iter().flatten().all(|micro| rows(micro) <= 30));
    }

    #[test]
    fn steps_say_more_than_epochs() {
        let examples = examples(50);
        let longest = |options: &TrainOptions| Plan::new("s", &examples, options, 9, 1).unwrap().seen();
        for steps in [1, 5, 7, 10] {
            let options = TrainOptions { batch_size: 12, epochs: 1, steps: Some(steps), ..Default::default() };
            let plan = Plan::new("s", &examples, &options, 9, 1).unwrap();
            assert_eq!(plan.total(), steps);
            let mut rows = [plan.steps(0), plan.steps(1)].concat();
            rows.truncate(steps as usize);
            assert_eq!(longest(&options).values().sum::<u64>(), rows.concat().concat().len() as u64, "{steps}");
        }
        let twice = TrainOptions { batch_size: 12, epochs: 2, ..Default::default() };
        let counts = longest(&twice);
        let eights = examples.iter().filter(|e| e.ids.len() == 8).count() as u64;
        assert_eq!((counts[&8], counts.values().sum::<u64>()), (2 * eights, 100));
    }

    #[test]
    fn two_texts_read_apart_fit_the_budget_together() {
        let mut examples = examples(50);
        for (i, example) in examples.iter_mut().enumerate() {
            example.partner = vec![1; 1 + (i * 5) % 13];
        }
        let options = TrainOptions { batch_tokens: Some(80), ..Default::default() };
        let plan = Plan::new("s", &examples, &options, 3, 1).unwrap();
        for micro in plan.steps(0).concat() {
            let ids = micro.iter().map(|&i| examples[i].ids.len()).max().unwrap();
            let partners = micro.iter().map(|&i| examples[i].partner.len()).max().unwrap();
            assert!(micro.len() * (ids + partners) <= 80);
        }
    }

    #[test]
    fn a_text_beyond_the_budget_is_named() {
        let options = TrainOptions { batch_tokens: Some(12), ..Default::default() };
        let error = Plan::new("student", &examples(50), &options, 3, 1).err().unwrap().to_string();
        assert!(error.contains("student: batch_tokens is 12") && error.contains("has 13"), "{error}");
        assert!(Plan::new("s", &[], &options, 3, 1).is_err());
    }
}
