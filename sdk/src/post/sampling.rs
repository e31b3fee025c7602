//! Choosing the next token by the logits of all of them.

use std::cmp::Ordering;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampling {
    /// 0: always the likeliest token.
    pub temperature: f32,
    /// Choose among so many of the likeliest tokens; 0: all.
    pub top_k: usize,
    /// Choose among the fewest likeliest tokens whose probabilities reach this sum; 1: all.
    pub top_p: f32,
    /// Divides positive logits of tokens seen before, and multiplies negative ones (CTRL, Keskar 2019, 4.1); 1: off.
    pub repetition_penalty: f32,
}

/// Tokens in the order of their logits, of equal ones the lower id first, sorted as far as somebody looked: most draws
/// look at few of a large vocabulary.
struct Ranked<'a> {
    logits: &'a [f32],
    order: &'a mut Vec<u32>,
    sorted: usize,
}

/// So many of the likeliest are sorted first, and eight times as many each time that they are not enough.
const FIRST_SORTED: usize = 64;

impl<'a> Ranked<'a> {
    /// Of the `most` likeliest; 0: all.
    fn new(logits: &'a [f32], order: &'a mut Vec<u32>, most: usize) -> Ranked<'a> {
        order.clear();
        order.extend(0..logits.len() as u32);
        let mut ranked = Ranked { logits, order, sorted: 0 };
        if (1..logits.len()).contains(&most) {
            ranked.sort_to(most);
            ranked.order.truncate(most);
        }
        ranked
    }

    fn sort_to(&mut self, end: usize) {
        let logits = self.logits;
        let by_logit = |a: &u32, b: &u32| {
            let order = logits[*b as usize].partial_cmp(&logits[*a as usize]).unwrap_or(Ordering::Equal);
            order.then(a.cmp(b))
        };
        let (rest, end) = (&mut self.order[self.sorted..], end - self.sorted);
        if end < rest.len() {
            rest.select_nth_unstable_by(end, by_logit);
        }
        rest[..end].sort_unstable_by(by_logit);
        self.sorted += end;
    }

    /// The token of that rank, from 0.
    fn get(&mut self, rank: usize) -> Option<usize> {
        while rank >= self.sorted && self.sorted < self.order.len() {
            self.sort_to((self.sorted * 8).max(FIRST_SORTED).min(self.order.len()));
        }
        self.order.get(rank).map(|&id| id as usize)
    }
}

impl Sampling {
    /// The next token, in this order as PyPI transformers has it: penalty, temperature, top-k, top-p. `seen` are the
    /// tokens read and written so far; `random` is in [0, 1). `logits` must not be empty; they are changed. `room` is
    /// for computing in, from call to call.
    ///
    /// A draw is the first token, from the likeliest down and of equal logits from the lowest id up, with which the sum
    /// of weights `exp((logit - highest) / temperature)` is more than `random` times that of all that are left. All sums
    /// are in f64; the one over the whole vocabulary goes by ids.
    pub(crate) fn choose(
        &self,
        logits: &mut [f32],
        seen: &[u32],
        room: &mut Vec<u32>,
        random: impl FnOnce() -> f64,
    ) -> u32 {
        self.penalize(logits, seen, room);
        let logits = &*logits;
        let greedy = || {
            let first = (0, f32::NEG_INFINITY);
            let best = |best: (usize, f32), (at, &logit)| if logit > best.1 { (at, logit) } else { best };
            logits.iter().enumerate().fold(first, best).0
        };
        if self.temperature <= 0.0 || self.top_k == 1 {
            return greedy() as u32;
        }
        let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weight = |at: usize| ((f64::from(logits[at]) - highest) / f64::from(self.temperature)).exp();
        let mut ranked = Ranked::new(logits, room, self.top_k);
        let sum: f64 = match ranked.sorted {
            0 => (0..logits.len()).map(weight).sum(),
            some => ranked.order[..some].iter().map(|&id| weight(id as usize)).sum(),
        };
        if !sum.is_finite() {
            // An infinite logit, as an extreme penalty makes one.
            return greedy() as u32;
        }
        let (mut count, mut left) = (ranked.order.len(), sum);
        if self.top_p < 1.0 {
            // The token with which the sum reaches `top_p` is in; one always is.
            (count, left) = (0, 0.0);
            let mut reached = 0.0;
            while count == 0 || reached < f64::from(self.top_p) {
                let Some(at) = ranked.get(count) else { break };
                left += weight(at);
                reached += weight(at) / sum;
                count += 1;
            }
        }
        left *= random();
        let mut last = None;
        for rank in 0..count {
            let Some(at) = ranked.get(rank) else { break };
            last = Some(at);
            left -= weight(at);
            if left < 0.0 {
                break;
            }
        }
        last.unwrap_or_else(greedy) as u32
    }

    fn penalize(&self, logits: &mut [f32], seen: &[u32], room: &mut Vec<u32>) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        room.clear();
        room.extend_from_slice(seen);
        room.sort_unstable();
        room.dedup();
        for &id in room.iter() {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / self.repetition_penalty } else { *logit * self.repetition_penalty };
            }
        }
    }
}

/// Log of the softmax of some logits at `at`, summed in f64.
pub(crate) fn log_probability(logits: &[f32], at: usize) -> Option<f64> {
    let chosen = f64::from(*logits.get(at)?);
    let (highest, log_sum) = log_sum(logits);
    Some(chosen - highest - log_sum)
}

