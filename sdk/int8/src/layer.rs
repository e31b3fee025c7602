//! A whole encoder layer over the tokens of several texts.

use std::ops::Range;

use super::DEPTH;
use super::attention::{self, Contexts, Head, ScoreBias};
use super::matrix::{COLUMNS, Matrix, Mismatch};
use super::product::{Rows, product};
use super::rows;
use super::workers::{Parts, Workers, split};
use crate::isa::Isa;

/// Rows of the feed-forward block that are computed together: what it holds of them stays in the cache.
const FEED_FORWARD_ROWS: usize = 64;
/// Products of attention that are worth waking a thread for: about 30 microseconds of work.
const WORTH_A_THREAD: usize = 1 << 20;
/// No layer's heads are as wide together: sums of sizes stay in range.
const LARGEST: usize = 1 << 24;
/// Rows that are worth a thread of their own where each takes little work.
const ROWS_A_THREAD: usize = 32;

/// The function of the feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// By the error function.
    Gelu,
    /// By the hyperbolic tangent.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

/// Gain and bias of a layer normalization.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// Factors.
    pub gain: &'a [f32],
    /// Summands.
    pub bias: &'a [f32],
}

/// Weights and settings of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a> {
    /// Hidden size.
    pub hidden: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of a head.
    pub head_size: usize,
    /// Of the feed-forward block.
    pub activation: Activation,
    /// Of both normalizations.
    pub epsilon: f32,
    /// Queries, keys and values side by side, each filled up to whole panels.
    pub query_key_value: Matrix<'a>,
    /// From the heads' contexts.
    pub attention_output: Matrix<'a>,
    /// After the sum of input and attention.
    pub attention_norm: Norm<'a>,
    /// Into the feed-forward block.
    pub up: Matrix<'a>,
    /// And out of it.
    pub down: Matrix<'a>,
    /// After the sum with the feed-forward block.
    pub output_norm: Norm<'a>,
    /// Whether only the first token of each text is wanted.
    pub first_only: bool,
}

/// Texts of a run.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// The rows of each text.
    pub rows: &'a [Range<usize>],
    /// Numbers added to attention scores.
    pub bias: Option<ScoreBias<'a>>,
}

/// Memory of a run, which the next may use again.
#[derive(Debug, Default)]
pub struct Scratch {
    codes: Vec<u8>,
    scales: Vec<f32>,
    projected: Vec<f32>,
    queries: Vec<f32>,
    context: Vec<f32>,
    first: Vec<f32>,
    sums: Vec<f32>,
    wide: Vec<f32>,
    heads: Vec<f32>,
    head_codes: Vec<i32>,
    unpacked: Vec<i8>,
}

/// `length` values of a buffer that grows as needed. What it held before stays: all is written before it is read.
fn room<T: Clone + Default>(buffer: &mut Vec<T>, length: usize) -> &mut [T] {
    if buffer.len() < length {
        buffer.resize(length, T::default());
    }
    &mut buffer[..length]
}

impl<'a> Layer<'a> {
    /// The layer itself.
    ///
    /// # Errors
    /// Parts that do not fit each other, or are not finite.
    pub fn check(self) -> Result<Self, Mismatch> {
        let Self { hidden, heads, head_size, .. } = self;
        let Some(attended) =
            heads.checked_mul(head_size).filter(|attended| (1..LARGEST).contains(attended) && hidden > 0)
        else {
            return Err(Mismatch(format!("{heads} heads of {head_size} in a hidden size of {hidden}")));
        };
        // The three maps into heads and the one out of them are as wide as all heads together.
        let columns = hidden.next_multiple_of(COLUMNS);
        let depth = hidden.next_multiple_of(DEPTH);
        let inner = self.up.outputs();
        for (name, matrix, inputs, outputs) in [
            ("query_key_value", &self.query_key_value, depth, 3 * attended.next_multiple_of(COLUMNS)),
            ("attention_output", &self.attention_output, attended.next_multiple_of(DEPTH), columns),
            ("up", &self.up, depth, inner),
            ("down", &self.down, self.down.inputs, columns),
        ] {
            if (matrix.inputs, matrix.outputs()) != (inputs, outputs) {
                return Err(Mismatch(format!(
                    "{name} is {} x {}, where {heads} heads of {head_size} in a hidden size of {hidden} need {inputs} x {outputs}",
                    matrix.inputs,
                    matrix.outputs()
                )));
            }
        }
        // Both are the size of the feed-forward block, filled up differently.
        if self.down.inputs.next_multiple_of(COLUMNS) != inner {
            return Err(Mismatch(format!("down has {} rows for the {inner} columns of up", self.down.inputs)));
        }
        for (name, norm) in [("attention_norm", self.attention_norm), ("output_norm", self.output_norm)] {
            if norm.gain.len() != hidden || norm.bias.len() != hidden {
                return Err(Mismatch(format!("{name} does not have {hidden} gains and biases")));
            }
            if !norm.gain.iter().chain(norm.bias).all(|value| value.is_finite()) {
                return Err(Mismatch(format!("{name} has a gain or bias that is not finite")));
            }
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(Mismatch(format!("an epsilon of {}", self.epsilon)));
        }
        Ok(self)
    }

