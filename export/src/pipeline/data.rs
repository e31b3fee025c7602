//! The recipe's data, split and tokenized.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::data::{
    Encoder, Encoding, Example, Fractions, Split, SplitReport, distinct_labels, read_examples, split_examples,
};
use crate::files;
use crate::recipe::Recipe;

/// Default shares of dev and test.
const DEFAULT_SPLIT: Fractions = Fractions { dev: 0.1, test: 0.2 };

/// Data ready for training.
pub struct PreparedData {
    /// The three sets.
    pub split: Split,
    /// What was dropped.
    pub report: SplitReport,
    /// Labels in logit order (sorted).
    pub labels: Vec<String>,
    /// SHA-256 over the files' hashes.
    pub sha256: String,
}

/// Tokenized sets.
pub struct EncodedData {
    /// Trained on.
    pub train: Encoding,
    /// Chooses.
    pub dev: Encoding,
}

/// Reads what the recipe names, relative to `folder`.
///
/// # Errors
/// A file that is missing or broken, a set without rows, fewer than two labels.
pub fn prepare(recipe: &Recipe, folder: &Path) -> Result<PreparedData> {
    let mut hashes = String::new();
    let mut read = |name: &str| -> Result<Vec<Example>> {
        let path = folder.join(name);
        let mut examples = read_examples(&path, &recipe.data.columns)?;
        hashes.push_str(&files::sha256_file(&path)?);
        // The stratum is the file as the recipe names it, so that the split does not depend on where
        // the data folder lies.
        examples.iter_mut().for_each(|e| e.source = name.to_owned());
        Ok(examples)
    };
    let (split, report) = if recipe.data.files.is_empty() {
        let mut set = |name: &Option<String>, role: &str| -> Result<Vec<Example>> {
            read(name.as_deref().with_context(|| format!("data: `{role}` is missing"))?)
        };
        let mut split = Split {
            train: set(&recipe.data.train, "train")?,
            dev: set(&recipe.data.dev, "dev")?,
            test: set(&recipe.data.test, "test")?,
        };
        let report = drop_leaked(&mut split)?;
        (split, report)
    } else {
        let mut all = Vec::new();
        for name in &recipe.data.files {
            all.extend(read(name)?);
        }
        split_examples(all, recipe.data.split.unwrap_or(DEFAULT_SPLIT))?
    };
    let labels = distinct_labels(&split.train)?;
    Ok(PreparedData { split, report, labels, sha256: files::sha256_hex(hashes.as_bytes()) })
}

/// Drops training rows whose text is also in dev or test.
fn drop_leaked(split: &mut Split) -> Result<SplitReport> {
    let held_out: std::collections::HashSet<String> =
        split.dev.iter().chain(&split.test).map(|e| e.text.trim().to_lowercase()).collect();
    let before = split.train.len();
    split.train.retain(|e| !held_out.contains(&e.text.trim().to_lowercase()));
    if split.train.is_empty() {
        bail!("every training text is also in dev or test");
    }
    Ok(SplitReport {
        duplicates_dropped: before - split.train.len(),
        contradictions_dropped: 0,
        train: split.train.len(),
        dev: split.dev.len(),
        test: split.test.len(),
    })
}

impl PreparedData {
    /// Share of the largest class of dev.
    pub fn majority_on_dev(&self) -> f64 {
        let count = |label: &String| self.split.dev.iter().filter(|e| e.label == *label).count();
        self.labels.iter().map(count).max().unwrap_or(0) as f64 / self.split.dev.len().max(1) as f64
    }

    /// Tokenizes train and dev.
    pub fn encode(&self, encoder: &Encoder) -> Result<EncodedData> {
        Ok(EncodedData {
            train: encoder.encode(&self.split.train, &self.labels)?,
            dev: encoder.encode(&self.split.dev, &self.labels)?,
        })
    }
}
