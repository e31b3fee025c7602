//! What a student learns from a batch: the weighted sum of a stage's losses.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};

use super::lessons::{ANSWERED, Lessons, Set};
use super::masked::{MaskedText, Reading, guessed, masked_lm};
use super::needs::{EMBEDDINGS, HIDDEN, Needs};
use super::replacing::Replacing;
use super::wanted::{LOGITS, relation_field};
use crate::arch::{ModelOutput, Params};
use crate::data::{Batch, Goal};
use crate::distill::{
    Padding, attention_distributions, attention_scores, hidden_cosine, hidden_states, kept_rows, patience, relations,
    soft_cross_entropy, soft_labels, soft_spans, soft_targets, state_similarities,
};
use crate::objective::{Given, Pupil, mean_squared_error};
use crate::recipe::{Attending, LossTerm, Projection, Relation, StageRecipe};
use crate::train::Loss;

/// A stage at work.
pub(super) struct Lesson<'a> {
    pub pupil: &'a Pupil<'a>,
    pub stage: &'a StageRecipe,
    pub needs: &'a Needs,
    pub lessons: Option<&'a Lessons>,
    /// In place of them, where both read masked text.
    pub masked: Option<&'a MaskedText<'a>>,
    /// Where the student's layers stand among the teacher's.
    pub replacing: Option<&'a Replacing<'a>>,
    /// The student's, with the maps to the teacher's width.
    pub params: &'a Params,
}

/// One text's side of a batch: what the student gave, what the teacher gave, and which positions are tokens.
struct Side<'a> {
    own: &'a ModelOutput,
    teacher: BTreeMap<String, Tensor>,
    mask: &'a Tensor,
}

impl Side<'_> {
    fn teacher(&self, name: &str) -> Result<&Tensor> {
        self.teacher.get(name).with_context(|| format!("the teacher's `{name}` is not there"))
    }
}

