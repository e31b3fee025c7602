//! What a stage needs of student and teacher, known before either has run.

use anyhow::{Context, Result, ensure};

use super::masked::is_of_student;
use super::replacing::can_replace;
use super::wanted::{LOGITS, Wanted, relation_field};
use crate::arch::{Capture, Head, Layers, ModelConfig};
use crate::distill::LayerMap;
use crate::graph::fits_int8_layers;
use crate::recipe::{Attending, LossTerm, Projection, StageRecipe};

pub(super) const HIDDEN: &str = "distill.hidden.weight";
pub(super) const EMBEDDINGS: &str = "distill.embeddings.weight";

/// What a stage's losses need of student and teacher.
pub(crate) struct Needs {
    teacher: Option<Wanted>,
    pub(super) capture: Capture,
    /// The teacher's hidden state for each of the student's, 0 for the embeddings' output.
    pub(super) hidden: Vec<usize>,
    /// The teacher layer for each student layer.
    pub(super) attention: Vec<usize>,
    /// Layers of student and teacher.
    pub(super) depths: (usize, usize),
    /// Attention heads of the teacher.
    pub(super) heads: usize,
    /// Maps to be learned: `[teacher's width, student's]`.
    projections: Vec<(&'static str, [i64; 2])>,
    /// All fields that are read, by name.
    pub(super) fields: Vec<String>,
    /// Whether masked-LM heads are read.
    guesses: bool,
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
            capture: Capture::LOGITS,
            hidden: Vec::new(),
            attention: Vec::new(),
            depths: (own, 0),
            heads: 0,
            projections: Vec::new(),
            fields: Vec::new(),
            guesses: stage.guesses(),
        };
        ensure!(
            stage.replacing.is_none() || teacher.is_some(),
            "stage {}: replacing needs the teacher itself, and there are only its answers",
            stage.name
        );
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
        self.guesses && is_of_student(name) || self.projections.iter().any(|(own, _)| *own == name)
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
            // All but the student's last.
            LossTerm::Patience { .. } => Wanted { hidden: self.hidden[1..self.depths.0].to_vec(), ..Wanted::default() },
            LossTerm::StateSimilarities { .. } => Wanted { hidden: self.hidden[1..].to_vec(), ..Wanted::default() },
            LossTerm::AttentionScores { .. } | LossTerm::AttentionDistributions { layers: Attending::Mapped, .. } => {
                Wanted { scores: self.attention.clone(), ..Wanted::default() }
            }
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
                LossTerm::HiddenStates { .. }
                | LossTerm::Embeddings { .. }
                | LossTerm::Patience { .. }
                | LossTerm::StateSimilarities { .. } => self.capture.hidden_states = true,
                LossTerm::AttentionScores { .. }
                | LossTerm::AttentionDistributions { layers: Attending::Mapped, .. } => {
                    self.capture.attention_scores = Layers::All;
                }
                LossTerm::AttentionDistributions { .. } if self.capture.attention_scores == Layers::None => {
                    self.capture.attention_scores = last.clone();
                }
                LossTerm::Relations { .. } => self.capture.projections = last.clone(),
                LossTerm::HiddenCosine { .. } => self.capture.head_only = false,
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
                LossTerm::HiddenStates { .. } | LossTerm::HiddenCosine { .. } | LossTerm::Patience { .. } => {
                    self.projections.push((HIDDEN, shape));
                }
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
        if stage.replacing.is_some() {
            can_replace(student, teacher).with_context(|| format!("stage {name}: replacing"))?;
        }
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
                LossTerm::Patience { .. } => ensure!(
                    self.depths.0 > 1,
                    "stage {name}: patience compares all layers but the student's last, and the student has one; give it \
                     more, or take hidden-states"
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
