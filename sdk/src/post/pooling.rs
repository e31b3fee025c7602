//! Token vectors to one vector.

use crate::bundle::Pooling;

/// The vector of a text whose tokens have the vectors `values`, one after the other.
pub(crate) fn pool(values: &[f32], dimensions: usize, pooling: Pooling) -> Vec<f32> {
    let rows = || values.chunks_exact(dimensions.max(1));
    match pooling {
        Pooling::Cls => rows().next().unwrap_or_default().to_vec(),
        Pooling::Max => rows().fold(vec![f32::NEG_INFINITY; dimensions], |mut best, row| {
            best.iter_mut().zip(row).for_each(|(best, value)| *best = best.max(*value));
            best
        }),
        Pooling::Mean => {
            let mut sum = vec![0f64; dimensions];
            rows().for_each(|row| sum.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value)));
            let count = rows().len().max(1) as f64;
            sum.into_iter().map(|sum| (sum / count) as f32).collect()
        }
    }
}

/// Scales a vector to length 1; one of zeros stays.
pub(crate) fn normalize(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

/// The sum of products, in 64 bits.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_ways() {
        let values = [1.0, -2.0, 3.0, 4.0, 5.0, -8.0];
        assert_eq!(pool(&values, 2, Pooling::Mean), [3.0, -2.0]);
        assert_eq!(pool(&values, 2, Pooling::Cls), [1.0, -2.0]);
        assert_eq!(pool(&values, 2, Pooling::Max), [5.0, 4.0]);
    }

    #[test]
    fn lengths_become_one() {
        let mut vector = [3.0, 4.0];
        normalize(&mut vector);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zero = [0.0; 3];
        normalize(&mut zero);
        assert_eq!(zero, [0.0; 3]);
    }
}
