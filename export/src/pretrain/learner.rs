//! What a model learns from a batch, and how it is scored on text that it never learned from.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Reduction, Tensor};

use super::held_out::HeldOut;
use super::model::{COPY, Start};
use super::recipe::ObjectiveKind;
use super::teacher::Teacher;
use crate::arch::{Capture, Head, Model, ModelOutput};
use crate::data::pretrain::SentenceTask;
use crate::data::{Batch, EncodedExample, Masked, Masker, in_order_batches};
use crate::objective::{
    IGNORED, all_tokens, binary_cross_entropy, corrupt, cross_entropy, next_token, replaced_token, sample,
};
use crate::train::{Loss, Precision};

/// Held-out text is masked the same way each time, so that scores can be compared.
const HELD_OUT_SEED: u64 = 0x7E57_DA7A;
const EVALUATION_BATCH: usize = 32;

/// A model with its objective.
pub(super) struct Learner<'a> {
    kind: ObjectiveKind,
    weight: f64,
    model: Model,
    /// Whether the model has token types.
    types: bool,
    /// Whether pairs of segments are learned, or scored.
    sentences: bool,
    generator: Option<Model>,
    copy: Option<(Tensor, Tensor)>,
    masker: Option<&'a Masker>,
    teacher: Option<&'a Teacher>,
    pad_id: usize,
    device: Device,
}

/// What is said of masked tokens.
struct Guesses {
    /// `[n, vocabulary]`.
    logits: Tensor,
    /// `[n]` int64: what is right.
    wanted: Tensor,
    /// `[n]` bool: whether another token was read there.
    hidden: Tensor,
}

impl Guesses {
    /// `read` are the tokens that were read at these places.
    fn new(logits: Tensor, wanted: &Tensor, read: &Tensor) -> Self {
        Self { logits, wanted: wanted.shallow_clone(), hidden: read.ne_tensor(wanted) }
    }

    fn loss(&self) -> Tensor {
        cross_entropy(&self.logits, &self.wanted)
    }
}

/// What a batch gave: logits with what is right.
#[derive(Default)]
struct Given {
    /// Of the model at masked places.
    masked: Option<Guesses>,
    /// Of the generator there.
    generator: Option<Guesses>,
    /// `[batch, 2]`, `[batch]`.
    sentence: Option<(Tensor, Tensor)>,
    /// Logits and what was replaced, `[n]` each, of the tokens that count.
    replaced: Option<(Tensor, Tensor)>,
    /// The loss over all tokens with the mechanism to copy.
    all: Option<Tensor>,
    /// `[batch, length, vocabulary]`, `[batch, length]`, and the weight of this loss.
    next: Option<(Tensor, Tensor, f64)>,
    /// Losses on what a teacher gives, with their weights; in training only.
    taught: Vec<(&'static str, Tensor, f64)>,
}

impl<'a> Learner<'a> {
    /// For an objective and a task on pairs, which may be other than those that the model was trained for. `masker` is
    /// for all but causal models; without one pairs alone are scored.
    pub(super) fn new(
        start: &Start,
        (kind, sentence): (ObjectiveKind, SentenceTask),
        weight: f64,
        masker: Option<&'a Masker>,
        precision: Precision,
    ) -> Result<Self> {
        let sentences = start.head == Head::Pretraining && sentence != SentenceTask::None;
        ensure!(
            masker.is_some() || kind == ObjectiveKind::Clm || sentences,
            "nothing masks; this is a mistake in limbeck"
        );
        let generator = start.generator.as_ref().zip(start.of_generator());
        let copy = |name: &str| start.params.get(&format!("{COPY}{name}")).map(Tensor::shallow_clone);
        Ok(Self {
            kind,
            weight,
            model: Model::new(&start.own(), &start.config, start.head).in_precision(precision),
            types: start.config.token_types > 1,
            sentences,
            generator: generator
                .map(|(config, params)| Model::new(&params, config, Head::MaskedLm).in_precision(precision)),
            copy: copy("weight").zip(copy("bias")),
            masker,
            teacher: None,
            pad_id: start.config.pad_id,
            device: start.params.device(),
        })
    }

