//! How sure a score is: what each test example adds to it, and intervals by drawing examples and seeds again.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StudentT};

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

/// The mean score of one model trained from several seeds, all on the same examples. Examples are drawn again with
/// replacement, the same for each seed (percentile bootstrap; Efron 1993, chapter 13). Seeds are too few to be drawn again:
/// of three that holds the truth in 60 of 100 cases where it should in 95. Their mean moves by its standard error times
/// Student's t of n - 1 degrees of freedom (the posterior of a normal mean; Gelman 2013, section 3.2). One seed says
/// nothing of others, and the interval is then of the examples alone.
pub fn interval(seeds: &[Outcomes]) -> Interval {
    of_means(seeds, |seed, indices| seeds[seed].score_of(indices)).0
}

/// The difference of two models' mean scores over the same seeds and examples, and the two-sided chance of one as large
/// or larger of the other sign, by the same bootstrap.
///
/// # Panics
/// With fewer seeds of the second.
pub fn difference(first: &[Outcomes], second: &[Outcomes]) -> (Interval, f64) {
    assert!(first.len() <= second.len(), "seeds are compared one by one");
    let (found, drawn) =
        of_means(first, |seed, indices| first[seed].score_of(indices) - second[seed].score_of(indices));
    let value = found.value;
    let others = drawn.iter().filter(|&&d| if value >= 0.0 { d <= 0.0 } else { d >= 0.0 }).count();
    let p = (2.0 * (others as f64 + 1.0) / (DRAWS as f64 + 1.0)).min(1.0);
    (found, p)
}

/// A model's mean score as a share of another's: retention.
pub fn ratio(first: &[Outcomes], second: &Outcomes) -> Interval {
    of_means(first, |seed, indices| first[seed].score_of(indices) / second.score_of(indices)).0
}

/// The mean over seeds of what `value` says of each on some examples: its interval, and what was drawn.
fn of_means(seeds: &[Outcomes], value: impl Fn(usize, &[usize]) -> f64) -> (Interval, Vec<f64>) {
    let examples = seeds.first().map_or(0, Outcomes::len);
    let on = |indices: &[usize]| (0..seeds.len()).map(|seed| value(seed, indices)).collect::<Vec<f64>>();
    let whole = mean(&on(&(0..examples).collect::<Vec<_>>()));
    let count = seeds.len() as f64;
    let student = StudentT::new(count - 1.0).ok();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut drawn: Vec<f64> = (0..DRAWS)
        .map(|_| {
            let indices: Vec<usize> = (0..examples).map(|_| rng.random_range(0..examples)).collect();
            let each = on(&indices);
            let all = mean(&each);
            let Some(student) = student else { return all };
            let variance = each.iter().map(|value| (value - all).powi(2)).sum::<f64>() / (count - 1.0);
            all + student.sample(&mut rng) * (variance / count).sqrt()
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn.get(((drawn.len() as f64 - 1.0) * share).round() as usize).copied().unwrap_or(0.0);
    (Interval { value: whole, low: at(0.025), high: at(0.975) }, drawn)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
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

    /// Of three seeds at 0.7, 0.8 and 0.9 the mean's standard error is 0.0577, and t of 2 degrees of freedom 4.303.
    #[test]
    fn the_interval_of_few_seeds_is_students() {
        let all = |value: f64| Outcomes::Shares(vec![value; 50]);
        let found = interval(&[all(0.7), all(0.8), all(0.9)]);
        let reach = 4.303 * 0.1 / 3f64.sqrt();
        for (end, expected) in [(found.low, 0.8 - reach), (found.high, 0.8 + reach)] {
            assert!((end - expected).abs() < 0.2 * reach, "{found:?}");
        }
        // A gain of 10 points in one of two seeds and none in the other may be chance; of 10 and 11 points it is not.
        let (gain, p) = difference(&[all(0.9), all(0.7)], &[all(0.8), all(0.7)]);
        assert!((gain.value - 0.05).abs() < 1e-9 && gain.low < 0.0 && p > 0.2, "{gain:?} {p}");
        let (gain, p) = difference(&[all(0.90), all(0.91)], &[all(0.8), all(0.8)]);
        assert!(gain.low > 0.0 && p < 0.05, "{gain:?} {p}");
        assert!((interval(&[all(0.9)]).low - 0.9).abs() < 1e-9, "one seed says nothing of others");
    }

    /// Intervals of 95% hold the true mean in about so many of 100 cases, also of few seeds.
    #[test]
    fn intervals_hold_what_they_should() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let noise = rand_distr::Normal::new(0.5, 0.05).unwrap();
        let trials = 300;
        for count in [2, 3, 5] {
            let held = (0..trials)
                .filter(|_| {
                    let seeds: Vec<Outcomes> =
                        (0..count).map(|_| Outcomes::Shares(vec![noise.sample(&mut rng); 2])).collect();
                    let found = interval(&seeds);
                    (found.low..=found.high).contains(&0.5)
                })
                .count();
            let share = f64::from(held as u32) / f64::from(trials);
            assert!((0.9..=0.98).contains(&share), "{count} seeds: {share}");
        }
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