/// The highest logit, and the natural log of the sum of what all are above it: what a logit is less, to be the log of a
/// probability.
pub(crate) fn log_sum(logits: &[f32]) -> (f64, f64) {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
    (highest, sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0 };
    /// Logs of 0.1, 0.4, 0.3, 0.2.
    fn logits() -> Vec<f32> {
        [0.1f32, 0.4, 0.3, 0.2].map(f32::ln).to_vec()
    }

    fn choose(sampling: Sampling, logits: &mut [f32], seen: &[u32], random: impl FnOnce() -> f64) -> u32 {
        sampling.choose(logits, seen, &mut Vec::new(), random)
    }

    #[test]
    fn draws_follow_the_probabilities_in_order() {
        for (random, expected) in [(0.0, 1), (0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.89, 3), (0.91, 0)] {
            assert_eq!(choose(PLAIN, &mut logits(), &[], || random), expected, "{random}");
        }
        let cold = Sampling { temperature: 0.01, ..PLAIN };
        assert_eq!(choose(cold, &mut logits(), &[], || 0.999), 1);
    }

    #[test]
    fn top_k_and_top_p_leave_the_likeliest() {
        let k = Sampling { top_k: 2, ..PLAIN };
        assert_eq!(choose(k, &mut logits(), &[], || 0.999), 2);
        // 0.4 is below 0.5 and 0.4 + 0.3 reaches it.
        let p = Sampling { top_p: 0.5, ..PLAIN };
        assert_eq!(choose(p, &mut logits(), &[], || 0.999), 2);
        assert_eq!(choose(Sampling { top_p: 0.0, ..PLAIN }, &mut logits(), &[], || 0.999), 1);
        assert_eq!(choose(Sampling { top_k: 100, ..PLAIN }, &mut logits(), &[], || 0.999), 0);
    }

    #[test]
    fn greedy_takes_the_first_of_equals_after_the_penalty() {
        let greedy = Sampling { temperature: 0.0, ..PLAIN };
        assert_eq!(choose(greedy, &mut [1.0, 2.0, 2.0], &[], || panic!("no draw")), 1);
        let penalized = Sampling { repetition_penalty: 2.0, ..greedy };
        assert_eq!(choose(penalized, &mut [1.0, 2.0, 1.5], &[1, 1, 9], || 0.0), 2);
        // Twice seen is penalized once; negative logits fall too.
        assert_eq!(choose(penalized, &mut [-1.0, -3.0, -1.5], &[0, 0], || 0.0), 2);
    }

    #[test]
    fn infinite_logits_are_the_likeliest() {
        let extreme = Sampling { repetition_penalty: 1e-38, ..PLAIN };
        for random in [0.0, 0.5, 0.999] {
            assert_eq!(choose(extreme, &mut [1.0, 10.0, 2.0], &[1], || random), 1);
        }
    }

    #[test]
    fn log_probabilities_add_up() {
        let logits = logits();
        let sum: f64 = (0..4).map(|at| log_probability(&logits, at).unwrap().exp()).sum();
        assert!((sum - 1.0).abs() < 1e-9);
        assert!((log_probability(&logits, 1).unwrap() - 0.4f64.ln()).abs() < 1e-6);
        assert_eq!(log_probability(&logits, 4), None);
        assert!(log_probability(&[1e30, -1e30], 0).unwrap().abs() < 1e-9);
    }

    /// As the documentation says it, with everything sorted.
    fn reference(sampling: Sampling, logits: &[f32], random: f64) -> u32 {
        let mut order: Vec<usize> = (0..logits.len()).collect();
        order.sort_by(|&a, &b| logits[b].partial_cmp(&logits[a]).unwrap().then(a.cmp(&b)));
        if sampling.top_k > 0 {
            order.truncate(sampling.top_k);
        }
        let weight =
            |at: usize| ((f64::from(logits[at]) - f64::from(logits[order[0]])) / f64::from(sampling.temperature)).exp();
        let sum: f64 = order.iter().map(|&at| weight(at)).sum();
        let (mut kept, mut reached) = (Vec::new(), 0.0);
        for &at in &order {
            if kept.is_empty() || sampling.top_p == 1.0 || reached < f64::from(sampling.top_p) {
                kept.push(at);
            }
            reached += weight(at) / sum;
        }
        let target = random * kept.iter().map(|&at| weight(at)).sum::<f64>();
        let mut so_far = 0.0;
        for &at in &kept {
            so_far += weight(at);
            if so_far > target {
                return at as u32;
            }
        }
        *kept.last().unwrap() as u32
    }

    /// Peaked and flat vocabularies of many sizes, with equal logits among them.
    #[test]
    fn what_is_sorted_as_far_as_needed_draws_as_what_is_sorted() {
        let mut state = 5u64;
        let mut random = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut room = Vec::new();
        let (mut beyond_first, mut rounds) = (0, 0);
        for tokens in [1, 2, 63, 64, 65, 600, 5000] {
            for spread in [0.0f64, 0.5, 6.0] {
                for (top_k, top_p) in [(0, 1.0), (0, 0.3), (0, 0.9), (0, 0.999), (40, 1.0), (200, 0.7), (1000, 0.95)] {
                    let logits: Vec<f32> =
                        (0..tokens).map(|_| ((random() * 40.0).floor() * spread / 10.0) as f32).collect();
                    let sampling = Sampling { temperature: 0.8, top_k, top_p, ..PLAIN };
                    for _ in 0..4 {
                        let drawn = random();
                        let found = sampling.choose(&mut logits.clone(), &[], &mut room, || drawn);
                        assert_eq!(
                            found,
                            reference(sampling, &logits, drawn),
                            "{tokens} {spread} {sampling:?} {drawn}"
                        );
                        let rank = logits.iter().filter(|&&logit| logit > logits[found as usize]).count();
                        beyond_first += usize::from(rank > FIRST_SORTED);
                        rounds += 1;
                    }
                }
            }
        }
        assert!(beyond_first > 20 && rounds > 500, "{beyond_first} of {rounds}");
    }
}
