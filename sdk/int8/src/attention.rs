//! Scaled dot-product attention of one head (Vaswani 2017, section 3.2.1) over the tokens of one text, in fp32.

use std::ops::Range;

use super::isa::Isa;
use super::lanes::{LANES, Lanes};
use super::rows::{add_lanes, exp, values};

/// The most queries that are computed together: as many sums as there are registers for.
const QUERIES: usize = 8;

/// What one head of one text reads: rows of queries, keys and values, `stride` values apart, `size` values each.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub queries: &'a [f32],
    pub keys: &'a [f32],
    pub values: &'a [f32],
    /// Values from one token's keys to the next; the same for values.
    pub stride: usize,
    /// The same for queries.
    pub query_stride: usize,
    /// Head size.
    pub size: usize,
    /// Tokens of the text.
    pub tokens: usize,
    /// Tokens that ask: all, or the first alone.
    pub asking: usize,
    /// Added to scores.
    pub bias: Option<ScoreBias<'a>>,
}

/// Numbers added to scores, by the places of query and key in the padded text.
#[derive(Clone, Copy, Debug)]
pub struct ScoreBias<'a> {
    /// `[length, length]`, for all heads or for each of them.
    pub values: &'a [f32],
    /// Length of the padded texts.
    pub length: usize,
    /// The place of every row in its text.
    pub places: &'a [usize],
}

impl<'a> ScoreBias<'a> {
    /// That of one head and some rows.
    pub(super) fn of(self, head: usize, rows: Range<usize>) -> ScoreBias<'a> {
        let square = self.length * self.length;
        let values = if self.values.len() == square { self.values } else { &self.values[head * square..][..square] };
        ScoreBias { values, places: &self.places[rows], ..self }
    }
}

/// Values of memory that [`attend`] needs.
pub(super) fn scratch_size(tokens: usize, size: usize) -> usize {
    let keys = tokens.next_multiple_of(LANES);
    size * keys + tokens * size.next_multiple_of(LANES) + QUERIES * keys
}

