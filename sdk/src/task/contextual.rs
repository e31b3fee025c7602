//! Scores of completions as probabilities, and what they are worth after queries without content.

/// Contextual calibration (Zhao 2021): the logarithms of each completion's probability over its mean probability after the
/// content-free queries, brought to the sum 1. `content_free` has the scores of all completions by query.
pub(super) fn calibrated(scores: &[f64], content_free: &[Vec<f64>]) -> Vec<f64> {
    let after: Vec<Vec<f64>> = content_free.iter().map(|scores| log_softmax(scores)).collect();
    let divided = log_softmax(scores).into_iter().enumerate().map(|(index, own)| {
        let each: Vec<f64> = after.iter().map(|logs| logs[index]).collect();
        quotient(own, log_sum_exp(&each))
    });
    // The number of queries is the same for all completions, and goes out.
    log_softmax(&divided.collect::<Vec<_>>())
}

/// The logarithm of a quotient of probabilities, of theirs; one of 0 stays 0, also over 0.
pub(super) fn quotient(own: f64, other: f64) -> f64 {
    if own == f64::NEG_INFINITY { own } else { own - other.max(f64::MIN / 2.0) }
}

/// ln sum exp, without overflow.
fn log_sum_exp(logs: &[f64]) -> f64 {
    let highest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match highest.is_finite() {
        true => highest + logs.iter().map(|log| (log - highest).exp()).sum::<f64>().ln(),
        false => highest,
    }
}

/// The logarithms of probabilities, in fp64: scores of long completions differ by hundreds.
pub(super) fn log_softmax(logs: &[f64]) -> Vec<f64> {
    let sum = log_sum_exp(logs);
    logs.iter().map(|log| if sum.is_finite() { log - sum } else { -(logs.len() as f64).ln() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_logs_that_differ_by_much() {
        let found = log_softmax(&[-2000.0, -2000.0, -9000.0]);
        assert!((found[0] + 2f64.ln()).abs() < 1e-12 && (found[2] + 7000.0 + 2f64.ln()).abs() < 1e-9, "{found:?}");
        // None can be: all alike, and no NaN.
        assert_eq!(log_softmax(&[f64::NEG_INFINITY; 2]), [-(2f64.ln()); 2]);
    }

    /// Long completions that are out of the question stay so: the third is e^-30 times as likely after the query as after none.
    #[test]
    fn calibration_of_completions_that_are_hardly_possible() {
        let found = calibrated(&[0.9f64.ln(), 0.1f64.ln(), -150.0], &[vec![0.95f64.ln(), 0.05f64.ln(), -120.0]]);
        let wanted = [(0.9f64 / 0.95).ln(), 2f64.ln(), -30.0];
        let difference = |index: usize| (found[index] - found[0]) - (wanted[index] - wanted[0]);
        assert!(difference(1).abs() < 1e-9 && difference(2).abs() < 1e-6, "{found:?}");
        assert!((found.iter().map(|log| log.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
        // The mean of two queries, and one that rules a completion out.
        let found =
            calibrated(&[0.5f64.ln(), 0.5f64.ln()], &[vec![0.2f64.ln(), 0.8f64.ln()], vec![0.6f64.ln(), 0.4f64.ln()]]);
        assert!(((found[0] - found[1]) - (0.6f64 / 0.4).ln()).abs() < 1e-9, "{found:?}");
        let never = f64::NEG_INFINITY;
        assert_eq!([quotient(never, never), quotient(never, -2.0), quotient(-3.0, -2.0)], [never, never, -1.0]);
        assert!(quotient(-3.0, never).is_finite());
        let found = calibrated(&[0.0, never], &[vec![0.0, never]]);
        assert!(found[0].abs() < 1e-9 && found[1] == never, "{found:?}");
    }
}
