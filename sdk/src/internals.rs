//! Parts of the library for its own fuzz targets and benchmarks. No promise is made about them.

use std::ops::Range;

use crate::bundle::{Pooling, TagScheme};
use crate::post::{entities, pooling, span};
use crate::runtime::limits::Limits;
use crate::text::window::{self, Keep};
use crate::text::{self, TextSpan};
use crate::{Aggregation, Model, Overflow, Result};

/// Probabilities of logits.
pub fn softmax(logits: &[f32]) -> Vec<f32> {
    crate::post::softmax::softmax(logits)
}

/// The mean of token vectors, of length 1.
pub fn mean_vector(values: &[f32], dimensions: usize) -> Vec<f32> {
    let mut vector = pooling::pool(values, dimensions, Pooling::Mean);
    pooling::normalize(&mut vector);
    vector
}

/// The window from which each token is read.
pub fn best_window(windows: &[Range<usize>], tokens: usize) -> Vec<usize> {
    window::best_window(windows, tokens)
}

/// Byte ranges in all three units.
pub fn locate(text: &str, ranges: &[Range<usize>]) -> Vec<TextSpan> {
    text::locate(text, ranges)
}

/// A range widened to whole grapheme clusters.
pub fn whole_clusters(text: &str, range: Range<usize>) -> Range<usize> {
    text::whole_clusters(text, range)
}

/// Entities as tokens, label and score.
pub fn decode(
    probabilities: &[f32],
    words: &[usize],
    labels: &[String],
    scheme: TagScheme,
    aggregation: Aggregation,
) -> Vec<(Range<usize>, String, f32)> {
    let found = entities::decode(probabilities, words, labels, scheme, aggregation);
    found.into_iter().map(|found| (found.tokens, found.label.to_owned(), found.score)).collect()
}

/// Answers as first token, last token and score; and the score of none.
pub fn candidates(start: &[f32], end: &[f32], longest: usize, count: usize) -> (Vec<(usize, usize, f32)>, f32) {
    let found = span::candidates(start, end, longest, count);
    (found.best.iter().map(|candidate| (candidate.start, candidate.end, candidate.score)).collect(), found.none)
}

/// Windows of two texts, of which the first is kept; `overflow` chooses a policy.
pub fn plan_pair(tokens: [usize; 2], room: usize, stride: usize, overflow: u8) -> Result<Vec<[Range<usize>; 2]>> {
    let overflow = match overflow % 4 {
        0 => Overflow::Error,
        1 => Overflow::Truncate,
        2 => Overflow::AutoWindow,
        _ => Overflow::Window { stride },
    };
    window::plan_pair(tokens, room, 3, overflow, Keep::First).map(|plan| plan.windows)
}

/// The model's session, run as a program would that calls ONNX Runtime by itself: tensors made of ids that are at hand,
/// the graph run, the first output looked at. The baseline of what the library adds.
///
/// # Errors
/// A session cannot be had, or the graph does not run.
pub fn bare_run(model: &Model, ids: &[i32]) -> Result<f32> {
    model.pool().take(&Limits::default())?.session()?.bare_run(ids)
}
