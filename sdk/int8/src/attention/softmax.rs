//! Softmax of scores (Vaswani 2017, section 3.2.1), to weights that are codes.

use super::ScoreBias;
use crate::lanes::{LANES, Lanes};
use crate::rows::{ROUND, add_lanes, values};

/// Scaled scores plus their biases.
#[inline(always)]
pub(super) fn add_bias(scores: &mut [f32], scale: f32, bias: ScoreBias, query: usize) {
    let row = &bias.values[bias.places[query] * bias.length..][..bias.length];
    for (score, place) in scores.iter_mut().zip(bias.places) {
        *score = score.mul_add(scale, row[*place]);
    }
}

/// The largest score of a text's tokens.
#[inline(always)]
pub(super) fn largest_score<L: Lanes>(scores: &mut [f32], tokens: usize) -> f32 {
    scores[tokens..].fill(f32::NEG_INFINITY);
    let (chunks, _) = scores.as_chunks::<LANES>();
    let mut most = L::splat(f32::NEG_INFINITY);
    for chunk in chunks {
        most = L::load(chunk).max(most);
    }
    most.largest()
}

/// Scores to e^(scale (score - most)), and 0 beyond the text's tokens. Gives their sum.
#[inline(always)]
pub(super) fn powers<L: Lanes>(scores: &mut [f32], tokens: usize, most: f32, scale: f32) -> f32 {
    let (scale, most) = (L::splat(scale * std::f32::consts::LOG2_E), L::splat(most));
    let (chunks, _) = scores.as_chunks_mut::<LANES>();
    let mut sums = L::splat(0.0);
    if let Some((last, chunks)) = chunks.split_last_mut() {
        for chunk in chunks {
            let powers = power_of_two(L::load(chunk).sub(most).mul(scale));
            powers.store(chunk);
            sums = sums.add(powers);
        }
        power_of_two(L::load(last).sub(most).mul(scale)).store(last);
        // In the last register alone there may be places beyond the text.
        let own = tokens - (tokens - 1) / LANES * LANES;
        last[own..].fill(0.0);
        sums = sums.add(L::load(last));
    }
    add_lanes(values(sums))
}

/// The codes of weights times a factor, in pairs.
#[inline(always)]
pub(super) fn weight_codes<L: Lanes>(weights: &[f32], factor: f32, codes: &mut [i32]) {
    let (factor, round) = (L::splat(factor), L::splat(ROUND));
    let ((chunks, _), (codes, _)) = (weights.as_chunks::<LANES>(), codes.as_chunks_mut::<{ LANES / 2 }>());
    for (chunk, codes) in chunks.iter().zip(codes) {
        L::load(chunk).mul_add(factor, round).store_neighbours(codes);
    }
}

/// 2^x for x <= 0, by a polynomial on [-1/2, 1/2]. Largest relative error: 3e-6, a tenth of what weights are rounded by.
/// Below -100 it is that of -100.
#[inline(always)]
fn power_of_two<L: Lanes>(x: L) -> L {
    let x = x.max(L::splat(-100.0));
    let shifted = x.add(L::splat(ROUND));
    let rest = x.sub(shifted.sub(L::splat(ROUND)));
    let mut polynomial = L::splat(9.582_853e-3);
    for term in [5.590_642_6e-2, 2.402_41e-1, 6.931_242e-1, 1.0] {
        polynomial = polynomial.mul_add(rest, L::splat(term));
    }
    polynomial.add_exponent(shifted)
}
