//! Texts without labels, from which a student learns what its teacher says of them.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use super::read::read_rows;
use super::tagged::{is_tag, read_words};
use super::{Example, Goal, Rows, Schema, TaggedText, read_text};

impl Rows {
    /// Reads rows of which only the texts count: by `schema` as labelled rows are, but for their labels; of a `.txt` file each
    /// line is a text. Of tags the words of a text are what white space parts, or those of a CoNLL file, which any other file
    /// is but `.jsonl`, `.ndjson`, `.json` and `.csv`.
    ///
    /// # Errors
    /// Those of the readers, with file and line; single texts where rows are pairs; a CoNLL file called `.txt`; questions.
    pub fn read_unlabelled(path: &Path, goal: Goal, schema: &Schema) -> Result<Rows> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
        let texts = match (goal, ending.as_str()) {
            (Goal::Answers, _) => bail!("questions cannot be read without their answers"),
            (_, "txt") if schema.format.is_none() => {
                ensure!(
                    schema.pair.is_none(),
                    "{} has single texts, and rows are pairs; give a file with both columns",
                    path.display()
                );
                lines(path)?
            }
            (Goal::Tags, ending)
                if schema.format.is_none() && !["jsonl", "ndjson", "json", "csv"].contains(&ending) =>
            {
                return Ok(Rows::Tagged(read_words(path)?));
            }
            _ => read_rows(path, schema, false)?,
        };
        if goal == Goal::Tags && ending == "txt" {
            // A word and its tag are no text of two words.
            let tagged = texts.iter().filter(|row| {
                let mut words = row.text.split_whitespace();
                words.nth(1).is_some_and(is_tag) && words.next().is_none()
            });
            ensure!(
                tagged.count() * 2 < texts.len(),
                "{} has a word and a tag in most lines: call it .conll, or give a text a line",
                path.display()
            );
        }
        Ok(if goal == Goal::Tags { Rows::Tagged(texts.iter().map(words).collect()) } else { Rows::Texts(texts) })
    }
}

fn lines(path: &Path) -> Result<Vec<Example>> {
    let source = path.display().to_string();
    let text = read_text(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let row = |line: &str| Example { text: line.to_owned(), pair: None, label: String::new(), source: source.clone() };
    let rows: Vec<Example> = lines.map(row).collect();
    ensure!(!rows.is_empty(), "{source} has no texts");
    Ok(rows)
}

/// A text's words, with one space between.
fn words(row: &Example) -> TaggedText {
    let mut text = TaggedText { text: String::new(), words: Vec::new(), source: row.source.clone() };
    row.text.split_whitespace().for_each(|word| text.push(word, "O"));
    text
}

#[cfg(test)]
mod tests {
    use super::super::encode::tests::encoder;
    use super::*;

    fn read(name: &str, content: &str, goal: Goal, schema: &Schema) -> Result<Rows> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Rows::read_unlabelled(&path, goal, schema)
    }

    #[test]
    fn labels_are_neither_needed_nor_looked_at() {
        let renaming = Schema { rename: [("0".to_owned(), "no".to_owned())].into(), ..Schema::default() };
        let want = vec![("one", None), ("two", None)];
        for (name, content) in [
            ("x.jsonl", "{\"text\":\"one\"}\n{\"text\":\"two\",\"label\":7}\n"),
            ("x.json", "[{\"text\":\"one\",\"label\":null},{\"text\":\"two\"}]"),
            ("x.csv", "text,other\none,\ntwo,1\n"),
            ("x.tsv", "label\ttext\nq\tone\n\ttwo\n"),
            ("x.txt", "one\r\n\n  two \n"),
        ] {
            for (goal, schema) in [(Goal::Class, &renaming), (Goal::Labels, &Schema::default())] {
                let rows = read(name, content, goal, schema).unwrap();
                assert_eq!(rows.texts(), want, "{name}");
                let Rows::Texts(rows) = rows else { unreachable!() };
                assert!(rows.iter().all(|row| row.label.is_empty()));
            }
        }
    }

    #[test]
    fn pairs_have_both_texts() {
        let pairs = Schema { pair: Some("other".to_owned()), ..Schema::default() };
        let rows = read("x.csv", "text,other\nzoe,ran far\n", Goal::Class, &pairs).unwrap();
        assert_eq!(rows.texts(), [("zoe", Some("ran far"))]);
        // Read together, or each by itself.
        let together = &rows.encode_unlabelled(Goal::Class, &encoder(16)).unwrap().examples[0];
        let apart = &rows.encode_unlabelled(Goal::Similarity { highest: 5.0 }, &encoder(16)).unwrap().examples[0];
        assert!(together.partner.is_empty() && !together.types.is_empty(), "{together:?}");
        assert_eq!([apart.ids.len(), apart.partner.len()], [3, 4], "{apart:?}");
        for (name, content, expected) in [
            ("x.txt", "zoe\n", "has single texts, and rows are pairs"),
            ("x.csv", "text\nzoe\n", "no column `other`"),
            ("x.jsonl", "{\"text\":\"zoe\",\"other\":\" \"}", "line 1: field `other` is empty"),
            ("x.csv", "text,other\n", "has no rows"),
        ] {
            let error = format!("{:#}", read(name, content, Goal::Class, &pairs).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let error = read("x.txt", "", Goal::Class, &Schema::default()).unwrap_err().to_string();
        assert!(error.ends_with("has no texts"), "{error}");
        assert!(read("x.json", "[]", Goal::Answers, &Schema::default()).is_err());
    }

    #[test]
    fn words_of_tagged_texts_are_what_white_space_parts() {
        for (name, content) in [
            ("x.txt", " zoe  ran\tfar\n"),
            ("x.csv", "text\nzoe ran far\n"),
            ("x.ndjson", "{\"text\":\"zoe ran far\"}\n"),
            ("x.conll", "zoe B-PER\nran O\nfar O\n"),
            ("x.tsv", "zoe\nran\t?\nfar\tO\n"),
        ] {
            let rows = read(name, content, Goal::Tags, &Schema::default()).unwrap();
            let Rows::Tagged(texts) = &rows else { unreachable!() };
            assert_eq!(texts[0].text, "zoe ran far", "{name}");
            let word = &texts[0].words[1];
            assert_eq!((texts[0].words.len(), &texts[0].text[word.start..word.end]), (3, "ran"), "{name}");
            // Special tokens about three words, and no tag that the model might lack.
            assert_eq!(rows.encode_unlabelled(Goal::Tags, &encoder(16)).unwrap().examples[0].ids.len(), 5, "{name}");
        }
    }

    #[test]
    fn a_format_that_is_named_is_obeyed() {
        let schema = Schema { format: Some(super::super::Format::Tsv), ..Schema::default() };
        let rows = read("x.txt", "text\tlabel\nzoe ran\ta\n", Goal::Class, &schema).unwrap();
        assert_eq!(rows.texts(), [("zoe ran", None)]);
        let error = read("x.txt", "zoe B-PER\nran O\n", Goal::Tags, &Schema::default()).unwrap_err();
        assert!(error.to_string().contains("call it .conll"), "{error}");
    }

    #[test]
    fn texts_that_are_there_twice_are_dropped() {
        let mut rows = read("x.txt", "one\nTWO\none \n two\nthree\n", Goal::Class, &Schema::default()).unwrap();
        assert_eq!((rows.drop_repeated(), rows.texts()), (2, vec![("one", None), ("TWO", None), ("three", None)]));
    }
}
