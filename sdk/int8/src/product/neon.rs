//! NEON with 8-bit dot products: a register of 4 columns takes 4 rows of weights an instruction.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Tile, for_size};
use crate::matrix::{COLUMNS, DEPTH};

#[target_feature(enable = "neon,dotprod")]
pub(super) fn compute(tile: &Tile) {
    for_size!(tile, block, [1, 2, 3, 4] x [1]);
}

/// `sum + a . b`, four lanes of four products. The intrinsic of this instruction is not stable Rust yet.
#[target_feature(enable = "neon,dotprod")]
#[inline]
fn dot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes these registers only, and the processor has it.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

#[target_feature(enable = "neon,dotprod")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "indices are constants once unrolled, and name rows and columns")]
fn block<const ROWS: usize, const PANELS: usize>(tile: &Tile) {
    let matrix = tile.matrix;
    let panel = tile.panel(PANELS - 1);
    assert!(tile.codes.len() == ROWS * matrix.inputs);
    // SAFETY: `Matrix` and the line above say how many codes, scales and biases there are; `product` has checked the
    // places that are written.
    unsafe {
        let mut sums = [[vdupq_n_s32(0); 4]; ROWS];
        for step in 0..matrix.inputs / DEPTH {
            let place = panel.as_ptr().add(step * COLUMNS * DEPTH);
            let weights: [int8x16_t; 4] = std::array::from_fn(|quarter| vld1q_s8(place.add(16 * quarter)));
            for row in 0..ROWS {
                let x = tile.codes.as_ptr().add(row * matrix.inputs + step * DEPTH).cast::<i32>().read_unaligned();
                let x = vreinterpretq_s8_s32(vdupq_n_s32(x));
                for quarter in 0..4 {
                    sums[row][quarter] = dot(sums[row][quarter], weights[quarter], x);
                }
            }
        }
        for quarter in 0..4 {
            let column = tile.columns(0).start + 4 * quarter;
            let scale = vld1q_f32(matrix.scales.as_ptr().add(column));
            let bias = vld1q_f32(matrix.bias.as_ptr().add(column));
            for row in 0..ROWS {
                let factor = vmulq_n_f32(scale, tile.scales[row]);
                let value = vfmaq_f32(bias, vcvtq_f32_s32(sums[row][quarter]), factor);
                vst1q_f32(tile.out.add(row * tile.stride + 4 * quarter), value);
            }
        }
    }
}
