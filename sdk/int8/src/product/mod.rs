//! Products of 8-bit codes, summed exactly in 32 bits.

use std::ops::Range;

use super::matrix::{COLUMNS, Codes, DEPTH, Matrix};
use super::ternary::unpack;
use super::workers::{Parts, Workers, split};
use crate::isa::Isa;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

/// Products that are worth waking a thread for: about 30 microseconds of work.
const WORTH_A_THREAD: usize = 1 << 23;

/// Quantized rows, as [`super::rows::quantize`] makes them with [`Isa::code_offset`].
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    /// `[rows, inputs]`.
    pub codes: &'a [u8],
    /// One a row.
    pub scales: &'a [f32],
}

/// A few rows times a few panels, and where the result goes.
struct Tile<'a> {
    /// `[rows, inputs]`.
    codes: &'a [u8],
    scales: &'a [f32],
    matrix: &'a Matrix<'a>,
    /// Those of the panels alone.
    weights: &'a [i8],
    first_panel: usize,
    panels: usize,
    /// The first row's first value of the first panel. There is a place for every value of the tile, which no other
    /// tile has.
    out: *mut f32,
    /// Values from one row to the next.
    stride: usize,
}

/// `x W + b` for the columns of some panels: row r, column c goes to `out[r * stride + c]`, with c counted from the
/// first panel. Ternary codes are unpacked into `unpacked`, for some panels at a time and each worker.
///
/// # Panics
/// Parts that do not fit each other.
#[allow(clippy::too_many_arguments)]
pub(super) fn product(
    isa: Isa,
    workers: &dyn Workers,
    x: Rows,
    matrix: &Matrix,
    panels: Range<usize>,
    out: &mut [f32],
    stride: usize,
    unpacked: &mut Vec<i8>,
) {
    let rows = x.scales.len();
    let columns = panels.len() * COLUMNS;
    assert!(x.codes.len() == rows * matrix.inputs && panels.end <= matrix.panels() && columns <= stride);
    assert!(rows == 0 || out.len() >= (rows - 1) * stride + columns);
    if rows == 0 {
        return;
    }
    let (most_rows, most_panels) = tile_size(isa);
    // Tiles of about one size: none is left with a single row.
    let blocks = rows.div_ceil(most_rows);
    let out = Parts::new(out);
    let groups = panels.len().div_ceil(most_panels);
    let each = rows * matrix.inputs * most_panels * COLUMNS;
    let size = matrix.inputs * COLUMNS;
    let apart = if matches!(matrix.codes, Codes::Ternary(_)) { most_panels * size } else { 0 };
    let needed = apart * workers.count();
    if unpacked.len() < needed {
        unpacked.resize(needed, 0);
    }
    let unpacked = Parts::new(unpacked);
    split(workers, groups, WORTH_A_THREAD.div_ceil(each), &|worker, groups| {
        // SAFETY: a part for each worker, and workers have different numbers.
        let unpacked = unsafe { unpacked.part(worker * apart..(worker + 1) * apart) };
        for group in groups {
            let mut first = panels.start + group * most_panels;
            let end = panels.end.min(first + most_panels);
            while first < end {
                // A tile is of the full width or of one panel: fewer kinds of tiles are less code.
                let count = if end - first == most_panels { most_panels } else { 1 };
                let codes = first * size..(first + count) * size;
                let weights = match matrix.codes {
                    Codes::Bytes(all) => &all[codes],
                    Codes::Ternary(all) => {
                        let unpacked = &mut unpacked[..count * size];
                        unpack(isa, &all[codes.start / DEPTH..codes.end / DEPTH], unpacked);
                        &*unpacked
                    }
                };
                for block in 0..blocks {
                    let (from, to) = (rows * block / blocks, rows * (block + 1) / blocks);
                    let column = (first - panels.start) * COLUMNS;
                    let place = |row: usize| out.place(row * stride + column..row * stride + column + count * COLUMNS);
                    // The last row's place is the furthest.
                    place(to - 1);
                    let tile = Tile {
                        codes: &x.codes[from * matrix.inputs..to * matrix.inputs],
                        scales: &x.scales[from..to],
                        matrix,
                        weights,
                        first_panel: first,
                        panels: count,
                        out: place(from),
                        stride,
                    };
                    compute(isa, &tile);
                }
                first += count;
            }
        }
    });
}

