//! Models with fewer attention heads, feed-forward units or layers, by what each is worth on labelled data.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ndarray::Axis;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::arch::{AttentionPattern, Model, ModelConfig, Params, Sharing, count_parameters};
use crate::checkpoint::{self, Arrays, HeadInfo, SentencePooling, load_arrays, read_shape, tensor_of};
use crate::data::{Batch, EncodedExample, Encoder, Goal, Rows, in_order_batches};
use crate::finetune::{head_for, labels_for};
use crate::objective::Pupil;
use crate::pack::fitting_tokens;
use crate::progress::Reporter;

/// Rows that importance is measured on.
const SAMPLE: usize = 512;
/// Texts of a gradient. Gradients of few texts do not cancel each other out as those of many do.
const BATCH: usize = 8;
/// Tokens of a question's text that windows share, unless that is said.
const STRIDE: usize = 64;

/// What is left of a model.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// Units of each feed-forward block.
    Ffn(usize),
    /// Heads of each attention block.
    Heads(usize),
    /// Layers.
    Layers(usize),
}

/// Labelled data that a model is measured on, and how it reads them.
#[derive(Clone, Copy)]
pub(crate) struct Data<'a> {
    pub rows: &'a Rows,
    pub goal: Goal,
    /// Longest text in tokens; what [`fitting_tokens`] gives when `None`.
    pub max_tokens: Option<usize>,
    /// Tokens that windows of a question's text share.
    pub stride: usize,
}

impl<'a> Data<'a> {
    /// Read as models are that nothing else is said of.
    fn new(rows: &'a Rows, goal: Goal) -> Self {
        Self { rows, goal, max_tokens: None, stride: STRIDE }
    }
}

/// What trimming did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StructureReport {
    /// Units of each feed-forward block, heads of each attention block, or layers, before.
    pub before: usize,
    /// After.
    pub after: usize,
    /// Parameters before.
    pub parameters_before: u64,
    /// Parameters after.
    pub parameters_after: u64,
    /// Name of the measure.
    pub measure: String,
    /// On all of the data, before.
    pub score_before: f64,
    /// After, without training.
    pub score_after: f64,
    /// Rows of the data.
    pub rows: usize,
    /// Layers that are left, from 0; none where units or heads were left out.
    pub layers: Vec<usize>,
}

/// A model with data to measure it on.
struct Subject {
    config: ModelConfig,
    info: HeadInfo,
    pooling: Option<SentencePooling>,
    arrays: Arrays,
    goal: Goal,
    labels: Vec<String>,
    all: Vec<EncodedExample>,
    sample: Vec<EncodedExample>,
    rows: usize,
}

impl Subject {
    fn read(folder: &Path, data: Data, out: &Path) -> Result<Self> {
        let Data { rows, goal, max_tokens, stride } = data;
        super::other_folder(folder, out)?;
        let (config, own) = read_shape(folder)?;
        let own = own.ok();
        let of_data = labels_for(rows, goal, own.as_ref())?;
        let own = own.and_then(|own| own.labels);
        let number = own.as_ref().and_then(|own| own.first()).map_or("label", String::as_str).to_owned();
        let known = own.filter(|known| of_data.iter().all(|label| known.contains(label)));
        let labels = known.unwrap_or(of_data);
        // A number keeps the name that the model gives it.
        let (info, pooling) = head_for(goal, &labels, &number, folder)?;
        let loaded = load_arrays(folder, Some(info.head))?;
        let tokens = fitting_tokens(max_tokens, &config)?;
        let encoder = Encoder::new(&checkpoint::tokenizer_path(folder)?, tokens, config.vocab_size)?;
        let encode = |rows: &Rows| Ok::<_, anyhow::Error>(rows.encode(goal, &encoder, &labels, stride)?.examples);
        let (all, sample) = (encode(rows)?, encode(&rows.sample(SAMPLE))?);
        ensure!(!sample.is_empty(), "there are no rows to measure on");
        Ok(Self { config, info, pooling, arrays: loaded.arrays, goal, labels, all, sample, rows: rows.len() })
    }

    fn params(&self, arrays: &Arrays) -> Params {
        Params::new(arrays.iter().map(|(name, array)| (name.clone(), tensor_of(array))).collect(), Device::Cpu)
    }

