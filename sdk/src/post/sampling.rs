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

impl Sampling {
    /// The next token, in this order as PyPI transformers has it: penalty, temperature, top-k, top-p. `seen` are the
    /// tokens read and written so far; `random` is in [0, 1). Of equal logits the lower id goes first. `logits` must
    /// not be empty; they are changed.
    pub(crate) fn choose(&self, logits: &mut [f32], seen: &[u32], random: impl FnOnce() -> f64) -> u32 {
        self.penalize(logits, seen);
        let greedy = || {
            let best = |best: usize, at: usize| if logits[at] > logits[best] { at } else { best };
            (1..logits.len()).fold(0, best)
        };
        if self.temperature <= 0.0 || self.top_k == 1 {
            return greedy() as u32;
        }
        let by_logit = |a: &usize, b: &usize| {
            let order = logits[*b].partial_cmp(&logits[*a]).unwrap_or(Ordering::Equal);
            order.then(a.cmp(b))
        };
        let mut order: Vec<usize> = (0..logits.len()).collect();
        if (1..order.len()).contains(&self.top_k) {
            order.select_nth_unstable_by(self.top_k - 1, by_logit);
            order.truncate(self.top_k);
        }
        order.sort_unstable_by(by_logit);
        // In f64, so that long sums are the same to the last digits that matter.
        let highest = order.first().map_or(0.0, |&at| f64::from(logits[at]));
        let weight = |at: usize| ((f64::from(logits[at]) - highest) / f64::from(self.temperature)).exp();
        let mut weights: Vec<f64> = order.iter().map(|&at| weight(at)).collect();
        let sum: f64 = weights.iter().sum();
        if !sum.is_finite() {
            // An infinite logit, as an extreme penalty makes one.
            return greedy() as u32;
        }
        if self.top_p < 1.0 {
            // The token with which the sum reaches `top_p` is in; one always is.
            let mut reached = 0.0;
            let inside = weights.iter().take_while(|&&weight| {
                let before = reached;
                reached += weight / sum;
                before < f64::from(self.top_p)
            });
            let inside = inside.count().max(1);
            weights.truncate(inside);
        }
        let mut left = random() * weights.iter().sum::<f64>();
        let chosen = weights.iter().position(|&weight| {
            left -= weight;
            left < 0.0
        });
        let place = chosen.unwrap_or(weights.len() - 1);
        order.get(place).map_or_else(|| greedy() as u32, |&at| at as u32)
    }

    fn penalize(&self, logits: &mut [f32], seen: &[u32]) {
        if self.repetition_penalty == 1.0 {
            return;
        }
        let mut seen: Vec<u32> = seen.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 { *logit / self.repetition_penalty } else { *logit * self.repetition_penalty };
            }
        }
    }
}

/// Log of the softmax of some logits at `at`, summed in f64.
pub(crate) fn log_probability(logits: &[f32], at: usize) -> Option<f64> {
    let chosen = f64::from(*logits.get(at)?);
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - highest).exp()).sum();
    Some(chosen - highest - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0 };
    /// Logs of 0.1, 0.4, 0.3, 0.2.
    fn logits() -> Vec<f32> {
        [0.1f32, 0.4, 0.3, 0.2].map(f32::ln).to_vec()
    }

    #[test]
    fn draws_follow_the_probabilities_in_order() {
        for (random, expected) in [(0.0, 1), (0.39, 1), (0.41, 2), (0.69, 2), (0.71, 3), (0.89, 3), (0.91, 0)] {
            assert_eq!(PLAIN.choose(&mut logits(), &[], || random), expected, "{random}");
        }
        let cold = Sampling { temperature: 0.01, ..PLAIN };
        assert_eq!(cold.choose(&mut logits(), &[], || 0.999), 1);
    }

    #[test]
    fn top_k_and_top_p_leave_the_likeliest() {
        let k = Sampling { top_k: 2, ..PLAIN };
        assert_eq!(k.choose(&mut logits(), &[], || 0.999), 2);
        // 0.4 is below 0.5 and 0.4 + 0.3 reaches it.
        let p = Sampling { top_p: 0.5, ..PLAIN };
        assert_eq!(p.choose(&mut logits(), &[], || 0.999), 2);
        assert_eq!(Sampling { top_p: 0.0, ..PLAIN }.choose(&mut logits(), &[], || 0.999), 1);
        assert_eq!(Sampling { top_k: 100, ..PLAIN }.choose(&mut logits(), &[], || 0.999), 0);
    }

    #[test]
    fn greedy_takes_the_first_of_equals_after_the_penalty() {
        let greedy = Sampling { temperature: 0.0, ..PLAIN };
        assert_eq!(greedy.choose(&mut [1.0, 2.0, 2.0], &[], || panic!("no draw")), 1);
        let penalized = Sampling { repetition_penalty: 2.0, ..greedy };
        assert_eq!(penalized.choose(&mut [1.0, 2.0, 1.5], &[1, 1, 9], || 0.0), 2);
        // Twice seen is penalized once; negative logits fall too.
        assert_eq!(penalized.choose(&mut [-1.0, -3.0, -1.5], &[0, 0], || 0.0), 2);
    }

    #[test]
    fn infinite_logits_are_the_likeliest() {
        let extreme = Sampling { repetition_penalty: 1e-38, ..PLAIN };
        for random in [0.0, 0.5, 0.999] {
            assert_eq!(extreme.choose(&mut [1.0, 10.0, 2.0], &[1], || random), 1);
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
}
