//! What each unit of a model costs when it alone is quantized.

use anyhow::{Context, Result};
use limbeck::bundle::SelfTestVector;
use limbeck::{Error, Model};
use ndarray::ArrayView2;
use serde::Serialize;

use super::blocks::sqnr_of_blocks;
use super::dev::Dev;
use super::{sqnr_of_map, sqnr_of_ternary};
use crate::arch::ModelConfig;
use crate::checkpoint::Arrays;
use crate::graph::{Unit, WeightMode, matrix};
use crate::progress::Reporter;

/// Rows of dev that units are measured on, one by one: these decide in which order the search goes, not what it accepts.
pub const SAMPLE: usize = 256;

/// The noise of a unit's weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// Signal to quantization noise of the matrix where it is lowest, in dB.
    pub sqnr_db: f64,
    /// That matrix.
    pub matrix: String,
    /// Weights of the unit's matrices.
    #[serde(skip)]
    pub weights: usize,
}

impl Noise {
    /// That of a unit of the model whose parameters `arrays` are, stored as `mode`.
    ///
    /// # Errors
    /// A parameter that is missing.
    pub(super) fn of(unit: &Unit, config: &ModelConfig, arrays: &Arrays, mode: WeightMode) -> Result<Self> {
        let Unit::Layers(layers) = unit else {
            let name = "embeddings.words";
            let table = matrix(arrays, &format!("{name}.weight"))?;
            let sqnr_db = match mode {
                WeightMode::Blocks(blocks) => sqnr_of_blocks(&table, blocks.symmetric()),
                _ => sqnr(&table, mode),
            };
            return Ok(Self { sqnr_db, matrix: name.to_owned(), weights: table.len() });
        };
        let blocks = config.blocks();
        let attention = ["query", "key", "value", "output"].map(|part| ("attention", part));
        let feed_forward = ["up", "down"].map(|part| ("ffn", part));
        let mut names: Vec<String> = Vec::new();
        for &(attention_block, ffn_block) in layers.iter().filter_map(|&layer| blocks.get(layer)) {
            for (kind, part) in attention.into_iter().chain(feed_forward) {
                let block = if kind == "ffn" { ffn_block } else { attention_block };
                names.push(format!("encoder.{kind}.{block}.{part}"));
            }
        }
        names.sort();
        names.dedup();
        let mut all = Vec::new();
        for name in names {
            let weight = matrix(arrays, &format!("{name}.weight"))?;
            all.push((sqnr(&weight, mode), name, weight.len()));
        }
        let weights = all.iter().map(|(_, _, weights)| weights).sum();
        let lowest = all.into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        let (sqnr_db, matrix, _) = lowest.context("a unit without matrices")?;
        Ok(Self { sqnr_db, matrix, weights })
    }
}

/// Signal to noise of a map `[out, in]`, or of a table's rows.
fn sqnr(weight: &ArrayView2<f32>, mode: WeightMode) -> f64 {
    match mode {
        WeightMode::Blocks(blocks) => sqnr_of_blocks(weight, blocks),
        WeightMode::Half => {
            let noise = |&w: &f32| f64::from(w - half::f16::from_f32(w).to_f32()).powi(2);
            let (signal, noise): (f64, f64) =
                (weight.iter().map(|&w| f64::from(w).powi(2)).sum(), weight.iter().map(noise).sum());
            if noise == 0.0 { f64::INFINITY } else { 10.0 * (signal / noise).log10() }
        }
        WeightMode::Float => f64::INFINITY,
        WeightMode::Ternary => sqnr_of_ternary(weight),
        WeightMode::DynamicInt8 | WeightMode::Int8Layers | WeightMode::StaticInt8 => sqnr_of_map(weight),
    }
}

/// What the sample says of a unit that alone is quantized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sensitivity {
    /// Mean squared difference of the model's outputs (logits, vectors) against fp32.
    pub output_error: f64,
    /// What is lost on the sample, in the unit of the proof: points of the task's measure, or percent of perplexity.
    pub lost_alone: f64,
}

/// Measures each of `units` against `fp32`; `alone` opens the model with that unit alone quantized, through the sdk.
///
/// # Errors
/// Those of `alone` and of running the models.
pub(super) fn measure(
    units: &[Unit],
    fp32: &Model,
    alone: &dyn Fn(&Unit) -> Result<Model>,
    dev: &Dev,
    reporter: &Reporter,
) -> Result<Vec<Sensitivity>> {
    let (sample, silent) = (dev.sample(SAMPLE), Reporter::new(crate::progress::Output::Silent));
    let bar = reporter.bar("one part alone", units.len() as u64 + 1, 0);
    bar.advance(0, "fp32");
    let of =
        |model: &Model| -> Result<(Vec<f32>, f64)> { Ok((outputs(model, &sample)?, sample.score(model, &silent)?.1)) };
    let (expected, before) = of(fp32)?;
    let mut found = Vec::new();
    for (done, unit) in units.iter().enumerate() {
        bar.advance(done as u64 + 1, &unit.to_string());
        let (outputs, score) = of(&alone(unit)?)?;
        let output_error = mean_squared_difference(&expected, &outputs);
        found.push(Sensitivity { output_error, lost_alone: sample.lost(before, score) });
    }
    bar.finish();
    Ok(found)
}