    fn pupil<'m>(&'m self, model: &'m Model) -> Pupil<'m> {
        Pupil { model, goal: self.goal, labels: &self.labels, types: self.config.token_types > 1 }
    }

    fn batches(&self) -> impl Iterator<Item = Batch> {
        let lengths: Vec<usize> = self.sample.iter().map(|example| example.ids.len()).collect();
        let batches = in_order_batches(&lengths, BATCH).into_iter();
        batches.map(|indices| Batch::new(&self.sample, indices, self.config.pad_id, Device::Cpu))
    }

    fn score(&self, params: &Params, config: &ModelConfig) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let model = Model::new(params, config, self.info.head);
        self.pupil(&model).score(&self.all, config.pad_id, Device::Cpu)
    }

    /// Mean loss on the sample, dropout off.
    fn loss(&self, params: &Params, config: &ModelConfig) -> f64 {
        let _no_grad = tch::no_grad_guard();
        let model = Model::new(params, config, self.info.head);
        let pupil = self.pupil(&model);
        let mut sum = 0.0;
        for batch in self.batches() {
            let given = pupil.forward(&batch, &Default::default(), false);
            sum += pupil.loss_of(&given.logits, &batch).double_value(&[]) * batch.indices.len() as f64;
        }
        sum / self.sample.len() as f64
    }

    /// Writes the smaller model and says what became of it.
    fn write(
        self,
        folder: &Path,
        out: &Path,
        small: (ModelConfig, Arrays),
        sizes: (usize, usize),
        layers: Vec<usize>,
    ) -> Result<StructureReport> {
        let (config, arrays) = small;
        let params = self.params(&arrays);
        let report = StructureReport {
            before: sizes.0,
            after: sizes.1,
            parameters_before: count_parameters(&self.config, self.info.head).total,
            parameters_after: count_parameters(&config, self.info.head).total,
            measure: self.goal.measure().to_owned(),
            score_before: self.score(&self.params(&self.arrays), &self.config),
            score_after: self.score(&params, &config),
            rows: self.rows,
            layers,
        };
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        if let Some(pooling) = self.pooling {
            checkpoint::write_pooling(out, pooling, config.hidden_size)?;
        }
        checkpoint::save(out, &config, &self.info, &params, &checkpoint::tokenizer_path(folder)?)?;
        Ok(report)
    }
}

/// The sum of |dL/dm| over batches of a few texts, for each input of each of the maps `names`, where `m` (1 for each input)
/// scales the input: `w dL/dw` summed over the input's column and, before it is made absolute, over `together` inputs side by
/// side (Michel 2019, section 4.1; Molchanov 2019's first-order Taylor expansion).
fn importance(subject: &Subject, names: &[String], together: usize, reporter: &Reporter) -> Result<Vec<Tensor>> {
    let params = subject.params(&subject.arrays);
    params.set_requires_grad(true);
    let model = Model::new(&params, &subject.config, subject.info.head);
    let pupil = subject.pupil(&model);
    let mut sums: Vec<Option<Tensor>> = names.iter().map(|_| None).collect();
    let bar = reporter.bar("importance", subject.sample.len() as u64, 0);
    let mut done = 0;
    for batch in subject.batches() {
        let given = pupil.forward(&batch, &Default::default(), false);
        pupil.loss_of(&given.logits, &batch).backward();
        let _no_grad = tch::no_grad_guard();
        for (name, sum) in names.iter().zip(&mut sums) {
            let map = params.get(name).with_context(|| format!("the model has no tensor `{name}`"))?;
            let of_inputs = (map.detach() * map.grad()).sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
            let of_masks = of_inputs.view([-1, together as i64]).sum_dim_intlist([1i64].as_slice(), false, None).abs();
            *sum = Some(match sum.take() {
                Some(sum) => sum + of_masks,
                None => of_masks,
            });
        }
        params.iter().for_each(|(_, tensor)| {
            if tensor.grad().defined() {
                let _ = tensor.grad().zero_();
            }
        });
        done += batch.indices.len();
        bar.advance(done as u64, "");
    }
    bar.finish();
    let sums: Vec<Tensor> = sums.into_iter().flatten().collect();
    let finite = sums.iter().all(|sum| sum.isfinite().all().int64_value(&[]) == 1);
    ensure!(finite && sums.len() == names.len(), "the loss on the data is not finite");
    Ok(sums)
}