    /// The layer over the rows of some texts, `[rows, hidden]`. They are replaced by the result; where only first
    /// tokens are wanted, the result is a row for each text, at the front.
    ///
    /// # Panics
    /// Texts outside of `x`, or without a row.
    pub fn run(&self, isa: Isa, workers: &dyn Workers, texts: Texts, x: &mut [f32], scratch: &mut Scratch) {
        let hidden = self.hidden;
        let rows = x.len() / hidden;
        let attended = self.heads * self.head_size;
        let Scratch { codes, scales, projected, queries, context, first, sums, wide, heads, head_codes, unpacked } =
            scratch;

        // Queries, keys and values; queries of all tokens or of the first ones alone.
        let depth = self.query_key_value.inputs;
        let padded = attended.next_multiple_of(COLUMNS);
        let panels = padded / COLUMNS;
        let quantized = quantize(isa, workers, x, hidden, depth, codes, scales);
        let wanted = if self.first_only { panels..3 * panels } else { 0..3 * panels };
        let stride = wanted.len() * COLUMNS;
        let projected = room(projected, rows * stride);
        product(isa, workers, quantized, &self.query_key_value, wanted, projected, stride, unpacked);
        let asking = if self.first_only { texts.rows.len() } else { rows };
        let (query, key, value) = if self.first_only {
            let first = room(first, asking * hidden);
            for (first, text) in first.chunks_exact_mut(hidden).zip(texts.rows) {
                first.copy_from_slice(&x[text.start * hidden..][..hidden]);
            }
            x[..asking * hidden].copy_from_slice(first);
            let quantized = quantize(isa, workers, first, hidden, depth, codes, scales);
            let queries = room(queries, asking * padded);
            product(isa, workers, quantized, &self.query_key_value, 0..panels, queries, padded, unpacked);
            (&*queries, &projected[..], &projected[padded..])
        } else {
            (&*projected, &projected[padded..], &projected[2 * padded..])
        };

        let context = room(context, asking * attended);
        self.attend(isa, workers, texts, [query, key, value], stride, context, (heads, head_codes));

        // x = norm(x + context W + b), then x = norm(x + FFN(x)).
        let x = &mut x[..asking * hidden];
        let padded = hidden.next_multiple_of(COLUMNS);
        let panels = padded / COLUMNS;
        let quantized = quantize(isa, workers, context, attended, self.attention_output.inputs, codes, scales);
        let attended = room(sums, asking * padded);
        product(isa, workers, quantized, &self.attention_output, 0..panels, attended, padded, unpacked);
        self.add_and_norm(isa, workers, x, attended, self.attention_norm);
        for x in x.chunks_mut(FEED_FORWARD_ROWS * hidden) {
            let rows = x.len() / hidden;
            let quantized = quantize(isa, workers, x, hidden, depth, codes, scales);
            let inner = self.up.outputs();
            let wide = room(wide, rows * inner);
            product(isa, workers, quantized, &self.up, 0..self.up.panels(), wide, inner, unpacked);
            let quantized = self.activate(isa, workers, wide, codes, scales);
            let fed = room(sums, rows * padded);
            product(isa, workers, quantized, &self.down, 0..panels, fed, padded, unpacked);
            self.add_and_norm(isa, workers, x, fed, self.output_norm);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn attend(
        &self,
        isa: Isa,
        workers: &dyn Workers,
        texts: Texts,
        [query, key, value]: [&[f32]; 3],
        stride: usize,
        context: &mut [f32],
        (scratch, codes): (&mut Vec<f32>, &mut Vec<i32>),
    ) {
        let (heads, size) = (self.heads, self.head_size);
        let width = heads * size;
        let longest = texts.rows.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        // What a head computes in.
        let (floats, pairs) = attention::scratch_size(longest, size);
        let scratch = Parts::new(room(scratch, floats * workers.count()));
        let codes = Parts::new(room(codes, pairs * workers.count()));
        let context = Parts::new(context);
        let products = if self.first_only { longest } else { longest * longest } * size * 2;
        let least = WORTH_A_THREAD.div_ceil(products.max(1));
        split(workers, texts.rows.len() * heads, least, &|worker, tasks| {
            // SAFETY: a part for each worker, and workers have different numbers.
            let scratch = unsafe { scratch.part(worker * floats..(worker + 1) * floats) };
            // SAFETY: the same.
            let codes = unsafe { codes.part(worker * pairs..(worker + 1) * pairs) };
            for task in tasks {
                let (number, head) = (task / heads, task % heads);
                let rows = texts.rows[number].clone();
                let (asking, query_row, query_stride) = match self.first_only {
                    true => (1, number, width.next_multiple_of(COLUMNS)),
                    false => (rows.len(), rows.start, stride),
                };
                let bias = texts.bias.map(|bias| bias.of(head, rows.clone()));
                let work = Head {
                    queries: &query[query_row * query_stride + head * size..],
                    keys: &key[rows.start * stride + head * size..],
                    values: &value[rows.start * stride + head * size..],
                    stride,
                    query_stride,
                    size,
                    tokens: rows.len(),
                    asking,
                    bias,
                };
                // Heads of a token lie side by side: each head of each token has places of its own.
                let out = Contexts { buffer: context, start: query_row * width + head * size, stride: width };
                attention::attend(isa, work, out, scratch, codes);
            }
        });
    }

    fn add_and_norm(&self, isa: Isa, workers: &dyn Workers, x: &mut [f32], y: &[f32], norm: Norm) {
        let (hidden, stride) = (self.hidden, self.hidden.next_multiple_of(COLUMNS));
        let rows = x.len() / hidden;
        let x = Parts::new(x);
        split(workers, rows, ROWS_A_THREAD, &|_, rows| {
            // SAFETY: different rows.
            let x = unsafe { x.part(rows.start * hidden..rows.end * hidden) };
            let y = &y[rows.start * stride..rows.end * stride];
            rows::add_and_norm(isa, x, y, hidden, stride, norm.gain, norm.bias, self.epsilon);
        });
    }

    /// The codes of f(wide). Columns beyond the block's own are f(0 W + 0) = 0 and take no part.
    fn activate<'s>(
        &self,
        isa: Isa,
        workers: &dyn Workers,
        wide: &mut [f32],
        codes: &'s mut Vec<u8>,
        scales: &'s mut Vec<f32>,
    ) -> Rows<'s> {
        let activation = match self.activation {
            Activation::Gelu => rows::gelu,
            Activation::GeluTanh => rows::gelu_tanh,
            Activation::Relu => rows::relu,
        };
        let (inner, narrow) = (self.up.outputs(), self.down.inputs);
        let count = wide.len() / inner;
        let wide = Parts::new(wide);
        coded(workers, (count, narrow), codes, scales, |rows, codes, scales| {
            // Row by row: what one part of it wrote is at hand for the next.
            for ((row, codes), scale) in rows.zip(codes.chunks_exact_mut(narrow)).zip(scales.chunks_exact_mut(1)) {
                // SAFETY: different rows.
                let x = unsafe { wide.part(row * inner..row * inner + narrow) };
                activation(isa, x);
                rows::quantize(isa, x, narrow, codes, narrow, isa.code_offset(), scale);
            }
        })
    }
}

