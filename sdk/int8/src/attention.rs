//! Scaled dot-product attention of one head (Vaswani 2017, section 3.2.1) over the tokens of one text.
//!
//! Both products are of 16-bit codes, summed exactly in 32 bits: twice as many of them fit in an instruction as of floats, and
//! sums have no order. A code is round(x / s) to nearest even: s of each query, of all keys and of all values of the text
//! are the largest |x| over a limit at which no sum overflows (13 bits or so). Weights of softmax, e^(score - largest) in
//! fp32, become codes that add up to what values leave of 31 bits; the context is the sum over theirs.

use std::ops::Range;

use super::isa::Isa;
use super::lanes::{LANES, Lanes};
use super::rows::{ROUND, add_lanes, values};
use super::workers::Parts;

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

/// What [`attend`] computes in: as many floats and as many pairs of codes.
pub(super) fn scratch_size(tokens: usize, size: usize) -> (usize, usize) {
    let Shape { width, keys, registers, pairs, copied } = Shape::new(tokens, size);
    let rows = if copied { 3 * tokens * width } else { 0 };
    let queries = QUERIES * (width + keys) / 2;
    (rows + QUERIES * keys, width / 2 * keys + pairs * registers * LANES + queries)
}

/// How a head's codes lie.
#[derive(Clone, Copy)]
struct Shape {
    /// Head size in codes.
    width: usize,
    /// Tokens, filled up to whole registers.
    keys: usize,
    /// Registers of a row.
    registers: usize,
    /// Pairs of tokens.
    pairs: usize,
    /// Whether rows are copied and filled up, because pairs or registers do not fit in them.
    copied: bool,
}

impl Shape {
    fn new(tokens: usize, size: usize) -> Self {
        let copied = size < LANES || !size.is_multiple_of(2);
        let width = if copied { size.next_multiple_of(LANES) } else { size };
        let keys = tokens.next_multiple_of(LANES);
        Self { width, keys, registers: width.div_ceil(LANES), pairs: tokens.div_ceil(2), copied }
    }

    /// Where a register of a row begins: the last ends with the row, and may have some of the one before it again.
    #[inline(always)]
    fn start(self, register: usize) -> usize {
        (register * LANES).min(self.width - LANES)
    }

    /// The largest code of queries and keys, so that no score leaves 32 bits.
    fn score_limit(self) -> f32 {
        (i32::MAX as usize / self.width).isqrt().min(i16::MAX as usize) as f32
    }

    /// The largest code of values, and the largest sum of a query's weights, so that no context leaves 32 bits.
    fn value_limits(self, tokens: usize) -> (f32, f32) {
        let largest = (i32::MAX as usize / (16 * tokens)).clamp(1, 8191);
        // Each weight is rounded by a half at most.
        (largest as f32, (i32::MAX as usize / largest - tokens) as f32)
    }
}

/// Where a head's contexts go: rows of a buffer in which other heads have other columns.
#[derive(Clone, Copy)]
pub(super) struct Contexts<'a> {
    pub buffer: Parts<'a, f32>,
    /// Of the first asking token.
    pub start: usize,
    /// Values from one token to the next.
    pub stride: usize,
}

/// Writes the context of each asking token, whose places must be the head's own.
pub(super) fn attend<'a>(isa: Isa, head: Head<'a>, out: Contexts<'_>, scratch: &'a mut [f32], codes: &mut [i32]) {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::lanes::Plain;
        use crate::lanes::x86::{Avx2, Avx512};
        #[target_feature(enable = "avx2,fma")]
        fn avx2<'a>(head: Head<'a>, out: Contexts<'_>, scratch: &'a mut [f32], codes: &mut [i32]) {
            attend_head::<Avx2, 4, 1>(head, out, scratch, codes);
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn avx512<'a>(head: Head<'a>, out: Contexts<'_>, scratch: &'a mut [f32], codes: &mut [i32]) {
            attend_head::<Avx512, QUERIES, 2>(head, out, scratch, codes);
        }
        match isa {
            // Without registers there is nothing to gain from groups.
            Isa::Portable => attend_head::<Plain, 1, 1>(head, out, scratch, codes),
            // SAFETY: an `Isa` is only made for what the processor has.
            Isa::Avx2 => unsafe { avx2(head, out, scratch, codes) },
            // SAFETY: the same.
            Isa::Avx512Vnni => unsafe { avx512(head, out, scratch, codes) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = isa;
        attend_head::<crate::lanes::Best, 4, 1>(head, out, scratch, codes);
    }
}

