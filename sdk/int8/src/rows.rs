//! What is done row by row: quantization, normalization, activation, softmax.
//!
//! Sums run over 16 lanes which are then added in halves, whatever registers the processor has: the order of additions
//! is part of the result.

use super::isa::per_isa;
use super::lanes::{LANES, Lanes};

/// Adding it to a float below 2^22 leaves the nearest integer, ties to even, in the lowest bits.
pub(crate) const ROUND: f32 = 12_582_912.0;

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

/// The values that are left beyond whole chunks, filled up with zeros.
#[inline(always)]
fn filled_up(rest: &[f32]) -> [f32; LANES] {
    let mut values = [0f32; LANES];
    values[..rest.len()].copy_from_slice(rest);
    values
}

// Macros and not functions that take closures: a closure has not the instructions of the function that it is written in,
// and a compiler that optimizes for size would call each of them.

/// Replaces every value.
macro_rules! each {
    ($lanes:ident, $x:expr, |$value:ident| $of:expr) => {{
        let x: &mut [f32] = $x;
        let (chunks, rest) = x.as_chunks_mut::<LANES>();
        for chunk in chunks {
            let $value = $lanes::load(chunk);
            $of.store(chunk);
        }
        let mut last = filled_up(rest);
        let $value = $lanes::load(&last);
        $of.store(&mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }};
}

/// Replaces every value, by those of two more lists.
macro_rules! each_with {
    ($lanes:ident, $x:expr, [$list_a:expr, $list_b:expr], |$value:ident, $a:ident, $b:ident| $of:expr) => {{
        let x: &mut [f32] = $x;
        let (chunks, rest) = x.as_chunks_mut::<LANES>();
        let ((many_a, rest_a), (many_b, rest_b)) = ($list_a.as_chunks::<LANES>(), $list_b.as_chunks::<LANES>());
        for ((chunk, a), b) in chunks.iter_mut().zip(many_a).zip(many_b) {
            let ($value, $a, $b) = ($lanes::load(chunk), $lanes::load(a), $lanes::load(b));
            $of.store(chunk);
        }
        let mut last = filled_up(rest);
        let (a, b) = (filled_up(&rest_a[..rest.len()]), filled_up(&rest_b[..rest.len()]));
        let ($value, $a, $b) = ($lanes::load(&last), $lanes::load(&a), $lanes::load(&b));
        $of.store(&mut last);
        rest.copy_from_slice(&last[..rest.len()]);
    }};
}

/// The sum of a term over a list.
macro_rules! sum {
    ($lanes:ident, $x:expr, |$value:ident| $term:expr) => {{
        let (chunks, rest) = $x.as_chunks::<LANES>();
        let mut sums = $lanes::splat(0.0);
        for chunk in chunks {
            let $value = $lanes::load(chunk);
            sums = sums.add($term);
        }
        let $value = $lanes::load(&filled_up(rest));
        let (mut sums, last) = (values(sums), values($term));
        for (sum, term) in sums.iter_mut().zip(&last[..rest.len()]) {
            *sum += term;
        }
        add_lanes(sums)
    }};
}

/// The values of all lanes.
#[inline(always)]
pub(crate) fn values<L: Lanes>(lanes: L) -> [f32; LANES] {
    let mut values = [0f32; LANES];
    lanes.store(&mut values);
    values
}

#[inline(always)]
fn quantize_rows<L: Lanes>(x: &[f32], width: usize, codes: &mut [u8], depth: usize, offset: u8, scales: &mut [f32]) {
    for ((x, codes), scale) in x.chunks_exact(width).zip(codes.chunks_exact_mut(depth)).zip(scales) {
        let (chunks, rest) = x.as_chunks::<LANES>();
        let last = filled_up(rest);
        let mut largest = L::load(&last).abs();
        for chunk in chunks {
            largest = L::load(chunk).abs().max(largest);
        }
        let largest = values(largest).into_iter().fold(0f32, f32::max);
        *scale = largest / 127.0;
        // A row of zeros, or of numbers so small that the reciprocal overflows, is all zeros.
        let factor = 127.0 / largest;
        let factor = L::splat(if factor.is_finite() { factor } else { 0.0 });
        let round = L::splat(ROUND);
        let (whole, beyond) = codes.as_chunks_mut::<LANES>();
        let mut whole = whole.iter_mut();
        for (x, codes) in chunks.iter().zip(&mut whole) {
            L::load(x).mul_add(factor, round).store_bytes(offset, codes);
        }
        // The rest of the row, then zeros: what is filled up has the code of 0.
        let mut end = [offset; LANES];
        L::load(&last).mul_add(factor, round).store_bytes(offset, &mut end);
        match whole.next() {
            Some(codes) => *codes = end,
            None => beyond.copy_from_slice(&end[..beyond.len()]),
        }
    }
}

/// The sum of lanes, in halves.
#[inline(always)]
pub(crate) fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn add_and_norm_rows<L: Lanes>(
    x: &mut [f32],
    y: &[f32],
    width: usize,
    stride: usize,
    gain: &[f32],
    bias: &[f32],
    epsilon: f32,
) {
    for (x, y) in x.chunks_exact_mut(width).zip(y.chunks(stride)) {
        let y = &y[..width];
        each_with!(L, x, [y, y], |x, y, _y| x.add(y));
        let mean = L::splat(sum!(L, x, |x| x) / width as f32);
        let variance = sum!(L, x, |x| x.sub(mean).mul(x.sub(mean))) / width as f32;
        let factor = L::splat(1.0 / (variance + epsilon).sqrt());
        each_with!(L, x, [gain, bias], |x, gain, bias| x.sub(mean).mul(factor).mul_add(gain, bias));
    }
}

/// The error function, by a ratio of polynomials on [-4, 4], beyond which it is 1 in single precision. Largest error
/// against 64 bits: 4e-7.
#[inline(always)]
fn erf<L: Lanes>(x: L) -> L {
    let x = x.max(L::splat(-4.0)).min(L::splat(4.0));
    let square = x.mul(x);
    let mut above = L::splat(-2.726_142_3e-10);
    for term in [2.770_681_4e-8, -2.101_024e-6, -5.692_506_3e-5, -7.349_906_4e-4, -2.954_6e-3, -1.609_603_3e-2] {
        above = above.mul_add(square, L::splat(term));
    }
    let mut below = L::splat(-1.456_607_2e-5);
    for term in [-2.133_740_5e-4, -1.682_827e-3, -7.373_329_3e-3, -1.426_473_9e-2] {
        below = below.mul_add(square, L::splat(term));
    }
    x.mul(above).div(below)
}

/// e^x for x <= 0, by Cody and Waite's reduction and a polynomial. Largest relative error: 2e-7. Below -87 it is that
/// of -87.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(x: L) -> L {
    let x = x.max(L::splat(-87.0));
    let shifted = x.mul_add(L::splat(std::f32::consts::LOG2_E), L::splat(ROUND));
    let power = shifted.sub(L::splat(ROUND));
    let rest = power.mul_add(L::splat(-0.693_145_75), x);
    let rest = power.mul_add(L::splat(-1.428_606_8e-6), rest);
    let mut polynomial = L::splat(1.987_569_1e-4);
    for term in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = polynomial.mul_add(rest, L::splat(term));
    }
    let fraction = polynomial.mul(rest).mul_add(rest, rest).add(L::splat(1.0));
    fraction.add_exponent(shifted)
}

#[inline(always)]
fn gelu_all<L: Lanes>(x: &mut [f32]) {
    each!(L, x, |x| {
        let half = x.mul(L::splat(0.5));
        half.mul_add(erf(x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2))), half)
    });
}

#[inline(always)]
fn gelu_tanh_all<L: Lanes>(x: &mut [f32]) {
    each!(L, x, |x| {
        // sqrt(2 / pi) (x + 0.044715 x^3)
        let inner = L::splat(0.797_884_6).mul(L::splat(0.044_715).mul(x).mul(x).mul_add(x, x));
        // tanh |u| = (1 - e^-2|u|) / (1 + e^-2|u|)
        let power = exp(inner.abs().mul(L::splat(-2.0)));
        let one = L::splat(1.0);
        let tanh = one.sub(power).div(one.add(power)).with_sign_of(inner);
        let half = x.mul(L::splat(0.5));
        half.mul_add(tanh, half)
    });
}

#[inline(always)]
fn relu_all<L: Lanes>(x: &mut [f32]) {
    each!(L, x, |x| x.max(L::splat(0.0)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::lanes::Plain;

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
                let power = f64::from(values(exp(Plain::splat(8.0 * x)))[0]);
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
