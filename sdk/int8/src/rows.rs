//! What is done row by row: quantization, normalization, activation, softmax.
//!
//! Sums run over 16 lanes which are then added in halves, whatever registers the processor has: the order of additions
//! is part of the result.

use super::isa::per_isa;

/// Lanes of sums.
pub(super) const LANES: usize = 16;
/// Adding it to a float below 2^22 leaves the nearest integer, ties to even, in the lowest bits.
const ROUND: f32 = 12_582_912.0;

per_isa! {
    /// Codes of rows of `width` values and one scale a row; `codes` has `depth >= width` places a row, of which those
    /// beyond `width` stand for 0. Codes are from -127 to 127, plus `offset`.
    pub(super) fn quantize(x: &[f32], width: usize, codes: &mut [u8], depth: usize, offset: u8, scales: &mut [f32])
        = quantize_rows;
    /// `x = norm(x + y) * gain + bias`, rows of `width` values; those of `y` are `stride` apart. Layer normalization as
    /// in Ba 2016, with `epsilon` added to the variance.
    pub(super) fn add_and_norm(
        x: &mut [f32], y: &[f32], width: usize, stride: usize, gain: &[f32], bias: &[f32], epsilon: f32
    ) = add_and_norm_rows;
    /// x P(X <= x) for normal X (Hendrycks 2016), by the error function.
    pub(super) fn gelu(x: &mut [f32]) = gelu_all;
    /// Its approximation by the hyperbolic tangent.
    pub(super) fn gelu_tanh(x: &mut [f32]) = gelu_tanh_all;
    /// max(x, 0).
    pub(super) fn relu(x: &mut [f32]) = relu_all;
}

#[inline(always)]
fn quantize_rows(x: &[f32], width: usize, codes: &mut [u8], depth: usize, offset: u8, scales: &mut [f32]) {
    for ((x, codes), scale) in x.chunks_exact(width).zip(codes.chunks_exact_mut(depth)).zip(scales) {
        let mut largest = [0f32; LANES];
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                largest[i] = if chunk[i].abs() > largest[i] { chunk[i].abs() } else { largest[i] };
            }
        }
        let largest = largest.into_iter().chain(rest.iter().map(|v| v.abs())).fold(0f32, f32::max);
        *scale = largest / 127.0;
        // A row of zeros, or of numbers so small that the reciprocal overflows, is all zeros.
        let factor = 127.0 / largest;
        let factor = if factor.is_finite() { factor } else { 0.0 };
        for (x, code) in x.iter().zip(codes.iter_mut()) {
            *code = (x.mul_add(factor, ROUND).to_bits() as u8).wrapping_add(offset);
        }
        codes[width..].fill(offset);
    }
}

/// The sum of lanes, in halves.
#[inline(always)]
pub(super) fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of `term` over `x`.
#[inline(always)]
fn sum(x: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += term(chunk[i]);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += term(*x);
    }
    add_lanes(lanes)
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add_and_norm_rows(x: &mut [f32], y: &[f32], width: usize, stride: usize, gain: &[f32], bias: &[f32], epsilon: f32) {
    for (x, y) in x.chunks_exact_mut(width).zip(y.chunks(stride)) {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
        let mean = sum(x, |x| x) / width as f32;
        let variance = sum(x, |x| (x - mean) * (x - mean)) / width as f32;
        let factor = 1.0 / (variance + epsilon).sqrt();
        for ((x, gain), bias) in x.iter_mut().zip(gain).zip(bias) {
            *x = ((*x - mean) * factor).mul_add(*gain, *bias);
        }
    }
}

/// The error function, by a ratio of polynomials on [-4, 4], beyond which it is 1 in single precision. Largest error
/// against 64 bits: 4e-7.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut above = -2.726_142_3e-10_f32;
    for term in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_3e-5, -7.349_906_4e-4, -2.954_6e-3, -1.609_603_3e-2] {
        above = above.mul_add(square, term);
    }
    let mut below = -1.456_607_2e-5_f32;
    for term in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329_3e-3, -1.426_473_9e-2] {
        below = below.mul_add(square, term);
    }
    x * above / below
}

/// e^x for x <= 0, by Cody and Waite's reduction and a polynomial. Largest relative error: 2e-7. Below -87 it is that
/// of -87.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = if x > -87.0 { x } else { -87.0 };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    let rest = power.mul_add(-0.693_145_75, x);
    let rest = power.mul_add(-1.428_606_8e-6, rest);
    let mut polynomial = 1.987_569_1e-4_f32;
    for term in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = polynomial.mul_add(rest, term);
    }
    let fraction = (polynomial * rest).mul_add(rest, rest) + 1.0;
    // The exponent is shifted into its place.
    f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23))
}

#[inline(always)]
fn gelu_all(x: &mut [f32]) {
    for x in x {
        let half = 0.5 * *x;
        *x = half.mul_add(erf(*x * std::f32::consts::FRAC_1_SQRT_2), half);
    }
}