/// The most rows and panels of a tile: as many sums as there are registers for.
fn tile_size(isa: Isa) -> (usize, usize) {
    match isa {
        Isa::Portable => (4, 1),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => (4, 1),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni => (8, 3),
        #[cfg(target_arch = "aarch64")]
        Isa::NeonDot => (4, 1),
    }
}

fn compute(isa: Isa, tile: &Tile) {
    match isa {
        Isa::Portable => portable::compute(tile),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` is only made for what the processor has.
        Isa::Avx2 => unsafe { avx2::compute(tile) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the same.
        Isa::Avx512Vnni => unsafe { avx512::compute(tile) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the same.
        Isa::NeonDot => unsafe { neon::compute(tile) },
    }
}

impl Tile<'_> {
    /// The codes of a panel.
    fn panel(&self, panel: usize) -> &[i8] {
        let size = self.matrix.inputs * COLUMNS;
        &self.weights[panel * size..][..size]
    }

    /// The columns of a panel.
    fn columns(&self, panel: usize) -> Range<usize> {
        let first = (self.first_panel + panel) * COLUMNS;
        first..first + COLUMNS
    }
}

/// Calls `$block::<ROWS, PANELS>` for the rows and panels of a tile.
macro_rules! for_size {
    ($tile:expr, $block:ident, [$($rows:literal),*] x $panels:tt) => {
        for_size!(@rows $tile, $block, [$($rows),*], $panels)
    };
    (@rows $tile:expr, $block:ident, [$($rows:literal),*], $panels:tt) => {
        match $tile.scales.len() {
            $($rows => for_size!(@panels $tile, $block, $rows, $panels),)*
            _ => unreachable!("a tile has at most so many rows"),
        }
    };
    (@panels $tile:expr, $block:ident, $rows:literal, [$($panels:literal),*]) => {
        match $tile.panels {
            $($panels => $block::<$rows, $panels>($tile),)*
            _ => unreachable!("a tile has at most so many panels"),
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use for_size;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::{PackedWeights, pack, pack_ternary};
    use crate::rows::quantize;
    use crate::workers::{Alone, Threads};

    fn value(i: usize) -> f32 {
        ((i * 7919 + i / 13 * 31 + 5) % 2003) as f32 / 1001.0 - 1.0
    }

    fn weights(inputs: usize, outputs: usize, extreme: bool) -> (Vec<i8>, PackedWeights) {
        let code = |i: usize| if extreme { 127 - 254 * (i % 2) as i32 } else { (i * 101 + i / 7) as i32 % 255 - 127 };
        let codes: Vec<i8> = (0..inputs * outputs).map(|i| code(i) as i8).collect();
        let scales: Vec<f32> = (0..outputs).map(|i| 0.01 + value(i).abs()).collect();
        (codes.clone(), pack(&codes, &scales).unwrap())
    }

    #[test]
    fn ternary_weights_give_the_bits_of_the_same_codes_in_bytes() {
        for isa in Isa::available() {
            for (rows, inputs, outputs) in [(1, 1, 1), (3, 26, 40), (9, 100, 100), (17, 312, 96)] {
                for workers in [&Alone as &dyn Workers, &Threads(2), &Threads(3)] {
                    let codes: Vec<i8> = (0..inputs * outputs).map(|i| (i * 101 + i / 7) as i8 % 2).collect();
                    let scales: Vec<f32> = (0..outputs).map(|i| 0.01 + value(i).abs()).collect();
                    let packed = pack(&codes, &scales).unwrap();
                    let bytes = pack_ternary(&packed.codes).unwrap();
                    let bias = vec![0.5; packed.scales.len()];
                    let shape = packed.shape().map(|n| n as i64);
                    let whole = Matrix::new(&shape, &packed.codes, &packed.scales, &packed.sums, &bias).unwrap();
                    let ternary = Matrix::ternary(&shape[..3], &bytes, &packed.scales, &packed.sums, &bias).unwrap();
                    let x: Vec<f32> = (0..rows * inputs).map(value).collect();
                    let (mut codes, mut scales) = (vec![0; rows * packed.inputs], vec![0.0; rows]);
                    quantize(isa, &x, inputs, &mut codes, packed.inputs, isa.code_offset(), &mut scales);
                    let rows_of = Rows { codes: &codes, scales: &scales };
                    let stride = packed.scales.len();
                    let (mut expected, mut found) = (vec![0.0; rows * stride], vec![0.0; rows * stride]);
                    // What another matrix left behind does not matter.
                    let mut unpacked = vec![77; 5];
                    let all = 0..whole.panels();
                    product(isa, workers, rows_of, &whole, all.clone(), &mut expected, stride, &mut unpacked);
                    assert_eq!(unpacked, [77; 5], "bytes are used where they are");
                    product(isa, workers, rows_of, &ternary, all, &mut found, stride, &mut unpacked);
                    assert_eq!(found, expected, "{isa:?} {rows}x{inputs}x{outputs}");
                }
            }
        }
    }

    /// By the definition, in whole numbers.
    fn check(rows: usize, inputs: usize, outputs: usize, extreme: bool, isa: Isa, workers: &dyn Workers) {
        let (codes, packed) = weights(inputs, outputs, extreme);
        let columns = packed.scales.len();
        let bias: Vec<f32> = (0..columns).map(|i| value(i + 3)).collect();
        let shape = packed.shape().map(|n| n as i64);
        let matrix = Matrix::new(&shape, &packed.codes, &packed.scales, &packed.sums, &bias).unwrap();
        let x: Vec<f32> = match extreme {
            true => vec![1.0; rows * inputs],
            false => (0..rows * inputs).map(value).collect(),
        };
        let mut row_codes = vec![0; rows * packed.inputs];
        let mut scales = vec![0.0; rows];
        quantize(isa, &x, inputs, &mut row_codes, packed.inputs, isa.code_offset(), &mut scales);
        let stride = columns + 5;
        let mut out = vec![9.0; rows * stride];
        let quantized = Rows { codes: &row_codes, scales: &scales };
        product(isa, workers, quantized, &matrix, 0..matrix.panels(), &mut out, stride, &mut Vec::new());
        for row in 0..rows {
            for column in 0..outputs {
                let code =
                    |i: usize| i32::from(row_codes[row * packed.inputs + i].wrapping_sub(isa.code_offset()) as i8);
                let sum: i32 = (0..inputs).map(|i| code(i) * i32::from(codes[i * outputs + column])).sum();
                let expected = (sum as f32).mul_add(packed.scales[column] * scales[row], bias[column]);
                let found = out[row * stride + column];
                assert!(found == expected, "{isa:?} {rows}x{inputs}x{outputs} at {row}, {column}: {found}, {expected}");
            }
            assert!(
                out[row * stride + columns..(row + 1) * stride].iter().all(|v| *v == 9.0),
                "written beyond the row"
            );
        }
    }

    #[test]
    fn every_path_is_exact_at_every_size() {
        for isa in Isa::available() {
            for rows in [1, 2, 3, 4, 5, 7, 8, 9, 17] {
                for (inputs, outputs) in [(1, 1), (4, 16), (26, 40), (100, 100), (312, 96)] {
                    check(rows, inputs, outputs, false, isa, &Alone);
                }
            }
        }
    }

    #[test]
    fn the_largest_sums_do_not_saturate() {
        for isa in Isa::available() {
            check(3, 4096, 32, true, isa, &Alone);
        }
    }

    #[test]
    fn threads_change_nothing() {
        for isa in Isa::available() {
            for threads in [2, 3, 8] {
                check(9, 64, 200, false, isa, &Threads(threads));
                check(64, 1024, 528, false, isa, &Threads(threads));
            }
        }
    }

    #[test]
    fn some_panels_alone_are_those_of_the_whole() {
        let (_, packed) = weights(20, 80, false);
        let bias = vec![0.25; 80];
        let shape = packed.shape().map(|n| n as i64);
        let matrix = Matrix::new(&shape, &packed.codes, &packed.scales, &packed.sums, &bias).unwrap();
        let isa = Isa::best();
        let x: Vec<f32> = (0..60).map(value).collect();
        let (mut codes, mut scales) = (vec![0; 60], vec![0.0; 3]);
        quantize(isa, &x, 20, &mut codes, 20, isa.code_offset(), &mut scales);
        let rows = Rows { codes: &codes, scales: &scales };
        let (mut whole, mut part) = (vec![0.0; 240], vec![0.0; 96]);
        product(isa, &Alone, rows, &matrix, 0..5, &mut whole, 80, &mut Vec::new());
        product(isa, &Alone, rows, &matrix, 2..4, &mut part, 32, &mut Vec::new());
        for row in 0..3 {
            assert_eq!(whole[row * 80 + 32..row * 80 + 64], part[row * 32..(row + 1) * 32]);
        }
    }
}
