//! What a student learns from a batch: the weighted sum of a stage's losses.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::{Kind, Tensor};

use super::lessons::{Lessons, Set};
use super::masked::{MaskedText, Reading, guessed, is_of_student, masked_lm};
use super::wanted::{LOGITS, Wanted, relation_field};
use crate::arch::{Capture, Head, Layers, ModelConfig, ModelOutput, Params};
use crate::data::{Batch, Goal};
use crate::distill::{
    LayerMap, Padding, attention_distributions, attention_scores, hidden_cosine, hidden_states, kept_rows, relations,
    soft_cross_entropy, soft_labels, soft_spans, soft_targets,
};
use crate::graph::fits_int8_layers;
use crate::objective::{Given, Pupil, mean_squared_error};
use crate::recipe::{LossTerm, Projection, Relation, StageRecipe};
use crate::train::Loss;

const HIDDEN: &str = "distill.hidden.weight";
const EMBEDDINGS: &str = "distill.embeddings.weight";

/// What a stage's losses need of student and teacher.
pub(crate) struct Needs {
    teacher: Option<Wanted>,
    capture: Capture,
    /// The teacher's hidden state for each of the student's, 0 for the embeddings' output.
    hidden: Vec<usize>,
    /// The teacher layer for each student layer.
    attention: Vec<usize>,
    /// Layers of student and teacher.
    depths: (usize, usize),
    /// Attention heads of the teacher.
    heads: usize,
    /// Maps to be learned: `[teacher's width, student's]`.
    projections: Vec<(&'static str, [i64; 2])>,
    /// All fields that are read, by name.
    fields: Vec<String>,
    /// Whether masked text is read, with masked-LM heads.
    masks: bool,
}

impl Needs {
    /// `teacher` is the first one's shape, if there is one.
    ///
    /// # Errors
    /// A layer map that does not fit, heads that do not.
    pub(crate) fn of(stage: &StageRecipe, student: &ModelConfig, teacher: Option<&ModelConfig>) -> Result<Self> {
        let own = student.blocks().len();
        ensure!(
            stage.quantize.is_none() || fits_int8_layers(student, Head::None),
            "stage {}: quantize is for encoders of the BERT kind, whose layers limbeck computes itself; a {} has none",
            stage.name,
            student.family.name()
        );
        let mut needs = Self {
            teacher: None,
            capture: Capture::default(),
            hidden: Vec::new(),
            attention: Vec::new(),
            depths: (own, 0),
            heads: 0,
            projections: Vec::new(),
            fields: Vec::new(),
            masks: stage.masks(),
        };
        let mut wanted = Wanted::default();
        if let Some(teacher) = teacher {
            let depth = teacher.blocks().len();
            needs.depths.1 = depth;
            needs.heads = teacher.attention_heads;
            let within = || format!("stage {}", stage.name);
            if stage.losses.iter().any(LossTerm::reads_map) {
                // Before it is searched, any map tells whether the rest fits.
                let map = if stage.layer_map == LayerMap::Search { &LayerMap::Uniform } else { &stage.layer_map };
                needs.hidden = map.hidden(depth, own).with_context(within)?;
                needs.attention = map.attention(depth, own).with_context(within)?;
            }
            needs.capture_of(stage);
            let widths = [teacher.hidden_size as i64, student.hidden_size as i64];
            needs.projections_of(stage, widths);
            needs.check(stage, student, teacher)?;
        }
        for term in &stage.losses {
            wanted.merge(&needs.wanted(term));
        }
        needs.fields = field_names(&wanted);
        needs.teacher = (wanted != Wanted::default()).then_some(wanted);
        Ok(needs)
    }

    /// What must be known of the teacher; `None` for a stage on labels alone.
    pub(super) fn teacher(&self) -> Option<&Wanted> {
        self.teacher.as_ref()
    }