#[inline(always)]
fn gelu_tanh_all(x: &mut [f32]) {
    for x in x {
        // sqrt(2 / pi) (x + 0.044715 x^3)
        let inner = 0.797_884_6 * (0.044_715 * *x * *x).mul_add(*x, *x);
        // tanh |u| = (1 - e^-2|u|) / (1 + e^-2|u|)
        let power = exp(-2.0 * inner.abs());
        let tanh = ((1.0 - power) / (1.0 + power)).copysign(inner);
        let half = 0.5 * *x;
        *x = half.mul_add(tanh, half);
    }
}

#[inline(always)]
fn relu_all(x: &mut [f32]) {
    for x in x {
        *x = if *x > 0.0 { *x } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;

    /// The error function by Simpson's rule.
    fn true_erf(x: f64) -> f64 {
        let (steps, step) = (2000, x / 2000.0);
        let term = |i: usize| {
            (-(step * i as f64).powi(2)).exp() * [1.0, 4.0, 2.0][if i == 0 || i == steps { 0 } else { 2 - i % 2 }]
        };
        (0..=steps).map(term).sum::<f64>() * step / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    fn points() -> impl Iterator<Item = f32> {
        (-2400..=2400).map(|i| i as f32 / 200.0)
    }

    #[test]
    fn functions_are_close_to_their_definitions() {
        for x in points() {
            let exact = f64::from(x);
            let mut one = [x];
            gelu(Isa::Portable, &mut one);
            let expected = 0.5 * exact * (1.0 + true_erf(exact / 2f64.sqrt()));
            assert!((f64::from(one[0]) - expected).abs() < 2e-6, "gelu({x}) = {} and not {expected}", one[0]);
            let mut one = [x];
            gelu_tanh(Isa::Portable, &mut one);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (exact + 0.044715 * exact.powi(3));
            let expected = 0.5 * exact * (1.0 + inner.tanh());
            assert!((f64::from(one[0]) - expected).abs() < 2e-6, "gelu_tanh({x}) = {} and not {expected}", one[0]);
            let mut one = [x];
            relu(Isa::Portable, &mut one);
            assert_eq!(one[0], x.max(0.0));
            if x <= 0.0 {
                let power = f64::from(exp(8.0 * x));
                let expected = (8.0 * exact).max(-87.0).exp();
                assert!((power / expected - 1.0).abs() < 3e-7, "exp({}) = {power} and not {expected}", 8.0 * x);
            }
        }
    }

    #[test]
    fn codes_are_the_nearest_and_the_largest_is_127() {
        let x = [0.5, -1.0, 0.004, 0.25, -0.0, 1.0, 0.0, 0.0, 0.0];
        let (mut codes, mut scales) = (vec![9; 24], vec![9.0; 3]);
        quantize(Isa::Portable, &x, 3, &mut codes, 8, 128, &mut scales);
        let signed: Vec<i32> = codes.iter().map(|code| i32::from(*code) - 128).collect();
        assert_eq!(signed[..8], [64, -127, 1, 0, 0, 0, 0, 0]);
        assert_eq!(signed[8..16], [32, 0, 127, 0, 0, 0, 0, 0]);
        assert_eq!(signed[16..], [0; 8]);
        assert_eq!(scales, [1.0 / 127.0, 1.0 / 127.0, 0.0]);
    }

    #[test]
    fn rows_of_tiny_numbers_are_zeros() {
        let (mut codes, mut scales) = (vec![9; 4], vec![9.0; 1]);
        quantize(Isa::Portable, &[1e-40, -1e-40, 0.0, 1e-41], 4, &mut codes, 4, 0, &mut scales);
        assert_eq!(codes, [0; 4]);
    }

    #[test]
    fn all_instructions_give_the_same_bits() {
        let value = |i: usize| ((i * 7919 + 13) % 4001) as f32 * 0.003 - 6.0;
        let (rows, width) = (5, 83);
        let x: Vec<f32> = (0..rows * width).map(value).collect();
        let y: Vec<f32> = (0..rows * 96).map(|i| value(i + 77)).collect();
        let gain: Vec<f32> = (0..width).map(|i| value(i + 5)).collect();
        let all = |isa: Isa| {
            let (mut codes, mut scales) = (vec![0; rows * 84], vec![0.0; rows]);
            quantize(isa, &x, width, &mut codes, 84, 0, &mut scales);
            let mut normed = x.clone();
            add_and_norm(isa, &mut normed, &y, width, 96, &gain, &x[..width], 1e-12);
            let mut active = [x.clone(), x.clone(), x.clone()];
            gelu(isa, &mut active[0]);
            gelu_tanh(isa, &mut active[1]);
            relu(isa, &mut active[2]);
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            (codes, bits(scales), bits(normed), active.map(bits))
        };
        let expected = all(Isa::Portable);
        for isa in Isa::available() {
            assert!(all(isa) == expected, "{isa:?}");
        }
    }

    #[test]
    fn normed_rows_have_mean_0_and_variance_1() {
        let mut x: Vec<f32> = (0..60).map(|i| (i * i % 37) as f32).collect();
        let zeros = vec![0.0; 60];
        add_and_norm(Isa::best(), &mut x, &zeros, 20, 20, &[1.0; 20], &[0.0; 20], 0.0);
        for row in x.chunks(20) {
            let mean = row.iter().sum::<f32>() / 20.0;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / 20.0;
            assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        }
    }
}
