//! AVX-512 with VNNI: a register of 16 columns takes 4 rows of weights an instruction.

use std::arch::x86_64::*;

use super::{Tile, for_size};
use crate::matrix::{COLUMNS, DEPTH};

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn compute(tile: &Tile) {
    for_size!(tile, block, [1, 2, 3, 4, 5, 6, 7, 8] x [1, 3]);
}

/// Codes of rows have 128 added, because the instruction takes unsigned numbers on one side; sums begin at -128 times
/// the sum of the column's codes instead of 0.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "indices are constants once unrolled, and name rows and columns")]
fn block<const ROWS: usize, const PANELS: usize>(tile: &Tile) {
    let matrix = tile.matrix;
    let size = matrix.inputs * COLUMNS;
    assert!(tile.codes.len() == ROWS * matrix.inputs && tile.weights.len() == PANELS * size);
    // SAFETY: `Matrix` and the line above say how many codes, scales, sums and biases there are: for each panel
    // `inputs * COLUMNS` codes and `COLUMNS` of the others, for each row `inputs` codes. `product` has checked the
    // places that are written.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); PANELS]; ROWS];
        for panel in 0..PANELS {
            let codes = _mm512_loadu_si512(matrix.sums.as_ptr().add(tile.columns(panel).start).cast());
            let start = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32::<7>(codes));
            for row in &mut sums {
                row[panel] = start;
            }
        }
        for step in 0..matrix.inputs / DEPTH {
            let mut weights = [_mm512_setzero_si512(); PANELS];
            for panel in 0..PANELS {
                weights[panel] =
                    _mm512_loadu_si512(tile.weights.as_ptr().add(panel * size + step * COLUMNS * DEPTH).cast());
            }
            for row in 0..ROWS {
                let x = tile.codes.as_ptr().add(row * matrix.inputs + step * DEPTH).cast::<i32>().read_unaligned();
                let x = _mm512_set1_epi32(x);
                for panel in 0..PANELS {
                    sums[row][panel] = _mm512_dpbusd_epi32(sums[row][panel], x, weights[panel]);
                }
            }
        }
        for panel in 0..PANELS {
            let column = tile.columns(panel).start;
            let scale = _mm512_loadu_ps(matrix.scales.as_ptr().add(column));
            let bias = _mm512_loadu_ps(matrix.bias.as_ptr().add(column));
            for row in 0..ROWS {
                let factor = _mm512_mul_ps(scale, _mm512_set1_ps(tile.scales[row]));
                let value = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[row][panel]), factor, bias);
                _mm512_storeu_ps(tile.out.add(row * tile.stride + panel * COLUMNS), value);
            }
        }
    }
}