/// Rows of `width` values as codes, `depth` a row.
fn quantize<'s>(
    isa: Isa,
    workers: &dyn Workers,
    x: &[f32],
    width: usize,
    depth: usize,
    codes: &'s mut Vec<u8>,
    scales: &'s mut Vec<f32>,
) -> Rows<'s> {
    coded(workers, (x.len() / width, depth), codes, scales, |rows, codes, scales| {
        let x = &x[rows.start * width..rows.end * width];
        rows::quantize(isa, x, width, codes, depth, isa.code_offset(), scales);
    })
}

/// Rows of `depth` codes with a scale each, which `code` writes, some rows a call.
fn coded<'s>(
    workers: &dyn Workers,
    (count, depth): (usize, usize),
    codes: &'s mut Vec<u8>,
    scales: &'s mut Vec<f32>,
    code: impl Fn(Range<usize>, &mut [u8], &mut [f32]) + Sync,
) -> Rows<'s> {
    let (codes, scales) = (room(codes, count * depth), room(scales, count));
    let (all_codes, all_scales) = (Parts::new(codes), Parts::new(scales));
    split(workers, count, ROWS_A_THREAD, &|_, rows| {
        // SAFETY: different rows.
        let codes = unsafe { all_codes.part(rows.start * depth..rows.end * depth) };
        // SAFETY: the same.
        let scales = unsafe { all_scales.part(rows.clone()) };
        code(rows, codes, scales);
    });
    Rows { codes, scales }
}

#[cfg(test)]
mod tests;
