//! The head in Hugging Face's `config.json`: which one, its labels, what its logits mean.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::names::class_name;
use crate::arch::{Family, Head, ModelConfig, Pooling};
use crate::files;

/// What the logits of a sequence classifier mean (`problem_type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// One of the labels: softmax.
    #[default]
    SingleLabelClassification,
    /// Any of the labels: a sigmoid each.
    MultiLabelClassification,
    /// Numbers.
    Regression,
}

/// The head that a `config.json` describes.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadInfo {
    /// Which head.
    pub head: Head,
    /// Names of the labels in the order of the logits, where the head has labels.
    pub labels: Option<Vec<String>>,
    /// What the logits of a sequence classifier mean.
    pub problem: Problem,
}

impl HeadInfo {
    /// A head without labels.
    pub fn new(head: Head) -> Self {
        Self { head, labels: None, problem: Problem::default() }
    }

    /// A sequence classifier with one right label a text.
    pub fn classifier(labels: &[String]) -> Self {
        let head = Head::Classification { labels: labels.len() };
        Self { head, labels: Some(labels.to_vec()), problem: Problem::default() }
    }

    /// The head named by `architectures`, with `id2label` and `problem_type`.
    ///
    /// # Errors
    /// A class that limbeck does not know, an `id2label` whose keys are not 0, 1, 2, ...
    pub fn from_hf(raw: &Value, config: &ModelConfig) -> Result<Self> {
        let labels = labels(raw)?;
        // transformers leaves the two default names out.
        let count = labels.as_ref().map_or(2, Vec::len);
        let class = raw.get("architectures").and_then(|list| list.get(0)).and_then(Value::as_str);
        let known = [
            Head::None,
            Head::Classification { labels: count },
            Head::TokenClassification { labels: count },
            Head::Span,
            Head::MaskedLm,
            if config.family == Family::Electra { Head::ReplacedToken } else { Head::Pretraining },
            Head::CausalLm,
        ];
        let head = match class {
            None if labels.is_some() => Head::Classification { labels: count },
            None => Head::None,
            Some(class) => known
                .into_iter()
                .filter(|head| head.check(config).is_ok())
                .find(|head| class_name(config.family, *head) == class)
                .with_context(|| {
                    let classes: Vec<_> = known
                        .iter()
                        .filter(|head| head.check(config).is_ok())
                        .map(|head| class_name(config.family, *head))
                        .collect();
                    format!("config.json: architecture \"{class}\" is not supported; supported: {}", classes.join(", "))
                })?,
        };
        let has_labels = matches!(head, Head::Classification { .. } | Head::TokenClassification { .. });
        let problem = match raw.get("problem_type") {
            None | Some(Value::Null) if count == 1 => Problem::Regression,
            None | Some(Value::Null) => Problem::default(),
            Some(name) => Problem::deserialize(name).context("config.json: `problem_type`")?,
        };
        let labels = labels.unwrap_or_else(|| vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()]);
        Ok(Self { head, labels: has_labels.then_some(labels), problem })
    }
}

/// `id2label`, in order.
fn labels(raw: &Value) -> Result<Option<Vec<String>>> {
    let Some(map) = raw.get("id2label").and_then(Value::as_object) else {
        return Ok(None);
    };
    let mut labels = vec![None; map.len()];
    for (key, value) in map {
        let index: usize =
            key.parse().with_context(|| format!("config.json: id2label key \"{key}\" is not a number"))?;
        let label = value.as_str().with_context(|| format!("config.json: id2label[{key}] is not text"))?;
        *labels
            .get_mut(index)
            .with_context(|| format!("config.json: id2label key {index} is out of range for {} labels", map.len()))? =
            Some(label.to_owned());
    }
    labels.into_iter().collect::<Option<Vec<_>>>().map(Some).context("config.json: id2label has a gap")
}

/// How sentence-transformers makes one vector of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentencePooling {
    /// How the token vectors become one.
    pub pooling: Pooling,
    /// Whether it is scaled to length 1.
    pub normalize: bool,
}

/// How the sentence-transformers files beside a checkpoint make one vector of a text; `None` without such files.
///
/// # Errors
/// Another pooling than the mean, the first token or the maximum, several at a time, or a further layer: vectors
/// would not be the model's.
pub fn read_pooling(folder: &Path) -> Result<Option<SentencePooling>> {
    let path = folder.join("1_Pooling/config.json");
    if !path.is_file() {
        return Ok(None);
    }
    let raw: Value = files::read_json(&path)?;
    let modes = raw.as_object().into_iter().flatten();
    let on: Vec<&str> = modes
        .filter(|(key, value)| key.starts_with("pooling_mode_") && value.as_bool() == Some(true))
        .map(|(key, _)| key.as_str())
        .collect();
    let pooling = match on.as_slice() {
        ["pooling_mode_mean_tokens"] => Pooling::Mean,
        ["pooling_mode_cls_token"] => Pooling::Cls,
        ["pooling_mode_max_tokens"] => Pooling::Max,
        other => bail!(
            "{}: the pooling is {}; exactly one of mean, cls and max is supported",
            path.display(),
            if other.is_empty() { "not given".to_owned() } else { other.join(" with ") }
        ),
    };
    let path = folder.join("modules.json");
    if !path.is_file() {
        return Ok(Some(SentencePooling { pooling, normalize: true }));
    }
    let modules: Vec<Value> = files::read_json(&path)?;
    let mut normalize = false;
    for module in &modules {
        let name = module.get("type").and_then(Value::as_str).unwrap_or_default();
        match name.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Pooling" => {}
            "Normalize" => normalize = true,
            _ => bail!("{}: the module `{name}` is not supported; without it vectors are others", path.display()),
        }
    }
    Ok(Some(SentencePooling { pooling, normalize }))
}

