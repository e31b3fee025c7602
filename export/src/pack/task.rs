//! What a model folder becomes: its task, and what the manifest says of it.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use limbeck::bundle as format;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokenizers::Tokenizer;

use crate::arch::{Family, Head, ModelConfig, Pooling};
use crate::checkpoint::{HeadInfo, Problem, SentencePooling, read_pooling};
use crate::files;
use crate::graph::{END_LOGITS, LOGITS, SENTENCE_EMBEDDING, START_LOGITS, kept_head_size};

/// A task that bundles are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// One text, a score for each label.
    TextClassification,
    /// Two texts, a score for each label.
    PairClassification,
    /// A label for each token.
    TokenClassification,
    /// The piece of a text that answers a question.
    QuestionAnswering,
    /// A vector for a text.
    SentenceEmbedding,
    /// What could stand in place of masked tokens.
    FillMask,
    /// Which of two texts comes first.
    Order,
    /// Which tokens of a text were put there in place of others.
    Replaced,
    /// What follows a text, token by token.
    Generation,
}

impl TaskName {
    /// The task as manifests have it.
    pub fn task(self) -> format::Task {
        match self {
            Self::TextClassification => format::Task::TextClassification,
            Self::PairClassification => format::Task::PairClassification,
            Self::TokenClassification => format::Task::TokenClassification,
            Self::QuestionAnswering => format::Task::QuestionAnswering,
            Self::SentenceEmbedding => format::Task::SentenceEmbedding,
            Self::FillMask => format::Task::FillMask,
            Self::Order => format::Task::Order,
            Self::Replaced => format::Task::Replaced,
            Self::Generation => format::Task::Generation,
        }
    }

    /// What a model with a head is for, unless something else is asked for.
    pub fn of_head(head: Head) -> Self {
        match head {
            Head::Classification { .. } => Self::TextClassification,
            Head::TokenClassification { .. } => Self::TokenClassification,
            Head::Span => Self::QuestionAnswering,
            Head::None | Head::Embedding { .. } => Self::SentenceEmbedding,
            Head::MaskedLm | Head::Pretraining => Self::FillMask,
            Head::CausalLm => Self::Generation,
            Head::ReplacedToken => Self::Replaced,
        }
    }
}

