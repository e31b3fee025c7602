//! Codes of 4 or 8 bits with a scale for each block of neighbouring weights, as `MatMulNBits` and
//! `GatherBlockQuantized` of ONNX Runtime read them.

use anyhow::{Result, ensure};
use ndarray::{ArrayView1, ArrayView2, Axis};

/// Bits of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// 16 levels, two codes a byte.
    Four,
    /// 256 levels.
    Eight,
}

impl Bits {
    /// How many.
    pub fn count(self) -> usize {
        match self {
            Bits::Four => 4,
            Bits::Eight => 8,
        }
    }

    /// The code of 0 where there are no zero points.
    fn middle(self) -> f32 {
        (1u32 << (self.count() - 1)) as f32
    }

    /// The largest code.
    fn last(self) -> f32 {
        ((1u32 << self.count()) - 1) as f32
    }
}

/// How weights are stored by block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    bits: Bits,
    size: usize,
    zero_points: bool,
}

/// Block sizes that can be asked for.
pub const BLOCK_SIZES: [usize; 3] = [32, 64, 128];

impl Blocks {
    /// Blocks of `size` weights; with zero points the levels of a block go from its smallest weight to its largest, else
    /// they lie around 0.
    ///
    /// # Errors
    /// A size that is none of [`BLOCK_SIZES`].
    pub fn new(bits: Bits, size: usize, zero_points: bool) -> Result<Self> {
        ensure!(BLOCK_SIZES.contains(&size), "blocks of {size} weights: give 32, 64 or 128");
        Ok(Self { bits, size, zero_points })
    }

    /// Bits of a code.
    pub fn bits(self) -> Bits {
        self.bits
    }

    /// Weights of a block.
    pub fn size(self) -> usize {
        self.size
    }

    /// Whether each block has a zero point.
    pub fn zero_points(self) -> bool {
        self.zero_points
    }

    /// The same around 0.
    pub fn symmetric(self) -> Self {
        Self { zero_points: false, ..self }
    }

    /// The same blocks with codes of 8 bits.
    pub fn eight_bits(self) -> Self {
        Self { bits: Bits::Eight, ..self }
    }

    /// Blocks of a row of `width` weights, the last one filled up with zeros.
    pub fn of(self, width: usize) -> usize {
        width.div_ceil(self.size)
    }

    /// Bytes of a block's codes.
    pub fn bytes(self) -> usize {
        self.size * self.bits.count() / 8
    }
}

/// Rows of weights as codes: `weight = (code - zero point) * scale`.
#[derive(Default)]
pub struct BlockCodes {
    /// `[rows, blocks, bytes]`; of two codes in a byte the first is the lower.
    pub codes: Vec<u8>,
    /// `[rows, blocks]`.
    pub scales: Vec<f32>,
    /// `[rows, ceil(blocks * bits / 8)]`, packed like codes; empty without zero points.
    pub zero_points: Vec<u8>,
}

/// One block: codes, scale and zero point.
struct Block {
    codes: Vec<u8>,
    scale: f32,
    zero_point: u8,
}

/// Below this a scale would overflow its reciprocal.
const LOWEST_SCALE: f32 = 1e-12;
/// Parts of the largest weight that scales of 4 bits are tried for: levels nearer to each other serve the many small
/// weights of a block better than its one largest is served by having a level of its own.
const SHRINKING: [f32; 8] = [0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8];

/// Levels of a block.
#[derive(Clone, Copy)]
struct BlockLevels {
    scale: f32,
    zero_point: f32,
    last: f32,
}

impl BlockLevels {
    fn code(self, weight: f32) -> f32 {
        (weight / self.scale + self.zero_point).round_ties_even().clamp(0.0, self.last)
    }

    fn squared_error(self, weights: &[f32]) -> f64 {
        let mut sum = 0.0;
        for &weight in weights {
            let error = f64::from(weight - (self.code(weight) - self.zero_point) * self.scale);
            sum += error * error;
        }
        sum
    }
}