    /// Names and shapes of the maps that are learned with the student.
    pub(super) fn projections(&self) -> impl Iterator<Item = (&'static str, [i64; 2])> + '_ {
        self.projections.iter().copied()
    }

    /// Whether a parameter that only helps to train is trained in this stage.
    pub(super) fn trains(&self, name: &str) -> bool {
        self.masks && is_of_student(name) || self.projections.iter().any(|(own, _)| *own == name)
    }

    fn wanted(&self, term: &LossTerm) -> Wanted {
        let last = self.depths.1.saturating_sub(1);
        match term {
            LossTerm::Labels { .. } | LossTerm::MaskedLm { .. } => Wanted::default(),
            LossTerm::SoftTargets { .. } | LossTerm::SoftCrossEntropy { .. } | LossTerm::MaskedLmSoftTargets { .. } => {
                Wanted { logits: true, ..Wanted::default() }
            }
            LossTerm::HiddenCosine { .. } => Wanted { hidden: vec![self.depths.1], ..Wanted::default() },
            LossTerm::HiddenStates { .. } => Wanted { hidden: self.hidden[1..].to_vec(), ..Wanted::default() },
            LossTerm::Embeddings { .. } => Wanted { hidden: vec![0], ..Wanted::default() },
            LossTerm::AttentionScores { .. } => Wanted { scores: self.attention.clone(), ..Wanted::default() },
            LossTerm::AttentionDistributions { .. } => Wanted { scores: vec![last], ..Wanted::default() },
            LossTerm::Relations { of, teacher_layer, .. } => {
                let layer = teacher_layer.unwrap_or(last);
                Wanted { relations: of.iter().map(|&of| (of, layer)).collect(), ..Wanted::default() }
            }
        }
    }

    fn capture_of(&mut self, stage: &StageRecipe) {
        let last = Layers::Of(vec![self.depths.0.saturating_sub(1)]);
        for term in &stage.losses {
            match term {
                LossTerm::HiddenStates { .. } | LossTerm::Embeddings { .. } => self.capture.hidden_states = true,
                LossTerm::AttentionScores { .. } => self.capture.attention_scores = Layers::All,
                LossTerm::AttentionDistributions { .. } if self.capture.attention_scores == Layers::None => {
                    self.capture.attention_scores = last.clone();
                }
                LossTerm::Relations { .. } => self.capture.projections = last.clone(),
                _ => {}
            }
        }
    }

    /// Maps are only needed between different widths.
    fn projections_of(&mut self, stage: &StageRecipe, shape: [i64; 2]) {
        if shape[0] == shape[1] {
            return;
        }
        for term in &stage.losses {
            match term {
                LossTerm::HiddenStates { .. } | LossTerm::HiddenCosine { .. } => self.projections.push((HIDDEN, shape)),
                LossTerm::Embeddings { projection, .. } => {
                    let name = if *projection == Projection::Shared { HIDDEN } else { EMBEDDINGS };
                    self.projections.push((name, shape));
                }
                _ => {}
            }
        }
    }

    fn check(&self, stage: &StageRecipe, student: &ModelConfig, teacher: &ModelConfig) -> Result<()> {
        let name = &stage.name;
        for term in &stage.losses {
            match term {
                LossTerm::AttentionScores { .. } | LossTerm::AttentionDistributions { .. } => ensure!(
                    student.attention_heads == teacher.attention_heads,
                    "stage {name}: {} compares head with head, and the student has {} heads, the teacher {}; give both \
                     as many (student.attention_heads), or use relations",
                    term.name(),
                    student.attention_heads,
                    teacher.attention_heads
                ),
                LossTerm::MaskedLm { .. } => Head::MaskedLm.check(student)?,
                LossTerm::MaskedLmSoftTargets { .. } => {
                    Head::MaskedLm.check(student)?;
                    ensure!(
                        student.vocab_size == teacher.vocab_size,
                        "stage {name}: {} compares token with token, and the student has a vocabulary of {}, the teacher \
                         of {}",
                        term.name(),
                        student.vocab_size,
                        teacher.vocab_size
                    );
                }
                LossTerm::Relations { heads, teacher_layer, .. } => {
                    let heads = heads.unwrap_or(teacher.attention_heads);
                    ensure!(
                        [student, teacher].iter().all(|model| model.attention_size().is_multiple_of(heads)),
                        "stage {name}: {heads} relation heads do not divide the widths of attention {} and {}; name \
                         another number (heads)",
                        student.attention_size(),
                        teacher.attention_size()
                    );
                    if let Some(layer) = teacher_layer {
                        ensure!(
                            *layer < self.depths.1,
                            "stage {name}: relations of teacher layer {layer}; the teacher ends at {}",
                            self.depths.1 - 1
                        );
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn field_names(wanted: &Wanted) -> Vec<String> {
    let mut names = Vec::new();
    if wanted.logits {
        names.push(LOGITS.to_owned());
    }
    names.extend(wanted.hidden.iter().map(|state| format!("hidden.{state}")));
    names.extend(wanted.scores.iter().map(|layer| format!("scores.{layer}")));
    names.extend(wanted.relations.iter().map(|&(of, layer)| relation_field(of, layer)));
    names
}

/// A stage at work.
pub(super) struct Lesson<'a> {
    pub pupil: &'a Pupil<'a>,
    pub stage: &'a StageRecipe,
    pub needs: &'a Needs,
    pub lessons: Option<&'a Lessons>,
    /// In place of them, where both read masked text.
    pub masked: Option<&'a MaskedText<'a>>,
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
            None => (self.pupil.forward(batch, &self.needs.capture, train), None),
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
            Goal::Tags => Ok((kept_rows(logits, side.mask)?, kept_rows(teacher, side.mask)?)),
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
            LossTerm::AttentionDistributions { .. } => {
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