/// Writes what [`read_pooling`] reads, for sentence-transformers to load the folder.
///
/// # Errors
/// A folder that cannot be written.
pub fn write_pooling(folder: &Path, pooling: SentencePooling, hidden_size: usize) -> Result<()> {
    let mut modes = serde_json::json!({"word_embedding_dimension": hidden_size});
    for (name, mode) in [("mean_tokens", Pooling::Mean), ("cls_token", Pooling::Cls), ("max_tokens", Pooling::Max)] {
        modes[format!("pooling_mode_{name}")] = (pooling.pooling == mode).into();
    }
    files::write_json(&folder.join("1_Pooling/config.json"), &modes)?;
    let names = ["Transformer", "Pooling", "Normalize"];
    let modules = names.iter().take(if pooling.normalize { 3 } else { 2 }).enumerate().map(|(index, name)| {
        let path = if index == 0 { String::new() } else { format!("{index}_{name}") };
        let kind = format!("sentence_transformers.models.{name}");
        serde_json::json!({"idx": index, "name": index.to_string(), "path": path, "type": kind})
    });
    files::write_json(&folder.join("modules.json"), &modules.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::arch::preset;

    #[test]
    fn labels_and_problems_survive_a_round_trip() {
        let config = preset("distilbert-base-uncased").unwrap().config;
        let labels = ["negative".to_owned(), "neutral".to_owned(), "positive".to_owned()];
        for problem in [Problem::SingleLabelClassification, Problem::MultiLabelClassification, Problem::Regression] {
            let info = HeadInfo { problem, ..HeadInfo::classifier(&labels) };
            assert_eq!(HeadInfo::from_hf(&config.to_hf(&info), &config).unwrap(), info);
        }
        let head = Head::TokenClassification { labels: 3 };
        let info = HeadInfo { head, ..HeadInfo::classifier(&labels) };
        assert_eq!(HeadInfo::from_hf(&config.to_hf(&info), &config).unwrap(), info);
    }

    #[test]
    fn sentence_vectors_that_are_made_otherwise_are_refused() {
        let read = |pooling: Value, modules: Option<Value>| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
            std::fs::write(folder.path().join("1_Pooling/config.json"), pooling.to_string()).unwrap();
            if let Some(modules) = modules {
                std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
            }
            read_pooling(folder.path()).map(|found| found.map(|found| (found.pooling, found.normalize)))
        };
        let module = |name: &str| json!({"type": format!("sentence_transformers.models.{name}")});
        let mean = json!({"word_embedding_dimension": 8, "pooling_mode_mean_tokens": true});
        let plain = json!([module("Transformer"), module("Pooling")]);
        assert_eq!(read(mean.clone(), None).unwrap(), Some((Pooling::Mean, true)));
        assert_eq!(read(mean.clone(), Some(plain)).unwrap(), Some((Pooling::Mean, false)));
        let dense = json!([module("Transformer"), module("Pooling"), module("Dense"), module("Normalize")]);
        assert!(read(mean, Some(dense)).unwrap_err().to_string().contains("Dense"));
        let two = json!({"pooling_mode_mean_tokens": true, "pooling_mode_lasttoken": true});
        assert!(read(two, None).unwrap_err().to_string().contains("lasttoken"));
    }

    #[test]
    fn pooling_survives_a_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Max] {
            for normalize in [true, false] {
                let own = SentencePooling { pooling, normalize };
                write_pooling(folder.path(), own, 8).unwrap();
                assert_eq!(read_pooling(folder.path()).unwrap(), Some(own));
            }
        }
    }

    #[test]
    fn bad_heads_are_refused() {
        let config = preset("all-minilm-l6-v2").unwrap().config;
        let error = |raw: Value| format!("{:#}", HeadInfo::from_hf(&raw, &config).unwrap_err());
        assert!(error(json!({"architectures": ["BertLMHeadModel"]})).contains("supported: BertModel"));
        assert!(error(json!({"id2label": {"0": "a", "2": "b"}})).contains("out of range"));
        assert!(error(json!({"id2label": {"x": "a"}})).contains("not a number"));
        assert!(error(json!({"problem_type": "guess"})).contains("problem_type"));
    }
}
