//! How sure a score is: what each test example adds to it, and intervals by drawing examples and seeds again.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::metrics::{f1, spearman};

/// What each example of a test set adds to a score.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcomes {
    /// Right or wrong: the score is the share of right ones (accuracy).
    Right(Vec<bool>),
    /// Right, guessed and there: micro F1 (entities, several labels).
    Counts(Vec<[usize; 3]>),
    /// A share each: their mean (token F1 of answers).
    Shares(Vec<f64>),
    /// A value and the right one: Spearman's rank correlation.
    Values(Vec<(f64, f64)>),
}

impl Outcomes {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Outcomes::Right(each) => each.len(),
            Outcomes::Counts(each) => each.len(),
            Outcomes::Shares(each) => each.len(),
            Outcomes::Values(each) => each.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The score of all examples, 1 for all right.
    pub fn score(&self) -> f64 {
        self.score_of(&(0..self.len()).collect::<Vec<_>>())
    }

    /// The score of some of them, which may come more than once.
    fn score_of(&self, indices: &[usize]) -> f64 {
        let count = indices.len().max(1) as f64;
        match self {
            Outcomes::Right(each) => indices.iter().filter(|&&i| each[i]).count() as f64 / count,
            Outcomes::Counts(each) => {
                let sum = |k: usize| indices.iter().map(|&i| each[i][k]).sum();
                f1(sum(0), sum(1), sum(2))
            }
            Outcomes::Shares(each) => indices.iter().map(|&i| each[i]).sum::<f64>() / count,
            Outcomes::Values(each) => {
                let (values, truth): (Vec<f64>, Vec<f64>) = indices.iter().map(|&i| each[i]).unzip();
                spearman(&values, &truth)
            }
        }
    }
}

/// A score with its 95% interval, shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Interval {
    /// On the examples and seeds that there are.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Times that examples and seeds are drawn again.
const DRAWS: usize = 1000;
/// The generator's seed: a report's intervals are the same each time it is made.
const SEED: u64 = 0x11E8_BECC;

/// The mean score of one model trained from several seeds, all on the same examples: percentile bootstrap over seeds and
/// examples at once (Efron 1993, chapter 13; both are drawn with replacement, the same examples for each seed).
pub fn interval(seeds: &[Outcomes]) -> Interval {
    let value = mean(seeds.iter().map(Outcomes::score));
    let (low, high) =
        percentiles(draws(seeds, |chosen, indices| mean(chosen.iter().map(|&seed| seeds[seed].score_of(indices)))));
    Interval { value, low, high }
}

/// The difference of two models' mean scores over the same seeds and examples, and the two-sided chance of one as large
/// or larger of the other sign, by the same bootstrap.
pub fn difference(first: &[Outcomes], second: &[Outcomes]) -> (Interval, f64) {
    let value = mean(first.iter().map(Outcomes::score)) - mean(second.iter().map(Outcomes::score));
    let drawn = draws(first, |chosen, indices| {
        let of =
            |models: &[Outcomes]| mean(chosen.iter().filter_map(|&seed| Some(models.get(seed)?.score_of(indices))));
        of(first) - of(second)
    });
    let others = drawn.iter().filter(|&&d| if value >= 0.0 { d <= 0.0 } else { d >= 0.0 }).count();
    let p = (2.0 * (others as f64 + 1.0) / (DRAWS as f64 + 1.0)).min(1.0);
    let (low, high) = percentiles(drawn);
    (Interval { value, low, high }, p)
}

/// A model's mean score as a share of another's: retention.
pub fn ratio(first: &[Outcomes], second: &Outcomes) -> Interval {
    let value = mean(first.iter().map(Outcomes::score)) / second.score();
    let (low, high) = percentiles(draws(first, |chosen, indices| {
        mean(chosen.iter().map(|&seed| first[seed].score_of(indices))) / second.score_of(indices)
    }));
    Interval { value, low, high }
}

fn draws(seeds: &[Outcomes], score: impl Fn(&[usize], &[usize]) -> f64) -> Vec<f64> {
    let examples = seeds.first().map_or(0, Outcomes::len);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    (0..DRAWS)
        .map(|_| {
            let chosen: Vec<usize> = (0..seeds.len()).map(|_| rng.random_range(0..seeds.len())).collect();
            let indices: Vec<usize> = (0..examples).map(|_| rng.random_range(0..examples)).collect();
            score(&chosen, &indices)
        })
        .collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    sum / count.max(1) as f64
}

fn percentiles(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0.0);
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(share: usize, of: usize) -> Outcomes {
        Outcomes::Right((0..of).map(|i| i * 7919 % of < share).collect())
    }

    #[test]
    fn an_interval_is_that_of_the_binomial() {
        let found = interval(&[right(800, 1000)]);
        assert_eq!(found.value, 0.8);
        // 1.96 standard errors of a share of 0.8 of 1000 are 0.0248.
        assert!((found.low - 0.7752).abs() < 0.005 && (found.high - 0.8248).abs() < 0.005, "{found:?}");
        assert_eq!(interval(&[right(800, 1000)]), found);
    }

    #[test]
    fn seeds_that_differ_widen_it() {
        let alike = interval(&[right(800, 1000), right(800, 1000), right(800, 1000)]);
        let apart = interval(&[right(700, 1000), right(800, 1000), right(900, 1000)]);
        assert!((apart.value - 0.8).abs() < 1e-12);
        assert!(apart.high - apart.low > 2.0 * (alike.high - alike.low));
    }

    #[test]
    fn differences_know_their_sign() {
        let (better, worse) = ([right(850, 1000)], [right(800, 1000)]);
        let (found, p) = difference(&better, &worse);
        assert!((found.value - 0.05).abs() < 1e-12 && found.low > 0.03 && p < 0.01, "{found:?} {p}");
        let (found, p) = difference(&worse, &better);
        assert!(found.value < 0.0 && p < 0.01);
        let (found, p) = difference(&better, &better);
        assert!(found.value == 0.0 && p == 1.0);
        let kept = ratio(&worse, &better[0]);
        assert!((kept.value - 800.0 / 850.0).abs() < 1e-12 && kept.low < kept.value && kept.high < 1.0);
    }

    #[test]
    fn every_kind_of_score_is_its_measure() {
        assert_eq!(Outcomes::Counts(vec![[1, 2, 1], [1, 1, 2]]).score(), f1(2, 3, 3));
        assert_eq!(Outcomes::Shares(vec![0.5, 1.0]).score(), 0.75);
        let values = Outcomes::Values(vec![(0.1, 1.0), (0.2, 2.0), (0.3, 3.0)]);
        assert!((values.score() - 1.0).abs() < 1e-12);
        assert!(!values.is_empty() && interval(&[values]).value > 0.99);
    }
}