    /// The same, learning from a teacher too, if there is one.
    pub(super) fn taught_by(self, teacher: Option<&'a Teacher>) -> Self {
        Self { teacher, ..self }
    }

    /// The loss of a batch of `examples`, with all random choices by libtorch's generator.
    pub(super) fn loss(&self, examples: &[EncodedExample], batch: &Batch) -> Result<Loss> {
        let seed = Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]) as u64;
        Ok(self.total(&self.read(examples, batch, seed, true)?, batch))
    }

    fn read(&self, examples: &[EncodedExample], batch: &Batch, seed: u64, train: bool) -> Result<Given> {
        let types = batch.types.as_ref().filter(|_| self.types);
        let capture = Capture::default();
        let mut given = Given::default();
        if self.kind == ObjectiveKind::Clm {
            let output = self.model.forward(&batch.ids, &batch.mask, None, &capture, train);
            let mut weight = 1.0;
            if let Some(teacher) = self.teacher.filter(|_| train) {
                given.taught = teacher.losses(&output, batch)?;
                weight = teacher.next_token_weight();
            }
            let padding = batch.mask.eq(0);
            given.next = Some((output.logits, batch.ids.masked_fill(&padding, IGNORED), weight));
            return Ok(given);
        }
        let of_pair = |output: &ModelOutput| {
            let logits = output.sentence_logits.as_ref().filter(|_| self.sentences)?;
            Some((logits.shallow_clone(), batch.targets.shallow_clone()))
        };
        let Some(masker) = self.masker else {
            let nowhere = Tensor::zeros([0], (Kind::Int64, self.device));
            let output = self.model.forward_at(&batch.ids, &batch.mask, types, Some(&nowhere), &capture, train);
            given.sentence = of_pair(&output);
            return Ok(given);
        };
        let rows: Vec<&[i64]> = batch.indices.iter().map(|&index| examples[index].ids.as_slice()).collect();
        let Masked { ids, targets } =
            masker.mask(&rows, self.pad_id, &mut ChaCha8Rng::seed_from_u64(seed), self.device);
        let places = |chosen: &Tensor| chosen.reshape([-1]).nonzero().squeeze_dim(-1);
        let at = places(&targets.ne(IGNORED));
        let flat = |x: &Tensor, at: &Tensor| x.reshape([-1]).index_select(0, at);
        let wanted = flat(&targets, &at);
        let run = |model: &Model, ids: &Tensor, at: &Tensor| {
            model.forward_at(ids, &batch.mask, types, Some(at), &capture, train)
        };
        let Some(generator) = &self.generator else {
            let output = run(&self.model, &ids, &at);
            given.sentence = of_pair(&output);
            given.masked = Some(Guesses::new(output.logits, &wanted, &flat(&ids, &at)));
            return Ok(given);
        };
        let guessed = run(generator, &ids, &at).logits;
        let (read, replaced) = corrupt(&batch.ids, &at, &sample(&guessed));
        given.generator = Some(Guesses::new(guessed, &wanted, &flat(&ids, &at)));
        let tokens = places(&batch.mask.ne(0));
        match self.kind {
            ObjectiveKind::ReplaceMlm => {
                given.masked = Some(Guesses::new(run(&self.model, &read, &at).logits, &wanted, &flat(&read, &at)));
            }
            ObjectiveKind::AllTokensMlm => {
                let output = run(&self.model, &read, &tokens);
                let (weight, bias) =
                    self.copy.as_ref().context("no mechanism to copy; this is a mistake in limbeck")?;
                let copy = flat(&output.encoded.last_hidden.linear(weight, Some(bias)), &tokens);
                let (own, original) = (flat(&read, &tokens), flat(&batch.ids, &tokens));
                given.all = Some(all_tokens(&output.logits, &copy, &own, &original));
                // How well it guesses at masked places, copying aside.
                if !train {
                    given.masked = Some(Guesses::new(self.guesses(&output, &at), &wanted, &flat(&read, &at)));
                }
            }
            _ => {
                let output = run(&self.model, &read, &at);
                let counted = if self.kind == ObjectiveKind::RtdMasked { &at } else { &tokens };
                given.replaced = Some((flat(&output.logits, counted), flat(&replaced, counted)));
            }
        }
        Ok(given)
    }

    fn guesses(&self, output: &ModelOutput, at: &Tensor) -> Tensor {
        let hidden = &output.encoded.last_hidden;
        let rows = hidden.reshape([-1, hidden.size()[2]]).index_select(0, at);
        self.model.masked_lm_logits(&rows).unwrap_or(rows)
    }

    /// The weighted sum of a batch's losses, with each of them by name.
    fn total(&self, given: &Given, batch: &Batch) -> Loss {
        let mut parts = Vec::new();
        let mut total = Tensor::zeros([], (Kind::Float, batch.ids.device()));
        let weight = if self.generator.is_some() { self.weight } else { 1.0 };
        let mut add = |name: &'static str, loss: Tensor, weight: f64| {
            total = &total + &loss * weight;
            parts.push((name, loss.detach()));
        };
        if let Some(guesses) = &given.generator {
            add("generator", guesses.loss(), 1.0);
        }
        if let Some(loss) = &given.all {
            add("all-tokens", loss.shallow_clone(), weight);
        } else if let Some(guesses) = &given.masked {
            add("masked", guesses.loss(), weight);
        }
        if let Some((logits, class)) = &given.sentence {
            add("sentence", cross_entropy(logits, class), 1.0);
        }
        if let Some((logits, replaced)) = &given.replaced {
            let ones = replaced.ones_like();
            // No place is masked in very short texts.
            let loss =
                if replaced.numel() == 0 { logits.sum(Kind::Float) } else { replaced_token(logits, &ones, replaced) };
            add("replaced", loss, weight);
        }
        if let Some((logits, ids, weight)) = &given.next {
            add("next", next_token(logits, ids), *weight);
        }
        for (name, loss, weight) in &given.taught {
            add(name, loss.shallow_clone(), *weight);
        }
        Loss { total, parts }
    }

    /// How well the model does on the examples of a text of so many bytes; their masks are the same each time. Draws from
    /// libtorch's generator.
    pub(super) fn held_out(&self, examples: &[EncodedExample], bytes: usize) -> Result<HeldOut> {
        let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        let mut sums: BTreeMap<&'static str, (f64, f64)> = BTreeMap::new();
        let mut hidden_tokens: BTreeMap<i64, u64> = BTreeMap::new();
        let mut add = |name, sum: f64, count: f64| {
            let entry = sums.entry(name).or_default();
            *entry = (entry.0 + sum, entry.1 + count);
        };
        for indices in in_order_batches(&lengths, EVALUATION_BATCH) {
            let seed = HELD_OUT_SEED ^ indices.first().map_or(0, |&first| first as u64) << 32;
            let batch = Batch::new(examples, indices, self.pad_id, self.device);
            tch::manual_seed(seed as i64 & i64::MAX);
            let given = tch::no_grad(|| self.read(examples, &batch, seed, false))?;
            let rows = batch.indices.len() as f64;
            add("loss", self.total(&given, &batch).total.double_value(&[]) * rows, rows);
            for (guesses, names) in [
                (&given.masked, ["masked_loss", "masked_accuracy", "hidden_accuracy"]),
                (&given.generator, ["generator_loss", "generator_accuracy", "generator_hidden_accuracy"]),
            ] {
                let Some(Guesses { logits, wanted, hidden }) = guesses else { continue };
                let right = logits.argmax(-1, false).eq_tensor(wanted);
                add(names[0], sum_of_cross_entropy(logits, wanted), wanted.numel() as f64);
                add(names[1], count(&right), wanted.numel() as f64);
                add(names[2], count(&right.logical_and(hidden)), count(hidden));
            }
            if let Some(Guesses { wanted, hidden, .. }) = given.generator.as_ref().or(given.masked.as_ref()) {
                for token in Vec::<i64>::try_from(wanted.masked_select(hidden))? {
                    *hidden_tokens.entry(token).or_default() += 1;
                }
            }
            if let Some((logits, wanted)) = &given.sentence {
                let rows = wanted.numel() as f64;
                add("sentence_loss", sum_of_cross_entropy(logits, wanted), rows);
                add("sentence_accuracy", count(&logits.argmax(-1, false).eq_tensor(wanted)), rows);
            }
            if let Some((logits, ids, _)) = &given.next {
                let length = ids.size()[1] - 1;
                let (logits, wanted) = (logits.narrow(1, 0, length), ids.narrow(1, 1, length));
                let tokens = count(&wanted.ne(IGNORED));
                let flat = logits.reshape([-1, logits.size()[2]]);
                let wanted = wanted.reshape([-1]);
                add("next_loss", sum_of_cross_entropy(&flat, &wanted), tokens);
                add("next_accuracy", count(&flat.argmax(-1, false).eq_tensor(&wanted)), tokens);
            }
            if let Some((logits, replaced)) = &given.replaced {
                let (said, is) = (logits.gt(0.0), replaced.ne(0));
                let all = replaced.numel() as f64;
                let loss = binary_cross_entropy(logits, &replaced.to_kind(Kind::Float)).double_value(&[]);
                if all > 0.0 {
                    add("replaced_loss", loss * all, all);
                }
                add("replaced_share", count(&is), all);
                add("replaced_accuracy", count(&said.eq_tensor(&is)), all);
                let found = count(&said.logical_and(&is));
                add("replaced_precision", found, count(&said));
                add("replaced_recall", found, count(&is));
            }
        }
        let of_all = hidden_tokens.values().sum::<u64>().max(1) as f64;
        let commonest = hidden_tokens.values().max().map(|&count| count as f64 / of_all);
        let mean = |name: &str| sums.get(name).filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count);
        Ok(HeldOut {
            loss: mean("loss").context("there is no held-out text")?,
            masked_loss: mean("masked_loss"),
            masked_accuracy: mean("masked_accuracy"),
            hidden_accuracy: mean("hidden_accuracy"),
            frequency_accuracy: commonest,
            sentence_loss: mean("sentence_loss"),
            sentence_accuracy: mean("sentence_accuracy"),
            generator_loss: mean("generator_loss"),
            generator_accuracy: mean("generator_accuracy"),
            generator_hidden_accuracy: mean("generator_hidden_accuracy"),
            replaced_loss: mean("replaced_loss"),
            replaced_share: mean("replaced_share"),
            replaced_accuracy: mean("replaced_accuracy"),
            replaced_precision: mean("replaced_precision"),
            replaced_recall: mean("replaced_recall"),
            next_accuracy: mean("next_accuracy"),
            perplexity: mean("next_loss").map(f64::exp),
            bits_per_byte: sums.get("next_loss").map(|(sum, _)| sum / std::f64::consts::LN_2 / bytes.max(1) as f64),
            examples: examples.len(),
        })
    }
}

fn sum_of_cross_entropy(logits: &Tensor, wanted: &Tensor) -> f64 {
    logits.cross_entropy_loss::<Tensor>(wanted, None, Reduction::Sum, IGNORED, 0.0).double_value(&[])
}

/// How many are true.
fn count(x: &Tensor) -> f64 {
    x.sum(Kind::Int64).int64_value(&[]) as f64
}
