//! Weights of 8 and 4 bits; what they cost, and which of them a model should do without.

mod blocks;
mod calibrate;
mod contract;
mod dev;
mod fake_attention;
mod fake_quantization;
mod observer;
mod search;
mod sensitivity;
mod ternary;

pub use blocks::{BLOCK_SIZES, Bits, BlockCodes, Blocks};
pub use calibrate::{Activations, CALIBRATION_SAMPLES, calibrate, encoder_maps};
pub use contract::{Contract, Line, Proof, Quantizer};
pub use dev::Dev;
pub(crate) use fake_attention::RoundedHeads;
pub use fake_quantization::FakeQuantization;
pub(crate) use fake_quantization::of_activations;
pub use observer::{Histogram, Levels, Observer};
pub use search::{Assignment, Candidate, Found, saving, search};
pub use sensitivity::{Noise, SAMPLE, Sensitivity};
pub use ternary::{ternary_columns, ternary_rows};

use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Codes and their scales: `value = code * scale`.
pub struct Quantized {
    /// Codes from -127 to 127 (-128 is never used, so that negation is exact), of ternary weights from -1 to 1.
    pub values: Array2<i8>,
    /// One scale a column or row, above 0.
    pub scales: Array1<f32>,
}

impl Quantized {
    /// Signal to quantization noise of `weight` in dB: 10 log10 (sum w^2 / sum (w - code * scale)^2), with a scale for
    /// each index of `axis`. Infinite where nothing is lost.
    fn sqnr(&self, weight: &ArrayView2<f32>, axis: Axis) -> f64 {
        let (mut signal, mut noise) = (0.0, 0.0);
        for ((at, &value), &code) in weight.indexed_iter().zip(&self.values) {
            let scale = self.scales[if axis.index() == 0 { at.0 } else { at.1 }];
            signal += f64::from(value).powi(2);
            noise += (f64::from(value) - f64::from(code) * f64::from(scale)).powi(2);
        }
        if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
    }
}

/// [`Quantized::sqnr`] of a linear map `[out, in]` with a scale for each output, as layers store it.
fn sqnr_of_map(weight: &ArrayView2<f32>) -> f64 {
    quantize_rows(weight).sqnr(weight, Axis(0))
}

/// The same in ternary weights.
fn sqnr_of_ternary(weight: &ArrayView2<f32>) -> f64 {
    ternary_rows(weight).sqnr(weight, Axis(0))
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

    #[test]
    fn noise_is_that_of_its_definition() {
        // The step is 0.01: 1.27 is exact, 0.004 becomes 0.
        let weight = arr2(&[[1.27, 0.004]]);
        let expected = 10.0 * ((1.27f64.powi(2) + 0.004f64.powi(2)) / 0.004f64.powi(2)).log10();
        assert!((sqnr_of_map(&weight.view()) - expected).abs() < 1e-3);
        let by_column = quantize_columns(&weight.t()).sqnr(&weight.t(), Axis(1));
        assert!((by_column - expected).abs() < 1e-3, "columns of the transpose are the same maps");
        assert_eq!(sqnr_of_map(&arr2(&[[127.0, -3.0], [0.0, 0.0]]).view()), f64::INFINITY);
        // Even values from -1 to 1 have the variance 1/3, the error of a step 1/127 has step^2 / 12.
        let even = Array2::from_shape_fn((1, 10_007), |(_, j)| (j * 7919 % 10_007) as f32 / 5003.0 - 1.0);
        assert!((sqnr_of_map(&even.view()) - 20.0 * 254f64.log10()).abs() < 0.1);
    }

    #[test]
    fn one_large_weight_hides_what_the_others_lose() {
        let mut weight = Array2::from_shape_fn((4, 64), |(i, j)| ((i * 31 + j * 17) % 101) as f32 * 0.01 - 0.5);
        let before = sqnr_of_map(&weight.view());
        weight[[2, 5]] = 40.0;
        let codes = quantize_rows(&weight.view()).values;
        let lost = (0..64).filter(|&j| codes[[2, j]].abs() <= 1).count();
        let after = sqnr_of_map(&weight.view());
        // Why the search goes by the outputs, and not by this figure.
        assert!(before > 40.0 && lost > 50 && after > 30.0, "{before} dB, {lost} lost, {after} dB");
    }
}
