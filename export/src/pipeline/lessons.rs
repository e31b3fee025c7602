//! What teachers give for the texts of a stage: computed once and kept on disk, or read from a file of answers.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::{Device, Tensor};

use super::answers::{Answers, by_token};
use super::data::Tokens;
use super::run::Run;
use super::teacher::Teacher;
use super::wanted::{LOGITS, Wanted};
use crate::arch::Model;
use crate::data::{Batch, EncodedExample, Encoder, Goal};
use crate::distill::{CacheKey, Field, TeacherCache, rows_sha256};
use crate::recipe::{Recipe, TeacherState, Texts};

/// Where a stage's teacher outputs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Computed once and kept on disk.
    Cache,
    /// Computed anew in every step: what the cache is measured against.
    EachStep,
}

/// What one teacher gives for a set of examples.
enum Outputs {
    /// By side, computed when asked for.
    Live(Vec<Side>),
    /// By side: of pairs that are read apart there are two.
    Cached(Vec<TeacherCache>),
    /// `[examples, labels]`, from a file.
    Answers(Tensor),
    /// `[words, labels]`, from a file, and for each token of each example which word's it is.
    Words(Tensor, Vec<Vec<i64>>),
}

/// The field of which tokens a file answers, `[batch, length]`, 1 or 0; where it is not there, all are answered.
pub(super) const ANSWERED: &str = "answered";

/// What all teachers give for the training texts and for dev.
pub(super) struct Lessons {
    /// By teacher, with the weight of its answers (which add up to 1).
    train: Vec<(f64, Outputs)>,
    dev: Vec<(f64, Outputs)>,
    goal: Goal,
}

/// Which texts a batch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    Train,
    Dev,
}

impl Lessons {
    /// Computes, or finds on disk, what `wanted` names for a stage's texts.
    pub(super) fn learn(
        run: &Run,
        teachers: &[Teacher],
        on: Texts,
        state: TeacherState,
        wanted: &Wanted,
        (student, encoder): (&Tokens, &Encoder),
        source: Source,
    ) -> Result<Self> {
        if let Some(answers) = &run.sets.answers {
            ensure!(
                matches!(on, Texts::Train | Texts::Unlabelled) && student.train.len() <= answers.rows,
                "a teacher's answers as a file are to the training rows and texts without labels alone"
            );
            return Self::of_answers(answers, run.data.goal, encoder);
        }
        let mut lessons = Self { train: Vec::new(), dev: Vec::new(), goal: run.data.goal };
        let weights = answer_weights(run.recipe, teachers.len())?;
        for (index, (teacher, weight)) in teachers.iter().zip(weights).enumerate() {
            let wanted = wanted.of_teacher(index);
            if wanted == Wanted::default() {
                continue;
            }
            let tokens = run.encode(on, &teacher.encoder)?;
            if wanted.by_token(run.data.goal) {
                ensure!(
                    same_lengths(&tokens.train, &student.train) && same_lengths(&tokens.dev, &student.dev),
                    "{} cuts texts into other tokens than the student: only its answers to whole texts can be learned{}; \
                     give the student the teacher's tokenizer",
                    teacher.name,
                    if wanted.layers() { ", without losses on layers" } else { "" }
                );
            }
            let make = |examples: &[EncodedExample]| {
                let sides = Side::of(run, teacher, state, &wanted, examples)?;
                Ok::<_, anyhow::Error>(match source {
                    Source::Cache => Outputs::Cached(cached(run, teacher, state, &sides)?),
                    Source::EachStep => Outputs::Live(sides),
                })
            };
            lessons.train.push((weight, make(&tokens.train)?));
            lessons.dev.push((weight, make(&tokens.dev)?));
        }
        Ok(lessons)
    }

    fn of_answers(answers: &Answers, goal: Goal, encoder: &Encoder) -> Result<Self> {
        let logits = answers.logits.shallow_clone();
        let outputs = match goal {
            Goal::Tags => Outputs::Words(logits, answers.places(encoder)?),
            _ => Outputs::Answers(logits),
        };
        Ok(Self { train: vec![(1.0, outputs)], dev: Vec::new(), goal })
    }

