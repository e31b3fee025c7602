//! Keys and values of the tokens that a causal model has read.

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

    /// Floats of one row of one tensor of `tokens` tokens.
    fn row(self, tokens: usize) -> usize {
        self.heads * self.head_size * tokens
    }
}

/// The keys and values of some rows of one length, in two sets of buffers of a fixed size: a run reads one set and
/// writes the other, and then they change places. Nothing is allocated from token to token.
#[derive(Debug)]
pub(crate) struct Cache {
    shape: CacheShape,
    rows: usize,
    length: usize,
    capacity: usize,
    /// Keys and values layer by layer, each `[rows, heads, length, head_size]` at the start of its buffer.
    pub(super) now: Vec<Vec<f32>>,
    pub(super) next: Vec<Vec<f32>>,
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
        let all = size.checked_mul(4).and_then(|all| all.checked_mul(shape.layers)).ok_or_else(too_large)?;
        // Asked for and given back at once: what the system refuses must not end the program.
        Vec::<f32>::new().try_reserve_exact(all).map_err(|_| too_large())?;
        // Zeros that nobody has touched yet take no memory.
        let buffers = || (0..2 * shape.layers).map(|_| vec![0.0; size]).collect();
        Ok(Cache { shape, rows, length: 0, capacity, now: buffers(), next: buffers() })
    }

    /// Forgets all tokens, and has `rows` rows that all begin with the same ones.
    pub(crate) fn restart(&mut self, rows: usize, prefix: &Prefix) -> Result<()> {
        let row = self.shape.row(prefix.ids.len());
        if prefix.ids.len() > self.capacity || prefix.tensors.iter().any(|tensor| tensor.len() != row) {
            return Err(Error::Internal("a prefix of another shape".to_owned()));
        }
        for (buffer, tensor) in self.now.iter_mut().zip(&prefix.tensors) {
            for place in buffer.chunks_exact_mut(row.max(1)).take(rows) {
                place.copy_from_slice(tensor);
            }
        }
        (self.rows, self.length) = (rows, prefix.ids.len());
        Ok(())
    }

    /// Forgets all tokens, and has `rows` rows, at most as many as it was made with.
    pub(crate) fn reset(&mut self, rows: usize) {
        (self.rows, self.length) = (rows, 0);
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Tokens of each row, padding included.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// The most tokens of each row.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Shape of a tensor of `tokens` tokens.
    pub(super) fn dims(&self, tokens: usize) -> [usize; 4] {
        [self.rows, self.shape.heads, tokens, self.shape.head_size]
    }

    /// Takes what a run has written, `tokens` more than before.
    pub(super) fn advance(&mut self, tokens: usize) {
        std::mem::swap(&mut self.now, &mut self.next);
        self.length += tokens;
    }

    /// Keeps only some rows, given in order.
    pub(crate) fn keep(&mut self, rows: &[usize]) {
        let row = self.shape.row(self.length);
        for buffer in &mut self.now {
            for (to, &from) in rows.iter().enumerate() {
                buffer.copy_within(from * row..(from + 1) * row, to * row);
            }
        }
        self.rows = rows.len();
    }

    /// What the first row holds, which has read `ids` and nothing else.
    pub(crate) fn prefix(&self, ids: &[u32]) -> Result<Prefix> {
        if ids.len() != self.length {
            return Err(Error::Internal("a prefix of another length".to_owned()));
        }
        let row = self.shape.row(self.length);
        let tensors = self.now.iter().map(|buffer| buffer.get(..row).unwrap_or_default().to_vec()).collect();
        Ok(Prefix { ids: ids.to_vec(), tensors })
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

    /// `now` as if a run had written rows of two tokens: row r holds 10 r + 0, 1, 2, 3.
    fn filled() -> Cache {
        let mut cache = Cache::new(SHAPE, 3, 4).unwrap();
        for buffer in &mut cache.next {
            for (at, value) in buffer.iter_mut().take(12).enumerate() {
                *value = (at / 4 * 10 + at % 4) as f32;
            }
        }
        cache.advance(2);
        cache
    }

    #[test]
    fn rows_are_kept_in_order() {
        let mut cache = filled();
        cache.keep(&[0, 2]);
        assert_eq!((cache.rows(), cache.length(), cache.capacity()), (2, 2, 4));
        assert_eq!(cache.now[0][..8], [0.0, 1.0, 2.0, 3.0, 20.0, 21.0, 22.0, 23.0]);
    }

    #[test]
    fn a_prefix_starts_every_row() {
        let mut cache = filled();
        cache.keep(&[1]);
        let prefix = cache.prefix(&[7, 8]).unwrap();
        assert_eq!(prefix.bytes(), 4 * (2 * 4 + 2));
        let mut copied = Cache::new(SHAPE, 2, 3).unwrap();
        copied.restart(2, &prefix).unwrap();
        assert_eq!((copied.rows(), copied.length()), (2, 2));
        assert_eq!(copied.now[1][..8], [10.0, 11.0, 12.0, 13.0, 10.0, 11.0, 12.0, 13.0]);
        assert!(Cache::new(SHAPE, 2, 1).unwrap().restart(2, &prefix).is_err());
        assert!(cache.prefix(&[7]).is_err());
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert!(Cache::new(SHAPE, usize::MAX, 2).is_err());
        assert!(Cache::new(SHAPE, 1 << 40, 1 << 30).is_err());
    }
}
