//! Symmetric int8 weights.

use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Codes and their scales: `value = code * scale`.
pub struct Quantized {
    /// Codes from -127 to 127 (-128 is never used, so that negation is exact).
    pub values: Array2<i8>,
    /// One scale a column or row, above 0.
    pub scales: Array1<f32>,
}

/// Below this a scale would overflow its reciprocal.
const LOWEST_SCALE: f32 = 1e-12;

fn scale(values: impl Iterator<Item = f32>) -> f32 {
    (values.fold(0f32, |m, v| m.max(v.abs())) / 127.0).max(LOWEST_SCALE)
}

fn code(value: f32, scale: f32) -> i8 {
    (value / scale).round_ties_even().clamp(-127.0, 127.0) as i8
}

/// One scale a column of `[in, out]`: per output channel.
pub fn quantize_columns(weight: &ArrayView2<f32>) -> Quantized {
    let scales: Array1<f32> = weight.axis_iter(Axis(1)).map(|column| scale(column.iter().copied())).collect();
    let values = Array2::from_shape_fn(weight.dim(), |(i, j)| code(weight[[i, j]], scales[j]));
    Quantized { values, scales }
}

/// One scale a row: for tables that are looked up by row.
pub fn quantize_rows(table: &ArrayView2<f32>) -> Quantized {
    let scales: Array1<f32> = table.axis_iter(Axis(0)).map(|row| scale(row.iter().copied())).collect();
    let values = Array2::from_shape_fn(table.dim(), |(i, j)| code(table[[i, j]], scales[i]));
    Quantized { values, scales }
}

#[cfg(test)]
mod tests {
    use ndarray::arr2;

    use super::*;

    #[test]
    fn errors_are_at_most_half_a_step() {
        let weight = Array2::from_shape_fn((33, 7), |(i, j)| ((i * 31 + j * 17) % 101) as f32 * 0.01 - 0.5);
        for (q, by_column) in [(quantize_columns(&weight.view()), true), (quantize_rows(&weight.view()), false)] {
            for ((i, j), &code) in q.values.indexed_iter() {
                let scale = q.scales[if by_column { j } else { i }];
                assert!((weight[[i, j]] - f32::from(code) * scale).abs() <= scale * 0.5001);
                assert!(code != i8::MIN);
            }
        }
    }

    #[test]
    fn the_largest_value_of_each_channel_is_exact_and_zeros_stay_zero() {
        let q = quantize_columns(&arr2(&[[1.0, 0.0], [-2.0, 0.0]]).view());
        assert_eq!(q.values.column(0).to_vec(), [64, -127]);
        assert_eq!(q.values.column(1).to_vec(), [0, 0]);
        assert!(q.scales.iter().all(|&s| s > 0.0));
    }
}
