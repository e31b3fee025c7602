//! Keys and values of the tokens that a causal model has read.

use std::ops::Range;

use super::buffer::Buffer;
use crate::bundle::Manifest;
use crate::{Error, Result};

/// Sizes of what is kept for each token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CacheShape {
    pub layers: usize,
    pub heads: usize,
    pub head_size: usize,
}

impl CacheShape {
    /// Of a model for generation.
    pub(crate) fn of(manifest: &Manifest) -> Result<CacheShape> {
        let spec = manifest.generation.as_ref().ok_or_else(|| Error::Internal("no generation in it".to_owned()))?;
        let a = &manifest.architecture;
        Ok(CacheShape { layers: a.layers, heads: a.attention_heads, head_size: spec.head_size })
    }
}

/// The keys and values of some rows, each of its own length, in buffers of a fixed size: a run reads what is there and
/// writes what it adds beside it. No run copies keys or values or allocates for them, however many there are. They are
/// copied only where a text of a batch has ended ([`keep`](Cache::keep)), and where a beginning is kept or gone on from.
pub(crate) struct Cache {
    shape: CacheShape,
    /// Tokens of each row.
    lengths: Vec<usize>,
    capacity: usize,
    /// Keys and values layer by layer, each `[rows, heads, capacity, head_size]`.
    tensors: Vec<Buffer<f32>>,
}

impl Cache {
    /// Room for `capacity` tokens in each of `rows` rows.
    pub(crate) fn new(shape: CacheShape, rows: usize, capacity: usize) -> Result<Cache> {
        let too_large = || {
            Error::InvalidArgument(format!(
                "there is no memory for {rows} texts of {capacity} tokens together: ask for fewer, or for shorter ones"
            ))
        };
        let size = rows
            .checked_mul(capacity)
            .and_then(|tokens| tokens.checked_mul(shape.heads)?.checked_mul(shape.head_size))
            .ok_or_else(too_large)?;
        let all = size.checked_mul(2).and_then(|all| all.checked_mul(shape.layers)).ok_or_else(too_large)?;
        // Asked for and given back at once: what the system refuses must not end the program.
        Vec::<f32>::new().try_reserve_exact(all).map_err(|_| too_large())?;
        let tensors = (0..2 * shape.layers).map(|_| Buffer::new(size)).collect();
        Ok(Cache { shape, lengths: vec![0; rows], capacity, tensors })
    }

    /// Forgets all tokens, and has `rows` rows, at most as many as it was made with.
    pub(crate) fn reset(&mut self, rows: usize) {
        self.lengths.clear();
        self.lengths.resize(rows, 0);
    }

    /// Forgets all tokens, and has `rows` rows that all begin with the same ones.
    pub(crate) fn restart(&mut self, rows: usize, prefix: &Prefix) -> Result<()> {
        let length = prefix.ids.len();
        let (part, room) = (length * self.shape.head_size, self.capacity * self.shape.head_size);
        let other = |tensor: &Vec<f32>| tensor.len() != self.shape.heads * part;
        if length > self.capacity || prefix.tensors.iter().any(other) {
            return Err(Error::Internal("a prefix of another shape".to_owned()));
        }
        for (buffer, tensor) in self.tensors.iter_mut().zip(&prefix.tensors) {
            let heads = tensor.chunks_exact(part.max(1)).cycle();
            for (place, head) in buffer.chunks_exact_mut(room.max(1)).take(rows * self.shape.heads).zip(heads) {
                place[..part].copy_from_slice(head);
            }
        }
        self.lengths.clear();
        self.lengths.resize(rows, length);
        Ok(())
    }