/// The places of the `count` largest, in ascending order.
fn largest(importance: &Tensor, count: usize) -> Result<Vec<usize>> {
    let (_, best) = importance.topk(count as i64, 0, true, true);
    let mut kept: Vec<usize> = Vec::<i64>::try_from(best)?.into_iter().map(|place| place as usize).collect();
    kept.sort_unstable();
    Ok(kept)
}

/// Leaves these rows (axis 0) or columns (axis 1) of some tensors.
fn select(arrays: &mut Arrays, prefix: &str, parts: &[(&str, usize)], kept: &[usize]) {
    for (part, axis) in parts {
        if let Some(array) = arrays.get_mut(&format!("{prefix}.{part}")) {
            *array = array.select(Axis(*axis), kept);
        }
    }
}

/// Leaves a part of a model, and writes the smaller one.
///
/// # Errors
/// As [`trim_ffn`], [`trim_heads`] and [`trim_layers`].
pub(crate) fn trim_part(
    folder: &Path,
    data: Data,
    part: Part,
    out: &Path,
    reporter: &Reporter,
) -> Result<StructureReport> {
    let subject = Subject::read(folder, data, out)?;
    match part {
        Part::Ffn(size) => ffn(subject, folder, size, out, reporter),
        Part::Heads(count) => heads(subject, folder, count, out, reporter),
        Part::Layers(count) => layers(subject, folder, count, out, reporter),
    }
}

/// Leaves `size` units in each feed-forward block: those with the largest |dL/dm|, where `m` scales a unit's activation.
///
/// # Errors
/// A size that is none; data that do not fit the model; a folder that cannot be written.
pub fn trim_ffn(
    folder: &Path,
    rows: &Rows,
    goal: Goal,
    size: usize,
    out: &Path,
    reporter: &Reporter,
) -> Result<StructureReport> {
    trim_part(folder, Data::new(rows, goal), Part::Ffn(size), out, reporter)
}

fn ffn(subject: Subject, folder: &Path, size: usize, out: &Path, reporter: &Reporter) -> Result<StructureReport> {
    let before = subject.config.intermediate_size;
    ensure!((1..before).contains(&size), "--size {size}: the model's blocks have {before} units; give fewer");
    let blocks: Vec<String> = (0..subject.config.block_counts().1).map(|i| format!("encoder.ffn.{i}")).collect();
    let maps: Vec<String> = blocks.iter().map(|block| format!("{block}.down.weight")).collect();
    let mut arrays = subject.arrays.clone();
    for (block, importance) in blocks.iter().zip(importance(&subject, &maps, 1, reporter)?) {
        let kept = largest(&importance, size)?;
        select(&mut arrays, block, &[("up.weight", 0), ("up.bias", 0), ("down.weight", 1)], &kept);
    }
    let config = ModelConfig { intermediate_size: size, ..subject.config.clone() };
    subject.write(folder, out, (config, arrays), (before, size), Vec::new())
}

/// Leaves `count` heads in each attention block, as wide as before: those with the largest |dL/dm|, where `m` scales a
/// head's context. Where all layers share one relative position bias, which has a column a head, they leave the same heads.
///
/// # Errors
/// A count that is none; data that do not fit the model; a folder that cannot be written.
pub fn trim_heads(
    folder: &Path,
    rows: &Rows,
    goal: Goal,
    count: usize,
    out: &Path,
    reporter: &Reporter,
) -> Result<StructureReport> {
    trim_part(folder, Data::new(rows, goal), Part::Heads(count), out, reporter)
}

