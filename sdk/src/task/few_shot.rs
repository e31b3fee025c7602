//! A classifier fitted on the device: logistic regression on the embeddings of a few examples.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::classify::{Classification, ClassifyOptions, Scored};
use super::embed::EmbedOptions;
use crate::bundle::SectionKind;
use crate::post::logistic::{Linear, fit};
use crate::post::softmax::descending;
use crate::{Error, Model, Result, files};

/// First field of the file, so that another JSON file is recognised as such.
const FORMAT: &str = "limbeck few-shot head 1";
/// Largest file that is read.
const MAX_FILE: u64 = 256 << 20;

/// Options of fitting a [`FewShotHead`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FewShotOptions {
    /// Weight of the examples against keeping the weights of the head small: `C` of scikit-learn's
    /// `LogisticRegression`. Larger fits the examples closer. Default 10: embeddings have length 1 and examples
    /// are few.
    pub strength: f64,
    /// How the examples' texts are read.
    pub embed: EmbedOptions,
}

impl Default for FewShotOptions {
    fn default() -> Self {
        FewShotOptions { strength: 10.0, embed: EmbedOptions::default() }
    }
}

impl FewShotOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
    /// Sets the weight of the examples.
    pub fn strength(mut self, strength: f64) -> Self {
        self.strength = strength;
        self
    }
    /// Sets how the examples' texts are read.
    pub fn embed(mut self, embed: EmbedOptions) -> Self {
        self.embed = embed;
        self
    }
}

/// A classifier on top of an embedding model: labels of one's own, from a few examples each, fitted in
/// milliseconds.
///
/// It belongs to the very model it was fitted on, and refuses others. Immutable, so `Send + Sync`.
#[derive(Clone, Debug, PartialEq)]
pub struct FewShotHead {
    model: String,
    model_sha256: String,
    labels: Vec<String>,
    dimensions: usize,
    linear: Linear,
}