fn mean_squared_difference(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    sum / a.len().max(1) as f64
}

/// What a model gives for each row: at most 64 values evenly spread over each output, as a self-test has them. Texts that
/// are too long are cut; what is compared is the outputs for the same tokens.
fn outputs(model: &Model, dev: &Dev) -> Result<Vec<f32>> {
    let mut all = Vec::new();
    for texts in dev.inputs(model) {
        all.extend(run_cut(model, texts)?.outputs.into_iter().flatten());
    }
    Ok(all)
}

/// Runs one text, or two together, cut where they are too long.
pub(super) fn run_cut(model: &Model, mut texts: Vec<&str>) -> Result<SelfTestVector> {
    loop {
        match model.self_test_vector(&texts) {
            Err(Error::TooLong { tokens, max }) => {
                let longest = texts.iter_mut().max_by_key(|text| text.len()).filter(|text| !text.is_empty());
                let text = longest.context("special tokens alone are too many")?;
                // About as much as fits, and less each time.
                let bytes = text.len() * max / tokens.max(1);
                *text = &text[..text.floor_char_boundary(bytes.min(text.len() - 1))];
            }
            result => return Ok(result?),
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::*;
    use crate::arch::{Head, Sharing, parameter_layout, preset};
    use crate::graph::units;

    /// A model whose weights are even, but for one outlier.
    fn made(sharing: Sharing, outlier: &str) -> (ModelConfig, Arrays) {
        let albert = preset("albert-base").unwrap().config;
        let sizes = ModelConfig { vocab_size: 50, hidden_size: 16, embedding_size: 8, intermediate_size: 20, ..albert };
        let config = ModelConfig { layers: 3, attention_heads: 2, position_rows: 10, sharing, ..sizes };
        let mut arrays = Arrays::new();
        for spec in parameter_layout(&config, Head::None) {
            let shape: Vec<usize> = spec.shape.iter().map(|&size| size as usize).collect();
            let mut number = 0;
            let mut array = ArrayD::from_shape_simple_fn(shape, || {
                number += 1;
                (number * 37 % 101) as f32 / 50.0 - 1.0
            });
            if spec.name == outlier {
                array[[1, 1]] = 20.0;
            }
            arrays.insert(spec.name, array);
        }
        (config, arrays)
    }

    #[test]
    fn the_noisiest_matrix_of_its_unit_is_named() {
        let (config, arrays) = made(Sharing::None, "encoder.ffn.1.up.weight");
        let noise: Vec<Noise> = units(&config)
            .iter()
            .map(|unit| Noise::of(unit, &config, &arrays, WeightMode::Int8Layers).unwrap())
            .collect();
        let names: Vec<&str> = noise.iter().map(|noise| noise.matrix.as_str()).collect();
        assert_eq!((names[1], names[3]), ("encoder.ffn.1.up", "embeddings.words"));
        assert!(noise[1].sqnr_db < noise[0].sqnr_db - 3.0 && noise[0].sqnr_db > 40.0, "{noise:?}");
        let weights: Vec<usize> = noise.iter().map(|noise| noise.weights).collect();
        assert_eq!(weights, [1664, 1664, 1664, 400], "4 of 16 by 16, 2 of 16 by 20; 50 by 8");
    }

    #[test]
    fn shared_weights_count_once() {
        let (config, arrays) = made(Sharing::All, "");
        let noise = Noise::of(&units(&config)[0], &config, &arrays, WeightMode::Int8Layers).unwrap();
        assert_eq!(noise.weights, 1664);
        let (config, arrays) = made(Sharing::Attention, "encoder.ffn.2.down.weight");
        let noise = Noise::of(&units(&config)[0], &config, &arrays, WeightMode::Int8Layers).unwrap();
        assert_eq!((noise.weights, noise.matrix.as_str()), (4 * 256 + 3 * 640, "encoder.ffn.2.down"));
    }

    #[test]
    fn the_difference_of_outputs_is_their_mean_square() {
        assert_eq!(mean_squared_difference(&[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 3.0, 5.0]), 1.25);
        assert_eq!(mean_squared_difference(&[], &[]), 0.0);
    }
}
