//! Logistic regression, fitted on the device from a few examples.

use super::pooling::dot;
use super::softmax::softmax;

/// Pairs of steps that L-BFGS remembers.
const MEMORY: usize = 10;
const MAX_STEPS: usize = 1000;
/// The fit is done when no slope is steeper than this, for each unit of the loss's weight.
const TOLERANCE: f64 = 1e-7;

/// A linear map to the logits of some classes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    /// `[classes, dimensions]`, row by row.
    pub weights: Vec<f32>,
    /// `[classes]`.
    pub bias: Vec<f32>,
}

impl Linear {
    /// The logits of a vector.
    pub(crate) fn logits(&self, vector: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(vector.len().max(1));
        rows.zip(&self.bias).map(|(row, &bias)| (dot(row, vector) + f64::from(bias)) as f32).collect()
    }

    /// The probabilities of a vector's classes.
    pub(crate) fn probabilities(&self, vector: &[f32]) -> Vec<f32> {
        softmax(&self.logits(vector))
    }
}

/// Finds the map with the least `|weights|^2 / 2 + strength * sum of cross entropies` (the objective of
/// scikit-learn's `LogisticRegression(C=strength)`, multinomial) by L-BFGS (Nocedal and Wright 2006, algorithm
/// 7.4). Biases are not held small. `check` is called at every step and may end the fit.
///
/// Every vector has `dimensions` values, and every class is below `classes`. The same input gives the same bits.
pub(crate) fn fit<E>(
    vectors: &[Vec<f32>],
    of_class: &[usize],
    classes: usize,
    dimensions: usize,
    strength: f64,
    check: impl Fn() -> Result<(), E>,
) -> Result<Linear, E> {
    let problem = Problem { vectors, of_class, classes, dimensions, strength };
    let mut at = vec![0.0; classes * (dimensions + 1)];
    let (mut value, mut slope) = problem.value_and_slope(&at);
    let mut history: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    for _ in 0..MAX_STEPS {
        check()?;
        if slope.iter().all(|s| s.abs() <= TOLERANCE * strength.max(1.0)) {
            break;
        }
        let direction = direction(&slope, &history);
        let descent = product(&direction, &slope);
        let mut length = if history.is_empty() { 1.0 / product(&slope, &slope).sqrt().max(1.0) } else { 1.0 };
        // Armijo's rule; the function is convex, so that it is met before steps become invisible.
        let next = loop {
            let there: Vec<f64> = at.iter().zip(&direction).map(|(a, d)| a + length * d).collect();
            let (value_there, slope_there) = problem.value_and_slope(&there);
            if value_there <= value + 1e-4 * length * descent {
                break Some((there, value_there, slope_there));
            }
            length /= 2.0;
            if length < 1e-12 {
                break None;
            }
        };
        let Some((there, value_there, slope_there)) = next else { break };
        let step: Vec<f64> = there.iter().zip(&at).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = slope_there.iter().zip(&slope).map(|(a, b)| a - b).collect();
        let curvature = product(&step, &change);
        if curvature > 1e-18 {
            if history.len() == MEMORY {
                history.remove(0);
            }
            history.push((step, change, 1.0 / curvature));
        }
        (at, value, slope) = (there, value_there, slope_there);
    }
    let (weights, bias) = at.split_at(classes * dimensions);
    let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
    Ok(Linear { weights: narrow(weights), bias: narrow(bias) })
}

/// The two-loop recursion: the direction that the slopes seen so far suggest.
fn direction(slope: &[f64], history: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut direction: Vec<f64> = slope.iter().map(|s| -s).collect();
    let mut factors = Vec::with_capacity(history.len());
    for (step, change, rho) in history.iter().rev() {
        let factor = rho * product(step, &direction);
        direction.iter_mut().zip(change).for_each(|(d, c)| *d -= factor * c);
        factors.push(factor);
    }
    if let Some((_, change, rho)) = history.last() {
        let scale = 1.0 / (rho * product(change, change));
        direction.iter_mut().for_each(|d| *d *= scale);
    }
    for ((step, change, rho), factor) in history.iter().zip(factors.into_iter().rev()) {
        let back = rho * product(change, &direction);
        direction.iter_mut().zip(step).for_each(|(d, s)| *d += (factor - back) * s);
    }
    direction
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

struct Problem<'a> {
    vectors: &'a [Vec<f32>],
    of_class: &'a [usize],
    classes: usize,
    dimensions: usize,
    strength: f64,
}

