//! Smaller models of the student that a run made, each trained again and measured beside it.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use super::run::{Run, Trained, Training};
use super::teacher::Teacher;
use crate::arch::{AttentionPattern, ModelConfig, Sharing};
use crate::checkpoint;
use crate::data::{Encoder, Rows};
use crate::files;
use crate::finetune::head_for;
use crate::recipe::{LossTerm, StageRecipe};
use crate::report::TrimReport;
use crate::train::Outcome;
use crate::trim::{Data, Part, trim_part, trim_vocabulary};

/// What is left of a student, `limbeck distill --trim`: `ffn=768`, `heads=8`, `layers=2`, `vocabulary=1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trim {
    /// Tokens that training texts have at least so often.
    Vocabulary(u64),
    /// Units of each feed-forward block.
    Ffn(usize),
    /// Heads of each attention block.
    Heads(usize),
    /// Layers.
    Layers(usize),
}

impl fmt::Display for Trim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trim::Vocabulary(count) => write!(f, "vocabulary={count}"),
            Trim::Ffn(size) => write!(f, "ffn={size}"),
            Trim::Heads(count) => write!(f, "heads={count}"),
            Trim::Layers(count) => write!(f, "layers={count}"),
        }
    }
}

impl FromStr for Trim {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (what, number) = text.split_once('=').unwrap_or((text, ""));
        let number = match (what, number) {
            ("vocabulary", "") => 1,
            _ => number.parse::<u32>().ok().filter(|&number| number > 0).with_context(|| {
                format!("\"{text}\": write ffn=UNITS, heads=COUNT, layers=COUNT or vocabulary=OCCURRENCES, as ffn=768")
            })?,
        };
        Ok(match what {
            "vocabulary" => Trim::Vocabulary(u64::from(number)),
            "ffn" => Trim::Ffn(number as usize),
            "heads" => Trim::Heads(number as usize),
            "layers" => Trim::Layers(number as usize),
            _ => bail!("\"{what}\" cannot be trimmed; use ffn, heads, layers or vocabulary"),
        })
    }
}

impl Trim {
    /// Refuses what leaves as much as there is, or what the student's shape does not allow.
    ///
    /// # Errors
    /// The reason, with what the student has.
    pub(super) fn check(self, student: &ModelConfig) -> Result<()> {
        let (wanted, there, what) = match self {
            Trim::Vocabulary(_) => return Ok(()),
            Trim::Ffn(size) => (size, student.intermediate_size, "units a block"),
            Trim::Heads(count) => (count, student.attention_heads, "heads a layer"),
            Trim::Layers(count) => (count, student.layers, "layers"),
        };
        ensure!(wanted < there, "--trim {self}: the student has {there} {what}; leave fewer");
        let alike = student.sharing == Sharing::None && student.attention_pattern == AttentionPattern::Dense;
        ensure!(
            alike || !matches!(self, Trim::Layers(_)),
            "--trim {self}: layers that share weights, or see other positions than the next, cannot be left out"
        );
        Ok(())
    }

    /// Its name in those of files and folders.
    fn slug(self) -> String {
        self.to_string().replace('=', "-")
    }
}

/// A trimmed student, trained again where that is called for.
pub(super) struct Trimmed {
    /// As the option says it.
    pub name: String,
    /// What stands in the name of its bundle.
    pub slug: String,
    pub folder: std::path::PathBuf,
    pub report: TrimReport,
    /// How its training went, by stage.
    pub stages: Vec<(String, Outcome)>,
}

