//! A recipe: everything that decides a distillation, as one TOML file.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::data::{Fractions, Schema};
use crate::distill::DistilWeights;
use crate::train::TrainOptions;

/// The whole recipe. Unknown keys are refused, so that a misspelt one is not silently ignored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the bundle: `sentiment` gives `sentiment.limbeck`.
    pub id: String,
    /// Version of the model, for people.
    #[serde(default = "default_version")]
    pub version: String,
    /// Build number, counted up with each release of the same id.
    #[serde(default = "default_build")]
    pub build: u64,
    /// BCP 47 tags.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Longest text in tokens, special tokens included.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Seed of every random choice.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Labelled text.
    pub data: Data,
    /// Fine-tuning of the teacher.
    #[serde(default)]
    pub teacher: TrainOptions,
    /// The student and its training, which the control shares.
    pub student: Student,
    /// The distillation loss.
    #[serde(default)]
    pub distill: DistilWeights,
    /// The bundle that ships.
    #[serde(default)]
    pub bundle: Bundle,
}

/// Where the data lies: either `files` that are split, or one file a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Files to be split by `split`, relative to the data folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// Shares of dev and test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Fractions>,
    /// Training file, when the data comes split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<String>,
    /// Dev file: chooses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// Test file: reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Columns and labels.
    #[serde(default)]
    pub columns: Schema,
}

/// The student.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Student {
    /// Transformer layers.
    pub layers: usize,
    /// Which teacher layer each student layer starts from; evenly spaced when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_map: Option<Vec<usize>>,
    /// Whose layers those are.
    #[serde(default)]
    pub start: Start,
    /// Training of student and control.
    #[serde(default)]
    pub train: TrainOptions,
}

/// The weights that student and control start from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// Layers of the pretrained encoder, before it was fine-tuned: the control then knows nothing of the
    /// teacher, as in the literature (DistilBERT, PKD).
    #[default]
    Pretrained,
    /// Layers and head of the fine-tuned teacher.
    Teacher,
}

/// The bundle that ships.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bundle {
    /// Largest loss of accuracy, in points of 100, that int8 may cost on dev before it is refused.
    pub max_drop: f64,
}

impl Default for Bundle {
    fn default() -> Self {
        Self { max_drop: 1.0 }
    }
}

fn default_version() -> String {
    "0.1.0".into()
}

fn default_build() -> u64 {
    1
}

fn default_max_tokens() -> usize {
    128
}

fn default_seed() -> u64 {
    7
}

impl Recipe {
    /// Reads and checks a recipe.
    ///
    /// # Errors
    /// Not TOML, an unknown or missing key, an impossible value; with the line where TOML tells it.
    pub fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the recipe {}", path.display()))?;
        let recipe: Recipe = toml::from_str(&text).with_context(|| format!("in the recipe {}", path.display()))?;
        recipe.check().with_context(|| format!("in the recipe {}", path.display()))?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if self.id.is_empty() || self.id.len() > 128 || !self.id.chars().all(plain) {
            bail!("id \"{}\" must be 1 to 128 of A-Z a-z 0-9 . _ -", self.id);
        }
        if self.max_tokens < 3 {
            bail!("max_tokens must be at least 3: two special tokens and one of text");
        }
        if self.student.layers == 0 {
            bail!("student.layers must be at least 1");
        }
        self.teacher.check("teacher")?;
        self.student.train.check("student.train")?;
        let DistilWeights { temperature, soft, cosine, hard } = self.distill;
        if !(temperature > 0.0 && soft >= 0.0 && cosine >= 0.0 && hard >= 0.0 && soft + cosine + hard > 0.0) {
            bail!("distill: temperature must be above 0, weights at least 0 and not all 0");
        }
        let sets = [&self.data.train, &self.data.dev, &self.data.test];
        let split = !self.data.files.is_empty();
        if split == sets.iter().any(|set| set.is_some()) {
            bail!("data: give either `files` (to be split) or `train`, `dev` and `test`");
        }
        if !split && sets.iter().any(|set| set.is_none()) {
            bail!("data: all of `train`, `dev` and `test` are needed: dev chooses, test reports");
        }
        Ok(())
    }

    /// The recipe with every default written out, as TOML.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// SHA-256 of the written-out recipe: two files that mean the same have the same hash.
    pub fn sha256(&self) -> Result<String> {
        Ok(crate::files::sha256_hex(self.to_toml()?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "id = \"x\"\n[data]\nfiles = [\"a.csv\"]\n[student]\nlayers = 3\n";

    #[test]
    fn defaults_are_written_out_and_read_back() {
        let recipe: Recipe = toml::from_str(MINIMAL).unwrap();
        recipe.check().unwrap();
        let written = recipe.to_toml().unwrap();
        assert!(written.contains("temperature = 2.0") && written.contains("weight_decay = 0.01"), "{written}");
        assert_eq!(toml::from_str::<Recipe>(&written).unwrap(), recipe);
    }

    #[test]
    fn mistakes_are_named() {
        for (change, expected) in [
            (("layers = 3", "layers = 0"), "student.layers"),
            (("id = \"x\"", "id = \"x/y\""), "id \"x/y\""),
            (("id = \"x\"", "id = \"x\"\nsede = 3"), "sede"),
            (("files = [\"a.csv\"]", "train = \"a.csv\""), "`train`, `dev` and `test`"),
            (("files = [\"a.csv\"]", ""), "data"),
            (("[student]", "[distill]\ntemperature = 0.0\n[student]"), "temperature"),
        ] {
            let text = MINIMAL.replace(change.0, change.1);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("recipe.toml");
            std::fs::write(&path, &text).unwrap();
            let error = format!("{:#}", Recipe::read(&path).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
