//! A model with what it is trained to give: its loss on labels, and how well it does on dev.

use tch::{Kind, Tensor};

use super::{IGNORED, accuracy, binary_cross_entropy, cross_entropy, mean_squared_error, span};
use crate::arch::{Capture, Model, ModelOutput};
use crate::data::{Batch, EncodedExample, Goal, entities_of, in_order_batches};
use crate::measure::metrics::{f1, spearman};

const EVALUATION_BATCH: usize = 64;

/// A model with what it is trained for.
pub(crate) struct Pupil<'a> {
    pub model: &'a Model,
    pub goal: Goal,
    pub labels: &'a [String],
    /// Whether the model has token types.
    pub types: bool,
}

/// What a model gives for a batch.
pub(crate) struct Given {
    /// The shape that the goal's loss takes: `[batch, labels]`, `[batch]` (numbers, cosines), `[batch, length, labels]`
    /// (tags), `[batch, length, 2]` (answers).
    pub logits: Tensor,
    /// The texts' own outputs: one, or two where the texts of a pair are read each by itself.
    pub sides: Vec<ModelOutput>,
}

impl Pupil<'_> {
    /// Runs the model; `train` switches dropout on.
    pub(crate) fn forward(&self, batch: &Batch, capture: &Capture, train: bool) -> Given {
        let types = batch.types.as_ref().filter(|_| self.types);
        let mut sides = vec![self.model.forward(&batch.ids, &batch.mask, types, capture, train)];
        if let Some((ids, mask)) = &batch.partner {
            sides.push(self.model.forward(ids, mask, None, capture, train));
        }
        let logits = match sides.as_slice() {
            // The cosine of the angle between the two vectors, `[batch]`.
            [first, second] => Tensor::cosine_similarity(&first.logits, &second.logits, 1, 1e-8),
            [only, ..] if self.goal == Goal::Value => only.logits.squeeze_dim(-1),
            [only, ..] => only.logits.shallow_clone(),
            [] => unreachable!("a batch has one side at least"),
        };
        Given { logits, sides }
    }

    /// The loss of what the model gave. For similarities the mean squared difference between cosine and similarity
    /// (Reimers 2019, section 3, "regression objective function").
    pub(crate) fn loss_of(&self, logits: &Tensor, batch: &Batch) -> Tensor {
        match self.goal {
            Goal::Class | Goal::Tags => cross_entropy(logits, &batch.targets),
            Goal::Labels => binary_cross_entropy(logits, &batch.targets),
            Goal::Value | Goal::Similarity { .. } => mean_squared_error(logits, &batch.targets),
            Goal::Answers => span(logits, &batch.mask, &batch.targets.select(1, 0), &batch.targets.select(1, 1)),
        }
    }

    /// The loss of a batch, dropout on.
    pub(crate) fn loss(&self, batch: &Batch) -> Tensor {
        self.loss_of(&self.forward(batch, &Capture::LOGITS, true).logits, batch)
    }

    /// The goal's measure ([`Goal::measure`]) on encoded examples, dropout off; higher is better.
    pub(crate) fn score(&self, examples: &[EncodedExample], pad_id: usize, device: tch::Device) -> f64 {
        let lengths: Vec<usize> = examples.iter().map(|e| e.ids.len()).collect();
        let mut tally = Tally::default();
        for indices in in_order_batches(&lengths, EVALUATION_BATCH) {
            let batch = Batch::new(examples, indices, pad_id, device);
            let logits = self.forward(&batch, &Capture::LOGITS, false).logits;
            match self.goal {
                Goal::Class => {
                    tally.sum += accuracy(&logits, &batch.targets) * batch.indices.len() as f64;
                    tally.count += batch.indices.len();
                }
                Goal::Labels => {
                    let (guessed, there) = (logits.gt(0.0), batch.targets.gt(0.5));
                    let count = |tensor: &Tensor| tensor.sum(Kind::Int64).int64_value(&[]) as usize;
                    tally.right += count(&guessed.logical_and(&there));
                    tally.guessed += count(&guessed);
                    tally.there += count(&there);
                }
                Goal::Value | Goal::Similarity { .. } => {
                    tally.values.extend(doubles(&logits));
                    tally.targets.extend(doubles(&batch.targets));
                }
                Goal::Tags => self.entities(&logits, &batch, &mut tally),
                Goal::Answers => answers(&logits, &batch, &mut tally),
            }
        }
        match self.goal {
            Goal::Class | Goal::Answers => tally.sum / tally.count.max(1) as f64,
            Goal::Labels | Goal::Tags => f1(tally.right, tally.guessed, tally.there),
            Goal::Value | Goal::Similarity { .. } => spearman(&tally.values, &tally.targets),
        }
    }

    fn entities(&self, logits: &Tensor, batch: &Batch, tally: &mut Tally) {
        let guesses = integers(&logits.argmax(-1, false));
        for (guess, truth) in guesses.chunks(batch.ids.size()[1] as usize).zip(rows(&batch.targets)) {
            let asked = || truth.iter().zip(guess).filter(|(truth, _)| **truth != IGNORED);
            let name = |index: i64| self.labels.get(index as usize).map_or("O", String::as_str);
            let there = entities_of(asked().map(|(truth, _)| name(*truth)));
            let guessed = entities_of(asked().map(|(_, guess)| name(*guess)));
            tally.right += guessed.iter().filter(|entity| there.contains(entity)).count();
            tally.guessed += guessed.len();
            tally.there += there.len();
        }
    }
}

#[derive(Default)]
struct Tally {
    sum: f64,
    count: usize,
    right: usize,
    guessed: usize,
    there: usize,
    values: Vec<f64>,
    targets: Vec<f64>,
}

/// The overlap in tokens of the likeliest span with the right one, window by window.
fn answers(logits: &Tensor, batch: &Batch, tally: &mut Tally) {
    let padding = (batch.mask.to_kind(Kind::Float) - 1.0) * f64::from(f32::MAX);
    let starts = integers(&(logits.select(-1, 0) + &padding).argmax(-1, false));
    let ends = integers(&(logits.select(-1, 1) + &padding).argmax(-1, false));
    for ((start, end), truth) in starts.into_iter().zip(ends).zip(rows(&batch.targets)) {
        let length = (end - start + 1).max(0);
        let overlap = (end.min(truth[1]) - start.max(truth[0]) + 1).max(0);
        tally.sum += f1(overlap as usize, length as usize, (truth[1] - truth[0] + 1) as usize);
        tally.count += 1;
    }
}

fn doubles(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).to_device(tch::Device::Cpu)).unwrap_or_default()
}

fn integers(tensor: &Tensor) -> Vec<i64> {
    Vec::try_from(tensor.to_device(tch::Device::Cpu).reshape([-1])).unwrap_or_default()
}

fn rows(tensor: &Tensor) -> Vec<Vec<i64>> {
    integers(tensor).chunks(tensor.size()[1].max(1) as usize).map(<[i64]>::to_vec).collect()
}
