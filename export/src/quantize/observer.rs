//! What values range over, seen once and in little memory, and the 256 levels that serve them best.

use std::fmt;

/// How the range of an activation is chosen; what lies outside becomes its ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observer {
    /// All that was seen.
    MinMax,
    /// This part of what was seen, in percent; half of the rest on each side is outside.
    Percentile(f64),
    /// The least KL divergence between what was seen and its codes (Migacz 2017, "8-bit inference with TensorRT").
    Entropy,
    /// The least mean squared error.
    Mse,
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Observer::MinMax => f.write_str("min-max"),
            Observer::Percentile(percent) => write!(f, "percentile {percent}"),
            Observer::Entropy => f.write_str("entropy"),
            Observer::Mse => f.write_str("mse"),
        }
    }
}

/// `value = (code - zero_point) * scale`, codes from 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Levels {
    /// Above 0.
    pub scale: f32,
    /// The code of 0.
    pub zero_point: u8,
}

impl Levels {
    /// 256 levels from `low` to `high`, and 0 among them.
    fn over(low: f64, high: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0).max(1e-12);
        Self { scale: scale as f32, zero_point: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
    }
}

/// Bins of a histogram; a power of two, so that two become one without remainder.
const BINS: usize = 4096;
/// Ranges that entropy and error are tried for.
const CANDIDATES: usize = 96;

/// How often values were seen. Its range doubles where a value lies outside, so values are seen once, in any order, and
/// the memory is the same for any number of them.
#[derive(Clone, Debug)]
pub struct Histogram {
    /// Even parts of -reach to reach.
    bins: Vec<u64>,
    reach: f64,
    low: f64,
    high: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], reach: 0.0, low: f64::INFINITY, high: f64::NEG_INFINITY }
    }
}

