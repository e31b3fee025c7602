//! AVX2: products of bytes are added in pairs to 16 bits, then to 32.

use std::arch::x86_64::*;

use super::{Tile, for_size};
use crate::matrix::{COLUMNS, DEPTH};

#[target_feature(enable = "avx2,fma")]
pub(super) fn compute(tile: &Tile) {
    for_size!(tile, block, [1, 2, 3, 4] x [1]);
}

/// The instruction takes unsigned numbers on one side and saturates at 16 bits. So it is given |x| and the weights with
/// the sign of x: two products are then at most 2 * 127 * 127 = 32258, and nothing saturates.
#[target_feature(enable = "avx2,fma")]
#[inline]
#[expect(clippy::needless_range_loop, reason = "indices are constants once unrolled, and name rows and columns")]
fn block<const ROWS: usize, const PANELS: usize>(tile: &Tile) {
    let matrix = tile.matrix;
    let panel = tile.panel(PANELS - 1);
    assert!(tile.codes.len() == ROWS * matrix.inputs);
    // SAFETY: as in the AVX-512 version.
    unsafe {
        let ones = _mm256_set1_epi16(1);
        let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
        for step in 0..matrix.inputs / DEPTH {
            let place = panel.as_ptr().add(step * COLUMNS * DEPTH).cast::<__m256i>();
            let weights = [_mm256_loadu_si256(place), _mm256_loadu_si256(place.add(1))];
            for row in 0..ROWS {
                let x = tile.codes.as_ptr().add(row * matrix.inputs + step * DEPTH).cast::<i32>().read_unaligned();
                let x = _mm256_set1_epi32(x);
                let size = _mm256_abs_epi8(x);
                for half in 0..2 {
                    let pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(weights[half], x));
                    sums[row][half] = _mm256_add_epi32(sums[row][half], _mm256_madd_epi16(pairs, ones));
                }
            }
        }
        for half in 0..2 {
            let column = tile.columns(0).start + 8 * half;
            let scale = _mm256_loadu_ps(matrix.scales.as_ptr().add(column));
            let bias = _mm256_loadu_ps(matrix.bias.as_ptr().add(column));
            for row in 0..ROWS {
                let factor = _mm256_mul_ps(scale, _mm256_set1_ps(tile.scales[row]));
                let value = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[row][half]), factor, bias);
                _mm256_storeu_ps(tile.out.add(row * tile.stride + 8 * half), value);
            }
        }
    }
}
