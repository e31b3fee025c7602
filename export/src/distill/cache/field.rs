//! What is kept of an example, and how its values lie in a shard and in a padded batch.

use safetensors::Dtype;
use serde::{Deserialize, Serialize};

/// What a field holds for an example of `length` tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Extent {
    /// `[width]`: the logits of a text, an embedding.
    Text(usize),
    /// `[length, width]`: hidden states, queries, logits of every token.
    Token(usize),
    /// `[heads, length, length]`: attention scores.
    Pair(usize),
}

/// A named part of a teacher's outputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// `logits`, `hidden.6`, `scores.5`, `query.5`.
    pub name: String,
    /// Its shape.
    pub extent: Extent,
}

impl Field {
    /// A field by name and shape.
    pub fn new(name: impl Into<String>, extent: Extent) -> Self {
        Self { name: name.into(), extent }
    }

    /// fp32 for what is kept of a text, and for `logits` of any shape: both are tiny beside the rest, and soft targets
    /// need their small differences. Else fp16.
    pub(super) fn kind(&self) -> Dtype {
        match self.extent {
            Extent::Text(_) => Dtype::F32,
            _ if self.name == "logits" => Dtype::F32,
            _ => Dtype::F16,
        }
    }

    /// Bytes of an example of `length` tokens.
    pub(super) fn bytes(&self, length: usize) -> u64 {
        self.extent.values(length).saturating_mul(bytes_of(self.kind()) as u64)
    }
}

/// Bytes of a stored value.
pub(super) fn bytes_of(kind: Dtype) -> usize {
    if kind == Dtype::F16 { 2 } else { 4 }
}

/// How the values of one example without padding lie in its padded row: in runs, which follow each other in the example.
pub(super) struct Runs {
    /// Values in a run.
    pub length: usize,
    count: usize,
    /// Runs of a head, one a query.
    queries: usize,
    /// From a head to the next in the padded row.
    head_stride: usize,
    /// From a query to the next in the padded row.
    query_stride: usize,
}

impl Runs {
    /// Where each run begins in the padded row.
    pub fn starts(&self) -> impl Iterator<Item = usize> {
        (0..self.count).map(|run| run / self.queries * self.head_stride + run % self.queries * self.query_stride)
    }
}

impl Extent {
    /// Width or heads.
    pub(super) fn width(self) -> usize {
        match self {
            Self::Text(width) | Self::Token(width) | Self::Pair(width) => width,
        }
    }

    /// Values of an example.
    pub(super) fn values(self, length: usize) -> u64 {
        let (width, length) = (self.width() as u64, length as u64);
        match self {
            Self::Text(_) => width,
            Self::Token(_) => width.saturating_mul(length),
            Self::Pair(_) => width.saturating_mul(length).saturating_mul(length),
        }
    }

    /// The shape of a batch padded to `longest` tokens.
    pub(super) fn padded(self, batch: usize, longest: usize) -> Vec<i64> {
        let (batch, width, longest) = (batch as i64, self.width() as i64, longest as i64);
        match self {
            Self::Text(_) => vec![batch, width],
            Self::Token(_) => vec![batch, longest, width],
            Self::Pair(_) => vec![batch, width, longest, longest],
        }
    }

    /// Where an example of `length` tokens lies in a row padded to `longest`.
    pub(super) fn runs(self, length: usize, longest: usize) -> Runs {
        match self {
            Self::Pair(heads) if length < longest => Runs {
                length,
                count: heads * length,
                queries: length,
                head_stride: longest * longest,
                query_stride: longest,
            },
            // Padding only follows.
            _ => Runs { length: self.values(length) as usize, count: 1, queries: 1, head_stride: 0, query_stride: 0 },
        }
    }
}
