//! Without any special instructions; also the meaning of the others.

use super::Tile;
use crate::matrix::{COLUMNS, DEPTH};

pub(super) fn compute(tile: &Tile) {
    let inputs = tile.matrix.inputs;
    for (row, (codes, scale)) in tile.codes.chunks_exact(inputs).zip(tile.scales).enumerate() {
        for panel in 0..tile.panels {
            let mut sums = [0i32; COLUMNS];
            for (x, weights) in codes.chunks_exact(DEPTH).zip(tile.panel(panel).chunks_exact(COLUMNS * DEPTH)) {
                for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(DEPTH)) {
                    for (x, weight) in x.iter().zip(weights) {
                        *sum += i32::from(*x as i8) * i32::from(*weight);
                    }
                }
            }
            let columns = tile.columns(panel);
            for (i, sum) in sums.iter().enumerate() {
                let column = columns.start + i;
                let value = (*sum as f32).mul_add(tile.matrix.scales[column] * scale, tile.matrix.bias[column]);
                // SAFETY: `product` has checked that the tile has a place for each of its values.
                unsafe { *tile.out.add(row * tile.stride + panel * COLUMNS + i) = value };
            }
        }
    }
}