/// A head whose keys and values are codes.
#[derive(Clone, Copy)]
struct Coded<'a> {
    head: Head<'a>,
    shape: Shape,
    /// `[keys / LANES, width / 2, LANES]` pairs: keys as columns, a register of tokens at a time, filled up.
    columns: &'a [i32],
    /// `[pairs, registers, LANES]` pairs of tokens.
    values: &'a [i32],
    /// Of keys, over the root of the head size.
    key_scale: f32,
    value_scale: f32,
    /// The largest sum of a query's weights.
    whole: f32,
}

/// A context is the same in however large a group its query is, and whichever `PANELS` registers of keys are computed
/// together.
#[inline(always)]
fn attend_head<'a, L: Lanes, const GROUP: usize, const PANELS: usize>(
    mut head: Head<'a>,
    out: Contexts<'_>,
    scratch: &'a mut [f32],
    codes: &mut [i32],
) {
    let (size, tokens) = (head.size, head.tokens);
    let shape @ Shape { width, keys, registers, pairs, copied } = Shape::new(tokens, size);
    let (scores, copies) = scratch.split_at_mut(QUERIES * keys);
    if copied {
        let (queries, copies) = copies.split_at_mut(tokens * width);
        let (key_rows, values) = copies.split_at_mut(tokens * width);
        copy_rows(head.queries, head.query_stride, head.asking, size, queries, width);
        copy_rows(head.keys, head.stride, tokens, size, key_rows, width);
        copy_rows(head.values, head.stride, tokens, size, values, width);
        head = Head { queries, keys: key_rows, values, stride: width, query_stride: width, ..head };
    }
    let (columns, codes) = codes.split_at_mut(width / 2 * keys);
    let (values, codes) = codes.split_at_mut(pairs * registers * LANES);
    let (queries, weights) = codes.split_at_mut(QUERIES * width / 2);

    let limit = shape.score_limit();
    let (factor, key_scale) = scale_of(largest::<L>(shape, head.keys, head.stride, tokens), limit);
    columns[(keys - LANES) * width / 2..].fill(0);
    for token in 0..tokens {
        let codes = &mut queries[..width / 2];
        code_row::<L>(shape, &head.keys[token * head.stride..], factor, codes);
        let columns = &mut columns[token / LANES * LANES * width / 2 + token % LANES..];
        for (column, code) in columns.iter_mut().step_by(LANES).zip(codes) {
            *column = *code;
        }
    }
    let (limit, whole) = shape.value_limits(tokens);
    let (factor, value_scale) = scale_of(largest::<L>(shape, head.values, head.stride, tokens), limit);
    let (factor, round) = (L::splat(factor), L::splat(ROUND));
    for (pair, codes) in values.chunks_exact_mut(registers * LANES).enumerate() {
        let row = |token: usize| &head.values[token * head.stride..];
        let (first, second) = (row(2 * pair), (2 * pair + 1 < tokens).then(|| row(2 * pair + 1)));
        let (codes, _) = codes.as_chunks_mut::<LANES>();
        for (register, codes) in codes.iter_mut().enumerate() {
            let start = shape.start(register);
            let low = L::load(lanes_at(first, start)).mul_add(factor, round);
            let high = match second {
                Some(row) => L::load(lanes_at(row, start)).mul_add(factor, round),
                None => round,
            };
            low.store_beside(high, codes);
        }
    }
    let key_scale = key_scale / (size as f32).sqrt();
    let coded = Coded { head, shape, columns, values, key_scale, value_scale, whole };
    if head.asking < GROUP {
        for query in 0..head.asking {
            some::<L, 1, 1>(coded, query, queries, scores, weights, out);
        }
        return;
    }
    let mut first = 0;
    while first < head.asking {
        // The last group takes some queries again: one by one they would take longer.
        first = first.min(head.asking - GROUP);
        some::<L, GROUP, PANELS>(coded, first, queries, scores, weights, out);
        first += GROUP;
    }
}

