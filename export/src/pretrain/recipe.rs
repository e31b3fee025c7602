//! A recipe of pretraining: everything that decides it, as one TOML file.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::teacher::TeacherRecipe;
use crate::arch::{Family, Head, Sharing};
use crate::data::pretrain::{Documents, SentenceTask};
use crate::data::{Draw, Masking, MaskingChoice};
use crate::train::{Keep, OptimizerOptions, Schedule, TrainOptions};

/// The whole recipe. Unknown keys are refused, so that a misspelt one is not silently ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainRecipe {
    /// Tokenizer: a folder with `tokenizer.json`, or the file. That of `model.start` or of the teacher when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// Seed of every random choice.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Length of the examples in tokens, special tokens included.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Train for as many steps as cost this much arithmetic by ELECTRA's counter, in place of `train.epochs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<f64>,
    /// The model.
    #[serde(default)]
    pub model: ModelRecipe,
    /// The causal language model that it learns from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teacher: Option<TeacherRecipe>,
    /// Text.
    pub data: PretrainData,
    /// What is learned.
    pub objective: Objective,
    /// How; what is not said is as [`Objective::train`] has it.
    pub train: TrainOptions,
}

/// The model: a published shape with other sizes, or a folder to go on from; with a teacher and neither of them, some of its
/// layers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRecipe {
    /// Name of a published shape (`limbeck params --list`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Hugging Face folder whose weights are the first ones; new weights when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// Layers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layers: Option<usize>,
    /// Hidden size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
    /// Attention heads; with another hidden size, one for each 64 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_heads: Option<usize>,
    /// Feed-forward width; with another hidden size, four times that when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intermediate_size: Option<usize>,
    /// Width of the token table, for ALBERT and ELECTRA.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding_size: Option<usize>,
    /// Positions; the preset's, or `max_tokens` if that is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positions: Option<usize>,
    /// Which layers share weights, for ALBERT.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// Rate of every dropout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Standard deviation of new weights; the preset's, 0.02, which is small for layers much narrower than its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initializer_range: Option<f64>,
}

/// Where the text lies, relative to the data folder: plain text or JSON Lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainData {
    /// Files to train on.
    pub train: Vec<String>,
    /// Files that are only looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_out: Vec<String>,
    /// Without `held_out`: the share of the documents, by a hash of their text, or of a single one's end, that is only looked at.
    /// 0.02 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_share: Option<f64>,
    /// Where a document of plain text ends; at the end of the file for `clm`, else at an empty line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documents: Option<Documents>,
    /// The text's key in JSON Lines.
    #[serde(default = "default_text")]
    pub text: String,
    /// The token between packed documents; what tokenizers call it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_text: Option<String>,
}

/// What is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ObjectiveKind {
    /// Masked tokens are guessed (Devlin 2019).
    #[default]
    Mlm,
    /// ELECTRA: for each token, whether a generator replaced it (Clark 2020).
    Rtd,
    /// ELECTRA whose loss is over the masked places alone ("ELECTRA 15%", section 3.5).
    RtdMasked,
    /// Masked tokens are guessed where a generator's tokens stand in their place ("Replace MLM").
    ReplaceMlm,
    /// The same, and all tokens are guessed, with a mechanism to copy ("All-Tokens MLM").
    AllTokensMlm,
    /// The next token, in packed windows (Radford 2019).
    Clm,
}

impl ObjectiveKind {
    /// Whether a generator is trained beside the model.
    pub fn has_generator(self) -> bool {
        !matches!(self, ObjectiveKind::Mlm | ObjectiveKind::Clm)
    }
}

/// The objective and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Which.
    pub kind: ObjectiveKind,
    /// What is learned of pairs of segments beside it, with `mlm`.
    #[serde(default)]
    pub sentence: SentenceTask,
    /// Which tokens are masked. What it does not say: 15% of each text, whole n-grams for ALBERT; 80/10/10, and all of them
    /// masked where there is a generator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masking: Option<MaskingChoice>,
    /// Width of the generator as a share of the model's.
    #[serde(default = "default_generator")]
    pub generator_size: f64,
    /// Weight of the model's loss beside the generator's, which has 1; 50 for replaced tokens and 1 for others when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discriminator_weight: Option<f64>,
    /// How often the text is cut anew into examples, each time by other random choices (`dupe_factor`): passes over it that an
    /// epoch holds.
    #[serde(default = "default_duplicates")]
    pub duplicates: usize,
    /// Share of examples that are shorter at random (`short_seq_prob`).
    #[serde(default = "default_short")]
    pub short_sequences: f64,
}

