//! How much is replaced, and by what.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What the masked language model reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskedContext {
    /// The text with the mask, and beside it the text itself: `[CLS] masked [SEP] text [SEP]`, as in the released code.
    #[default]
    WithOriginal,
    /// The text with the mask.
    Alone,
}

/// How the two texts of a pair are augmented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairCopies {
    /// Each by itself, beside the other as it is (the paper).
    #[default]
    Apart,
    /// The first as above; then the second, beside the last copy of the first (the released code changes the row in
    /// place).
    BesideLast,
}

/// Settings of [`super::augment`]; the defaults are the paper's (Jiao 2020, section 4.1: p_t 0.4, N_a 20, K 15).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentOptions {
    /// Probability that a word with candidates gives way to one of them in a copy.
    pub probability: f64,
    /// Copies that are drawn of a text. One that was there before is left out, so there may be fewer.
    pub copies: usize,
    /// Candidates of a word, at most.
    pub candidates: usize,
    /// What the masked language model reads.
    pub context: MaskedContext,
    /// How the two texts of a pair are augmented.
    pub pairs: PairCopies,
    /// In tagged texts, replace words that belong to an entity too, not only those tagged `O`.
    pub entities: bool,
}

impl Default for AugmentOptions {
    fn default() -> Self {
        Self {
            probability: 0.4,
            copies: 20,
            candidates: 15,
            context: MaskedContext::default(),
            pairs: PairCopies::default(),
            entities: false,
        }
    }
}

/// `default_params` of the released `data_augmentation.py`: copies by GLUE task.
const CODE_COPIES: [(&str, usize); 8] =
    [("cola", 30), ("mnli", 10), ("mrpc", 30), ("sst2", 20), ("stsb", 30), ("qqp", 10), ("qnli", 20), ("rte", 30)];

impl AugmentOptions {
    /// Settings by name: `tinybert` (the paper's, the default), or `tinybert-code:TASK` with the number of copies that
    /// the released code has for a GLUE task (cola, mnli, mrpc, sst2, stsb, qqp, qnli, rte) and its way with pairs.
    ///
    /// # Errors
    /// Another name.
    pub fn preset(name: &str) -> Result<Self> {
        if name == "tinybert" {
            return Ok(Self::default());
        }
        let copies = name
            .strip_prefix("tinybert-code:")
            .and_then(|task| CODE_COPIES.iter().find(|(known, _)| *known == task))
            .map(|&(_, copies)| copies);
        let copies = copies.with_context(|| {
            let tasks = CODE_COPIES.map(|(task, _)| task).join(", ");
            format!("unknown preset \"{name}\"; use tinybert, or tinybert-code:TASK with one of {tasks}")
        })?;
        Ok(Self { copies, pairs: PairCopies::BesideLast, ..Self::default() })
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// Name the setting.
    pub fn check(&self) -> Result<()> {
        ensure!(
            self.probability > 0.0 && self.probability <= 1.0,
            "augment: probability is {}; it must be above 0 and at most 1",
            self.probability
        );
        for (name, value) in [("copies", self.copies), ("candidates", self.candidates)] {
            ensure!((1..=1000).contains(&value), "augment: {name} is {value}; it must be from 1 to 1000");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_and_limits() {
        let paper = AugmentOptions::preset("tinybert").unwrap();
        assert_eq!((paper.probability, paper.copies, paper.candidates), (0.4, 20, 15));
        let code = AugmentOptions::preset("tinybert-code:mnli").unwrap();
        assert_eq!((code.copies, code.candidates, code.pairs), (10, 15, PairCopies::BesideLast));
        assert!(AugmentOptions::preset("tinybert-code:squad").unwrap_err().to_string().contains("one of cola, mnli"));
        for (options, expected) in [
            (AugmentOptions { probability: 0.0, ..paper.clone() }, "probability is 0"),
            (AugmentOptions { probability: f64::NAN, ..paper.clone() }, "probability is NaN"),
            (AugmentOptions { copies: 0, ..paper.clone() }, "copies is 0"),
            (AugmentOptions { candidates: 1001, ..paper.clone() }, "candidates is 1001"),
        ] {
            let error = options.check().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let read = |text| serde_json::from_str::<AugmentOptions>(text);
        assert_eq!(read(r#"{"copies": 3}"#).unwrap(), AugmentOptions { copies: 3, ..paper });
        assert!(read(r#"{"copys": 3}"#).is_err());
    }
}