impl Problem<'_> {
    /// The objective at weights and biases, and its gradient.
    fn value_and_slope(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let (weights, bias) = at.split_at(self.classes * self.dimensions);
        let mut value = 0.5 * product(weights, weights);
        let mut slope = weights.to_vec();
        slope.resize(at.len(), 0.0);
        let (slope_weights, slope_bias) = slope.split_at_mut(weights.len());
        let mut logits = vec![0f64; self.classes];
        for (vector, &class) in self.vectors.iter().zip(self.of_class) {
            for (logit, (row, bias)) in logits.iter_mut().zip(weights.chunks_exact(self.dimensions).zip(bias)) {
                *logit = row.iter().zip(vector).map(|(w, &x)| w * f64::from(x)).sum::<f64>() + bias;
            }
            let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = logits.iter().map(|logit| (logit - max).exp()).sum();
            value += self.strength * (max + sum.ln() - logits[class]);
            let rows = slope_weights.chunks_exact_mut(self.dimensions).zip(slope_bias.iter_mut());
            for (index, (logit, (row, bias))) in logits.iter().zip(rows).enumerate() {
                let target = f64::from(u8::from(index == class));
                let error = self.strength * ((logit - max).exp() / sum - target);
                row.iter_mut().zip(vector).for_each(|(slope, &x)| *slope += error * f64::from(x));
                *bias += error;
            }
        }
        (value, slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(vectors: &[Vec<f32>], of_class: &[usize], classes: usize, strength: f64) -> Linear {
        fit::<()>(vectors, of_class, classes, vectors[0].len(), strength, || Ok(())).unwrap()
    }

    /// The slope is nothing at the minimum, and differences agree with it elsewhere.
    #[test]
    fn the_slope_is_the_slope() {
        let vectors = vec![vec![0.5, -1.0], vec![1.5, 0.25], vec![-0.75, 2.0]];
        let problem = Problem { vectors: &vectors, of_class: &[0, 1, 2], classes: 3, dimensions: 2, strength: 0.7 };
        let at: Vec<f64> = (0..9).map(|i| f64::from(i) * 0.1 - 0.3).collect();
        let (_, slope) = problem.value_and_slope(&at);
        for i in 0..at.len() {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[i] += by;
                problem.value_and_slope(&at).0
            };
            let difference = (moved(1e-6) - moved(-1e-6)) / 2e-6;
            assert!((difference - slope[i]).abs() < 1e-7, "{i}: {difference} {}", slope[i]);
        }
    }

    #[test]
    fn the_minimum_is_found() {
        // Numbers without a plan behind them; classes overlap.
        let vectors: Vec<Vec<f32>> =
            (0..60).map(|i| (0..5).map(|j| ((i * 37 + j * 11 + i * j) % 23) as f32 / 11.0 - 1.0).collect()).collect();
        let of_class: Vec<usize> = (0..60).map(|i| (i * 7 + i / 5) % 4).collect();
        for strength in [0.01, 1.0, 100.0] {
            let linear = fitted(&vectors, &of_class, 4, strength);
            let at: Vec<f64> = linear.weights.iter().chain(&linear.bias).map(|&v| f64::from(v)).collect();
            let problem = Problem { vectors: &vectors, of_class: &of_class, classes: 4, dimensions: 5, strength };
            let (value, slope) = problem.value_and_slope(&at);
            let steepest = slope.iter().fold(0f64, |most, s| most.max(s.abs()));
            assert!(steepest < 2e-5 * strength.max(1.0), "{strength}: {steepest}");
            assert!(value < problem.value_and_slope(&[0.0; 24]).0);
        }
    }

    #[test]
    fn separable_examples_are_told_apart() {
        let vectors = vec![vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![0.1, 0.9]];
        let linear = fitted(&vectors, &[0, 0, 1, 1], 2, 10.0);
        assert!(linear.probabilities(&[1.0, 0.0])[0] > 0.8);
        assert!(linear.probabilities(&[0.0, 1.0])[1] > 0.8);
        assert_eq!(linear, fitted(&vectors, &[0, 0, 1, 1], 2, 10.0));
    }

    #[test]
    fn a_fit_can_be_ended() {
        assert_eq!(fit(&[vec![1.0]], &[0], 2, 1, 1.0, || Err("enough")), Err("enough"));
    }
}