impl Block {
    /// The levels with the least squared error of those that are tried.
    fn best(weights: &[f32], blocks: Blocks) -> Self {
        let bits = blocks.bits;
        let parts = if bits == Bits::Four { &SHRINKING[..] } else { &[] };
        let (low, high) = weights.iter().fold((0f32, 0f32), |(low, high), &w| (low.min(w), high.max(w)));
        let levels = |part: f32| {
            if blocks.zero_points {
                let scale = ((high - low) * part / bits.last()).max(LOWEST_SCALE);
                let zero_point = (-low * part / scale).round_ties_even().clamp(0.0, bits.last());
                return BlockLevels { scale, zero_point, last: bits.last() };
            }
            // There is one level more below the middle than above: it goes to the side of the largest weight.
            let largest = if -low > high { low } else { high };
            let scale = -largest * part / bits.middle();
            let scale = if scale.abs() < LOWEST_SCALE { LOWEST_SCALE } else { scale };
            BlockLevels { scale, zero_point: bits.middle(), last: bits.last() }
        };
        let mut best = levels(1.0);
        let mut least = best.squared_error(weights);
        for &part in parts {
            let (found, error) = (levels(part), levels(part).squared_error(weights));
            if error < least {
                (best, least) = (found, error);
            }
        }
        let codes = weights.iter().map(|&weight| best.code(weight) as u8).collect();
        Self { codes, scale: best.scale, zero_point: best.zero_point as u8 }
    }
}

/// Codes side by side in bytes, the first in the lowest bits.
fn pack(codes: &[u8], bits: Bits) -> Vec<u8> {
    match bits {
        Bits::Eight => codes.to_vec(),
        Bits::Four => codes.chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4).collect(),
    }
}

impl BlockCodes {
    /// Adds the rows of `weights`, `[rows, width]`.
    pub fn append(&mut self, weights: &ArrayView2<f32>, blocks: Blocks) {
        for row in weights.axis_iter(Axis(0)) {
            let mut zero_points = Vec::new();
            for block in row_blocks(&row, blocks.size) {
                let block = Block::best(&block, blocks);
                self.codes.extend(pack(&block.codes, blocks.bits));
                self.scales.push(block.scale);
                zero_points.push(block.zero_point);
            }
            if blocks.zero_points {
                self.zero_points.extend(pack(&zero_points, blocks.bits));
            }
        }
    }
}

/// Whole blocks of a row, filled up with zeros.
fn row_blocks<'a>(row: &'a ArrayView1<f32>, size: usize) -> impl Iterator<Item = Vec<f32>> + 'a {
    row.axis_chunks_iter(Axis(0), size).map(move |block| {
        let mut block = block.to_vec();
        block.resize(size, 0.0);
        block
    })
}