fn default_seed() -> u64 {
    7
}

fn default_max_tokens() -> usize {
    128
}

fn default_text() -> String {
    "text".to_owned()
}

fn default_generator() -> f64 {
    0.25
}

fn default_duplicates() -> usize {
    1
}

fn default_short() -> f64 {
    0.1
}

impl Objective {
    /// An objective with its defaults.
    pub fn new(kind: ObjectiveKind) -> Self {
        Self {
            kind,
            sentence: SentenceTask::None,
            masking: None,
            generator_size: default_generator(),
            discriminator_weight: None,
            duplicates: default_duplicates(),
            short_sequences: default_short(),
        }
    }

    /// The training settings of an objective where a recipe says nothing: one pass with the papers' optimizers (Devlin 2019,
    /// A.2; Clark 2020, Table 6; Brown 2020, appendix B), but for batches of 32 rows.
    pub fn train(kind: ObjectiveKind) -> TrainOptions {
        let bert = OptimizerOptions { epsilon: 1e-6, bias_correction: false, ..OptimizerOptions::default() };
        let base =
            TrainOptions { epochs: 1, keep: Keep::Last, warmup: 0.01, optimizer: bert, ..TrainOptions::default() };
        match kind {
            ObjectiveKind::Mlm => TrainOptions { learning_rate: 1e-4, ..base },
            ObjectiveKind::Clm => TrainOptions {
                learning_rate: 6e-4,
                schedule: Schedule::Cosine,
                min_factor: 0.1,
                optimizer: OptimizerOptions { beta2: 0.95, weight_decay: 0.1, ..OptimizerOptions::default() },
                ..base
            },
            _ => TrainOptions { learning_rate: 5e-4, ..base },
        }
    }

    /// The head that the model is trained with.
    pub fn head(&self) -> Head {
        match self.kind {
            ObjectiveKind::Mlm if self.sentence != SentenceTask::None => Head::Pretraining,
            ObjectiveKind::Mlm | ObjectiveKind::ReplaceMlm | ObjectiveKind::AllTokensMlm => Head::MaskedLm,
            ObjectiveKind::Rtd | ObjectiveKind::RtdMasked => Head::ReplacedToken,
            ObjectiveKind::Clm => Head::CausalLm,
        }
    }

    /// Which tokens are masked, for a model of a family.
    ///
    /// # Errors
    /// Shares that are none; settings that the draw does not read.
    pub fn masking(&self, family: Family) -> Result<Masking> {
        let base = Masking { draw: Draw::EachToken, ..Masking::default() };
        let defaults = match (self.kind.has_generator(), family) {
            (true, _) => Masking { draw: Draw::EachText, masked: 1.0, kept: 0.0, ..base },
            (false, Family::Albert) => Masking { draw: Draw::NGrams, ..base },
            _ => base,
        };
        self.masking.unwrap_or_default().over(defaults, "objective")
    }

    /// The weight of the model's loss beside the generator's.
    pub fn weight(&self) -> f64 {
        let replaced = matches!(self.kind, ObjectiveKind::Rtd | ObjectiveKind::RtdMasked);
        self.discriminator_weight.unwrap_or(if replaced { 50.0 } else { 1.0 })
    }

    fn check(&self) -> Result<()> {
        ensure!(
            self.sentence == SentenceTask::None || self.kind == ObjectiveKind::Mlm,
            "objective: sentence pairs are learned beside mlm only; leave `sentence` out"
        );
        ensure!(
            self.generator_size > 0.0 && self.generator_size <= 1.0,
            "objective: generator_size must be above 0, at most 1"
        );
        ensure!(
            self.weight() > 0.0 && self.weight().is_finite(),
            "objective: discriminator_weight must be above 0, as 50 is"
        );
        ensure!((1..=1000).contains(&self.duplicates), "objective: duplicates must be from 1 to 1000");
        ensure!(
            (0.0..=1.0).contains(&self.short_sequences),
            "objective: short_sequences must be from 0 to 1, as 0.1 is"
        );
        // What an objective does not read is refused where it is not what stands there anyway.
        let unread = |given: bool, key: &str, by: &str| {
            ensure!(!given, "objective: {key} is for {by}; leave it out");
            Ok(())
        };
        if !self.kind.has_generator() {
            unread(
                self.generator_size != default_generator(),
                "generator_size",
                "objectives with a generator, as rtd",
            )?;
            unread(self.discriminator_weight.is_some(), "discriminator_weight", "objectives with a generator, as rtd")?;
        }
        if self.kind == ObjectiveKind::Clm {
            let masked = "objectives that mask; clm packs whole texts";
            unread(self.masking.is_some(), "masking", masked)?;
            unread(self.duplicates != default_duplicates(), "duplicates", masked)?;
            unread(self.short_sequences != default_short(), "short_sequences", masked)?;
        }
        // ALBERT's draw, where none is named, reads all that another family's may not.
        self.masking(Family::Albert).map(|_| ())
    }
}