fn heads(subject: Subject, folder: &Path, count: usize, out: &Path, reporter: &Reporter) -> Result<StructureReport> {
    let before = subject.config.attention_heads;
    ensure!((1..before).contains(&count), "--count {count}: the model's blocks have {before} heads; give fewer");
    let size = subject.config.head_size();
    let blocks: Vec<String> = (0..subject.config.block_counts().0).map(|i| format!("encoder.attention.{i}")).collect();
    let maps: Vec<String> = blocks.iter().map(|block| format!("{block}.output.weight")).collect();
    let mut of_blocks = importance(&subject, &maps, size, reporter)?;
    let mut arrays = subject.arrays.clone();
    if subject.config.relative_buckets > 0 {
        let sum = Tensor::stack(&of_blocks, 0).sum_dim_intlist([0i64].as_slice(), false, None);
        select(&mut arrays, "encoder", &[("relative_bias.weight", 1)], &largest(&sum, count)?);
        of_blocks.fill_with(|| sum.shallow_clone());
    }
    for (block, importance) in blocks.iter().zip(&of_blocks) {
        let kept = largest(importance, count)?.into_iter().flat_map(|head| head * size..(head + 1) * size);
        let kept: Vec<usize> = kept.collect();
        let maps = ["query", "key", "value"].map(|map| [format!("{map}.weight"), format!("{map}.bias")]);
        for part in maps.as_flattened() {
            select(&mut arrays, block, &[(part, 0)], &kept);
        }
        select(&mut arrays, block, &[("output.weight", 1)], &kept);
    }
    let own_head_size = (count * size != subject.config.hidden_size).then_some(size);
    let config = ModelConfig { attention_heads: count, own_head_size, ..subject.config.clone() };
    subject.write(folder, out, (config, arrays), (before, count), Vec::new())
}

/// Leaves `count` layers: again and again the one whose absence costs the least loss on the data is left out.
///
/// # Errors
/// A count that is none; layers that share weights or differ in what they see; data that do not fit the model; a folder
/// that cannot be written.
pub fn trim_layers(
    folder: &Path,
    rows: &Rows,
    goal: Goal,
    count: usize,
    out: &Path,
    reporter: &Reporter,
) -> Result<StructureReport> {
    trim_part(folder, Data::new(rows, goal), Part::Layers(count), out, reporter)
}

fn layers(subject: Subject, folder: &Path, count: usize, out: &Path, reporter: &Reporter) -> Result<StructureReport> {
    let before = subject.config.layers;
    ensure!((1..before).contains(&count), "--count {count}: the model has {before} layers; give fewer");
    if subject.config.sharing != Sharing::None || subject.config.attention_pattern != AttentionPattern::Dense {
        bail!("layers that share weights, or see other positions than the next, cannot be left out");
    }
    let mut left: Vec<usize> = (0..before).collect();
    let steps: usize = (count + 1..=before).sum();
    let bar = reporter.bar("layers", steps as u64, 0);
    let mut done = 0;
    while left.len() > count {
        let mut best: Option<(f64, usize)> = None;
        for at in 0..left.len() {
            let mut without = left.clone();
            without.remove(at);
            let (config, arrays) = with_layers(&subject.config, &subject.arrays, &without);
            let loss = subject.loss(&subject.params(&arrays), &config);
            if loss.is_finite() && best.is_none_or(|(least, _)| loss < least) {
                best = Some((loss, at));
            }
            done += 1;
            bar.advance(done, "");
        }
        let (_, at) = best.context("the loss on the data is not finite")?;
        left.remove(at);
    }
    bar.finish();
    let small = with_layers(&subject.config, &subject.arrays, &left);
    subject.write(folder, out, small, (before, count), left)
}

/// A model of these layers of another.
fn with_layers(config: &ModelConfig, arrays: &Arrays, layers: &[usize]) -> (ModelConfig, Arrays) {
    let places: BTreeMap<usize, usize> = layers.iter().copied().zip(0..).collect();
    let renamed = arrays.iter().filter_map(|(name, array)| {
        let Some((kind, rest)) =
            ["encoder.attention.", "encoder.ffn."].iter().find_map(|kind| Some((kind, name.strip_prefix(kind)?)))
        else {
            return Some((name.clone(), array.clone()));
        };
        let (layer, part) = rest.split_once('.')?;
        let place = places.get(&layer.parse().ok()?)?;
        Some((format!("{kind}{place}.{part}"), array.clone()))
    });
    (ModelConfig { layers: layers.len(), ..config.clone() }, renamed.collect())
}

#[cfg(test)]
mod tests;