/// Signal to quantization noise of `weights`, `[rows, width]`, in dB.
pub(super) fn sqnr_of_blocks(weights: &ArrayView2<f32>, blocks: Blocks) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for row in weights.axis_iter(Axis(0)) {
        for weights in row_blocks(&row, blocks.size) {
            let block = Block::best(&weights, blocks);
            for (&weight, &code) in weights.iter().zip(&block.codes) {
                let value = (f32::from(code) - f32::from(block.zero_point)) * block.scale;
                signal += f64::from(weight).powi(2);
                noise += f64::from(weight - value).powi(2);
            }
        }
    }
    if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr2};

    use super::*;

    fn all() -> impl Iterator<Item = Blocks> {
        let each = [Bits::Four, Bits::Eight].into_iter().flat_map(|bits| BLOCK_SIZES.map(|size| (bits, size)));
        each.flat_map(|(bits, size)| [false, true].map(|zero_points| Blocks { bits, size, zero_points }))
    }

    /// What ONNX Runtime reads, by its documentation of `MatMulNBits`.
    fn read(codes: &BlockCodes, blocks: Blocks, rows: usize, width: usize) -> Array2<f32> {
        let (count, bits) = (blocks.of(width), blocks.bits.count());
        let nibble = |bytes: &[u8], at: usize| match bits {
            8 => bytes[at],
            _ => bytes[at / 2] >> (at % 2 * 4) & 15,
        };
        let zeros_of_row = (count * bits).div_ceil(8);
        Array2::from_shape_fn((rows, width), |(row, at)| {
            let block = at / blocks.size;
            let start = (row * count + block) * blocks.bytes();
            let zero = match codes.zero_points.get(row * zeros_of_row..(row + 1) * zeros_of_row) {
                Some(zeros) if blocks.zero_points => f32::from(nibble(zeros, block)),
                _ => 2f32.powi(bits as i32 - 1),
            };
            (f32::from(nibble(&codes.codes[start..], at % blocks.size)) - zero) * codes.scales[row * count + block]
        })
    }

    #[test]
    fn weights_come_back_within_the_steps_of_their_block() {
        // 150 is no multiple of any block.
        let weights = Array2::from_shape_fn((5, 150), |(i, j)| ((i * 31 + j * 17) % 101) as f32 * 0.01 - 0.3);
        for blocks in all() {
            let mut codes = BlockCodes::default();
            codes.append(&weights.view(), blocks);
            assert_eq!(codes.codes.len(), 5 * blocks.of(150) * blocks.bytes(), "{blocks:?}");
            let found = read(&codes, blocks, 5, 150);
            let error = (&found - &weights).mapv(|e| e.powi(2)).sum() / weights.mapv(|w| w.powi(2)).sum();
            let step = if blocks.bits == Bits::Four { 1.0 / 15.0 } else { 1.0 / 255.0 };
            // Even values over a range of r: step^2 r^2 / 12 each.
            assert!(error.sqrt() < 1.5 * step, "{blocks:?}: {}", error.sqrt());
            let sqnr = sqnr_of_blocks(&weights.view(), blocks);
            assert!((sqnr + 10.0 * f64::from(error).log10()).abs() < 0.1, "{blocks:?}: {sqnr}");
        }
    }

    #[test]
    fn zeros_stay_zero_and_zero_points_serve_one_sided_blocks() {
        for blocks in all() {
            let mut codes = BlockCodes::default();
            codes.append(&Array2::zeros((2, 40)).view(), blocks);
            assert!(read(&codes, blocks, 2, 40).iter().all(|&w| w == 0.0), "{blocks:?}");
            let one_sided = Array2::from_shape_fn((4, 128), |(i, j)| 1.0 + ((i * 37 + j * 11) % 64) as f32 / 64.0);
            let (with, without) = (Blocks { zero_points: true, ..blocks }, blocks.symmetric());
            let gain = sqnr_of_blocks(&one_sided.view(), with) - sqnr_of_blocks(&one_sided.view(), without);
            assert!(gain > 3.0, "{blocks:?}: {gain} dB");
        }
    }

    #[test]
    fn an_outlier_costs_its_block_alone() {
        let mut weights = Array2::from_shape_fn((1, 128), |(_, j)| (j * 17 % 101) as f32 * 0.01 - 0.5);
        weights[[0, 3]] = 40.0;
        let blocks = Blocks::new(Bits::Four, 32, false).unwrap();
        let mut codes = BlockCodes::default();
        codes.append(&weights.view(), blocks);
        let error = (&read(&codes, blocks, 1, 128) - &weights).mapv(f32::abs);
        assert!(error.iter().take(32).any(|&e| e > 0.4) && error.iter().skip(32).all(|&e| e < 0.1), "{error}");
    }

    #[test]
    fn bytes_are_those_of_a_hand_made_block() {
        // The largest is -8 steps of 0.5; levels nearer to each other would only add errors.
        let mut weights = vec![0.0; 32];
        weights[..3].copy_from_slice(&[-4.0, 1.5, 3.5]);
        let mut codes = BlockCodes::default();
        let rows = arr2(&[<[f32; 32]>::try_from(weights).unwrap()]);
        codes.append(&rows.view(), Blocks::new(Bits::Four, 32, false).unwrap());
        assert_eq!((codes.scales[0], &codes.codes[..3]), (0.5, &[0xb0, 0x8f, 0x88][..]));
        assert!(Blocks::new(Bits::Four, 48, false).is_err());
    }
}
