//! Augmented rows as files.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{AugmentCounts, AugmentOptions, Augmented, Sources};
use crate::data::{Rows, Schema, TaggedText};
use crate::files;
use crate::measure::today;

/// What stands beside a file of augmented rows. Written last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Version of this schema.
    pub schema: u32,
    /// Hash of everything that decides the result.
    pub identity: String,
    /// Settings.
    pub options: AugmentOptions,
    /// Seed of every random choice.
    pub seed: u64,
    /// Name of the masked language model's folder.
    pub masked_lm: String,
    /// Name of the folder or file that the word vectors come from.
    pub vectors: String,
    /// Name of the file that was augmented.
    pub data: String,
    /// Its rows.
    pub rows: usize,
    /// Rows written, the original ones included.
    pub rows_written: usize,
    /// What was met on the way.
    pub counts: AugmentCounts,
    /// SHA-256 of the file of augmented rows.
    pub sha256: String,
    /// Day.
    pub date: String,
}

/// A hash of everything that decides what [`super::augment`] gives.
///
/// # Errors
/// As [`super::augment`].
pub fn identity(rows: &Rows, sources: &Sources, options: &AugmentOptions, seed: u64) -> Result<String> {
    options.check()?;
    let mut hasher = Sha256::new();
    hasher.update(serde_json::to_vec(&(1, sources.identity(), options, seed))?);
    match rows {
        Rows::Texts(rows) => {
            for row in rows {
                hasher.update(serde_json::to_vec(&(&row.text, &row.pair, &row.label))?);
            }
        }
        Rows::Tagged(rows) => rows.iter().for_each(|row| hasher.update(conll(row))),
        Rows::Questions(_) => bail!("questions cannot be augmented"),
    }
    Ok(files::hex(&hasher.finalize()))
}

/// The record beside a file of augmented rows: `x.augment.json` for `x.jsonl`.
pub fn record_path(out: &Path) -> PathBuf {
    out.with_extension("augment.json")
}

/// A tagged text as lines of a CoNLL file, with an empty one after it.
fn conll(text: &TaggedText) -> String {
    let line = |word: &crate::data::TaggedWord| format!("{}\t{}\n", &text.text[word.start..word.end], word.tag);
    text.words.iter().map(line).collect::<String>() + "\n"
}

/// Writes augmented rows: a JSON object with text, second text (of pairs) and label under the names of `schema`, so that they
/// are read as the original rows are, and `row` (of which row it is a copy, from 1) a line, or CoNLL for tagged texts.
/// Returns the file's SHA-256.
fn write(out: &Path, augmented: &Augmented, schema: &Schema) -> Result<String> {
    let second = schema.pair.as_deref().unwrap_or("pair");
    let mut hasher = Sha256::new();
    files::write_atomic(out, |file| {
        let mut put = |bytes: &[u8]| {
            hasher.update(bytes);
            file.write_all(bytes)
        };
        match &augmented.rows {
            Rows::Texts(rows) => {
                ensure!(rows.len() == augmented.origins.len(), "there is no origin for each row");
                for (row, origin) in rows.iter().zip(&augmented.origins) {
                    let texts = [(schema.text.as_str(), Some(&row.text)), (second, row.pair.as_ref())];
                    let named = texts.into_iter().chain([(schema.label.as_str(), Some(&row.label))]);
                    // By hand, in this order.
                    let mut line = String::from("{");
                    for (name, value) in named.filter_map(|(name, value)| Some((name, value?))) {
                        line += &format!("{}:{},", serde_json::to_string(name)?, serde_json::to_string(value)?);
                    }
                    put(format!("{line}\"row\":{}}}\n", origin + 1).as_bytes())?;
                }
            }
            Rows::Tagged(rows) => {
                for row in rows {
                    put(conll(row).as_bytes())?;
                }
            }
            Rows::Questions(_) => bail!("questions cannot be augmented"),
        }
        Ok(())
    })?;
    Ok(files::hex(&hasher.finalize()))
}

/// Writes augmented rows, and beside them ([`record_path`]) what they were made of and how. `data` names the file that
/// `rows` were read from, by these columns.
///
/// # Errors
/// A file that cannot be written: then none is, or only the first, whose hash the record does not have.
pub fn save(
    out: &Path,
    augmented: &Augmented,
    (rows, data, columns): (&Rows, &str, &Schema),
    sources: &Sources,
    options: &AugmentOptions,
    seed: u64,
) -> Result<Augmentation> {
    let (masked_lm, vectors) = sources.names();
    let record = Augmentation {
        schema: 1,
        identity: identity(rows, sources, options, seed)?,
        options: options.clone(),
        seed,
        masked_lm: masked_lm.to_owned(),
        vectors: vectors.to_owned(),
        data: data.to_owned(),
        rows: rows.len(),
        rows_written: augmented.rows.len(),
        counts: augmented.counts,
        sha256: write(out, augmented, columns)?,
        date: today(),
    };
    files::write_json(&record_path(out), &record)?;
    Ok(record)
}
