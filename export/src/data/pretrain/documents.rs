//! Documents from plain text and JSON Lines, and their sentences in tokens.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use unicode_segmentation::UnicodeSegmentation;

use crate::data::encode::{library, wide};
use crate::data::{Encoder, read_text};

/// Where a document ends in a file of plain text. In JSON Lines each row is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Documents {
    /// At an empty line, as in the files of BERT and ALBERT.
    #[default]
    EmptyLines,
    /// At the end of the file.
    Files,
    /// At the end of each line.
    Lines,
}

/// The documents of a file, without empty ones.
///
/// # Errors
/// A file that cannot be read or is not UTF-8; a row of JSON Lines without the text, by its line.
pub fn read_documents(path: &Path, by: Documents, text_key: &str) -> Result<Vec<String>> {
    let text = read_text(path)?;
    let rows = path.extension().is_some_and(|ending| ending == "jsonl" || ending == "ndjson");
    let mut documents = Vec::new();
    if rows {
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{}, line {}", path.display(), number + 1);
            let row: Value = serde_json::from_str(line).with_context(|| format!("{}: not JSON", place()))?;
            let Some(text) = row.get(text_key).and_then(Value::as_str) else {
                bail!("{}: no text under \"{text_key}\"", place());
            };
            documents.push(text.to_owned());
        }
    } else {
        match by {
            Documents::Files => documents.push(text),
            Documents::Lines => documents.extend(text.lines().map(str::to_owned)),
            Documents::EmptyLines => {
                let mut document = String::new();
                for line in text.lines() {
                    if line.trim().is_empty() {
                        documents.push(std::mem::take(&mut document));
                    } else {
                        document += line;
                        document.push('\n');
                    }
                }
                documents.push(document);
            }
        }
    }
    documents.retain(|document| !document.trim().is_empty());
    ensure!(!documents.is_empty(), "{} has no text", path.display());
    Ok(documents)
}

/// A document's sentences: its lines, cut where Unicode has sentences end (UAX 29).
fn sentences(document: &str) -> impl Iterator<Item = &str> {
    document.lines().flat_map(|line| line.split_sentence_bounds()).map(str::trim).filter(|s| !s.is_empty())
}

/// Texts whose tokens are asked for at a time: bounds what is held twice.
const AT_A_TIME: usize = 4096;

impl Encoder {
    fn encode_plain(&self, texts: Vec<&str>) -> Result<Vec<Vec<i64>>> {
        let mut all = Vec::with_capacity(texts.len());
        for texts in texts.chunks(AT_A_TIME) {
            let encodings = self.tokenizer().encode_batch_fast(texts.to_vec(), false).map_err(library);
            let encodings = encodings.context("the corpus cannot be tokenized")?;
            all.extend(encodings.iter().map(|tokens| wide(tokens.get_ids())));
        }
        Ok(all)
    }

    /// The sentences of each document in tokens, without special ones; documents of which nothing is left are gone.
    ///
    /// # Errors
    /// A text that cannot be tokenized.
    pub fn encode_sentences(&self, documents: &[String]) -> Result<Vec<Vec<Vec<i64>>>> {
        let mut all = Vec::new();
        for document in documents {
            let mut own = self.encode_plain(sentences(document).collect())?;
            own.retain(|sentence| !sentence.is_empty());
            all.extend((!own.is_empty()).then_some(own));
        }
        Ok(all)
    }

    /// Each document in tokens, as it is, without special ones.
    ///
    /// # Errors
    /// A text that cannot be tokenized.
    pub fn encode_documents(&self, documents: &[String]) -> Result<Vec<Vec<i64>>> {
        self.encode_plain(documents.iter().map(String::as_str).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str, by: Documents) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_documents(&path, by, "text")
    }

    #[test]
    fn documents_end_where_they_are_said_to() {
        let text = "\u{feff}a b\nc\n \n\n\nd 🙂\r\n";
        assert_eq!(read("a.txt", text, Documents::EmptyLines).unwrap(), ["a b\nc\n", "d 🙂\n"]);
        assert_eq!(read("a.txt", text, Documents::Lines).unwrap(), ["a b", "c", "d 🙂"]);
        assert_eq!(read("a.txt", "a\n\nb", Documents::Files).unwrap(), ["a\n\nb"]);
        let rows = "{\"text\": \"a\\n\\nb\"}\n\n{\"text\": \"\"}\n{\"text\": \"c\"}";
        assert_eq!(read("a.jsonl", rows, Documents::Lines).unwrap(), ["a\n\nb", "c"]);
        let error = read("a.jsonl", "{\"text\": \"a\"}\n{\"body\": 1}", Documents::Lines).unwrap_err();
        assert!(error.to_string().contains("line 2: no text under \"text\""), "{error}");
        assert!(read("a.txt", " \n", Documents::EmptyLines).unwrap_err().to_string().contains("has no text"));
    }

    #[test]
    fn sentences_end_at_lines_and_full_stops() {
        let found: Vec<&str> = sentences("One ran. Two (e.g. it, 3.5) sat!\nThree\n\n 4 ").collect();
        assert_eq!(found, ["One ran.", "Two (e.g. it, 3.5) sat!", "Three", "4"]);
    }
}