/// Writes the context of each asking token, `[asking, size]`.
pub(super) fn attend(isa: Isa, head: Head<'_>, out: &mut [f32], scratch: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::lanes::Plain;
        use crate::lanes::x86::{Avx2, Avx512};
        #[target_feature(enable = "avx2,fma")]
        fn avx2(head: Head<'_>, out: &mut [f32], scratch: &mut [f32]) {
            attend_head::<Avx2, 4, 1>(head, out, scratch);
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512(head: Head<'_>, out: &mut [f32], scratch: &mut [f32]) {
            attend_head::<Avx512, QUERIES, 2>(head, out, scratch);
        }
        match isa {
            // Without fused multiply-add as an instruction there is nothing to gain from registers.
            Isa::Portable => attend_head::<Plain, 1, 1>(head, out, scratch),
            // SAFETY: an `Isa` is only made for what the processor has.
            Isa::Avx2 => unsafe { avx2(head, out, scratch) },
            // SAFETY: the same.
            Isa::Avx512Vnni => unsafe { avx512(head, out, scratch) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        attend_head::<crate::lanes::Best, 4, 1>(head, out, scratch);
    }
}

/// A context is the same in however large a group its query is, and whichever `PANELS` registers of keys are computed
/// together.
#[inline(always)]
fn attend_head<L: Lanes, const GROUP: usize, const PANELS: usize>(
    head: Head<'_>,
    out: &mut [f32],
    scratch: &mut [f32],
) {
    let Head { size, tokens, .. } = head;
    let keys = tokens.next_multiple_of(LANES);
    let width = size.next_multiple_of(LANES);
    let (columns, scratch) = scratch.split_at_mut(size * keys);
    let (values, scores) = scratch.split_at_mut(tokens * width);
    // Keys as columns, a register of tokens at a time, filled up; values in rows side by side.
    columns[(keys - LANES) * size..].fill(0.0);
    for token in 0..tokens {
        let columns = &mut columns[token / LANES * LANES * size + token % LANES..];
        for (column, key) in columns.iter_mut().step_by(LANES).zip(&head.keys[token * head.stride..][..size]) {
            *column = *key;
        }
        let row = &mut values[token * width..(token + 1) * width];
        row[..size].copy_from_slice(&head.values[token * head.stride..][..size]);
        row[size..].fill(0.0);
    }
    if head.asking < GROUP {
        for query in 0..head.asking {
            some::<L, 1, 1>(head, query, columns, values, scores, &mut out[query * size..]);
        }
        return;
    }
    let mut first = 0;
    while first < head.asking {
        // The last group takes some queries again: one by one they would take longer.
        first = first.min(head.asking - GROUP);
        some::<L, GROUP, PANELS>(head, first, columns, values, scores, &mut out[first * size..]);
        first += GROUP;
    }
}

/// The contexts of `ROWS` queries.
#[inline(always)]
fn some<L: Lanes, const ROWS: usize, const PANELS: usize>(
    head: Head<'_>,
    first: usize,
    columns: &[f32],
    values: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let Head { size, tokens, .. } = head;
    let keys = tokens.next_multiple_of(LANES);
    let width = size.next_multiple_of(LANES);
    let queries: [&[f32]; ROWS] = std::array::from_fn(|row| &head.queries[(first + row) * head.query_stride..][..size]);
    let mut panel = 0;
    while panel < keys / LANES {
        let columns = &columns[panel * LANES * size..];
        let scores = &mut scores[panel * LANES..];
        if keys / LANES - panel >= PANELS {
            products::<L, ROWS, PANELS>(queries, columns, keys, scores);
            panel += PANELS;
        } else {
            products::<L, ROWS, 1>(queries, columns, keys, scores);
            panel += 1;
        }
    }
    // No closure: it would be compiled for any processor.
    let mut factors = [0.0; ROWS];
    for (row, factor) in factors.iter_mut().enumerate() {
        let scores = &mut scores[row * keys..(row + 1) * keys];
        *factor = weigh::<L>(scores, tokens, 1.0 / (size as f32).sqrt(), head.bias, first + row);
    }
    let mut from = 0;
    while from < width {
        if width - from >= 2 * LANES {
            mix::<L, ROWS, 2>(scores, factors, keys, &values[from..], width, tokens, size, from, out);
            from += 2 * LANES;
        } else {
            mix::<L, ROWS, 1>(scores, factors, keys, &values[from..], width, tokens, size, from, out);
            from += LANES;
        }
    }
}

/// Queries times some panels of keys.
#[inline(always)]
fn products<L: Lanes, const ROWS: usize, const PANELS: usize>(
    queries: [&[f32]; ROWS],
    columns: &[f32],
    keys: usize,
    scores: &mut [f32],
) {
    let size = queries[0].len();
    assert!(columns.len() >= PANELS * size * LANES && queries.iter().all(|query| query.len() == size));
    let (columns, _) = columns.as_chunks::<LANES>();
    let mut sums = [[L::splat(0.0); PANELS]; ROWS];
    for j in 0..size {
        // SAFETY: panels have `size` columns each, and queries as many values, by the assertion; checked here, the sums
        // would be kept in memory instead of registers.
        let keys: [L; PANELS] =
            std::array::from_fn(|panel| L::load(unsafe { columns.get_unchecked(panel * size + j) }));
        for row in 0..ROWS {
            // SAFETY: the same.
            let query = L::splat(unsafe { *queries[row].get_unchecked(j) });
            for panel in 0..PANELS {
                sums[row][panel] = query.mul_add(keys[panel], sums[row][panel]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let (places, _) = scores[row * keys..][..PANELS * LANES].as_chunks_mut::<LANES>();
        for (place, sum) in places.iter_mut().zip(sums) {
            sum.store(place);
        }
    }
}

/// Scores to weights of softmax over the text's tokens, scaled and biased, up to a common factor, which it gives; 0 beyond.
#[inline(always)]
fn weigh<L: Lanes>(scores: &mut [f32], tokens: usize, scale: f32, bias: Option<ScoreBias>, query: usize) -> f32 {
    scores[tokens..].fill(f32::NEG_INFINITY);
    let scale = match bias {
        None => scale,
        Some(bias) => {
            let row = &bias.values[bias.places[query] * bias.length..][..bias.length];
            for (score, place) in scores.iter_mut().zip(bias.places) {
                *score = score.mul_add(scale, row[*place]);
            }
            1.0
        }
    };
    let (chunks, _) = scores.as_chunks_mut::<LANES>();
    let mut largest = L::splat(f32::NEG_INFINITY);
    for chunk in &*chunks {
        largest = L::load(chunk).max(largest);
    }
    let largest = values(largest).into_iter().fold(f32::NEG_INFINITY, f32::max) * scale;
    let (factor, summand) = (L::splat(scale), L::splat(-largest));
    let mut sums = L::splat(0.0);
    if let Some((last, chunks)) = chunks.split_last_mut() {
        for chunk in chunks {
            let weights = exp(L::load(chunk).mul_add(factor, summand));
            weights.store(chunk);
            sums = sums.add(weights);
        }
        exp(L::load(last).mul_add(factor, summand)).store(last);
        // In the last register alone there may be places beyond the text.
        let own = tokens - (tokens - 1) / LANES * LANES;
        last[own..].fill(0.0);
        sums = sums.add(L::load(last));
    }
    1.0 / add_lanes(values(sums))
}

/// The weighted sum of some columns of the values, `REGISTERS` times as many as there are lanes, times each row's factor.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn mix<L: Lanes, const ROWS: usize, const REGISTERS: usize>(
    weights: &[f32],
    factors: [f32; ROWS],
    keys: usize,
    columns: &[f32],
    width: usize,
    tokens: usize,
    size: usize,
    from: usize,
    out: &mut [f32],
) {
    let weights: [&[f32]; ROWS] = std::array::from_fn(|row| &weights[row * keys..][..tokens]);
    let mut sums = [[L::splat(0.0); REGISTERS]; ROWS];
    for (token, columns) in columns.chunks(width).take(tokens).enumerate() {
        let (columns, _) = columns.as_chunks::<LANES>();
        let columns: [L; REGISTERS] = std::array::from_fn(|register| L::load(&columns[register]));
        for row in 0..ROWS {
            // SAFETY: each row has `tokens` weights; unchecked for the same reason as above.
            let weight = L::splat(unsafe { *weights[row].get_unchecked(token) });
            for register in 0..REGISTERS {
                sums[row][register] = weight.mul_add(columns[register], sums[row][register]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (register, sums) in sums.into_iter().enumerate() {
            let from = from + register * LANES;
            let sums = sums.mul(L::splat(factors[row]));
            match out[row * size + from..].first_chunk_mut() {
                Some(place) if size - from >= LANES => sums.store(place),
                _ => {
                    let count = size - from;
                    out[row * size + from..][..count].copy_from_slice(&values(sums)[..count]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(i: usize) -> f32 {
        ((i * 7919 + 13) % 4001) as f32 * 0.001 - 2.0
    }

    /// By the definition, in 64 bits.
    fn expected(head: Head) -> Vec<f64> {
        let mut out = Vec::new();
        for query in 0..head.asking {
            let scores: Vec<f64> = (0..head.tokens)
                .map(|key| {
                    let products = (0..head.size).map(|j| {
                        f64::from(head.queries[query * head.query_stride + j])
                            * f64::from(head.keys[key * head.stride + j])
                    });
                    let bias = head.bias.map_or(0.0, |bias| {
                        f64::from(bias.values[bias.places[query] * bias.length + bias.places[key]])
                    });
                    products.sum::<f64>() / (head.size as f64).sqrt() + bias
                })
                .collect();
            let largest = scores.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
            let whole: f64 = weights.iter().sum();
            out.extend((0..head.size).map(|j| {
                let terms = weights.iter().enumerate();
                terms.map(|(key, w)| w / whole * f64::from(head.values[key * head.stride + j])).sum::<f64>()
            }));
        }
        out
    }

    #[test]
    fn it_is_attention_and_the_same_on_every_path() {
        for (tokens, size, asking) in [(1, 4, 1), (2, 26, 2), (7, 32, 7), (16, 64, 1), (17, 32, 17), (50, 80, 50)] {
            for biased in [false, true] {
                let (stride, length) = (3 * size + 5, tokens + 3);
                let numbers: Vec<f32> = (0..tokens * stride).map(value).collect();
                let bias: Vec<f32> = (0..length * length).map(|i| value(i + 1)).collect();
                let places: Vec<usize> = (0..tokens).map(|token| token + token / 5 % 3).collect();
                let head = Head {
                    queries: &numbers,
                    keys: &numbers[size..],
                    values: &numbers[2 * size..],
                    stride,
                    query_stride: stride,
                    size,
                    tokens,
                    asking,
                    bias: biased.then_some(ScoreBias { values: &bias, length, places: &places }),
                };
                let run = |isa| {
                    let mut out = vec![0.0; asking * size];
                    attend(isa, head, &mut out, &mut vec![7.0; scratch_size(tokens, size)]);
                    out
                };
                let out = run(Isa::Portable);
                for (i, expected) in expected(head).into_iter().enumerate() {
                    let found = f64::from(out[i]);
                    assert!((found - expected).abs() < 2e-5, "{tokens} {size} {biased}: {found} and not {expected}");
                }
                for isa in Isa::available() {
                    assert!(run(isa) == out, "{isa:?} {tokens} {size}");
                }
            }
        }
    }

    #[test]
    fn scores_that_are_far_apart_leave_one_key() {
        let numbers: Vec<f32> =
            (0..3 * 12).map(|i| if i % 12 < 8 { (i / 12) as f32 * 300.0 } else { i as f32 }).collect();
        let head = Head {
            queries: &numbers[24..],
            keys: &numbers[4..],
            values: &numbers[8..],
            stride: 12,
            query_stride: 12,
            size: 4,
            tokens: 3,
            asking: 1,
            bias: None,
        };
        let mut out = [0.0; 4];
        attend(Isa::best(), head, &mut out, &mut vec![0.0; scratch_size(3, 4)]);
        assert_eq!(out, [32.0, 33.0, 34.0, 35.0]);
    }
}
