//! Logits to probabilities.

use crate::bundle::Activation;

/// Probabilities of `logits` by the model's activation.
pub(crate) fn activate(activation: Activation, logits: &[f32]) -> Vec<f32> {
    match activation {
        Activation::Softmax => softmax(logits),
        Activation::Sigmoid => logits.iter().map(|&x| sigmoid(x)).collect(),
        Activation::None => logits.to_vec(),
    }
}

/// [`activate`] after dividing the logits by a temperature (Guo et al. 2017, section 4.2). What is no probability
/// is left alone.
pub(crate) fn calibrated(activation: Activation, logits: &[f32], temperature: f64) -> Vec<f32> {
    if temperature == 1.0 || activation == Activation::None {
        return activate(activation, logits);
    }
    let divided: Vec<f32> = logits.iter().map(|&logit| (f64::from(logit) / temperature) as f32).collect();
    if activation == Activation::Softmax && divided.contains(&f32::INFINITY) {
        // Large logits and a small temperature: softmax takes their differences alone, which are in range.
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        if max.is_finite() {
            let below = |&logit: &f32| ((f64::from(logit) - max) / temperature) as f32;
            return softmax(&logits.iter().map(below).collect::<Vec<f32>>());
        }
    }
    activate(activation, &divided)
}

/// Shifted by the largest logit so that no exponential overflows, and summed in
/// 64 bits so that the sum of many small terms is exact enough. Where the largest is infinite, those that are share
/// alike, to which probabilities of finite logits come nearer the further these go.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if max.is_infinite() {
        let share = 1.0 / logits.iter().filter(|&&x| x == max).count() as f32;
        return logits.iter().map(|&x| if x == max { share } else { 0.0 }).collect();
    }
    let exponentials: Vec<f64> = logits.iter().map(|&x| f64::from(x - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| (e / sum) as f32).collect()
}

fn sigmoid(x: f32) -> f32 {
    (1.0 / (1.0 + f64::from(-x).exp())) as f32
}

/// Places of the values from the largest to the smallest; equal values keep
/// their order.
pub(crate) fn descending(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        let p = activate(Activation::Softmax, &[1.0, 2.0, 3.0]);
        for (p, expected) in p.iter().zip([0.090_030_57, 0.244_728_48, 0.665_240_94]) {
            assert!((p - expected).abs() < 1e-7, "{p} {expected}");
        }
        assert_eq!(activate(Activation::Sigmoid, &[0.0]), [0.5]);
        assert_eq!(activate(Activation::None, &[-3.5, 2.0]), [-3.5, 2.0]);
        assert_eq!(activate(Activation::Softmax, &[]), [0f32; 0]);
    }

    #[test]
    fn temperature_softens_and_keeps_the_order() {
        let logits = [1.0, 3.0];
        let (hot, cold) =
            (calibrated(Activation::Softmax, &logits, 2.0), calibrated(Activation::Softmax, &logits, 0.5));
        assert!((hot[1] - 0.731_058_6).abs() < 1e-6 && (cold[1] - 0.982_013_8).abs() < 1e-6);
        assert_eq!(calibrated(Activation::None, &logits, 2.0), logits);
        assert_eq!(calibrated(Activation::Sigmoid, &[2.0], 2.0), activate(Activation::Sigmoid, &[1.0]));
    }

    #[test]
    fn extreme_logits_do_not_overflow() {
        assert_eq!(activate(Activation::Softmax, &[f32::MAX, f32::MIN]), [1.0, 0.0]);
        assert_eq!(activate(Activation::Softmax, &[-1e30, -1e30]), [0.5, 0.5]);
        assert_eq!(activate(Activation::Sigmoid, &[f32::MAX, f32::MIN]), [1.0, 0.0]);
    }

    #[test]
    fn infinite_logits_have_the_probabilities_that_finite_ones_tend_to() {
        const INFINITY: f32 = f32::INFINITY;
        assert_eq!(softmax(&[INFINITY, 3.0]), [1.0, 0.0]);
        assert_eq!(softmax(&[INFINITY, INFINITY, -INFINITY, 0.0]), [0.5, 0.5, 0.0, 0.0]);
        assert_eq!(softmax(&[-INFINITY, -INFINITY]), [0.5, 0.5]);
        assert_eq!(softmax(&[-INFINITY, 1.0]), [0.0, 1.0]);
        // Dividing by a small temperature can make one.
        assert_eq!(calibrated(Activation::Softmax, &[1e37, 1e36], 1e-3), [1.0, 0.0]);
        assert_eq!(calibrated(Activation::Softmax, &[1e37, 1e36], 1.0), [1.0, 0.0]);
        assert_eq!(activate(Activation::Sigmoid, &[INFINITY, -INFINITY]), [1.0, 0.0]);
    }

    #[test]
    fn order_is_stable() {
        assert_eq!(descending(&[0.1, 0.7, 0.1, 0.7]), [1, 3, 0, 2]);
    }

    proptest! {
        #[test]
        fn softmax_is_a_distribution_that_keeps_the_order(logits in proptest::collection::vec(-80f32..80.0, 1..40)) {
            let p = activate(Activation::Softmax, &logits);
            prop_assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            for i in 0..p.len() {
                for j in 0..p.len() {
                    prop_assert!(logits[i] < logits[j] || p[i] >= p[j]);
                }
            }
        }
    }
}