/// How a model folder is used.
pub(super) struct Use {
    /// The head that the graph gets.
    pub head: Head,
    /// Names of the labels, where there are some.
    pub labels: Option<Vec<String>>,
    /// The task as the manifest has it.
    pub task: format::Task,
    /// What turns logits into probabilities.
    pub activation: format::Activation,
    /// The graph's outputs: names and axes.
    pub outputs: Vec<(&'static str, &'static [&'static str])>,
    /// Whether two texts are read together.
    pub pairs: bool,
    pub tagging: Option<format::TagScheme>,
    pub embedding: Option<format::EmbeddingSpec>,
    pub entailment: Option<format::EntailmentSpec>,
    pub mask_id: Option<u32>,
    pub generation: Option<format::GenerationSpec>,
}

/// Finds out how a folder is used: as `task`, or as its head says.
pub(super) fn find(folder: &Path, info: &HeadInfo, config: &ModelConfig, task: Option<TaskName>) -> Result<Use> {
    let task = task.unwrap_or_else(|| TaskName::of_head(info.head));
    let fits = |head: Head| match task {
        TaskName::TextClassification | TaskName::PairClassification => matches!(head, Head::Classification { .. }),
        // An embedding needs nothing on the encoder, whatever else the file holds.
        TaskName::SentenceEmbedding => true,
        TaskName::Order => head == Head::Pretraining,
        other => TaskName::of_head(head) == other,
    };
    ensure!(
        fits(info.head),
        "{} has {}, not one for {}; give a model that was trained for it",
        folder.display(),
        match info.head {
            Head::None => "no head".to_owned(),
            head => format!("a {} head", head.name()),
        },
        task.task().name()
    );
    if task == TaskName::Order {
        ensure!(
            learned_order(folder, config)?,
            "{} has a head that tells next sentences, not their order; `limbeck pretrain --sentence sop` makes one that does",
            folder.display()
        );
    }
    let plain = Use {
        head: info.head,
        labels: info.labels.clone(),
        task: format::Task::TextClassification,
        activation: format::Activation::Softmax,
        outputs: vec![(LOGITS, &["batch", "labels"])],
        pairs: false,
        tagging: None,
        embedding: None,
        entailment: None,
        mask_id: None,
        generation: None,
    };
    Ok(match task {
        TaskName::TextClassification => Use { activation: activation(info.problem), ..plain },
        TaskName::PairClassification => Use {
            task: format::Task::PairClassification,
            activation: activation(info.problem),
            entailment: info.labels.as_deref().and_then(entailment),
            pairs: true,
            ..plain
        },
        TaskName::TokenClassification => Use {
            task: format::Task::TokenClassification,
            outputs: vec![(LOGITS, &["batch", "length", "labels"])],
            tagging: info.labels.as_deref().map(scheme),
            ..plain
        },
        TaskName::QuestionAnswering => Use {
            task: format::Task::QuestionAnswering,
            labels: None,
            outputs: vec![(START_LOGITS, &["batch", "length"]), (END_LOGITS, &["batch", "length"])],
            pairs: true,
            ..plain
        },
        TaskName::SentenceEmbedding => {
            // Vectors are scaled by the sdk, after windows are put together.
            let plain_mean = SentencePooling { pooling: Pooling::Mean, normalize: true };
            let SentencePooling { pooling, normalize } = read_pooling(folder)?.unwrap_or(plain_mean);
            Use {
                head: Head::Embedding { pooling, normalize: false },
                labels: None,
                task: format::Task::SentenceEmbedding,
                activation: format::Activation::None,
                outputs: vec![(SENTENCE_EMBEDDING, &["batch", "hidden"])],
                embedding: Some(format::EmbeddingSpec {
                    dimensions: config.hidden_size,
                    pooling: match pooling {
                        Pooling::Mean => format::Pooling::Mean,
                        Pooling::Cls => format::Pooling::Cls,
                        Pooling::Max => format::Pooling::Max,
                    },
                    normalize,
                }),
                ..plain
            }
        }
        TaskName::FillMask => Use {
            head: Head::MaskedLm,
            labels: None,
            task: format::Task::FillMask,
            outputs: vec![(LOGITS, &["batch", "length", "vocabulary"])],
            mask_id: Some(mask_id(folder)?),
            ..plain
        },
        TaskName::Order => Use {
            // What the order head is, without the masked-LM head beside it.
            head: Head::Classification { labels: 2 },
            labels: None,
            task: format::Task::Order,
            outputs: vec![(LOGITS, &["batch", "orders"])],
            pairs: true,
            ..plain
        },
        TaskName::Replaced => Use {
            labels: None,
            task: format::Task::Replaced,
            activation: format::Activation::Sigmoid,
            outputs: vec![(LOGITS, &["batch", "length"])],
            ..plain
        },
        TaskName::Generation => {
            let [bos_id, eos_id] = text_ends(folder)?;
            Use {
                head: Head::CausalLm,
                labels: None,
                task: format::Task::Generation,
                activation: format::Activation::None,
                outputs: vec![(LOGITS, &["batch", "wanted", "vocabulary"])],
                generation: Some(format::GenerationSpec {
                    head_size: kept_head_size(config),
                    eos_ids: eos_id.into_iter().collect(),
                    bos_id,
                }),
                ..plain
            }
        }
    })
}

/// Whether the pair head of a folder learned sentence order: as `pretrain.json` says, or else by the family, of which
/// ALBERT was trained on order and BERT on next sentences.
fn learned_order(folder: &Path, config: &ModelConfig) -> Result<bool> {
    let path = folder.join("pretrain.json");
    if !path.is_file() {
        return Ok(config.family == Family::Albert);
    }
    Ok(files::read_json::<Value>(&path)?.pointer("/objective/sentence").and_then(Value::as_str) == Some("sop"))
}

fn activation(problem: Problem) -> format::Activation {
    match problem {
        Problem::SingleLabelClassification => format::Activation::Softmax,
        Problem::MultiLabelClassification => format::Activation::Sigmoid,
        Problem::Regression => format::Activation::None,
    }
}

/// The scheme that the names of labels follow.
fn scheme(labels: &[String]) -> format::TagScheme {
    let starts = |label: &String, prefixes: &[&str]| prefixes.iter().any(|prefix| label.starts_with(prefix));
    let any = |prefixes: &[&str]| labels.iter().any(|label| starts(label, prefixes));
    const ENDS: [&str; 4] = ["E-", "S-", "L-", "U-"];
    // Without B-, where entities begin with I- (IOB1) or all are one word, every label must look like one of a scheme.
    let all = labels.iter().all(|label| label == "O" || starts(label, &["I-"]) || starts(label, &ENDS));
    let named = any(&["B-"]) || all && any(&["I-", "S-", "U-"]);
    match (named, any(&ENDS)) {
        (true, true) => format::TagScheme::Bioes,
        (true, false) => format::TagScheme::Bio,
        (false, _) => format::TagScheme::Plain,
    }
}

/// The labels of a model for natural language inference, by their usual names.
fn entailment(labels: &[String]) -> Option<format::EntailmentSpec> {
    let place = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| labels.iter().position(|label| label.to_lowercase().replace(['-', ' '], "_") == *name))
    };
    Some(format::EntailmentSpec {
        entailment: place(&["entailment"])?,
        contradiction: place(&["contradiction", "not_entailment", "non_entailment"])?,
    })
}

