//! Batches of like lengths: nothing is padded beyond the longest of its batch.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::{EncodedExample, Target};

/// Examples sorted by length together before they are cut into batches: large enough that a batch
/// holds like lengths, small enough that epochs differ.
const BATCHES_PER_POOL: usize = 16;

/// A padded batch.
#[derive(Debug)]
pub struct Batch {
    /// Which examples, in row order.
    pub indices: Vec<usize>,
    /// `[batch, length]` int64.
    pub ids: Tensor,
    /// `[batch, length]` int64, 1 for a token and 0 for padding.
    pub mask: Tensor,
    /// `[batch, length]` int64, where two texts are read together.
    pub types: Option<Tensor>,
    /// The second texts, where each is read by itself: ids and mask.
    pub partner: Option<(Tensor, Tensor)>,
    /// What is right: shape and type by the kind of [`Target`].
    pub targets: Tensor,
    /// Real tokens.
    pub tokens: usize,
}

impl Batch {
    /// Pads the chosen examples to the longest of them.
    pub fn new(examples: &[EncodedExample], indices: Vec<usize>, pad_id: usize, device: Device) -> Self {
        let chosen = || indices.iter().map(|&i| &examples[i]);
        let rows: Vec<&[i64]> = chosen().map(|e| e.ids.as_slice()).collect();
        let (ids, mask) = padded(&rows, pad_id, device);
        let mut tokens: usize = rows.iter().map(|row| row.len()).sum();
        let types = chosen().any(|e| !e.types.is_empty()).then(|| {
            let rows: Vec<&[i64]> = chosen().map(|e| e.types.as_slice()).collect();
            padded(&rows, 0, device).0
        });
        let partner = chosen().any(|e| !e.partner.is_empty()).then(|| {
            let rows: Vec<&[i64]> = chosen().map(|e| e.partner.as_slice()).collect();
            tokens += rows.iter().map(|row| row.len()).sum::<usize>();
            padded(&rows, pad_id, device)
        });
        let length = ids.size()[1] as usize;
        let targets = Target::stack(chosen().map(|e| &e.target), length).to_device(device);
        Self { ids, mask, types, partner, targets, tokens, indices }
    }

    /// Mask as fp32 `[batch, length, 1]`.
    pub fn float_mask(&self) -> Tensor {
        self.mask.to_kind(Kind::Float).unsqueeze(-1)
    }
}

/// Rows padded to the longest, and 1 where a row has something: `[rows, length]` int64 both.
fn padded(rows: &[&[i64]], pad: usize, device: Device) -> (Tensor, Tensor) {
    let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut values = vec![pad as i64; rows.len() * length];
    let mut mask = vec![0i64; values.len()];
    for (index, row) in rows.iter().enumerate() {
        values[index * length..][..row.len()].copy_from_slice(row);
        mask[index * length..][..row.len()].fill(1);
    }
    let tensor = |values: &[i64]| Tensor::from_slice(values).view([rows.len() as i64, length as i64]).to_device(device);
    (tensor(&values), tensor(&mask))
}

/// The batches of one epoch as lists of indices: a function of the arguments only, which is what makes
/// a resumed run repeat the interrupted one.
pub fn epoch_batches(lengths: &[usize], batch_size: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.shuffle(&mut rng);
    let mut batches = Vec::new();
    for pool in order.chunks_mut(batch_size * BATCHES_PER_POOL) {
        pool.sort_by_key(|&i| lengths[i]);
        batches.extend(pool.chunks(batch_size).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// Batches for evaluation: all examples, shortest first.
pub fn in_order_batches(lengths: &[usize], batch_size: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| lengths[i]);
    order.chunks(batch_size).map(<[usize]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_once_and_little_padding() {
        let lengths: Vec<usize> = (0..1000).map(|i| 5 + (i * 37) % 60).collect();
        let batches = epoch_batches(&lengths, 16, 1, 0);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        let padded: usize = batches.iter().map(|b| b.len() * b.iter().map(|&i| lengths[i]).max().unwrap()).sum();
        let real: usize = lengths.iter().sum();
        assert!((padded as f64) < real as f64 * 1.12, "{padded} padded for {real} tokens");
        assert_eq!(batches, epoch_batches(&lengths, 16, 1, 0));
        assert_ne!(batches, epoch_batches(&lengths, 16, 1, 1));
        assert_ne!(batches, epoch_batches(&lengths, 16, 2, 0));
    }

    #[test]
    fn padding_is_masked() {
        let example = |ids: &[i64], class| EncodedExample::new(ids.to_vec(), Target::Class(class));
        let examples = [example(&[2, 5, 3], 1), example(&[2, 3], 0)];
        let batch = Batch::new(&examples, vec![1, 0], 9, Device::Cpu);
        assert_eq!(Vec::<Vec<i64>>::try_from(&batch.ids).unwrap(), [[2, 3, 9], [2, 5, 3]]);
        assert_eq!(Vec::<Vec<i64>>::try_from(&batch.mask).unwrap(), [[1, 1, 0], [1, 1, 1]]);
        assert_eq!(Vec::<i64>::try_from(&batch.targets).unwrap(), [0, 1]);
        assert_eq!(batch.tokens, 5);
    }
}
