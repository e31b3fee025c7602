//! Scoring a pretrained model on a task that it need not have been trained for (Lan 2020, Table 5).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::Serialize;
use tch::Device;

use super::held_out::HeldOut;
use super::learner::Learner;
use super::model::Start;
use super::recipe::{Objective, ObjectiveKind};
use super::text::Shape;
use super::{Masking, masker_for};
use crate::arch::Head;
use crate::checkpoint;
use crate::data::pretrain::{Documents, SentenceTask, read_documents};
use crate::data::{Draw, Encoder};
use crate::pack;
use crate::train::Precision;

/// What a model is scored on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvaluateOn {
    /// Guessing masked tokens, 15% of them, each by itself
    Mlm,
    /// Whether the second segment is of the same document
    Nsp,
    /// Whether two consecutive segments are swapped
    Sop,
    /// Guessing next tokens
    Clm,
}

/// What is scored, and on what.
#[derive(Clone, Debug)]
pub struct EvaluateOptions {
    /// Hugging Face folder.
    pub model: PathBuf,
    /// The task.
    pub on: EvaluateOn,
    /// Files of text.
    pub files: Vec<PathBuf>,
    /// Where documents of plain text end.
    pub documents: Option<Documents>,
    /// The text's key in JSON Lines.
    pub text: String,
    /// The token between packed documents.
    pub end_of_text: Option<String>,
    /// Length of the examples; 128, or what the model has if that is less, when `None`.
    pub max_tokens: Option<usize>,
    /// Seed of the examples.
    pub seed: u64,
    /// Where it runs.
    pub device: Device,
}

/// How well a model did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluated {
    /// What it was scored on.
    pub evaluated_on: EvaluateOn,
    /// Whether the model was never trained on pairs: its head for them is a random one, and the score what chance gives.
    pub untrained_head: bool,
    /// The scores. Of pairs no token is masked, as none is on the device.
    pub held_out: HeldOut,
}

/// Scores a model. A masked-LM head says nothing of pairs: it gets a new head for them, by the seed.
///
/// # Errors
/// A folder without a head that the task reads; text that cannot be read.
pub fn evaluate(options: &EvaluateOptions) -> Result<Evaluated> {
    let (config, info) = checkpoint::read_model_config(&options.model)?;
    let (kind, sentence) = match options.on {
        EvaluateOn::Mlm => (ObjectiveKind::Mlm, SentenceTask::None),
        EvaluateOn::Nsp => (ObjectiveKind::Mlm, SentenceTask::Nsp),
        EvaluateOn::Sop => (ObjectiveKind::Mlm, SentenceTask::Sop),
        EvaluateOn::Clm => (ObjectiveKind::Clm, SentenceTask::None),
    };
    let fits = match (options.on, info.head) {
        (EvaluateOn::Mlm, Head::MaskedLm | Head::Pretraining) | (EvaluateOn::Clm, Head::CausalLm) => true,
        (EvaluateOn::Nsp | EvaluateOn::Sop, Head::MaskedLm) => Head::Pretraining.check(&config).is_ok(),
        (EvaluateOn::Nsp | EvaluateOn::Sop, head) => head == Head::Pretraining,
        _ => false,
    };
    let head = if sentence == SentenceTask::None { info.head } else { Head::Pretraining };
    if !fits {
        bail!(
            "{} has a {} head, which gives no answer to this; it was trained for another objective",
            options.model.display(),
            info.head.name()
        );
    }
    let max_tokens = pack::fitting_tokens(options.max_tokens, &config)?;
    let tokenizer = checkpoint::tokenizer_path(&options.model)?;
    let encoder = Encoder::new(&tokenizer, max_tokens, config.vocab_size)?;
    let by =
        options.documents.unwrap_or(if kind == ObjectiveKind::Clm { Documents::Files } else { Documents::EmptyLines });
    let mut documents = Vec::new();
    for path in &options.files {
        documents.extend(read_documents(path, by, &options.text)?);
    }
    ensure!(!documents.is_empty(), "no text; name files with --held-out");
    let shape = Shape {
        kind,
        sentence,
        max_tokens,
        short: 0.0,
        duplicates: 1,
        end_of_text: options.end_of_text.as_deref(),
        seed: options.seed,
    };
    let bytes = documents.iter().map(String::len).sum();
    let examples = shape.examples(documents, &encoder)?;
    tch::manual_seed(options.seed as i64 & i64::MAX);
    let loaded = checkpoint::load(&options.model, head, options.device)?;
    let start = Start::alone(config, head, loaded.params);
    let masking = Masking { draw: Draw::EachToken, ..Objective::new(kind).masking(start.config.family)? };
    let masker = match options.on {
        EvaluateOn::Mlm => Some(masker_for(masking, &examples, &start.config, &encoder, folder_of(&tokenizer)?)?),
        EvaluateOn::Nsp | EvaluateOn::Sop | EvaluateOn::Clm => None,
    };
    let learner = Learner::new(&start, (kind, sentence), 1.0, masker.as_ref(), Precision::Fp32)?;
    Ok(Evaluated {
        evaluated_on: options.on,
        untrained_head: head != info.head,
        held_out: learner.held_out(&examples, bytes)?,
    })
}

pub(super) fn folder_of(tokenizer: &Path) -> Result<&Path> {
    tokenizer.parent().context("the tokenizer has no folder")
}