    /// Bytes of all caches.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = self.train.iter().chain(&self.dev).map(|(_, outputs)| match outputs {
            Outputs::Cached(sides) => sides.iter().map(TeacherCache::size_bytes).sum(),
            Outputs::Live(_) | Outputs::Answers(_) | Outputs::Words(..) => 0,
        });
        sizes.sum()
    }

    /// Whether dev can be compared with the teacher too.
    pub(super) fn has_dev(&self) -> bool {
        !self.dev.is_empty()
    }

    /// The fields of one side of a batch, padded as its longest text; of several teachers the weighted mean of what
    /// their heads give, and of embeddings their vectors one after the other, so that cosines are weighted means.
    pub(super) fn batch(
        &self,
        set: Set,
        indices: &[usize],
        side: usize,
        fields: &[String],
        device: Device,
    ) -> Result<BTreeMap<String, Tensor>> {
        let teachers = if set == Set::Train { &self.train } else { &self.dev };
        let mut all: BTreeMap<String, Tensor> = BTreeMap::new();
        for (index, (weight, outputs)) in teachers.iter().enumerate() {
            // Layers are the first teacher's.
            let asked: Vec<&str> =
                fields.iter().map(String::as_str).filter(|name| index == 0 || *name == LOGITS).collect();
            let found = match outputs {
                Outputs::Live(sides) => {
                    let side = sides.get(side).context("the teacher has no such side")?;
                    let mut found = tch::no_grad(|| side.outputs(indices))?;
                    found.retain(|name, _| asked.contains(&name.as_str()));
                    found
                }
                Outputs::Cached(sides) => {
                    let cache = sides.get(side).context("the teacher has no such side")?;
                    cache.batch(indices, &asked, device)?
                }
                Outputs::Answers(logits) => {
                    let rows: Vec<i64> = indices.iter().map(|&i| i as i64).collect();
                    let rows = logits.index_select(0, &Tensor::from_slice(&rows)).to_device(device);
                    BTreeMap::from([(LOGITS.to_owned(), rows)])
                }
                Outputs::Words(logits, places) => {
                    let rows = indices.iter().map(|&row| places.get(row).map(Vec::as_slice));
                    let rows: Vec<&[i64]> = rows.collect::<Option<_>>().context("a text that was not answered")?;
                    let (logits, answered) = by_token(logits, &rows, device);
                    BTreeMap::from([(LOGITS.to_owned(), logits), (ANSWERED.to_owned(), answered)])
                }
            };
            for (name, tensor) in found {
                let several = teachers.len() > 1 && name == LOGITS;
                let tensor = match (several, self.goal) {
                    (false, _) => tensor,
                    (true, Goal::Similarity { .. }) => {
                        let norms = tensor.norm_scalaropt_dim(2.0, [1i64].as_slice(), true).clamp_min(1e-12);
                        tensor / norms * weight.sqrt()
                    }
                    (true, _) => tensor * *weight,
                };
                match all.remove(&name) {
                    None => all.insert(name, tensor),
                    Some(sum) => {
                        let joined = if matches!(self.goal, Goal::Similarity { .. }) {
                            Tensor::cat(&[sum, tensor], 1)
                        } else {
                            sum + tensor
                        };
                        all.insert(name, joined)
                    }
                };
            }
        }
        Ok(all)
    }
}

/// How much each teacher's answers count; they add up to 1.
///
/// # Errors
/// Weights for another number of teachers.
pub(crate) fn answer_weights(recipe: &Recipe, teachers: usize) -> Result<Vec<f64>> {
    let given = &recipe.teacher.weights;
    ensure!(
        given.is_empty() || given.len() == teachers,
        "teacher.weights has {} numbers for {teachers} teachers",
        given.len()
    );
    let weights = if given.is_empty() { vec![1.0; teachers] } else { given.clone() };
    let sum: f64 = weights.iter().sum();
    Ok(weights.into_iter().map(|weight| weight / sum).collect())
}

pub(crate) fn same_lengths(first: &[EncodedExample], second: &[EncodedExample]) -> bool {
    first.len() == second.len()
        && first.iter().zip(second).all(|(a, b)| a.ids.len() == b.ids.len() && a.partner.len() == b.partner.len())
}

/// The texts of one side of a set of examples, and the teacher that reads them.
struct Side {
    model: Model,
    wanted: Wanted,
    examples: Vec<EncodedExample>,
    fields: Vec<Field>,
    pad_id: usize,
    types: bool,
    device: Device,
}

impl Side {
    /// One, or two where the texts of a pair are read each by itself.
    fn of(
        run: &Run,
        teacher: &Teacher,
        state: TeacherState,
        wanted: &Wanted,
        examples: &[EncodedExample],
    ) -> Result<Vec<Self>> {
        let sides = if examples.iter().any(|example| !example.partner.is_empty()) { 2 } else { 1 };
        let own = |side| {
            let own = examples.iter().map(|example| match side {
                0 => EncodedExample { partner: Vec::new(), ..example.clone() },
                _ => EncodedExample::new(example.partner.clone(), example.target.clone()),
            });
            own.collect()
        };
        (0..sides)
            .map(|side| {
                Ok(Self {
                    model: teacher.model(state)?.answering_in(teacher.precision),
                    wanted: wanted.clone(),
                    examples: own(side),
                    fields: wanted.fields(&teacher.config, run.data.goal, run.data.labels.len()),
                    pad_id: teacher.config.pad_id,
                    types: teacher.types(),
                    device: run.options.device,
                })
            })
            .collect()
    }

    /// The teacher's outputs for some examples, padded as the longest of them.
    fn outputs(&self, indices: &[usize]) -> Result<BTreeMap<String, Tensor>> {
        let batch = Batch::new(&self.examples, indices.to_vec(), self.pad_id, self.device);
        let types = batch.types.as_ref().filter(|_| self.types);
        self.wanted.gather(&self.model.forward(&batch.ids, &batch.mask, types, &self.wanted.capture(), false))
    }
}

/// The outputs on disk, by side.
fn cached(run: &Run, teacher: &Teacher, state: TeacherState, sides: &[Side]) -> Result<Vec<TeacherCache>> {
    let mut caches = Vec::new();
    for side in sides {
        let rows = side.examples.iter().flat_map(|example| [example.ids.as_slice(), example.types.as_slice()]);
        let key = CacheKey {
            teacher: teacher.sha256(state),
            data: rows_sha256(rows),
            max_tokens: run.recipe.max_tokens,
            fields: side.fields.clone(),
        };
        let lengths: Vec<usize> = side.examples.iter().map(|example| example.ids.len()).collect();
        let mut cache = TeacherCache::open(&run.options.cache, &key, &lengths, run.reporter)?;
        if run.leads() {
            cache.fill(&mut |indices| side.outputs(indices), run.reporter)?;
        }
        run.group.barrier()?;
        if !run.leads() {
            cache = TeacherCache::open(&run.options.cache, &key, &lengths, run.reporter)?;
        }
        caches.push(cache);
    }
    Ok(caches)
}