/// Rows of `size` values as rows of `width`, filled up with zeros.
fn copy_rows(rows: &[f32], stride: usize, count: usize, size: usize, copies: &mut [f32], width: usize) {
    for (row, copy) in copies.chunks_exact_mut(width).take(count).enumerate() {
        copy[..size].copy_from_slice(&rows[row * stride..][..size]);
        copy[size..].fill(0.0);
    }
}

/// A register's values from some place on.
#[inline(always)]
fn lanes_at(values: &[f32], start: usize) -> &[f32; LANES] {
    let values = &values[start..start + LANES];
    // SAFETY: there are so many.
    unsafe { &*values.as_ptr().cast() }
}

/// The largest of some rows' sizes.
#[inline(always)]
fn largest<L: Lanes>(shape: Shape, rows: &[f32], stride: usize, count: usize) -> f32 {
    let mut largest = L::splat(0.0);
    for row in 0..count {
        for register in 0..shape.registers {
            largest = L::load(lanes_at(rows, row * stride + shape.start(register))).abs().max(largest);
        }
    }
    largest.largest()
}

/// What numbers up to `largest` are multiplied by to become codes up to `limit`, and codes to become numbers. Numbers so
/// small that the former overflows all have the code 0.
#[inline(always)]
fn scale_of(largest: f32, limit: f32) -> (f32, f32) {
    let factor = limit / largest;
    (if factor.is_finite() { factor } else { 0.0 }, largest / limit)
}

/// A row's codes, in pairs of neighbours.
#[inline(always)]
fn code_row<L: Lanes>(shape: Shape, row: &[f32], factor: f32, codes: &mut [i32]) {
    let (factor, round) = (L::splat(factor), L::splat(ROUND));
    for register in 0..shape.registers {
        let start = shape.start(register);
        let place = &mut codes[start / 2..start / 2 + LANES / 2];
        // SAFETY: there are so many.
        let place = unsafe { &mut *place.as_mut_ptr().cast() };
        L::load(lanes_at(row, start)).mul_add(factor, round).store_neighbours(place);
    }
}

/// The contexts of `ROWS` queries.
#[inline(always)]
fn some<L: Lanes, const ROWS: usize, const PANELS: usize>(
    coded: Coded<'_>,
    first: usize,
    queries: &mut [i32],
    scores: &mut [f32],
    weights: &mut [i32],
    out: Contexts<'_>,
) {
    let Coded { head, shape, .. } = coded;
    let Shape { width, keys, registers, .. } = shape;
    let limit = shape.score_limit();
    // No closures: they would be compiled for any processor.
    let mut scales = [0.0; ROWS];
    for (row, scale) in scales.iter_mut().enumerate() {
        let query = &head.queries[(first + row) * head.query_stride..];
        let (factor, query_scale) = scale_of(largest::<L>(shape, query, 0, 1), limit);
        code_row::<L>(shape, query, factor, &mut queries[row * width / 2..(row + 1) * width / 2]);
        *scale = query_scale * coded.key_scale;
    }
    let mut panel = 0;
    while panel < keys / LANES {
        let columns = &coded.columns[panel * LANES * width / 2..];
        let scores = &mut scores[panel * LANES..];
        if keys / LANES - panel >= PANELS {
            products::<L, ROWS, PANELS>(queries, columns, width / 2, keys, scores);
            panel += PANELS;
        } else {
            products::<L, ROWS, 1>(queries, columns, width / 2, keys, scores);
            panel += 1;
        }
    }
    let mut factors = [0.0; ROWS];
    for (row, factor) in factors.iter_mut().enumerate() {
        let scores = &mut scores[row * keys..(row + 1) * keys];
        let weights = &mut weights[row * keys / 2..(row + 1) * keys / 2];
        let sum = weigh::<L>(scores, weights, head.tokens, scales[row], coded.whole, head.bias, first + row);
        *factor = coded.value_scale / sum;
    }
    let mut register = 0;
    while register < registers {
        if registers - register >= 2 {
            mix::<L, ROWS, 2>(coded, weights, factors, register, first, out);
            register += 2;
        } else {
            mix::<L, ROWS, 1>(coded, weights, factors, register, first, out);
            register += 1;
        }
    }
}

