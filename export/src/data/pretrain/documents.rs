//! Documents from plain text and JSON Lines, and their sentences in tokens.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokenizers::PreTokenizerWrapper;
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

    /// Whether a token depends on the space before it, and a text begins without one (byte-level: RoBERTa, GPT-2).
    fn reads_spaces(&self) -> bool {
        let bare =
            |own: &PreTokenizerWrapper| matches!(own, PreTokenizerWrapper::ByteLevel(own) if !own.add_prefix_space);
        match self.tokenizer().get_pre_tokenizer() {
            Some(PreTokenizerWrapper::Sequence(all)) => all.as_ref().iter().any(bare),
            own => own.is_some_and(bare),
        }
    }

    /// The sentences of each document in tokens, without special ones; documents of which nothing is left are gone.
    /// `joined` says that they are read as one text, with a space between them where tokens depend on it.
    ///
    /// # Errors
    /// A text that cannot be tokenized.
    pub fn encode_sentences(&self, documents: &[String], joined: bool) -> Result<Vec<Vec<Vec<i64>>>> {
        let between = if joined && self.reads_spaces() { " " } else { "" };
        let mut all = Vec::new();
        for document in documents {
            let own = sentences(document).enumerate();
            let own: Vec<String> =
                own.map(|(at, sentence)| format!("{}{sentence}", if at == 0 { "" } else { between })).collect();
            let mut own = self.encode_plain(own.iter().map(String::as_str).collect())?;
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
    fn joined_sentences_keep_the_space_between_them() {
        use serde_json::json;
        use tokenizers::pre_tokenizers::byte_level::ByteLevel;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut letters: Vec<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
        letters.sort_unstable();
        let vocabulary: serde_json::Map<String, Value> =
            letters.into_iter().zip(0..).map(|(letter, id)| (letter, json!(id))).collect();
        let encoder = |pre_tokenizer: Value| {
            let tokenizer = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
                "normalizer": null, "pre_tokenizer": pre_tokenizer, "post_processor": null, "decoder": null,
                "model": {"type": "BPE", "vocab": vocabulary, "merges": []}});
            std::fs::write(&path, tokenizer.to_string()).unwrap();
            Encoder::new(&path, 64, usize::MAX).unwrap()
        };
        let text = ["One ran. Two sat!\n Three".to_owned()];
        let bytes = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": true});
        let own = encoder(bytes(false));
        let joined = own.encode_sentences(&text, true).unwrap();
        assert_eq!(joined[0].len(), 3);
        assert_eq!([joined[0].concat()], *own.encode_plain(vec!["One ran. Two sat! Three"]).unwrap());
        // Each for itself begins as a text does.
        let apart = own.encode_plain(vec!["One ran.", "Two sat!", "Three"]).unwrap();
        assert_eq!(own.encode_sentences(&text, false).unwrap(), std::slice::from_ref(&apart));
        let several = encoder(json!({"type": "Sequence", "pretokenizers": [bytes(false)]}));
        assert_eq!(several.encode_sentences(&text, true).unwrap(), joined);
        // A tokenizer that puts the space there itself is given none.
        let prefixed = encoder(bytes(true));
        assert_eq!(prefixed.encode_sentences(&text, true).unwrap(), prefixed.encode_sentences(&text, false).unwrap());
    }

    #[test]
    fn sentences_end_at_lines_and_full_stops() {
        let found: Vec<&str> = sentences("One ran. Two (e.g. it, 3.5) sat!\nThree\n\n 4 ").collect();
        assert_eq!(found, ["One ran.", "Two (e.g. it, 3.5) sat!", "Three", "4"]);
    }
}