impl PretrainRecipe {
    /// Reads a recipe from TOML text.
    ///
    /// # Errors
    /// TOML that is none, unknown or missing keys, settings that cannot train.
    pub fn parse(text: &str) -> Result<Self> {
        let mut table: toml::Table = toml::from_str(text)?;
        let objective =
            table.get("objective").cloned().context("there is no [objective]; name its kind, such as mlm")?;
        let kind = Objective::deserialize(objective).context("[objective]")?.kind;
        // What [train] leaves out depends on the objective.
        let defaults = toml::Value::try_from(Objective::train(kind))?;
        let own = table.remove("train").unwrap_or(toml::Value::Table(toml::Table::new()));
        table.insert("train".to_owned(), merged(defaults, own));
        let recipe = Self::deserialize(toml::Value::Table(table))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// [`Self::parse`] for a file.
    ///
    /// # Errors
    /// As there, with the file's name.
    pub fn read(path: &Path) -> Result<Self> {
        let text = crate::data::read_text(path)?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Refuses what cannot train.
    pub fn check(&self) -> Result<()> {
        self.objective.check()?;
        self.train.check("train")?;
        ensure!(self.max_tokens >= 4, "max_tokens must be at least 4");
        ensure!(!self.data.train.is_empty(), "data.train names no files");
        ensure!(
            self.data.end_of_text.is_none() || self.objective.kind == ObjectiveKind::Clm,
            "data.end_of_text is for clm, which packs documents; leave it out"
        );
        if let Some(share) = self.data.held_out_share {
            ensure!(share > 0.0 && share < 1.0, "data.held_out_share must be above 0 and below 1");
            ensure!(
                self.data.held_out.is_empty(),
                "data.held_out_share says how much of data.train is held out where data.held_out names no files; leave one of them out"
            );
        }
        let (preset, start) = (self.model.preset.is_some(), self.model.start.is_some());
        if preset && start || !preset && !start && self.teacher.is_none() {
            bail!("model: give either `preset` (a shape with new weights) or `start` (a folder with weights)");
        }
        if let Some(range) = self.model.initializer_range {
            ensure!(range > 0.0 && range <= 1.0, "model.initializer_range must be above 0, at most 1, as 0.02 is");
        }
        if start && self.model != (ModelRecipe { start: self.model.start.clone(), ..Default::default() }) {
            bail!("model: the shape is that of `start`; leave the sizes out");
        }
        ensure!(
            start || self.tokenizer.is_some() || self.teacher.is_some(),
            "name the tokenizer (`limbeck tokenizer train` makes one)"
        );
        if let Some(teacher) = &self.teacher {
            ensure!(
                self.objective.kind == ObjectiveKind::Clm,
                "teacher: it teaches next tokens, the objective clm; masked tokens are taught by `limbeck distill` \
                 (method = \"distilbert-general\")"
            );
            ensure!(
                self.flops.is_none(),
                "flops: a student and its control train for the same steps; give train.steps in its place"
            );
            teacher.check(&self.model)?;
        }
        if let Some(flops) = self.flops {
            ensure!(flops > 0.0 && flops.is_finite(), "flops must be above 0, as 1e13 is");
            ensure!(
                self.train.steps.is_none() && self.train.batch_tokens.is_none(),
                "flops decides how many steps there are: leave train.steps and train.batch_tokens out"
            );
        }
        Ok(())
    }

    /// The recipe with every default written out, as TOML.
    ///
    /// # Errors
    /// None that is known.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }
}

/// `own` over `defaults`, table by table.
fn merged(defaults: toml::Value, own: toml::Value) -> toml::Value {
    match (defaults, own) {
        (toml::Value::Table(mut all), toml::Value::Table(own)) => {
            for (key, value) in own {
                let value = match all.remove(&key) {
                    Some(default) => merged(default, value),
                    None => value,
                };
                all.insert(key, value);
            }
            toml::Value::Table(all)
        }
        (_, own) => own,
    }
}

#[cfg(test)]
mod tests;
