//! Stages on masked text (DistilBERT's general distillation; TinyBERT's, as first released): student and teacher read the
//! same masked tokens, so the teacher is asked as they are drawn. Where a loss looks at guesses, each has a masked-LM head on
//! its encoder.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use super::data::Tokens;
use super::lessons::Set;
use super::needs::Needs;
use super::run::Training;
use super::wanted::Wanted;
use crate::arch::{Capture, Head, Model, ModelOutput, Params, parameter_layout};
use crate::checkpoint;
use crate::data::{Batch, Masked, Masker};
use crate::distill::kept_rows;
use crate::objective::{IGNORED, cross_entropy};
use crate::pack::mask_id;
use crate::recipe::StageRecipe;
use crate::train::Precision;

/// What stands before the names of a student's masked-LM head, which it has besides the head of its task.
const PREFIX: &str = "distill.masked-lm.";
const HEAD: &str = "head.";
/// Dev is masked the same way each time, so that its scores can be compared.
const DEV_SEED: u64 = 0x5DEE_CE66;

/// The names of a student's masked-LM head among its parameters, by those that the head has by itself (`head.`...).
pub(super) fn student_names(head: &BTreeMap<String, Tensor>) -> impl Iterator<Item = (String, Tensor)> + '_ {
    head.iter()
        .map(|(name, tensor)| (format!("{PREFIX}{}", name.strip_prefix(HEAD).unwrap_or(name)), tensor.shallow_clone()))
}