impl Lesson<'_> {
    /// The loss of a batch when `done` of the stage, 0 to 1, is behind; `train` switches dropout on. On dev each loss counts
    /// with the larger end of its weight: epochs are compared there, also by losses that fade away.
    pub(super) fn loss(&self, batch: &Batch, set: Set, done: f64, train: bool) -> Result<Loss> {
        let (given, mut live) = match self.masked {
            None => match self.replacing.filter(|_| set == Set::Train) {
                None => (self.pupil.forward(batch, &self.needs.capture, train), None),
                Some(replacing) => {
                    let model = replacing.model(done)?;
                    let mixed = Pupil { model: &model, ..*self.pupil };
                    (mixed.forward(batch, &self.needs.capture, train), None)
                }
            },
            Some(masked) => {
                let Reading { own, teacher, targets } = masked.read(batch, set, &self.needs.capture, train)?;
                (Given { logits: own.logits.shallow_clone(), sides: vec![own] }, Some((teacher, targets)))
            }
        };
        let masks = std::iter::once(&batch.mask).chain(batch.partner.iter().map(|(_, mask)| mask));
        let mut sides = Vec::new();
        for (index, (own, mask)) in given.sides.iter().zip(masks).enumerate() {
            let teacher = match (&mut live, self.lessons) {
                (Some((teacher, _)), _) => std::mem::take(teacher),
                (None, Some(lessons)) => {
                    lessons.batch(set, &batch.indices, index, &self.needs.fields, batch.ids.device())?
                }
                (None, None) => BTreeMap::new(),
            };
            sides.push(Side { own, teacher, mask });
        }
        let targets = || live.as_ref().map(|(_, targets)| targets).context("the text is not masked");
        let mut total: Option<Tensor> = None;
        let mut parts = Vec::new();
        for term in &self.stage.losses {
            let value = match term {
                LossTerm::Labels { .. } => self.pupil.loss_of(&given.logits, batch),
                LossTerm::SoftTargets { temperature, .. } => self.soft(&given.logits, &sides, temperature.at(done))?,
                LossTerm::SoftCrossEntropy { temperature, averaging, .. } => {
                    let (own, teacher) = self.rows(&given.logits, &sides)?;
                    soft_cross_entropy(&own, &teacher, temperature.at(done), *averaging)?
                }
                LossTerm::MaskedLm { .. } => masked_lm(&given.logits, targets()?)?,
                LossTerm::MaskedLmSoftTargets { temperature, restrict_to_mask, .. } => {
                    let side = sides.first().context("a batch without texts")?;
                    let rows = if *restrict_to_mask { guessed(targets()?) } else { side.mask.shallow_clone() };
                    let (own, teacher) = (kept_rows(&given.logits, &rows)?, kept_rows(side.teacher(LOGITS)?, &rows)?);
                    soft_targets(&own, &teacher, temperature.at(done))?
                }
                layers => {
                    let each = sides.iter().map(|side| self.of_layers(layers, side)).collect::<Result<Vec<_>>>()?;
                    mean(each)?
                }
            };
            parts.push((term.name(), value.detach()));
            let weight = match set {
                Set::Train => term.weight().at(done),
                Set::Dev => term.weight().largest(),
            };
            let weighted = value * weight;
            total = Some(match total {
                Some(sum) => sum + weighted,
                None => weighted,
            });
        }
        Ok(Loss { total: total.context("a stage without losses")?, parts })
    }

    /// Rows of logits over the same classes, of student and teacher: of texts, or of all tokens.
    fn rows(&self, logits: &Tensor, sides: &[Side]) -> Result<(Tensor, Tensor)> {
        let side = sides.first().context("a batch without texts")?;
        let teacher = side.teacher(LOGITS)?;
        match self.pupil.goal {
            Goal::Class => Ok((logits.shallow_clone(), teacher.shallow_clone())),
            Goal::Tags => {
                // A file answers words, by their first tokens; a model all tokens.
                let kept = side.teacher.get(ANSWERED).unwrap_or(side.mask);
                Ok((kept_rows(logits, kept)?, kept_rows(teacher, kept)?))
            }
            goal => anyhow::bail!(
                "stage {}: soft-cross-entropy is for one label a text or token, not for {}; use soft-targets",
                self.stage.name,
                goal.measure()
            ),
        }
    }

    fn soft(&self, logits: &Tensor, sides: &[Side], temperature: f64) -> Result<Tensor> {
        let side = sides.first().context("a batch without texts")?;
        match self.pupil.goal {
            Goal::Class | Goal::Tags => {
                let (own, teacher) = self.rows(logits, sides)?;
                soft_targets(&own, &teacher, temperature)
            }
            Goal::Labels => soft_labels(logits, side.teacher(LOGITS)?, temperature),
            Goal::Value => Ok(mean_squared_error(logits, &side.teacher(LOGITS)?.squeeze_dim(-1))),
            Goal::Answers => soft_spans(logits, side.teacher(LOGITS)?, side.mask, temperature),
            Goal::Similarity { .. } => {
                let own: Vec<&Tensor> = sides.iter().map(|side| &side.own.logits).collect();
                let teacher: Vec<&Tensor> = sides.iter().map(|side| side.teacher(LOGITS)).collect::<Result<_>>()?;
                Ok(mean_squared_error(&cosines(&own), &cosines(&teacher)))
            }
        }
    }

    fn of_layers(&self, term: &LossTerm, side: &Side) -> Result<Tensor> {
        let needs = self.needs;
        let projection = |name: &str| self.params.get(name);
        let (own, mask) = (&side.own.encoded, side.mask);
        let teacher_last = needs.depths.1.saturating_sub(1);
        let state = |index: usize| own.hidden_states.get(index).context("the student's hidden states are not there");
        match term {
            LossTerm::HiddenCosine { .. } => {
                let teacher = side.teacher(&format!("hidden.{}", needs.depths.1))?;
                match projection(HIDDEN) {
                    Some(map) => hidden_cosine(&own.last_hidden.matmul(&map.tr()), teacher, mask),
                    None => hidden_cosine(&own.last_hidden, teacher, mask),
                }
            }
            LossTerm::HiddenStates { padding, .. } => {
                // The paper sums over layers.
                let pairs = needs.hidden.iter().enumerate().skip(1);
                sum(pairs
                    .map(|(index, from)| {
                        let [own, teacher] = [state(index)?, side.teacher(&format!("hidden.{from}"))?]
                            .map(|states| compared(states, mask, *padding));
                        hidden_states(&own, &teacher, mask, projection(HIDDEN), *padding)
                    })
                    .collect::<Result<_>>()?)
            }
            LossTerm::Embeddings { padding, projection: which, .. } => {
                let map = if *which == Projection::Shared { projection(HIDDEN) } else { projection(EMBEDDINGS) };
                let [own, teacher] =
                    [state(0)?, side.teacher("hidden.0")?].map(|states| compared(states, mask, *padding));
                hidden_states(&own, &teacher, mask, map, *padding)
            }
            LossTerm::AttentionScores { padding, .. } => {
                let pairs = needs.attention.iter().enumerate();
                sum(pairs
                    .map(|(layer, from)| {
                        let scores = own.attention_scores.get(&layer).context("the student's scores are not there")?;
                        attention_scores(scores, side.teacher(&format!("scores.{from}"))?, mask, *padding)
                    })
                    .collect::<Result<_>>()?)
            }
            LossTerm::Patience { .. } => {
                let pairs = needs.hidden.iter().enumerate().take(needs.depths.0).skip(1);
                sum(pairs
                    .map(|(index, from)| {
                        patience(state(index)?, side.teacher(&format!("hidden.{from}"))?, projection(HIDDEN))
                    })
                    .collect::<Result<_>>()?)
            }
            LossTerm::StateSimilarities { .. } => {
                let pairs = needs.hidden.iter().enumerate().skip(1);
                sum(pairs
                    .map(|(index, from)| {
                        state_similarities(state(index)?, side.teacher(&format!("hidden.{from}"))?, mask)
                    })
                    .collect::<Result<_>>()?)
            }
            LossTerm::AttentionDistributions { layers: Attending::Mapped, .. } => {
                let pairs = needs.attention.iter().enumerate();
                sum(pairs
                    .map(|(layer, from)| {
                        let scores = own.attention_scores.get(&layer).context("the student's scores are not there")?;
                        attention_distributions(scores, side.teacher(&format!("scores.{from}"))?, mask)
                    })
                    .collect::<Result<_>>()?)
            }
            LossTerm::AttentionDistributions { layers: Attending::Last, .. } => {
                let scores =
                    own.attention_scores.get(&(needs.depths.0 - 1)).context("the student's scores are not there")?;
                attention_distributions(scores, side.teacher(&format!("scores.{teacher_last}"))?, mask)
            }
            LossTerm::Relations { of, heads, teacher_layer, .. } => {
                let layer = teacher_layer.unwrap_or(teacher_last);
                let all =
                    own.projections.get(&(needs.depths.0 - 1)).context("the student's projections are not there")?;
                let heads = heads.unwrap_or(needs.heads);
                mean(
                    of.iter()
                        .map(|&of| {
                            let own = match of {
                                Relation::Query => &all.query,
                                Relation::Key => &all.key,
                                Relation::Value => &all.value,
                            };
                            relations(own, side.teacher(&relation_field(of, layer))?, mask, heads)
                        })
                        .collect::<Result<_>>()?,
                )
            }
            other => anyhow::bail!("{} is no loss on layers", other.name()),
        }
    }
}

/// States as they are compared. Where padding counts they are 0 there on both sides: what is kept of a teacher is without
/// padding, and its states there are of no text.
fn compared(states: &Tensor, mask: &Tensor, padding: Padding) -> Tensor {
    match padding {
        Padding::Excluded => states.shallow_clone(),
        Padding::Counted => states * mask.unsqueeze(-1).to_kind(states.kind()),
    }
}

fn mean(values: Vec<Tensor>) -> Result<Tensor> {
    ensure!(!values.is_empty(), "nothing to compare");
    Ok(Tensor::stack(&values, 0).mean(Kind::Float))
}

fn sum(values: Vec<Tensor>) -> Result<Tensor> {
    ensure!(!values.is_empty(), "nothing to compare");
    Ok(Tensor::stack(&values, 0).sum(Kind::Float))
}

/// The cosines between all vectors of a batch, `[texts, texts]`.
fn cosines(sides: &[&Tensor]) -> Tensor {
    let vectors = Tensor::cat(sides, 0);
    let unit = &vectors / vectors.norm_scalaropt_dim(2.0, [1i64].as_slice(), true).clamp_min(1e-12);
    unit.matmul(&unit.tr())
}
