//! The texts of test sets out of their files.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::CorpusOptions;
use super::source::{All, Content, ending, open, without_mark};

/// Hands every test text of a file to `each`. JSON has them under the keys of the options, at any depth, alone or in lists; CSV and TSV
/// in columns of these names; other files are read as a corpus is.
///
/// # Errors
/// A file that cannot be read; a row without any of the keys, a header without one of the columns.
pub(super) fn read(path: &PathBuf, options: &CorpusOptions, each: &mut impl FnMut(String)) -> Result<()> {
    let keys = options.keys_of_test_texts();
    match ending(path).as_deref() {
        Some("jsonl" | "ndjson") => {
            for (number, line) in open(path)?.lines().enumerate() {
                let place = || format!("{}, line {}", path.display(), number + 1);
                let line = line.with_context(place)?;
                let line = without_mark(&line);
                if !line.trim().is_empty() {
                    of_json(&serde_json::from_str(line).with_context(place)?, &keys, each).with_context(place)?;
                }
            }
            Ok(())
        }
        Some("json") => {
            let place = || path.display().to_string();
            let mut text = String::new();
            open(path)?.read_to_string(&mut text).with_context(place)?;
            of_json(&serde_json::from_str(without_mark(&text)).with_context(place)?, &keys, each).with_context(place)
        }
        Some("tsv") => of_table(path, b'\t', false, options, each),
        Some("csv") => of_table(path, b',', true, options, each),
        _ => of_documents(path, options, each),
    }
}

fn of_json(value: &Value, keys: &[&str], each: &mut impl FnMut(String)) -> Result<()> {
    let mut found = Vec::new();
    collect(value, keys, false, &mut found);
    ensure!(!found.is_empty(), "no text under {}; --against-key names the keys", quoted(keys));
    found.into_iter().for_each(|text| each(text.to_owned()));
    Ok(())
}

/// Strings below one of the keys; `below` says whether `value` is.
fn collect<'a>(value: &'a Value, keys: &[&str], below: bool, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if below => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| collect(value, keys, below, found)),
        Value::Object(values) => {
            for (key, value) in values {
                collect(value, keys, below || keys.contains(&key.as_str()), found);
            }
        }
        _ => {}
    }
}

fn of_table(
    path: &Path,
    delimiter: u8,
    quoting: bool,
    options: &CorpusOptions,
    each: &mut impl FnMut(String),
) -> Result<()> {
    let place = || path.display().to_string();
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).quoting(quoting).from_reader(open(path)?);
    let headers = reader.headers().with_context(place)?.clone();
    let named =
        if options.against_keys.is_empty() { vec![&options.text_key] } else { options.against_keys.iter().collect() };
    let column = |name: &&String| {
        headers.iter().position(|header| header == name.as_str()).with_context(|| {
            let all = headers.iter().collect::<Vec<_>>().join(", ");
            format!("{}: no column `{name}`; the header has {all}; --against-key names the columns", path.display())
        })
    };
    let columns: Vec<usize> = named.iter().map(column).collect::<Result<_>>()?;
    for record in reader.records() {
        let record = record.with_context(place)?;
        columns.iter().filter_map(|&column| record.get(column)).for_each(|text| each(text.to_owned()));
    }
    Ok(())
}

fn of_documents(path: &PathBuf, options: &CorpusOptions, each: &mut impl FnMut(String)) -> Result<()> {
    let mut documents = All::new(std::slice::from_ref(path), options);
    loop {
        let some = documents.take(256)?;
        if some.is_empty() {
            return Ok(());
        }
        for document in some {
            match document.content {
                Content::Text(text) | Content::Html(text) => each(text),
                Content::Broken(reason) => bail!("{}: {reason}", document.id),
            }
        }
    }
}

fn quoted(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("\"{key}\"")).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, content: &[u8], keys: &[&str]) -> Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let against_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let options = CorpusOptions { against_keys, ..CorpusOptions::default() };
        let mut found = Vec::new();
        read(&path, &options, &mut |text| found.push(text))?;
        Ok(found)
    }

    #[test]
    fn tables_have_texts_in_named_columns() {
        let tsv = b"text\tsecond\tlabel\nsays \"a\"\tb\t1\nc\td\t2\n";
        assert_eq!(texts("x.tsv", tsv, &[]).unwrap(), ["says \"a\"", "c"]);
        assert_eq!(texts("x.tsv", tsv, &["second", "text"]).unwrap(), ["b", "says \"a\"", "d", "c"]);
        assert_eq!(texts("x.csv", b"q,text\n1,\"a, b\"\n", &[]).unwrap(), ["a, b"]);
        let error = format!("{:#}", texts("x.tsv", tsv, &["third"]).unwrap_err());
        assert!(error.contains("no column `third`; the header has text, second, label"), "{error}");
        assert!(texts("x.tsv", b"text\ty\n1\n", &[]).is_err(), "a row that is shorter than the header");
    }

    #[test]
    fn rows_of_json_have_texts_under_named_keys_at_any_depth() {
        let squad = br#"{"version": "1", "data": [{"title": "t", "paragraphs": [
            {"context": "c", "qas": [{"question": "q", "answers": [{"text": "a", "answer_start": 0}]}]}]}]}"#;
        assert_eq!(texts("x.json", squad, &["context", "question"]).unwrap(), ["c", "q"]);
        assert_eq!(texts("x.json", squad, &[]).unwrap(), ["a"]);
        let rows = b"{\"goal\": \"g\", \"choices\": [\"one\", \"two\"], \"label\": 1}\n\n{\"goal\": \"h\"}\n";
        assert_eq!(texts("x.jsonl", rows, &["goal", "choices"]).unwrap(), ["g", "one", "two", "h"]);
        let error = format!("{:#}", texts("x.jsonl", rows, &["choices"]).unwrap_err());
        assert!(error.contains("x.jsonl, line 3: no text under \"choices\""), "{error}");
        assert!(texts("x.jsonl", b"{\"text\": 3}\n", &[]).is_err() && texts("x.json", b"[", &[]).is_err());
    }

    #[test]
    fn packed_and_plain_files_are_read_too() {
        use std::io::Write;

        use flate2::{Compression, write::GzEncoder};
        let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
        zipped.write_all(b"text\na b\n").unwrap();
        assert_eq!(texts("x.tsv.gz", &zipped.finish().unwrap(), &[]).unwrap(), ["a b"]);
        assert_eq!(texts("x.txt", b"one\n\ntwo\n", &[]).unwrap().len(), 2);
        for (name, content) in [("x.json", "\u{feff}{\"text\": \"a\"}"), ("x.jsonl", "\u{feff}{\"text\": \"a\"}\n")] {
            assert_eq!(texts(name, content.as_bytes(), &[]).unwrap(), ["a"], "with a byte-order mark");
        }
    }
}
