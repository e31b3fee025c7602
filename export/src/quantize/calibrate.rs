//! What the inputs of an encoder's linear maps range over, on texts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, bail, ensure};
use limbeck::Model;
use tch::{Device, Tensor};

use super::dev::inputs;
use super::observer::{Histogram, Levels, Observer};
use super::sensitivity::run_cut;
use crate::arch::{self, Capture, ModelConfig, Params};
use crate::checkpoint::{load_encoder, tensor_of};
use crate::data::Rows;
use crate::progress::Reporter;

/// Texts that calibration reads by default.
pub const CALIBRATION_SAMPLES: usize = 512;
/// Texts that run together; their padding is not seen.
const BATCH: usize = 8;

/// Levels for the inputs of linear maps, by the maps' parameters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Activations(BTreeMap<String, Levels>);

impl Activations {
    /// For the input of a map, or of several side by side, which all have the input of the query.
    pub fn of_input(&self, parameter: &str) -> Option<Levels> {
        let block = ["query_key_value", "key_value"].iter().find_map(|together| parameter.strip_suffix(together));
        let parameter = block.map_or_else(|| parameter.to_owned(), |block| format!("{block}query"));
        self.0.get(&parameter).copied()
    }
}

/// The maps of an encoder whose inputs must be known, by their parameters; of the three that share an input, the query.
pub fn encoder_maps(config: &ModelConfig) -> Vec<String> {
    let (attention, ffn) = config.block_counts();
    let of = |kind: &str, block: usize, part: &str| format!("encoder.{kind}.{block}.{part}");
    let attention = (0..attention).flat_map(|block| ["query", "output"].map(|part| of("attention", block, part)));
    let ffn = (0..ffn).flat_map(|block| ["up", "down"].map(|part| of("ffn", block, part)));
    attention.chain(ffn).collect()
}

/// What has been seen, and which tokens of the batch at work are no padding.
#[derive(Default)]
struct Seen {
    histograms: BTreeMap<String, Histogram>,
    /// Numbers of rows of `[batch * length, width]`.
    tokens: Option<Tensor>,
}

/// Runs at most `samples` rows, drawn at random, the same each time, through the fp32 model of `folder`, and chooses the
/// levels of each map's input. `model` is the same model as a bundle: its tokenizer reads the texts, which are cut
/// where they are too long.
///
/// # Errors
/// No rows; those of reading and running the model.
pub fn calibrate(
    folder: &Path,
    model: &Model,
    rows: &Rows,
    samples: usize,
    observer: Observer,
    reporter: &Reporter,
) -> Result<Activations> {
    if let Observer::Percentile(percent) = observer {
        ensure!((50.0..=100.0).contains(&percent), "a percentile of {percent}: give one from 50 to 100");
    }
    ensure!(samples > 0 && !rows.is_empty(), "calibration needs texts, and there are none");
    let encoder = load_encoder(folder)?;
    let seen = Arc::new(Mutex::new(Seen::default()));
    let watch = {
        let (seen, maps) = (Arc::clone(&seen), encoder_maps(&encoder.config));
        move |name: &str, input: &Tensor| {
            if !maps.iter().any(|map| map == name) {
                return;
            }
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = input.flatten(0, -2);
            let rows = match &seen.tokens {
                Some(tokens) if rows.size()[0] > tokens.size()[0] => rows.index_select(0, tokens),
                _ => rows,
            };
            // A value that cannot be read leaves its map without levels, which is an error when the graph is built.
            if let Ok(values) = Vec::<f32>::try_from(rows.flatten(0, -1)) {
                seen.histograms.entry(name.to_owned()).or_default().add(&values);
            }
        }
    };
    let tensors = encoder.arrays.iter().map(|(name, array)| (name.clone(), tensor_of(array))).collect();
    let params = Params::new(tensors, Device::Cpu).watched(watch);
    let network = arch::Encoder::new(&params, &encoder.config);

    let sample = rows.sample(samples);
    let mut texts = Vec::new();
    for input in inputs(model, &sample) {
        let read = run_cut(model, input)?;
        let ids: Vec<i64> = read.ids.into_iter().map(i64::from).collect();
        // The first text, as far as it was read, ends with its own special tokens; what follows is the second.
        let of_first = match read.texts.as_slice() {
            [first, _] => model.tokenize(first)?.ids.len().min(ids.len()),
            _ => ids.len(),
        };
        texts.push((ids, of_first));
    }
    texts.sort_by_key(|(ids, _)| ids.len());
    let _no_grad = tch::no_grad_guard();
    let bar = reporter.bar("calibration", texts.len() as u64, 0);
    for (done, batch) in texts.chunks(BATCH).enumerate() {
        let length = batch.iter().map(|(ids, _)| ids.len()).max().unwrap_or(0);
        let filled = |of: &dyn Fn(&[i64], usize, usize) -> i64| {
            let values: Vec<i64> =
                batch.iter().flat_map(|(ids, first)| (0..length).map(move |at| of(ids, *first, at))).collect();
            Tensor::from_slice(&values).view([batch.len() as i64, length as i64])
        };
        let pad = encoder.config.pad_id as i64;
        let ids = filled(&|ids, _, at| ids.get(at).copied().unwrap_or(pad));
        let mask = filled(&|ids, _, at| i64::from(at < ids.len()));
        let types = filled(&|ids, first, at| i64::from(at >= first && at < ids.len()));
        let types = (encoder.config.token_types > 1).then_some(types);
        seen.lock().unwrap_or_else(PoisonError::into_inner).tokens = Some(mask.flatten(0, -1).nonzero().flatten(0, -1));
        network.forward(&ids, &mask, types.as_ref(), &Capture::default(), false);
        bar.advance(((done + 1) * BATCH).min(texts.len()) as u64, "");
    }
    bar.finish();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let levels = seen.histograms.iter().map(|(name, histogram)| (name.clone(), histogram.levels(observer)));
    let found = Activations(levels.collect());
    if let Some(missing) = encoder_maps(&encoder.config).iter().find(|map| found.of_input(map).is_none()) {
        bail!("nothing was seen of the inputs of `{missing}`");
    }
    Ok(found)
}