/// The id of the token that stands for a word to be guessed.
pub(crate) fn mask_id(folder: &Path) -> Result<u32> {
    let path = crate::checkpoint::tokenizer_path(folder)?;
    let tokenizer = Tokenizer::from_file(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    let settings = folder.join("tokenizer_config.json");
    let named = match settings.is_file() {
        true => match files::read_json::<Value>(&settings)?.get("mask_token") {
            Some(Value::String(name)) => Some(name.clone()),
            Some(token) => token.get("content").and_then(Value::as_str).map(str::to_owned),
            None => None,
        },
        false => None,
    };
    let names = named.iter().map(String::as_str).chain(["[MASK]", "<mask>"]);
    match names.into_iter().find_map(|name| tokenizer.token_to_id(name)) {
        Some(id) => Ok(id),
        None => bail!("{}: there is no mask token; name it as `mask_token` in tokenizer_config.json", path.display()),
    }
}

/// The ids of the tokens before and after a text, by config.json. Where it names none, they are those of
/// `<|endoftext|>`, if the tokenizer has it.
fn text_ends(folder: &Path) -> Result<[Option<u32>; 2]> {
    let path = crate::checkpoint::tokenizer_path(folder)?;
    let tokenizer = Tokenizer::from_file(&path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?;
    let config: Value = files::read_json(&folder.join("config.json"))?;
    let vocabulary = tokenizer.get_vocab_size(true) as u64;
    let end_of_text = tokenizer.token_to_id("<|endoftext|>");
    ["bos_token_id", "eos_token_id"]
        .map(|name| match config.get(name) {
            None | Some(Value::Null) => Ok(end_of_text),
            Some(value) => match value.as_u64() {
                Some(id) if id < vocabulary => Ok(Some(id as u32)),
                // What transformers writes for GPT-2 of any vocabulary.
                Some(50256) => Ok(end_of_text),
                _ => bail!(
                    "{}: {name} is {value}, and the tokenizer has {vocabulary} tokens",
                    folder.join("config.json").display()
                ),
            },
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?
        .try_into()
        .map_err(|_| anyhow::anyhow!("two ids"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(labels: &[&str]) -> Vec<String> {
        labels.iter().map(|&label| label.to_owned()).collect()
    }

    #[test]
    fn schemes_and_entailment_are_known_by_names() {
        assert_eq!(scheme(&names(&["O", "B-PER", "I-PER"])), format::TagScheme::Bio);
        assert_eq!(scheme(&names(&["O", "B-PER", "I-PER", "S-PER"])), format::TagScheme::Bioes);
        assert_eq!(scheme(&names(&["NOUN", "VERB"])), format::TagScheme::Plain);
        // IOB1, which has B- between two entities alone, and entities of one word each.
        assert_eq!(scheme(&names(&["O", "I-PER", "I-LOC"])), format::TagScheme::Bio);
        assert_eq!(scheme(&names(&["O", "S-PER"])), format::TagScheme::Bioes);
        assert_eq!(scheme(&names(&["O", "E-mail", "address"])), format::TagScheme::Plain);
        assert_eq!(scheme(&names(&["I-beam", "column"])), format::TagScheme::Plain);
        assert_eq!(scheme(&names(&["O"])), format::TagScheme::Plain);
        let spec = |labels: &[&str]| entailment(&names(labels)).map(|spec| (spec.entailment, spec.contradiction));
        assert_eq!(spec(&["CONTRADICTION", "neutral", "Entailment"]), Some((2, 0)));
        assert_eq!(spec(&["entailment", "not-entailment"]), Some((0, 1)));
        assert_eq!(spec(&["good", "bad"]), None);
    }
}