impl Histogram {
    /// Adds values; those that are no number are left out.
    pub fn add(&mut self, values: &[f32]) {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (low, high) = finite().fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return;
        }
        (self.low, self.high) = (self.low.min(f64::from(low)), self.high.max(f64::from(high)));
        let reach = f64::from(low.abs().max(high.abs()));
        if self.reach == 0.0 {
            self.reach = reach.max(1e-30);
        }
        while self.reach < reach {
            self.double();
        }
        let per_unit = BINS as f64 / (2.0 * self.reach);
        for value in finite() {
            let bin = ((f64::from(value) + self.reach) * per_unit) as usize;
            self.bins[bin.min(BINS - 1)] += 1;
        }
    }

    /// Makes one bin of two.
    fn double(&mut self) {
        let mut bins = vec![0; BINS];
        for (pair, two) in self.bins.chunks(2).enumerate() {
            bins[BINS / 4 + pair] = two.iter().sum();
        }
        self.bins = bins;
        self.reach *= 2.0;
    }

    /// The middle of a bin.
    fn middle(&self, bin: usize) -> f64 {
        (bin as f64 + 0.5) * (2.0 * self.reach / BINS as f64) - self.reach
    }

    /// Values that were seen.
    pub fn count(&self) -> u64 {
        self.bins.iter().sum()
    }

    /// The levels that `observer` chooses; of nothing seen, any.
    pub fn levels(&self, observer: Observer) -> Levels {
        if self.count() == 0 {
            return Levels::over(-1.0, 1.0);
        }
        let (low, high) = (self.low, self.high);
        let (low, high) = match observer {
            Observer::MinMax => (low, high),
            Observer::Percentile(percent) => self.percentile(percent),
            Observer::Entropy => self.least(|low, high| self.divergence(low, high)),
            Observer::Mse => self.least(|low, high| self.squared_error(low, high)),
        };
        Levels::over(low, high)
    }

    fn percentile(&self, percent: f64) -> (f64, f64) {
        let outside = (self.count() as f64 * (1.0 - percent / 100.0) / 2.0).max(0.0);
        // How many bins from an end hold what is outside.
        let outer = |counts: &mut dyn Iterator<Item = &u64>| {
            let mut sum = 0.0;
            counts
                .take_while(|&&count| {
                    sum += count as f64;
                    sum <= outside
                })
                .count()
        };
        let bin = 2.0 * self.reach / BINS as f64;
        let low = outer(&mut self.bins.iter()) as f64 * bin - self.reach;
        let high = self.reach - outer(&mut self.bins.iter().rev()) as f64 * bin;
        (low.max(self.low), high.min(self.high))
    }

    /// The range with the least cost: both ends are drawn in together, then each by itself.
    fn least(&self, cost: impl Fn(f64, f64) -> f64) -> (f64, f64) {
        let parts = || (1..=CANDIDATES).rev().map(|part| part as f64 / CANDIDATES as f64);
        let best = |candidates: &mut dyn Iterator<Item = (f64, f64)>| {
            let costs = candidates.map(|range| (cost(range.0, range.1), range));
            costs.min_by(|a, b| a.0.total_cmp(&b.0)).map_or((self.low, self.high), |(_, range)| range)
        };
        let (low, high) = best(&mut parts().map(|part| (self.low * part, self.high * part)));
        let (low, _) = best(&mut parts().map(|part| (self.low * part, high)).chain([(low, high)]));
        best(&mut parts().map(|part| (low, self.high * part)).chain([(low, high)]))
    }

    /// Of each value against its code, in the mean; inside of the range that of even values over a step.
    fn squared_error(&self, low: f64, high: f64) -> f64 {
        let step = f64::from(Levels::over(low, high).scale);
        let (low, high) = (low.min(0.0), high.max(0.0));
        let error = |(bin, &count): (usize, &u64)| {
            let value = self.middle(bin);
            let outside = (low - value).max(value - high);
            count as f64 * if outside > 0.0 { outside * outside } else { step * step / 12.0 }
        };
        self.bins.iter().enumerate().filter(|(_, count)| **count > 0).map(error).sum::<f64>() / self.count() as f64
    }

    /// KL(P || Q): P is what was seen, with what lies outside at the ends; Q what is left of it in 256 levels, spread
    /// over the bins of a level that P has something in. Zeros, which are exact in any range, stand for padding and
    /// what an activation cuts off, and are left out, as is done for ReLU.
    fn divergence(&self, low: f64, high: f64) -> f64 {
        let Levels { scale, zero_point } = Levels::over(low, high);
        let (low, high) = (low.min(0.0), high.max(0.0));
        let level = |value: f64| {
            ((value / f64::from(scale)).round_ties_even() + f64::from(zero_point)).clamp(0.0, 255.0) as usize
        };
        let zero = BINS / 2;
        let mut p = vec![0.0; BINS];
        let (mut inside, mut bins_of) = (vec![0.0; 256], vec![0.0; 256]);
        for (bin, &count) in self.bins.iter().enumerate().filter(|(bin, count)| **count > 0 && *bin != zero) {
            let value = self.middle(bin);
            let at = match value {
                value if value < low => self.bin(low),
                value if value > high => self.bin(high),
                _ => {
                    inside[level(value)] += count as f64;
                    bin
                }
            };
            p[at] += count as f64;
        }
        let seen = |bin: &usize| p[*bin] > 0.0;
        (0..BINS).filter(seen).for_each(|bin| bins_of[level(self.middle(bin))] += 1.0);
        let (all, left): (f64, f64) = (p.iter().sum(), inside.iter().sum());
        if left == 0.0 {
            return f64::INFINITY;
        }
        let q = |bin: usize| {
            let level = level(self.middle(bin));
            // Never nothing: what P has must cost something finite.
            (inside[level] / bins_of[level] / left).max(1e-9)
        };
        (0..BINS).filter(seen).map(|bin| p[bin] / all * (p[bin] / all / q(bin)).ln()).sum()
    }

    fn bin(&self, value: f64) -> usize {
        (((value + self.reach) / (2.0 * self.reach) * BINS as f64) as usize).min(BINS - 1)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    const ALL: [Observer; 4] = [Observer::MinMax, Observer::Percentile(99.9), Observer::Entropy, Observer::Mse];

    /// About normal values of deviation 1, and some outliers.
    fn values(count: usize, outliers: &[f32]) -> Vec<f32> {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let normal = (0..count).map(|_| (0..12).map(|_| random.random::<f32>()).sum::<f32>() - 6.0);
        normal.chain(outliers.iter().copied()).collect()
    }

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        values.chunks(1000).for_each(|chunk| histogram.add(chunk));
        histogram
    }

    fn top(levels: Levels) -> f32 {
        (255.0 - f32::from(levels.zero_point)) * levels.scale
    }

    fn error(values: &[f32], levels: Levels) -> f64 {
        let zero = f32::from(levels.zero_point);
        let back = |v: &f32| ((v / levels.scale).round_ties_even() + zero).clamp(0.0, 255.0) - zero;
        let of = |v: &f32| f64::from(v - back(v) * levels.scale).powi(2);
        values.iter().map(of).sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_order_of_values_does_not_matter() {
        let mut values = values(20_000, &[30.0, -9.0]);
        let before = of(&values);
        values.reverse();
        let after = of(&values);
        for observer in ALL {
            // Bins may lie otherwise; the divergence is flat about its least.
            let limit = if observer == Observer::Entropy { 0.3 } else { 0.06 };
            let (a, b) = (before.levels(observer), after.levels(observer));
            assert!((a.scale / b.scale - 1.0).abs() < limit, "{observer}: {a:?}, {b:?}");
        }
        assert_eq!((before.count(), after.count()), (20_002, 20_002));
    }

    #[test]
    fn each_observer_does_what_it_says() {
        let values = values(200_000, &[60.0]);
        let histogram = of(&values);
        let min_max = histogram.levels(Observer::MinMax);
        assert!((top(min_max) - 60.0).abs() < 0.3, "{min_max:?}");
        let percentile = histogram.levels(Observer::Percentile(99.9));
        // 0.05% of a normal distribution lie above 3.29 deviations.
        assert!((top(percentile) - 3.29).abs() < 0.15, "{}", top(percentile));
        let (entropy, mse) = (histogram.levels(Observer::Entropy), histogram.levels(Observer::Mse));
        assert!((2.0..12.0).contains(&top(entropy)), "{}", top(entropy));
        // One outlier of 60 in 200,000 values costs less than wide levels for all of them do.
        let errors = [min_max, percentile, entropy, mse].map(|levels| error(&values, levels));
        assert!(errors.iter().all(|&error| errors[3] <= error * 1.05), "{errors:?}");
        // By hand: (60 - c)^2 / 200,000 + ((c + 5) / 255)^2 / 12 is least at about c = 46, four fifths of what c = 60 costs.
        assert!(errors[3] < errors[0] * 0.85, "{errors:?}");
        assert_eq!(top(histogram.levels(Observer::Percentile(100.0))), top(min_max));
    }

    #[test]
    fn zero_is_a_level_and_one_sided_values_use_all_levels() {
        let positive: Vec<f32> = values(5_000, &[]).iter().map(|v| v.abs() + 1.0).collect();
        for observer in ALL {
            let levels = of(&positive).levels(observer);
            assert_eq!(levels.zero_point, 0, "{observer}");
            assert!(top(levels) > 2.0);
        }
        let nothing = Histogram::default();
        assert!(nothing.levels(Observer::Mse).scale > 0.0);
        let zeros = of(&[0.0; 100]);
        assert!(ALL.iter().all(|&observer| zeros.levels(observer).scale > 0.0));
        let mut odd = Histogram::default();
        odd.add(&[f32::NAN, f32::INFINITY, 1.0]);
        assert_eq!((odd.count(), top(odd.levels(Observer::MinMax))), (1, 1.0));
    }
}
