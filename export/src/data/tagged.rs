//! Texts whose words carry tags: CoNLL files.

use std::path::Path;

use anyhow::{Result, bail};

use super::read_text;

/// A word with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedWord {
    /// Where the word begins in the text, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// `O`, `B-X`, `I-X`, or with a BIOES scheme also `E-X` and `S-X`.
    pub tag: String,
}

/// A text, which is its words with one space between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedText {
    /// The text.
    pub text: String,
    /// Its words, in order.
    pub words: Vec<TaggedWord>,
    /// File and line of the first word, for messages.
    pub source: String,
}

impl TaggedText {
    /// Adds a word.
    pub(super) fn push(&mut self, word: &str, tag: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        let start = self.text.len();
        self.text.push_str(word);
        self.words.push(TaggedWord { start, end: self.text.len(), tag: tag.to_owned() });
    }
}

/// Whether a word of a file can be a tag.
pub(super) fn is_tag(tag: &str) -> bool {
    tag == "O" || tag.split_once('-').is_some_and(|(prefix, kind)| "BIES".contains(prefix) && !kind.is_empty())
}

/// Reads a CoNLL file: a word and its tag a line (the first and the last field; fields are separated by a tab, or by
/// white space where there is none), an empty line between texts. Lines that begin with `-DOCSTART-` are skipped.
///
/// # Errors
/// A file that is missing or not UTF-8, a line without tag, a tag that is none, no texts; with the line's number.
pub fn read_tagged(path: &Path) -> Result<Vec<TaggedText>> {
    read_conll(path, true)
}

/// Reads the words of a CoNLL file, whose tags may be missing and are not looked at: all are `O`.
pub(super) fn read_words(path: &Path) -> Result<Vec<TaggedText>> {
    read_conll(path, false)
}

fn read_conll(path: &Path, tagged: bool) -> Result<Vec<TaggedText>> {
    let content = read_text(path)?;
    let mut texts = Vec::new();
    let mut current: Option<TaggedText> = None;
    for (index, line) in content.lines().enumerate() {
        let place = || format!("{}, line {}", path.display(), index + 1);
        if line.trim().is_empty() {
            texts.extend(current.take());
            continue;
        }
        if line.starts_with("-DOCSTART-") {
            continue;
        }
        let fields: Vec<&str> =
            if line.contains('\t') { line.split('\t').collect() } else { line.split_whitespace().collect() };
        let (word, tag) = match fields.as_slice() {
            [word, .., tag] if tagged => (word, tag),
            [word, ..] if !tagged => (word, &"O"),
            _ => bail!("{}: a word without tag; a line has a word, a tab and a tag", place()),
        };
        let (word, tag) = (word.trim(), tag.trim());
        if word.is_empty() || !is_tag(tag) {
            bail!("{}: \"{tag}\" is no tag of \"{word}\"; tags are O, B-X and I-X (and E-X, S-X)", place());
        }
        let text = current.get_or_insert_with(|| TaggedText { text: String::new(), words: vec![], source: place() });
        text.push(word, tag);
    }
    texts.extend(current);
    if texts.is_empty() {
        bail!("{} has no {}texts", path.display(), if tagged { "tagged " } else { "" });
    }
    Ok(texts)
}

/// The entities of a row of tags: first and last index and kind. An `I-X` or `E-X` that continues nothing of its kind
/// begins an entity, as conlleval has it.
pub fn entities_of<'a>(tags: impl IntoIterator<Item = &'a str>) -> Vec<(usize, usize, &'a str)> {
    let mut entities: Vec<(usize, usize, &str)> = Vec::new();
    // Whether the last entity may go on.
    let mut open = false;
    for (index, tag) in tags.into_iter().enumerate() {
        let Some((prefix, kind)) = tag.split_once('-') else {
            open = false;
            continue;
        };
        match entities.last_mut() {
            Some(last) if open && last.2 == kind && matches!(prefix, "I" | "E") => last.1 = index,
            _ => entities.push((index, index, kind)),
        }
        open = !matches!(prefix, "E" | "S");
    }
    entities
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conll_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.conll");
        let read = |content: &str| {
            std::fs::write(&path, content).unwrap();
            read_tagged(&path).map_err(|error| error.to_string())
        };
        let texts = read("-DOCSTART- O\n\nZo\u{eb}\tB-PER\nDoe\tI-PER\nruns\tO\r\n\n\nOslo NNP B-LOC\n").unwrap();
        assert_eq!(texts[0].text, "Zo\u{eb} Doe runs");
        let word = &texts[0].words[1];
        assert_eq!((&texts[0].text[word.start..word.end], word.tag.as_str()), ("Doe", "I-PER"));
        assert_eq!((texts[1].text.as_str(), texts[1].words[0].tag.as_str()), ("Oslo", "B-LOC"));
        for (content, expected) in [
            ("a\tO\nb\n", "line 2: a word without tag"),
            ("a\tX-PER\n", "no tag of \"a\""),
            ("\n\n", "no tagged texts"),
        ] {
            let error = read(content).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn entities_are_found_as_conlleval_finds_them() {
        let find = |tags: &'static str| entities_of(tags.split(' '));
        assert_eq!(find("B-A I-A O B-A B-A"), [(0, 1, "A"), (3, 3, "A"), (4, 4, "A")]);
        assert_eq!(find("I-A I-B I-B O I-B"), [(0, 0, "A"), (1, 2, "B"), (4, 4, "B")]);
        assert_eq!(find("B-A E-A I-A S-A O"), [(0, 1, "A"), (2, 2, "A"), (3, 3, "A")]);
        assert!(find("O O").is_empty());
    }
}
