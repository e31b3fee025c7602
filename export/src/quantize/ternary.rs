//! Ternary weights: each is -1, 0 or 1 times the scale of its row.
//!
//! Ternary Weight Networks (Li 2016, arXiv 1605.04711, section 2.3) as TernaryBERT takes them (Zhang 2020, arXiv
//! 2009.12812; `TwnQuantizer` in its `utils_quant.py`): weights larger than 0.7 of their mean magnitude are kept, and
//! the scale is the mean magnitude of those. TernaryBERT has one scale for a whole map and one for each row of the token
//! table; here each output of a map has its own too, as the layers that limbeck computes take them.
//!
//! Sums are in 64 bits, so that a row that is ternary already keeps its scale to the bit.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::{LOWEST_SCALE, Quantized};

/// Of the mean magnitude of a row: what larger weights are not 0.
pub(super) const THRESHOLD: f64 = 0.7;

/// What a weight of a row must be larger than, and what is left of those that are.
fn levels(row: ArrayView1<f32>) -> (f64, f32) {
    let size = |value: &f32| f64::from(value.abs());
    let threshold = row.iter().map(size).sum::<f64>() / row.len().max(1) as f64 * THRESHOLD;
    let (sum, count) =
        row.iter().map(size).filter(|&size| size > threshold).fold((0.0, 0usize), |(sum, n), size| (sum + size, n + 1));
    (threshold, ((sum / count.max(1) as f64) as f32).max(LOWEST_SCALE))
}

fn code(value: f32, threshold: f64) -> i8 {
    match f64::from(value.abs()) > threshold {
        true if value > 0.0 => 1,
        true => -1,
        false => 0,
    }
}

/// Codes -1, 0 and 1 with one scale a row.
pub fn ternary_rows(table: &ArrayView2<f32>) -> Quantized {
    let mut values = Array2::zeros(table.dim());
    let scales: Array1<f32> = table
        .axis_iter(Axis(0))
        .zip(values.axis_iter_mut(Axis(0)))
        .map(|(row, mut codes)| {
            let (threshold, scale) = levels(row);
            codes.zip_mut_with(&row, |code_of, &value| *code_of = code(value, threshold));
            scale
        })
        .collect();
    Quantized { values, scales }
}

/// Codes -1, 0 and 1 with one scale a column of `[in, out]`: per output channel.
pub fn ternary_columns(weight: &ArrayView2<f32>) -> Quantized {
    let Quantized { values, scales } = ternary_rows(&weight.t());
    Quantized { values: values.reversed_axes(), scales }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn thresholds_and_scales_are_those_of_hand() {
        // Magnitudes 1, 0.2, 3, 0.8: mean 1.25, threshold 0.875; left are 1 and 3, mean 2.
        // Magnitudes 0.5, 0.5, 0.5, 0.5: threshold 0.35. Zeros stay zeros.
        let table = arr2(&[[1.0, -0.2, -3.0, 0.8], [0.5, -0.5, 0.5, -0.5], [0.0, 0.0, 0.0, 0.0]]);
        let by_row = ternary_rows(&table.view());
        assert_eq!(by_row.values, arr2(&[[1, 0, -1, 0], [1, -1, 1, -1], [0, 0, 0, 0]]));
        assert_eq!(by_row.scales.to_vec(), [2.0, 0.5, LOWEST_SCALE]);
        let by_column = ternary_columns(&table.t());
        assert_eq!((by_column.values.t(), by_column.scales), (by_row.values.view(), by_row.scales));
        // A weight at the threshold itself is none of those above it: 0.7 of the mean of 7, 3, 20, 10 is 7.
        assert_eq!(ternary_rows(&arr2(&[[7.0, 3.0, -20.0, 10.0]]).view()).values, arr2(&[[0, 0, -1, 1]]));
    }

    #[test]
    fn what_is_ternary_stays_as_it_is() {
        let weight = Array2::from_shape_fn((9, 257), |(i, j)| ((i * 31 + j * 17) % 101) as f32 * 0.0137 - 0.6);
        let once = ternary_rows(&weight.view());
        let values =
            |q: &Quantized| Array2::from_shape_fn(q.values.dim(), |(i, j)| f32::from(q.values[[i, j]]) * q.scales[i]);
        let twice = ternary_rows(&values(&once).view());
        assert_eq!((&twice.values, &twice.scales), (&once.values, &once.scales));
        let used = |code| once.values.iter().filter(|&&found| found == code).count();
        assert!([-1, 0, 1].map(used).into_iter().all(|count| count > 300));
    }

    #[test]
    fn no_other_scale_is_nearer_to_the_same_codes() {
        // The best scale of given codes is the mean of what they stand for (Li 2016, equation 5).
        let weight = Array2::from_shape_fn((1, 101), |(_, j)| (j * 37 % 101) as f32 * 0.02 - 1.0);
        let found = ternary_rows(&weight.view());
        let error = |scale: f32| {
            let each = weight.iter().zip(&found.values).map(|(w, &code)| (w - f32::from(code) * scale).powi(2));
            each.sum::<f32>()
        };
        let scale = found.scales[0];
        assert!(error(scale) < error(scale * 1.05) && error(scale) < error(scale * 0.95));
    }
}