/// The file of a head.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    model: String,
    model_sha256: String,
    labels: Vec<String>,
    dimensions: usize,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl FewShotHead {
    /// Fits a head on examples: texts with their labels. Labels are in the order in which they first come.
    ///
    /// # Errors
    /// Those of [`Model::embed_batch`]; [`Error::InvalidArgument`] for less than two labels, an empty label, or a
    /// strength that is not above 0.
    pub fn fit(model: &Model, examples: &[(&str, &str)], options: &FewShotOptions) -> Result<FewShotHead> {
        if !(options.strength > 0.0 && options.strength.is_finite()) {
            return Err(Error::InvalidArgument(format!("strength is {} and must be above 0", options.strength)));
        }
        let mut labels: Vec<String> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut of_class = Vec::with_capacity(examples.len());
        for &(_, label) in examples {
            if label.is_empty() {
                return Err(Error::InvalidArgument("an example has an empty label".to_owned()));
            }
            of_class.push(*places.entry(label).or_insert_with(|| {
                labels.push(label.to_owned());
                labels.len() - 1
            }));
        }
        if labels.len() < 2 {
            return Err(Error::InvalidArgument(format!(
                "the examples have {} label(s); a head chooses between at least 2",
                labels.len()
            )));
        }
        let texts: Vec<&str> = examples.iter().map(|&(text, _)| text).collect();
        let embeddings = model.embed_batch(&texts, &options.embed)?;
        let vectors: Vec<Vec<f32>> = embeddings.into_iter().map(|embedding| embedding.vector).collect();
        let dimensions = vectors.first().map_or(0, Vec::len);
        let limits = options.embed.limits();
        let linear = fit(&vectors, &of_class, labels.len(), dimensions, options.strength, || limits.check())?;
        let id = model.bundle().manifest().id.clone();
        Ok(FewShotHead { model: id, model_sha256: fingerprint(model), labels, dimensions, linear })
    }

    /// The labels, in the order of their first examples.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Classifies texts with the model that the head was fitted on; answers come in the order of the texts.
    /// Probabilities are those of a softmax; `out_of_scope` of the options counts, `threshold` does not.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the model is another one; else those of [`Model::embed_batch`].
    pub fn classify(&self, model: &Model, texts: &[&str], options: &ClassifyOptions) -> Result<Vec<Classification>> {
        if fingerprint(model) != self.model_sha256 {
            return Err(Error::InvalidArgument(format!(
                "the head was fitted on the model `{}` as it was then, not on this `{}`: fit it again",
                self.model,
                model.bundle().manifest().id
            )));
        }
        options.check()?;
        let mut embed = EmbedOptions::new().overflow(options.overflow);
        (embed.cancel, embed.deadline) = (options.cancel.clone(), options.deadline);
        let embeddings = model.embed_batch(texts, &embed)?;
        Ok(embeddings
            .into_iter()
            .map(|embedding| {
                let logits = self.linear.logits(&embedding.vector);
                let probabilities = self.linear.probabilities(&embedding.vector);
                let best = probabilities.iter().copied().fold(0.0, f32::max);
                let in_scope = options.out_of_scope.is_none_or(|threshold| best >= threshold);
                let labels = descending(&logits)
                    .into_iter()
                    .enumerate()
                    .take(options.top_k.unwrap_or(usize::MAX))
                    .filter_map(|(place, index)| {
                        Some(Scored {
                            label: self.labels.get(index)?.clone(),
                            index,
                            probability: *probabilities.get(index)?,
                            logit: *logits.get(index)?,
                            holds: in_scope && place == 0,
                        })
                    })
                    .collect();
                Classification { labels, in_scope, usage: embedding.usage }
            })
            .collect())
    }

    /// Writes the head to a file: JSON, a few kilobytes a label. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let file = File {
            format: FORMAT.to_owned(),
            model: self.model.clone(),
            model_sha256: self.model_sha256.clone(),
            labels: self.labels.clone(),
            dimensions: self.dimensions,
            weights: self.linear.weights.clone(),
            bias: self.linear.bias.clone(),
        };
        let json = serde_json::to_vec(&file).map_err(|error| Error::Internal(error.to_string()))?;
        files::write(path.as_ref(), |out| out.write_all(&json), |_| Ok(()))
    }

    /// Reads a head from a file.
    ///
    /// # Errors
    /// [`Error::NotFound`] and [`Error::Io`] for the file, [`Error::InvalidArgument`] for what is in it.
    pub fn load(path: impl AsRef<Path>) -> Result<FewShotHead> {
        let path = path.as_ref();
        let bytes = files::read(path, MAX_FILE)?;
        FewShotHead::from_json(&bytes).map_err(|reason| {
            Error::InvalidArgument(format!("{} is no few-shot head of this library: {reason}", path.display()))
        })
    }

    fn from_json(bytes: &[u8]) -> Result<FewShotHead, String> {
        let File { format, model, model_sha256, labels, dimensions, weights, bias } =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("its format is `{format}`, not `{FORMAT}`"));
        }
        let values = labels.len().checked_mul(dimensions);
        if labels.len() < 2 || dimensions == 0 || values != Some(weights.len()) || bias.len() != labels.len() {
            return Err("its weights do not fit its labels".to_owned());
        }
        if weights.iter().chain(&bias).any(|value| !value.is_finite()) {
            return Err("it holds a value that is not a number".to_owned());
        }
        Ok(FewShotHead { model, model_sha256, labels, dimensions, linear: Linear { weights, bias } })
    }
}

/// What makes a model give the vectors it gives: tokenizer, graph and weights.
fn fingerprint(model: &Model) -> String {
    let mut hash = Sha256::new();
    for section in model.bundle().sections() {
        if matches!(section.kind, SectionKind::Tokenizer | SectionKind::Graph | SectionKind::Weights) {
            hash.update(section.sha256);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> FewShotHead {
        FewShotHead {
            model: "tiny".to_owned(),
            model_sha256: "0".repeat(64),
            labels: vec!["yes".to_owned(), "no 🙂".to_owned()],
            dimensions: 3,
            linear: Linear { weights: vec![0.1, -2.5, 3.0e-8, 1.0, 2.0, 3.0], bias: vec![0.25, -1.0] },
        }
    }

    #[test]
    fn files_round_trip_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.json");
        head().save(&path).unwrap();
        head().save(&path).unwrap();
        assert_eq!(FewShotHead::load(&path).unwrap(), head());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.json");
        assert!(matches!(FewShotHead::load(&path), Err(Error::NotFound { .. })));
        head().save(&path).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let bad = [
            String::new(),
            "{}".to_owned(),
            good[..good.len() - 9].to_owned(),
            good.replace("head 1", "head 2"),
            good.replace("\"dimensions\":3", "\"dimensions\":4"),
            good.replace("\"dimensions\":3", "\"dimensions\":9223372036854775807"),
            good.replace("0.25", "1e99"),
            good.replace("0.25", "null"),
        ];
        for content in bad {
            assert_ne!(content, good);
            std::fs::write(&path, &content).unwrap();
            assert!(matches!(FewShotHead::load(&path), Err(Error::InvalidArgument(_))), "{content}");
        }
    }
}
