//! A recipe's text in tokens.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Result, ensure};

use super::recipe::{ObjectiveKind, PretrainRecipe};
use crate::data::pretrain::{Documents, Frame, Segments, SentenceTask, end_of_text, packed_windows, read_documents};
use crate::data::{EncodedExample, Encoder, hold_out_some, normalised};
use crate::files;

/// Share of the documents that is only looked at, where the recipe says nothing.
const HELD_OUT_SHARE: f64 = 0.02;

/// Documents to train on and to look at.
pub(super) struct Text {
    pub train: Vec<String>,
    pub held_out: Vec<String>,
    /// Documents of `train` that were left out because they are held out too.
    pub dropped: usize,
    /// SHA-256 over those of the files.
    pub sha256: String,
}

impl Text {
    /// Reads the files that a recipe names.
    ///
    /// # Errors
    /// A file that cannot be read; nothing left to train on or to look at.
    pub(super) fn read(recipe: &PretrainRecipe, folder: &Path) -> Result<Self> {
        let data = &recipe.data;
        let by = data.documents.unwrap_or(match recipe.objective.kind {
            ObjectiveKind::Clm => Documents::Files,
            _ => Documents::EmptyLines,
        });
        let mut hashes = String::new();
        let mut read = |names: &[String]| -> Result<Vec<String>> {
            let mut documents = Vec::new();
            for name in names {
                let path = folder.join(name);
                documents.extend(read_documents(&path, by, &data.text)?);
                hashes += &files::sha256_file(&path)?;
            }
            Ok(documents)
        };
        let all = read(&data.train)?;
        let (mut train, held_out) = match data.held_out.is_empty() {
            true => held_out_of(all, data.held_out_share.unwrap_or(HELD_OUT_SHARE)),
            false => (all, read(&data.held_out)?),
        };
        let before = train.len();
        let seen: HashSet<String> = held_out.iter().map(|document| normalised(document)).collect();
        train.retain(|document| !seen.contains(&normalised(document)));
        ensure!(
            !train.is_empty() && !held_out.is_empty(),
            "{} documents to train on and {} held out: both are needed; name files as data.held_out, or say with \
             data.documents where documents end",
            train.len(),
            held_out.len()
        );
        let dropped = before - train.len();
        Ok(Self { train, held_out, dropped, sha256: files::sha256_hex(hashes.as_bytes()) })
    }
}

/// Documents to train on and about a `share` to look at: whole ones by a hash of their text, of a single one its end.
fn held_out_of(mut documents: Vec<String>, share: f64) -> (Vec<String>, Vec<String>) {
    let [document] = documents.as_mut_slice() else {
        return hold_out_some(documents, |document| document, share);
    };
    let near = document.floor_char_boundary((document.len() as f64 * (1.0 - share)) as usize);
    // At a line's end if there is one after it, else between two words not long before it, else there.
    let line = document[near..].find('\n').map(|at| near + at).filter(|&at| !document[at..].trim().is_empty());
    let word = || document[..near].rfind(char::is_whitespace).filter(|at| near - at <= document.len() - near + 32);
    let cut = line.or_else(word).or(Some(near)).filter(|&at| !document[..at].trim().is_empty());
    let end = cut.map_or(String::new(), |at| document.split_off(at).trim_start().to_owned());
    let held_out = if end.is_empty() { Vec::new() } else { vec![end] };
    (documents, held_out)
}

/// How documents become examples.
pub(super) struct Shape<'a> {
    pub kind: ObjectiveKind,
    pub sentence: SentenceTask,
    pub max_tokens: usize,
    pub short: f64,
    pub duplicates: usize,
    pub end_of_text: Option<&'a str>,
    pub seed: u64,
}

impl Shape<'_> {
    /// All examples of some documents, whose text is gone when they are tokens.
    ///
    /// # Errors
    /// A text that cannot be tokenized; too little of it.
    pub(super) fn examples(&self, documents: Vec<String>, encoder: &Encoder) -> Result<Vec<EncodedExample>> {
        let examples = if self.kind == ObjectiveKind::Clm {
            let end = end_of_text(encoder, self.end_of_text)?;
            let encoded = encoder.encode_documents(&documents)?;
            drop(documents);
            packed_windows(&encoded, end, self.max_tokens)
        } else {
            let encoded = encoder.encode_sentences(&documents, self.sentence == SentenceTask::None)?;
            drop(documents);
            let frame = Frame::of(encoder)?;
            let Self { sentence: task, max_tokens, short, .. } = *self;
            let segments = Segments { documents: &encoded, frame: &frame, task, max_tokens, short };
            let mut all = Vec::new();
            for copy in 0..self.duplicates {
                all.extend(
                    segments.examples(self.seed.wrapping_add((copy as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)))?,
                );
            }
            all
        };
        ensure!(
            !examples.is_empty(),
            "the text gives no example: it is too short, or for pairs no document has two sentences that fit max_tokens {}",
            self.max_tokens
        );
        Ok(examples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_single_document_the_end_is_held_out() {
        let lines: Vec<String> = (0..100).map(|i| format!("line {i} of a böök")).collect();
        let (train, held_out) = held_out_of(vec![lines.join("\n")], 0.1);
        let [train, held_out] = [train, held_out].map(|texts| texts.concat());
        assert_eq!(format!("{train}\n{held_out}"), lines.join("\n"));
        assert!((0.05..0.15).contains(&(held_out.len() as f64 / train.len() as f64)), "{held_out}");
        let words = held_out_of(vec!["word ".repeat(50)], 0.02);
        assert_eq!(words.1, ["word "]);
        // No words, and a title before a text without any.
        for text in ["x".repeat(100), format!("Title\n{}", "\u{6587}".repeat(1000))] {
            let (train, held_out) = held_out_of(vec![text.clone()], 0.1);
            assert!((held_out[0].len() as f64 / text.len() as f64 - 0.1).abs() < 0.02);
            assert_eq!(train.concat() + &held_out[0], text);
        }
        assert!(held_out_of(vec![" x".to_owned()], 0.9).1.is_empty());
        assert!(held_out_of(Vec::new(), 0.5).0.is_empty());
    }
}