/// Queries times some panels of keys, `steps` pairs each.
#[inline(always)]
fn products<L: Lanes, const ROWS: usize, const PANELS: usize>(
    queries: &[i32],
    columns: &[i32],
    steps: usize,
    keys: usize,
    scores: &mut [f32],
) {
    assert!(columns.len() >= PANELS * steps * LANES && queries.len() >= ROWS * steps);
    let (columns, _) = columns.as_chunks::<LANES>();
    let mut sums = [[L::no_sums(); PANELS]; ROWS];
    for step in 0..steps {
        // SAFETY: panels have `steps` columns each, and queries as many pairs, by the assertion; checked here, the sums
        // would be kept in memory instead of registers.
        let keys: [L::Pairs; PANELS] =
            std::array::from_fn(|panel| L::load_pairs(unsafe { columns.get_unchecked(panel * steps + step) }));
        for row in 0..ROWS {
            // SAFETY: the same.
            let query = unsafe { *queries.get_unchecked(row * steps + step) };
            for panel in 0..PANELS {
                sums[row][panel] = L::add_products(sums[row][panel], query, keys[panel]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        let (places, _) = scores[row * keys..][..PANELS * LANES].as_chunks_mut::<LANES>();
        for (place, sum) in places.iter_mut().zip(sums) {
            L::of_sums(sum).store(place);
        }
    }
}

/// Scores to weights of softmax over the text's tokens, scaled and biased, as codes that add up to at most `whole`; 0 beyond.
/// Gives what they would add up to if they were not rounded.
#[inline(always)]
fn weigh<L: Lanes>(
    scores: &mut [f32],
    weights: &mut [i32],
    tokens: usize,
    scale: f32,
    whole: f32,
    bias: Option<ScoreBias>,
    query: usize,
) -> f32 {
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
    let mut most = L::splat(f32::NEG_INFINITY);
    for chunk in &*chunks {
        most = L::load(chunk).max(most);
    }
    let (scale, most) = (L::splat(scale * std::f32::consts::LOG2_E), L::splat(most.largest()));
    let mut sums = L::splat(0.0);
    if let Some((last, chunks)) = chunks.split_last_mut() {
        for chunk in chunks {
            let weights = power_of_two(L::load(chunk).sub(most).mul(scale));
            weights.store(chunk);
            sums = sums.add(weights);
        }
        power_of_two(L::load(last).sub(most).mul(scale)).store(last);
        // In the last register alone there may be places beyond the text.
        let own = tokens - (tokens - 1) / LANES * LANES;
        last[own..].fill(0.0);
        sums = sums.add(L::load(last));
    }
    let sum = add_lanes(values(sums));
    let factor = (whole / sum).min(f32::from(i16::MAX));
    let round = L::splat(ROUND);
    let (weights, _) = weights.as_chunks_mut::<{ LANES / 2 }>();
    for (chunk, weights) in chunks.iter().zip(weights) {
        L::load(chunk).mul_add(L::splat(factor), round).store_neighbours(weights);
    }
    sum * factor
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

/// The weighted sum of some columns of the values, `REGISTERS` times as many as there are lanes, times each row's factor.
#[inline(always)]
fn mix<L: Lanes, const ROWS: usize, const REGISTERS: usize>(
    coded: Coded<'_>,
    weights: &[i32],
    factors: [f32; ROWS],
    first_register: usize,
    first: usize,
    out: Contexts<'_>,
) {
    let Coded { head, shape, .. } = coded;
    let Shape { keys, registers, pairs, .. } = shape;
    assert!(weights.len() >= ROWS * keys / 2 && coded.values.len() >= pairs * registers * LANES);
    assert!(pairs <= keys / 2 && first_register + REGISTERS <= registers);
    let (values_of, _) = coded.values.as_chunks::<LANES>();
    let mut sums = [[L::no_sums(); REGISTERS]; ROWS];
    for pair in 0..pairs {
        // SAFETY: by the assertions; unchecked for the same reason as above.
        let columns: [L::Pairs; REGISTERS] = std::array::from_fn(|register| {
            L::load_pairs(unsafe { values_of.get_unchecked(pair * registers + first_register + register) })
        });
        for row in 0..ROWS {
            // SAFETY: the same.
            let weight = unsafe { *weights.get_unchecked(row * (keys / 2) + pair) };
            for register in 0..REGISTERS {
                sums[row][register] = L::add_products(sums[row][register], weight, columns[register]);
            }
        }
    }
    for (row, sums) in sums.into_iter().enumerate() {
        for (register, sums) in sums.into_iter().enumerate() {
            let start = shape.start(first_register + register);
            let place = out.start + (first + row) * out.stride + start;
            let count = LANES.min(head.size - start);
            // SAFETY: the head's own columns of the asking token.
            let place = unsafe { out.buffer.part(place..place + count) };
            let sums = L::of_sums(sums).mul(L::splat(factors[row]));
            match place.first_chunk_mut() {
                Some(place) => sums.store(place),
                None => place.copy_from_slice(&values(sums)[..count]),
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

    /// In a buffer with a column on either side, which stays as it is.
    fn attended(isa: Isa, head: Head) -> Vec<f32> {
        let stride = head.size + 2;
        let mut out = vec![9.0; head.asking * stride];
        let (floats, pairs) = scratch_size(head.tokens, head.size);
        let contexts = Contexts { buffer: Parts::new(&mut out), start: 1, stride };
        attend(isa, head, contexts, &mut vec![7.0; floats], &mut vec![7; pairs]);
        assert!(out.chunks(stride).all(|row| row[0] == 9.0 && row[stride - 1] == 9.0), "written beside the head");
        out.chunks(stride).flat_map(|row| &row[1..stride - 1]).copied().collect()
    }

    #[test]
    fn it_is_attention_and_the_same_on_every_path() {
        for (tokens, size, asking) in
            [(1, 4, 1), (2, 26, 2), (5, 25, 3), (7, 32, 7), (16, 64, 1), (17, 32, 17), (50, 80, 50)]
        {
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
                let run = |isa| attended(isa, head);
                let out = run(Isa::Portable);
                for (i, expected) in expected(head).into_iter().enumerate() {
                    let found = f64::from(out[i]);
                    assert!((found - expected).abs() < 2e-3, "{tokens} {size} {biased}: {found} and not {expected}");
                }
                for isa in Isa::available() {
                    assert!(run(isa) == out, "{isa:?} {tokens} {size}");
                }
            }
        }
    }

    #[test]
    fn the_largest_sums_do_not_leave_32_bits() {
        for (tokens, size) in [(1, 16), (3, 17), (600, 16), (40, 256), (5, 4096), (20_000, 2)] {
            for sign in [1.0, -1.0] {
                let numbers = vec![sign * 3.0; tokens * size];
                let head = Head {
                    queries: &numbers,
                    keys: &numbers,
                    values: &numbers,
                    stride: size,
                    query_stride: size,
                    size,
                    tokens,
                    asking: 1,
                    bias: None,
                };
                for isa in Isa::available() {
                    for found in attended(isa, head) {
                        // Weights of 20,000 tokens are codes of 13 each.
                        assert!((found / (sign * 3.0) - 1.0).abs() < 0.01, "{isa:?} {tokens} {size}: {found}");
                    }
                }
            }
        }
    }

    #[test]
    fn heads_of_zeros_give_zeros_and_weights_of_even_scores() {
        let (zeros, values) = (vec![0.0; 5 * 16], (0..5 * 16).map(value).collect::<Vec<_>>());
        let head = Head {
            queries: &zeros,
            keys: &zeros,
            values: &values,
            stride: 16,
            query_stride: 16,
            size: 16,
            tokens: 5,
            asking: 5,
            bias: None,
        };
        let expected = expected(head);
        for isa in Isa::available() {
            for (found, expected) in attended(isa, head).into_iter().zip(&expected) {
                assert!((f64::from(found) - expected).abs() < 1e-3, "{found} and not {expected}");
            }
            assert_eq!(attended(isa, Head { values: &zeros, ..head }), [0.0; 80]);
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
        for isa in Isa::available() {
            let out = attended(isa, head);
            for (found, expected) in out.into_iter().zip([32.0, 33.0, 34.0, 35.0]) {
                assert!((found - expected).abs() < 0.01, "{found} and not {expected}");
            }
        }
    }
}