/// Whether a parameter is one of a student's masked-LM head.
pub(super) fn is_of_student(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The parameters of a folder's masked language model, on the tensors of `encoder`, which was read from the same folder;
/// `None` where the folder has no such head.
///
/// # Errors
/// A folder that cannot be read; an architecture without masked-LM heads.
pub(super) fn masked_lm_of(folder: &Path, encoder: &Params, device: Device) -> Result<Option<Params>> {
    let loaded = checkpoint::load(folder, Head::MaskedLm, device)?;
    if loaded.initialised.iter().any(|name| name.starts_with(HEAD)) {
        return Ok(None);
    }
    let body = encoder.iter().filter(|(name, _)| !name.starts_with(HEAD));
    let head = loaded.params.iter().filter(|(name, _)| name.starts_with(HEAD));
    Ok(Some(Params::handles(body.chain(head), device)))
}

/// Refuses a teacher without the masked-LM head that stages on masked text learn from.
///
/// # Errors
/// That; a folder that cannot be read.
pub(crate) fn has_masked_lm(folder: &Path) -> Result<()> {
    let loaded = checkpoint::load_arrays(folder, Some(Head::MaskedLm)).map(drop);
    loaded.with_context(|| {
        format!(
            "{} has no masked-LM head, which losses of masked language models learn from; give a masked language model, \
             such as bert-base-uncased",
            folder.display()
        )
    })
}

/// A stage's models and the masked text that they read.
pub(super) struct MaskedText<'a> {
    student: Model,
    /// With what is wanted of it.
    teacher: Option<(Model, &'a Wanted)>,
    masker: Masker,
    tokens: &'a Tokens,
    pad_id: usize,
}

/// What both gave for a batch.
pub(super) struct Reading {
    pub own: ModelOutput,
    /// By field; empty where nothing is wanted of the teacher.
    pub teacher: BTreeMap<String, Tensor>,
    /// `[batch, length]`, see [`Masked::targets`].
    pub targets: Tensor,
}

impl<'a> MaskedText<'a> {
    /// `params` are the student's with its masked-LM head where the stage looks at guesses, rounded as its stage says. The head
    /// itself is dropped in the end, and never rounded.
    ///
    /// # Errors
    /// A tokenizer without mask token; a teacher without masked-LM head, or that numbers tokens otherwise.
    pub(super) fn new(
        training: &Training,
        stage: &StageRecipe,
        needs: &'a Needs,
        params: &Params,
        tokens: &'a Tokens,
        precision: Precision,
    ) -> Result<Self> {
        let Training { config, info, encoder, tokenizer, .. } = *training;
        let (masking, guesses) = (stage.masking.unwrap_or_default(), stage.guesses());
        // Layers are compared below whatever head there is.
        let head = |own: Head| if guesses { Head::MaskedLm } else { own };
        let own = params.iter().filter_map(|(name, tensor)| match name.strip_prefix(PREFIX) {
            Some(rest) => guesses.then(|| (format!("{HEAD}{rest}"), tensor)),
            None => (!guesses || !name.starts_with(HEAD)).then(|| (name.to_owned(), tensor)),
        });
        let own = Params::handles(own, params.device()).fake_quantized(params.rounding());
        let lacking = parameter_layout(config, head(info.head)).into_iter().find(|spec| own.get(&spec.name).is_none());
        ensure!(lacking.is_none(), "the student has no masked-LM head; this is a mistake in limbeck");
        let teacher = match needs.teacher() {
            None => None,
            Some(wanted) => {
                let teacher = training.teachers.first().context("a stage on masked text needs a teacher")?;
                ensure!(
                    teacher.encoder.same_vocabulary(encoder),
                    "{} numbers tokens otherwise than the student: they cannot read the same masked text; give the \
                     student the teacher's tokenizer, or leave its losses of masked language models and its masking out",
                    teacher.name
                );
                let (params, lacks) = match guesses {
                    true => (&teacher.masked_lm, "masked-LM head"),
                    false => (&teacher.pretrained, "encoder as it came"),
                };
                let params = params.as_ref().with_context(|| format!("{} has no {lacks}", teacher.name))?;
                let model = Model::new(params, &teacher.config, head(teacher.info.head));
                Some((model.answering_in(teacher.precision), wanted))
            }
        };
        let mask = mask_id(tokenizer.parent().context("the tokenizer has no folder")?)?.into();
        let special: Vec<i64> = encoder.special_tokens().into_iter().chain([config.pad_id as i64]).collect();
        Ok(Self {
            student: Model::new(&own, config, head(info.head)).in_precision(precision),
            teacher,
            masker: Masker::new(masking, &tokens.train, config.vocab_size, &special, mask)?,
            tokens,
            pad_id: config.pad_id,
        })
    }

    /// Masks a batch and has both read it. In training the mask is drawn by libtorch's generator, which each micro-batch
    /// of each step begins with a seed of its own.
    pub(super) fn read(&self, batch: &Batch, set: Set, capture: &Capture, train: bool) -> Result<Reading> {
        let (examples, seed) = match set {
            Set::Train => (&self.tokens.train, drawn_seed()),
            Set::Dev => (&self.tokens.dev, DEV_SEED ^ (batch.indices.first().map_or(0, |&first| first as u64) << 32)),
        };
        let rows: Vec<&[i64]> = batch.indices.iter().map(|&index| examples[index].ids.as_slice()).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let Masked { ids, targets } = self.masker.mask(&rows, self.pad_id, &mut rng, batch.ids.device());
        let own = self.student.forward(&ids, &batch.mask, None, capture, train);
        let teacher = match &self.teacher {
            None => BTreeMap::new(),
            Some((model, wanted)) => {
                let given = tch::no_grad(|| model.forward(&ids, &batch.mask, None, &wanted.capture(), false));
                wanted.gather(&given)?
            }
        };
        Ok(Reading { own, teacher, targets })
    }
}

fn drawn_seed() -> u64 {
    Tensor::randint(i64::MAX, [1], (Kind::Int64, Device::Cpu)).int64_value(&[0]) as u64
}

/// Which tokens are to be guessed, `[batch, length]`, 1 or 0.
pub(super) fn guessed(targets: &Tensor) -> Tensor {
    targets.ne(IGNORED).to_kind(Kind::Int64)
}

/// Mean cross-entropy of `[batch, length, vocabulary]` logits at the tokens that are to be guessed; 0 where there are
/// none. The softmax is taken over those tokens alone.
pub(super) fn masked_lm(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let guessed = guessed(targets);
    let rows = kept_rows(logits, &guessed)?;
    let labels = targets.masked_select(&guessed.to_kind(Kind::Bool));
    Ok(cross_entropy(&rows, &labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_guessed_tokens_count() {
        let _turn = crate::seeded(41);
        let logits = Tensor::randn([2, 3, 7], (Kind::Double, Device::Cpu)).set_requires_grad(true);
        let targets = Tensor::from_slice(&[IGNORED, 4, IGNORED, 0, IGNORED, 6]).view([2, 3]);
        let own = masked_lm(&logits, &targets).unwrap();
        assert!((own.double_value(&[]) - cross_entropy(&logits, &targets).double_value(&[])).abs() < 1e-12);
        own.backward();
        let moved = logits.grad().abs().sum_dim_intlist(-1, false, Kind::Double).gt(1e-6).to_kind(Kind::Int64);
        assert_eq!(moved, guessed(&targets));
        let none = masked_lm(&logits, &targets.full_like(IGNORED)).unwrap();
        assert_eq!(none.double_value(&[]), 0.0);
    }
}
