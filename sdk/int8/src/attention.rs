//! Scaled dot-product attention of one head (Vaswani 2017, section 3.2.1) over the tokens of one text.
//!
//! Both products are of 16-bit codes, summed exactly in 32 bits: twice as many of them fit in an instruction as of floats, and
//! sums have no order. A code is round(x / s) to nearest even: s of each query, of all keys and of all values of the text
//! are the largest |x| over a limit at which no sum overflows (13 bits or so). Weights of softmax, e^(score - largest) in
//! fp32, become codes that add up to what values leave of 31 bits; the context is the sum over theirs.

mod codes;
mod softmax;

use std::ops::Range;

use super::isa::Isa;
use super::lanes::{LANES, Lanes};
use super::rows::{ROUND, values};
use super::workers::Parts;
pub use codes::attention_limits;
use codes::{Shape, code_row, copy_rows, lanes_at, largest, scale_of};
use softmax::{add_bias, largest_score, powers, weight_codes};

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
    // A step for all queries after the other: none waits for what another has just begun.
    let mut most = [0.0; ROWS];
    for row in 0..ROWS {
        let scores = &mut scores[row * keys..(row + 1) * keys];
        if let Some(bias) = head.bias {
            add_bias(scores, scales[row], bias, first + row);
            scales[row] = 1.0;
        }
        most[row] = largest_score::<L>(scores, head.tokens);
    }
    let mut sums = [0.0; ROWS];
    for row in 0..ROWS {
        sums[row] = powers::<L>(&mut scores[row * keys..(row + 1) * keys], head.tokens, most[row], scales[row]);
    }
    let mut factors = [0.0; ROWS];
    for row in 0..ROWS {
        let factor = (coded.whole / sums[row]).min(f32::from(i16::MAX));
        weight_codes::<L>(
            &scores[row * keys..(row + 1) * keys],
            factor,
            &mut weights[row * keys / 2..(row + 1) * keys / 2],
        );
        factors[row] = coded.value_scale / (sums[row] * factor);
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
#[expect(clippy::needless_range_loop, reason = "indices are constants once unrolled, and name rows and columns")]
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

/// The weighted sum of some columns of the values, `REGISTERS` times as many as there are lanes, times each row's factor.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "indices are constants once unrolled, and name rows and columns")]
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
        let columns: [L::Pairs; REGISTERS] = std::array::from_fn(|register| {
            // SAFETY: by the assertions; unchecked for the same reason as above.
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
mod tests;
