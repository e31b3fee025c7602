//! Batches of like lengths: nothing is padded beyond the longest of its batch.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::{EncodedExample, Target};
use crate::shim::upload;

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
        let (ids, mask) = padded(&rows, pad_id as i64, device);
        let mut tokens: usize = rows.iter().map(|row| row.len()).sum();
        let types = chosen().any(|e| !e.types.is_empty()).then(|| {
            let rows: Vec<&[i64]> = chosen().map(|e| e.types.as_slice()).collect();
            padded(&rows, 0, device).0
        });
        let partner = chosen().any(|e| !e.partner.is_empty()).then(|| {
            let rows: Vec<&[i64]> = chosen().map(|e| e.partner.as_slice()).collect();
            tokens += rows.iter().map(|row| row.len()).sum::<usize>();
            padded(&rows, pad_id as i64, device)
        });
        let length = ids.size()[1] as usize;
        let targets = on(device, &Target::stack(chosen().map(|e| &e.target), length));
        Self { ids, mask, types, partner, targets, tokens, indices }
    }

    /// Mask as fp32 `[batch, length, 1]`.
    pub fn float_mask(&self) -> Tensor {
        self.mask.to_kind(Kind::Float).unsqueeze(-1)
    }
}

/// A tensor of the CPU on a device.
fn on(device: Device, tensor: &Tensor) -> Tensor {
    // Without memory to pin it is brought the slow way.
    let fast = device.is_cuda().then(|| upload(tensor, device).ok()).flatten();
    fast.unwrap_or_else(|| tensor.to_device(device))
}

/// Rows padded to the longest, and 1 where a row has something: `[rows, length]` int64 both.
pub(super) fn padded(rows: &[&[i64]], pad: i64, device: Device) -> (Tensor, Tensor) {
    let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut values = vec![pad; rows.len() * length];
    let mut mask = vec![0i64; values.len()];
    for (index, row) in rows.iter().enumerate() {
        values[index * length..][..row.len()].copy_from_slice(row);
        mask[index * length..][..row.len()].fill(1);
    }
    let count = values.len() as i64;
    values.append(&mut mask);
    let both = on(device, &Tensor::from_slice(&values));
    let part = |from: i64| both.narrow(0, from, count).view([rows.len() as i64, length as i64]);
    (part(0), part(count))
}

/// The order of one epoch, and what its other random choices come from: a function of the arguments only, which is
/// what makes a resumed run repeat the interrupted one.
fn shuffled(count: usize, seed: u64, epoch: usize) -> (Vec<usize>, ChaCha8Rng) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (epoch as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut rng);
    (order, rng)
}

/// The batches of one epoch as lists of indices, by seed and epoch. With `drop_last` all are whole: what is over is
/// drawn from all examples, anew in each epoch.
pub fn epoch_batches(
    lengths: &[usize],
    batch_size: usize,
    drop_last: bool,
    seed: u64,
    epoch: usize,
) -> Vec<Vec<usize>> {
    let (mut order, mut rng) = shuffled(lengths.len(), seed, epoch);
    if drop_last {
        // Before rows are sorted by length: the incomplete batch of a pool holds its longest.
        order.truncate(order.len() - order.len() % batch_size);
    }
    let mut batches = Vec::new();
    for pool in order.chunks_mut(batch_size.saturating_mul(BATCHES_PER_POOL)) {
        pool.sort_by_key(|&i| lengths[i]);
        batches.extend(pool.chunks(batch_size).map(<[usize]>::to_vec));
    }
    batches.shuffle(&mut rng);
    batches
}

/// The batches of one epoch, each of as many examples as fit so that rows times the longest stay within `budget`
/// tokens; an example longer than that is a batch of its own. By seed and epoch, as [`epoch_batches`]; their number
/// differs from epoch to epoch.
pub fn token_batches(lengths: &[usize], budget: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    let (order, mut rng) = shuffled(lengths.len(), seed, epoch);
    let (mut batches, mut pool, mut held) = (Vec::new(), Vec::new(), 0);
    for i in order {
        pool.push(i);
        held += lengths[i];
        if held >= budget.saturating_mul(BATCHES_PER_POOL) {
            // What does not fill a batch waits for the next pool.
            pool = fill(pool, lengths, budget, &mut batches);
            held = pool.iter().map(|&i| lengths[i]).sum();
        }
    }
    let last = fill(pool, lengths, budget, &mut batches);
    batches.extend((!last.is_empty()).then_some(last));
    batches.shuffle(&mut rng);
    batches
}

/// Cuts a pool into full batches and gives what is left.
fn fill(mut pool: Vec<usize>, lengths: &[usize], budget: usize, batches: &mut Vec<Vec<usize>>) -> Vec<usize> {
    pool.sort_by_key(|&i| lengths[i]);
    let mut batch = Vec::new();
    for i in pool {
        // Sorted, so the newest is the longest.
        if !batch.is_empty() && (batch.len() + 1).saturating_mul(lengths[i]) > budget {
            batches.push(std::mem::take(&mut batch));
        }
        batch.push(i);
    }
    batch
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
        let batches = epoch_batches(&lengths, 16, false, 1, 0);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        let padded: usize = batches.iter().map(|b| b.len() * b.iter().map(|&i| lengths[i]).max().unwrap()).sum();
        let real: usize = lengths.iter().sum();
        assert!((padded as f64) < real as f64 * 1.12, "{padded} padded for {real} tokens");
        assert_eq!(batches, epoch_batches(&lengths, 16, false, 1, 0));
        assert_ne!(batches, epoch_batches(&lengths, 16, false, 1, 1));
        assert_ne!(batches, epoch_batches(&lengths, 16, false, 2, 0));
    }

    #[test]
    fn batches_are_filled_with_tokens() {
        let lengths: Vec<usize> = (0..1000).map(|i| 5 + (i * 37) % 60).collect();
        let batches = token_batches(&lengths, 512, 1, 0);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
        let longest = |b: &Vec<usize>| b.iter().map(|&i| lengths[i]).max().unwrap();
        assert!(batches.iter().all(|b| b.len() * longest(b) <= 512));
        let padded: usize = batches.iter().map(|b| b.len() * longest(b)).sum();
        let real: usize = lengths.iter().sum();
        assert!((padded as f64) < real as f64 * 1.15, "{padded} padded for {real} tokens");
        assert!((batches.len() as f64) < real as f64 / 512.0 * 1.25, "{} batches", batches.len());
        assert_eq!(batches, token_batches(&lengths, 512, 1, 0));
        assert_ne!(batches, token_batches(&lengths, 512, 1, 1));
        assert_ne!(batches, token_batches(&lengths, 512, 2, 0));
        // Whatever the budget, no example is lost; one that is too long is alone.
        let alone = token_batches(&lengths, 10, 1, 0);
        assert_eq!(alone.concat().len(), 1000);
        assert!(alone.iter().all(|b| b.len() == 1 || b.len() * longest(b) <= 10));
        assert_eq!(token_batches(&lengths, usize::MAX, 1, 0).len(), 1);
        assert!(token_batches(&[], 10, 1, 0).is_empty());
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
