//! Which shard holds which examples, and where.

use std::ops::Range;

use super::field::{Extent, Field};

/// When a shard is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of values; an example that has more is alone in its shard.
    pub bytes: u64,
    /// Examples: what a kill loses of small fields stays small.
    pub examples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 64_000_000, examples: 4096 }
    }
}

/// Consecutive examples in shards: a function of fields, lengths and limits only.
#[derive(Debug)]
pub(super) struct Plan {
    /// Tokens of every example.
    pub lengths: Vec<usize>,
    /// The first example of every shard, and the number of examples.
    starts: Vec<usize>,
    /// Tokens, and squares of the lengths, of all examples before each; the totals last.
    before: Vec<(u64, u64)>,
}

impl Plan {
    pub fn new(fields: &[Field], lengths: &[usize], limits: Limits) -> Self {
        let mut starts = vec![0];
        let mut held = 0u64;
        let mut before = vec![(0u64, 0u64)];
        let (mut tokens, mut squares) = (0u64, 0u64);
        for (index, &length) in lengths.iter().enumerate() {
            let bytes = fields.iter().fold(0u64, |sum, field| sum.saturating_add(field.bytes(length)));
            let first = starts.last().copied().unwrap_or(0);
            let full = held.saturating_add(bytes) > limits.bytes || index - first >= limits.examples;
            if index > first && full {
                starts.push(index);
                held = 0;
            }
            held = held.saturating_add(bytes);
            let length = length as u64;
            tokens = tokens.saturating_add(length);
            squares = squares.saturating_add(length.saturating_mul(length));
            before.push((tokens, squares));
        }
        if !lengths.is_empty() {
            starts.push(lengths.len());
        }
        Self { lengths: lengths.to_vec(), starts, before }
    }

    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.starts.len() - 1
    }

    /// The examples of a shard.
    pub fn examples(&self, shard: usize) -> Range<usize> {
        self.starts[shard]..self.starts[shard + 1]
    }

    /// The shard of an example.
    pub fn shard_of(&self, example: usize) -> usize {
        self.starts.partition_point(|&start| start <= example) - 1
    }

    /// The values of a field in examples `range`.
    fn sum(&self, extent: Extent, range: Range<usize>) -> u64 {
        let (from, to) = (self.before[range.start], self.before[range.end]);
        let units = match extent {
            Extent::Text(_) => range.len() as u64,
            Extent::Token(_) => to.0 - from.0,
            Extent::Pair(_) => to.1 - from.1,
        };
        units.saturating_mul(extent.width() as u64)
    }

    /// The values of a field in a shard.
    pub fn values(&self, extent: Extent, shard: usize) -> u64 {
        self.sum(extent, self.examples(shard))
    }

    /// Where an example's values of a field lie among those of its shard.
    pub fn span(&self, extent: Extent, shard: usize, example: usize) -> Range<usize> {
        let start = self.sum(extent, self.starts[shard]..example) as usize;
        start..start + extent.values(self.lengths[example]) as usize
    }
}