/// The student that ships, of one shape smaller. All but a smaller vocabulary, which changes no weights, is then trained as
/// in the recipe's last stage, by those of its losses that look at answers: layers and heads may have no partner any more.
///
/// # Errors
/// Those of trimming and of training. What was trained stays.
pub(super) fn trim(run: &Run, trim: Trim, student: &Trained, teachers: &[Teacher], seed: u64) -> Result<Trimmed> {
    let Run { recipe, data, options, reporter, group, .. } = *run;
    let slug = trim.slug();
    let folder = options.out.join("trim").join(&slug);
    let name = trim.to_string();
    reporter.note(&format!("Trim: {name}"));
    let part = match trim {
        Trim::Vocabulary(min_count) => {
            let mut tokens = (0, 0);
            if run.leads() {
                // The student learned from texts without labels too, of which there mostly are more.
                let rows = run.sets.unlabelled.as_ref().map_or(&data.split.train, |all| &all.rows);
                let report = trim_vocabulary(&student.folder, &texts(rows), min_count, &folder)?;
                tokens = (report.tokens_before, report.tokens_after);
            }
            group.barrier()?;
            let report = TrimReport { name: name.clone(), before: tokens.0, after: tokens.1, dev: None };
            return Ok(Trimmed { name, slug, folder, report, stages: Vec::new() });
        }
        Trim::Ffn(left) => Part::Ffn(left),
        Trim::Heads(left) => Part::Heads(left),
        Trim::Layers(left) => Part::Layers(left),
    };

    let start = folder.join("untrained");
    let mut report = TrimReport { name: name.clone(), before: 0, after: 0, dev: None };
    if run.leads() {
        let (max_tokens, stride) = (Some(recipe.max_tokens), recipe.stride);
        let dev = Data { rows: &data.split.dev, goal: data.goal, max_tokens, stride };
        let done = trim_part(student.fp32(), dev, part, &start, reporter).with_context(|| format!("--trim {name}"))?;
        report = TrimReport { before: done.before, after: done.after, ..report };
        report.dev = Some([done.score_before, done.score_after, f64::NAN]);
    }
    group.barrier()?;

    let (config, _) = checkpoint::read_shape(&start)?;
    let (info, pooling) = head_for(data.goal, &data.labels, &recipe.data.columns.label, &start)?;
    let tokenizer = checkpoint::tokenizer_path(&start)?;
    let encoder = Encoder::new(&tokenizer, recipe.max_tokens, config.vocab_size)?;
    let params = checkpoint::load(&start, info.head, options.device)?.params;
    let identity =
        files::sha256_hex(&serde_json::to_vec(&("trim", checkpoint::model_sha256(&start)?, run.task_identity()?))?);
    let stages = recovery(&recipe.stages).context("the recipe has no stage that trains the head")?;
    let trained = run.train(Training {
        name: &format!("trim {name}"),
        folder: folder.clone(),
        identity: &identity,
        config: &config,
        info: &info,
        pooling,
        params,
        masked_lm: Default::default(),
        directions: None,
        tokenizer: &tokenizer,
        encoder: &encoder,
        stages: &stages,
        teachers,
        seed,
    })?;
    if let Some([_, _, after]) = &mut report.dev {
        *after = trained.dev();
    }
    Ok(Trimmed { name, slug, folder, report, stages: trained.stages })
}

/// The last stage, with its losses on answers alone. The teacher's layers no longer stand in for those of a smaller student.
fn recovery(stages: &[StageRecipe]) -> Option<Vec<StageRecipe>> {
    let mut stage = stages.last()?.clone();
    stage.losses.retain(LossTerm::reads_head);
    stage.replacing = None;
    (!stage.losses.is_empty()).then(|| vec![stage])
}

/// All that a model reads of the rows.
fn texts(rows: &Rows) -> Vec<String> {
    rows.each_text().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{Family, preset};
    use crate::pipeline::run::on_labels;
    use crate::recipe::Scheduled;
    use crate::train::TrainOptions;

    #[test]
    fn trims_are_read_and_written_alike() {
        for text in ["ffn=768", "heads=8", "layers=2", "vocabulary=3"] {
            assert_eq!(text.parse::<Trim>().unwrap().to_string(), text);
        }
        assert_eq!("vocabulary".parse::<Trim>().unwrap(), Trim::Vocabulary(1));
        for (text, expected) in
            [("ffn", "ffn=UNITS"), ("heads=0", "ffn=UNITS"), ("layers=-1", "ffn=UNITS"), ("width=3", "ffn, heads")]
        {
            let error = text.parse::<Trim>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_smaller_student_is_trained_by_itself() {
        let mut stages = on_labels(&TrainOptions::default());
        stages[0].replacing = Some(Scheduled::Constant(0.5));
        let recovery = recovery(&stages).unwrap();
        assert!(recovery.len() == 1 && recovery[0].replacing.is_none());
        assert_eq!(recovery[0].losses, stages[0].losses);
    }

    #[test]
    fn what_leaves_as_much_is_refused() {
        let config = ModelConfig {
            layers: 3,
            attention_heads: 4,
            intermediate_size: 64,
            ..preset("all-minilm-l6-v2").unwrap().config
        };
        assert_eq!(config.family, Family::Bert);
        for (trim, fits) in [
            (Trim::Ffn(63), true),
            (Trim::Ffn(64), false),
            (Trim::Heads(3), true),
            (Trim::Heads(4), false),
            (Trim::Layers(2), true),
            (Trim::Layers(3), false),
            (Trim::Vocabulary(5), true),
        ] {
            assert_eq!(trim.check(&config).is_ok(), fits, "{trim}");
        }
        let shared = ModelConfig { sharing: Sharing::All, ..config };
        assert!(Trim::Layers(2).check(&shared).unwrap_err().to_string().contains("share"));
        assert!(Trim::Ffn(32).check(&shared).is_ok());
    }
}