    /// Forgets what a row holds.
    pub(crate) fn forget(&mut self, row: usize) {
        if let Some(length) = self.lengths.get_mut(row) {
            *length = 0;
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens of a row.
    pub(crate) fn length(&self, row: usize) -> usize {
        self.lengths.get(row).copied().unwrap_or(0)
    }

    /// The most tokens of each row.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Shape of the buffers of some rows.
    pub(super) fn dims(&self, rows: usize) -> [usize; 4] {
        [rows, self.shape.heads, self.capacity, self.shape.head_size]
    }

    /// The buffers of all rows, keys and values layer by layer.
    pub(super) fn buffers(&mut self) -> &mut [Buffer<f32>] {
        &mut self.tensors
    }

    /// Takes what a run has written, `tokens` more in each of some rows.
    pub(super) fn advance(&mut self, rows: Range<usize>, tokens: usize) {
        for length in self.lengths.get_mut(rows).into_iter().flatten() {
            *length += tokens;
        }
    }

    /// Keeps only some rows, given in order.
    pub(crate) fn keep(&mut self, rows: &[usize]) {
        let (heads, room) = (self.shape.heads, self.capacity * self.shape.head_size);
        for (to, &from) in rows.iter().enumerate().filter(|(to, from)| to != *from) {
            let part = self.length(from) * self.shape.head_size;
            for buffer in &mut self.tensors {
                for head in 0..heads {
                    let start = (from * heads + head) * room;
                    buffer.copy_within(start..start + part, (to * heads + head) * room);
                }
            }
            self.lengths[to] = self.lengths[from];
        }
        self.lengths.truncate(rows.len());
    }

    /// What the first row holds, which has read `ids` and nothing else.
    pub(crate) fn prefix(&self, ids: &[u32]) -> Result<Prefix> {
        let length = self.length(0);
        if ids.len() != length {
            return Err(Error::Internal("a prefix of another length".to_owned()));
        }
        let (part, room) = (length * self.shape.head_size, self.capacity * self.shape.head_size);
        let copied = |buffer: &Buffer<f32>| {
            // As much as is kept is what is counted, so no more is taken.
            let mut copied = Vec::with_capacity(self.shape.heads * part);
            let heads = buffer.chunks_exact(room.max(1)).take(self.shape.heads);
            heads.for_each(|head| copied.extend_from_slice(&head[..part]));
            copied
        };
        Ok(Prefix { ids: ids.to_vec(), tensors: self.tensors.iter().map(copied).collect() })
    }
}

/// Tokens with their keys and values, to be read once and gone on from many times.
#[derive(Debug)]
pub(crate) struct Prefix {
    pub ids: Vec<u32>,
    /// Keys and values layer by layer, each `[heads, length, head_size]`.
    tensors: Vec<Vec<f32>>,
}

impl Prefix {
    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> u64 {
        let floats: usize = self.tensors.iter().map(Vec::len).sum();
        4 * (floats + self.ids.len()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: CacheShape = CacheShape { layers: 1, heads: 2, head_size: 1 };

    /// Three rows of two tokens, with room for four: row r holds 10 r + 0, 1 in its first head and 10 r + 2, 3 in its second.
    fn filled() -> Cache {
        let mut cache = Cache::new(SHAPE, 3, 4).unwrap();
        for buffer in cache.buffers() {
            for (head, values) in buffer.chunks_exact_mut(4).enumerate() {
                for (at, value) in values.iter_mut().take(2).enumerate() {
                    *value = (head / 2 * 10 + head % 2 * 2 + at) as f32;
                }
            }
        }
        cache.advance(0..3, 2);
        cache
    }

    #[test]
    fn rows_are_kept_in_order() {
        let mut cache = filled();
        cache.advance(2..3, 1);
        cache.keep(&[0, 2]);
        assert_eq!((cache.rows(), cache.length(0), cache.length(1), cache.capacity()), (2, 2, 3, 4));
        let expected = [0.0, 1.0, 0.0, 0.0, 2.0, 3.0, 0.0, 0.0, 20.0, 21.0, 0.0, 0.0, 22.0, 23.0, 0.0, 0.0];
        assert_eq!(cache.tensors[0][..16], expected);
        cache.forget(1);
        assert_eq!((cache.length(0), cache.length(1)), (2, 0));
    }

    #[test]
    fn a_prefix_starts_every_row() {
        let mut cache = filled();
        cache.keep(&[1]);
        let prefix = cache.prefix(&[7, 8]).unwrap();
        assert_eq!(prefix.bytes(), 4 * (2 * 4 + 2));
        let mut copied = Cache::new(SHAPE, 2, 3).unwrap();
        copied.restart(2, &prefix).unwrap();
        assert_eq!((copied.rows(), copied.length(0), copied.length(1)), (2, 2, 2));
        let row = [10.0, 11.0, 0.0, 12.0, 13.0, 0.0];
        assert_eq!(copied.tensors[1][..], [row, row].concat());
        assert!(Cache::new(SHAPE, 2, 1).unwrap().restart(2, &prefix).is_err());
        assert!(cache.prefix(&[7]).is_err());
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(Cache::new(SHAPE, usize::MAX, 2).is_err());
        assert!(Cache::new(SHAPE, 1 << 40, 1 << 30).is_err());
    }
}
