//! Rows of queries, keys and values as codes of 16 bits.

use crate::lanes::{LANES, Lanes};
use crate::rows::ROUND;

/// The largest codes of attention in a text of so many tokens: of queries and keys, of values, and what a query's weights add
/// up to at most. Training rounds by them too.
pub fn attention_limits(tokens: usize, head_size: usize) -> [f32; 3] {
    let shape = Shape::new(tokens, head_size);
    let (values, whole) = shape.value_limits(tokens);
    [shape.score_limit(), values, whole]
}

/// How a head's codes lie.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Head size in codes.
    pub(super) width: usize,
    /// Tokens, filled up to whole registers.
    pub(super) keys: usize,
    /// Registers of a row.
    pub(super) registers: usize,
    /// Pairs of tokens.
    pub(super) pairs: usize,
    /// Whether rows are copied and filled up, because pairs or registers do not fit in them.
    pub(super) copied: bool,
}

impl Shape {
    pub(super) fn new(tokens: usize, size: usize) -> Self {
        let copied = size < LANES || !size.is_multiple_of(2);
        let width = if copied { size.next_multiple_of(LANES) } else { size };
        let keys = tokens.next_multiple_of(LANES);
        Self { width, keys, registers: width.div_ceil(LANES), pairs: tokens.div_ceil(2), copied }
    }

    /// Where a register of a row begins: the last ends with the row, and may have some of the one before it again.
    #[inline(always)]
    pub(super) fn start(self, register: usize) -> usize {
        (register * LANES).min(self.width - LANES)
    }

    /// The largest code of queries and keys, so that no score leaves 32 bits.
    #[inline(always)]
    pub(super) fn score_limit(self) -> f32 {
        (i32::MAX as usize / self.width).isqrt().min(i16::MAX as usize) as f32
    }

    /// The largest code of values, and the largest sum of a query's weights, so that no context leaves 32 bits.
    pub(super) fn value_limits(self, tokens: usize) -> (f32, f32) {
        let largest = (i32::MAX as usize / (16 * tokens)).clamp(1, 8191);
        // Each weight is rounded by a half at most.
        (largest as f32, (i32::MAX as usize / largest - tokens) as f32)
    }
}

/// Rows of `size` values as rows of `width`, filled up with zeros.
pub(super) fn copy_rows(rows: &[f32], stride: usize, count: usize, size: usize, copies: &mut [f32], width: usize) {
    for (row, copy) in copies.chunks_exact_mut(width).take(count).enumerate() {
        copy[..size].copy_from_slice(&rows[row * stride..][..size]);
        copy[size..].fill(0.0);
    }
}

/// A register's values from some place on.
#[inline(always)]
pub(super) fn lanes_at(values: &[f32], start: usize) -> &[f32; LANES] {
    let values = &values[start..start + LANES];
    // SAFETY: there are so many.
    unsafe { &*values.as_ptr().cast() }
}

/// The largest of some rows' sizes.
#[inline(always)]
pub(super) fn largest<L: Lanes>(shape: Shape, rows: &[f32], stride: usize, count: usize) -> f32 {
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
pub(super) fn scale_of(largest: f32, limit: f32) -> (f32, f32) {
    let factor = limit / largest;
    (if factor.is_finite() { factor } else { 0.0 }, largest / limit)
}

/// A row's codes, in pairs of neighbours.
#[inline(always)]
pub(super) fn code_row<L: Lanes>(shape: Shape, row: &[f32], factor: f32, codes: &mut [i32]) {
    let (factor, round) = (L::splat(factor), L::splat(ROUND));
    for register in 0..shape.registers {
        let start = shape.start(register);
        let place = &mut codes[start / 2..start / 2 + LANES / 2];
        // SAFETY: there are so many.
        let place = unsafe { &mut *place.as_mut_ptr().cast() };
        L::load(lanes_at(row, start)).mul_add(factor, round).store_neighbours(place);
    }
}
