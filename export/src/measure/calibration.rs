//! Making probabilities mean what they say, on held-out data.

use limbeck::bundle::Calibration;
use serde::Serialize;

use super::metrics::f1;

const BINS: usize = 15;

/// Expected calibration error over 15 bins of equal width (Guo 2017, equation 3): how far, on average, confidence is
/// from the share of right answers.
pub fn calibration_error(confidence: &[f32], correct: &[bool]) -> f64 {
    let mut bins = [(0.0f64, 0.0f64); BINS];
    for (&confidence, &correct) in confidence.iter().zip(correct) {
        let bin = ((f64::from(confidence) * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        bins[bin].0 += f64::from(confidence);
        bins[bin].1 += f64::from(u8::from(correct));
    }
    bins.iter().map(|(sum, right)| (sum - right).abs()).sum::<f64>() / confidence.len().max(1) as f64
}

/// The logits of a text and which labels are right.
#[derive(Clone, Debug)]
pub struct Observation {
    /// In the order of the bundle's labels.
    pub logits: Vec<f32>,
    /// 1 for the right ones.
    pub holds: Vec<bool>,
}

/// A calibration and what it changes.
#[derive(Clone, Debug, Serialize)]
pub struct Calibrated {
    /// For the bundle.
    pub calibration: Calibration,
    /// Mean negative log-likelihood of the right labels before.
    pub loss_before: f64,
    /// And after.
    pub loss_after: f64,
    /// [`calibration_error`] before (softmax), and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration_error: Option<(f64, f64)>,
    /// Share of the texts out of scope that are below the threshold, and of those in scope that are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<(f64, f64)>,
}

/// The probabilities at a temperature: softmax, or a sigmoid each.
fn probabilities(logits: &[f32], temperature: f64, several: bool) -> Vec<f64> {
    let scaled = logits.iter().map(|&logit| f64::from(logit) / temperature);
    if several {
        return scaled.map(|x| 1.0 / (1.0 + (-x).exp())).collect();
    }
    let scaled: Vec<f64> = scaled.collect();
    let largest = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scaled.iter().map(|x| (x - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// Mean negative log-likelihood at a temperature.
fn loss(observations: &[Observation], temperature: f64, several: bool) -> f64 {
    let tiny = f64::MIN_POSITIVE;
    let of = |observation: &Observation| -> f64 {
        let found = probabilities(&observation.logits, temperature, several);
        let pairs = found.iter().zip(&observation.holds);
        if several {
            pairs.map(|(p, &holds)| -(if holds { *p } else { 1.0 - p }).max(tiny).ln()).sum()
        } else {
            pairs.filter(|(_, holds)| **holds).map(|(p, _)| -p.max(tiny).ln()).sum()
        }
    };
    observations.iter().map(of).sum::<f64>() / observations.len().max(1) as f64
}

/// The temperature from 0.05 to 20 at which the right labels are likeliest (Guo 2017, section 4.2). The loss has one
/// minimum in 1/temperature; golden-section search finds it.
fn best_temperature(observations: &[Observation], several: bool) -> f64 {
    let at = |log: f64| loss(observations, log.exp(), several);
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (0.05f64.ln(), 20f64.ln());
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_a, mut at_b) = (at(a), at(b));
    while high - low > 1e-5 {
        if at_a <= at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = at(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = at(b);
        }
    }
    let best = ((low + high) / 2.0).exp();
    // Four digits are more than any dev set tells.
    (best * 1e4).round() / 1e4
}

/// The threshold at which a label's F1 is highest, halfway between two probabilities; 0.5 for a label without a case.
fn best_threshold(scored: &mut [(f64, bool)]) -> f32 {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let there = scored.iter().filter(|(_, holds)| *holds).count();
    let (mut best, mut threshold, mut right) = (0.0, 0.5, 0);
    for (index, &(probability, holds)) in scored.iter().enumerate() {
        right += usize::from(holds);
        let next = scored.get(index + 1).map_or(0.0, |next| next.0);
        if next == probability {
            continue;
        }
        let value = f1(right, index + 1, there);
        if value > best {
            (best, threshold) = (value, (probability + next) / 2.0);
        }
    }
    threshold as f32
}

/// The threshold on the best probability that tells texts in scope from others: where the mean of the two shares of
/// rightly judged texts is highest. Gives the threshold and the shares (out of scope, in scope).
fn best_scope(inside: &[f64], outside: &[f64]) -> (f32, (f64, f64)) {
    let mut all: Vec<(f64, bool)> =
        inside.iter().map(|&p| (p, true)).chain(outside.iter().map(|&p| (p, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let share = |count: usize, of: &[f64]| count as f64 / of.len().max(1) as f64;
    let (mut lost, mut rejected) = (0, 0);
    let mut best = (0.0f32, (0.0, 1.0));
    for (index, &(probability, is_inside)) in all.iter().enumerate() {
        if is_inside {
            lost += 1;
        } else {
            rejected += 1;
        }
        let next = all.get(index + 1).map_or(1.0, |next| next.0);
        let shares = (share(rejected, outside), 1.0 - share(lost, inside));
        if next > probability && shares.0 + shares.1 > best.1.0 + best.1.1 {
            best = (((probability + next) / 2.0) as f32, shares);
        }
    }
    best
}

/// Fits a calibration: a temperature, for independent labels a threshold each, and with texts that are `outside` of the
/// model's business the threshold that tells them.
pub fn calibrate(observations: &[Observation], outside: &[Vec<f32>], several: bool) -> Calibrated {
    let temperature = best_temperature(observations, several);
    let labels = observations.first().map_or(0, |o| o.holds.len());
    let found: Vec<Vec<f64>> = observations.iter().map(|o| probabilities(&o.logits, temperature, several)).collect();
    let thresholds = (0..if several { labels } else { 0 }).map(|label| {
        let mut scored: Vec<_> = found.iter().zip(observations).map(|(p, o)| (p[label], o.holds[label])).collect();
        best_threshold(&mut scored)
    });
    let thresholds = thresholds.collect();
    let best_of = |p: &[f64]| p.iter().copied().fold(0.0, f64::max);
    let scope = (!outside.is_empty()).then(|| {
        let inside: Vec<f64> = found.iter().map(|p| best_of(p)).collect();
        let outside: Vec<f64> =
            outside.iter().map(|logits| best_of(&probabilities(logits, temperature, several))).collect();
        best_scope(&inside, &outside)
    });
    let error = |temperature: f64| {
        let (confidence, correct): (Vec<f32>, Vec<bool>) = observations
            .iter()
            .map(|o| {
                let p = probabilities(&o.logits, temperature, false);
                let best = (0..p.len()).max_by(|&a, &b| p[a].total_cmp(&p[b])).unwrap_or(0);
                (p[best] as f32, o.holds[best])
            })
            .unzip();
        calibration_error(&confidence, &correct)
    };
    Calibrated {
        calibration: Calibration { temperature, thresholds, out_of_scope: scope.map(|(threshold, _)| threshold) },
        loss_before: loss(observations, 1.0, several),
        loss_after: loss(observations, temperature, several),
        calibration_error: (!several).then(|| (error(1.0), error(temperature))),
        scope: scope.map(|(_, shares)| shares),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(logits: &[f32], right: usize) -> Observation {
        Observation { logits: logits.to_vec(), holds: (0..logits.len()).map(|label| label == right).collect() }
    }

    #[test]
    fn the_temperature_that_made_the_data_is_found() {
        // Right three times of four at a difference of 4 ln 3: softmax says 3 to 1 at a temperature of 4.
        let gap = 4.0 * 3f32.ln();
        let data: Vec<Observation> = (0..400).map(|i| one(&[gap, 0.0], usize::from(i % 4 == 0))).collect();
        let found = calibrate(&data, &[], false);
        assert!((found.calibration.temperature - 4.0).abs() < 1e-3, "{found:?}");
        let (before, after) = found.calibration_error.unwrap();
        assert!(before > 0.2 && after < 1e-3 && found.loss_after < found.loss_before);
        assert_eq!((found.calibration.thresholds.len(), found.calibration.out_of_scope), (0, None));
    }

    #[test]
    fn calibration_error_of_a_case_by_hand() {
        // 0.9, 0.9 (one right) and 0.6 (right): (|1.8 - 1| + |0.6 - 1|) / 3.
        let error = calibration_error(&[0.9, 0.9, 0.6], &[true, false, true]);
        assert!((error - 0.4).abs() < 1e-6, "{error}");
        assert_eq!(calibration_error(&[], &[]), 0.0);
    }

    #[test]
    fn thresholds_have_the_highest_f1() {
        let mut scored = [(0.9, true), (0.7, true), (0.4, false), (0.35, true), (0.1, false), (0.05, false)];
        // All three at 0.35: 3 of 4 right, F1 6/7; two at 0.7: F1 4/5.
        assert!((best_threshold(&mut scored) - 0.225).abs() < 1e-6);
        assert_eq!(best_threshold(&mut [(0.3, false)]), 0.5);
        let (threshold, (out, kept)) = best_scope(&[0.9, 0.8, 0.7, 0.2], &[0.1, 0.3, 0.5]);
        assert!((threshold - 0.6).abs() < 1e-6 && (out, kept) == (1.0, 0.75));
    }

    #[test]
    fn independent_labels_have_thresholds_of_their_own() {
        let data: Vec<Observation> = (0..40)
            .map(|i| Observation { logits: vec![i as f32 / 10.0 - 2.0, 1.0], holds: vec![i >= 30, i % 2 == 0] })
            .collect();
        let Calibration { temperature, thresholds, .. } = calibrate(&data, &[], true).calibration;
        let at = |logit: f64| 1.0 / (1.0 + (-logit / temperature).exp());
        assert!(f64::from(thresholds[0]) > at(0.9) && f64::from(thresholds[0]) < at(1.0), "{thresholds:?}");
    }
}
