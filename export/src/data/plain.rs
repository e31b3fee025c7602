//! Text without labels, to be scored by a model that writes text.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Format, read_text};

/// The texts of a file: of `.jsonl` and `.ndjson`, or with that `format`, one a line, under the key `key`; any other file
/// is one text as a whole, but for those of other formats with columns.
///
/// # Errors
/// No such file, not UTF-8; by file and line broken JSON or a line without that key; no text at all; `.json`, `.csv`, `.tsv`.
pub fn read_plain(path: &Path, key: &str, format: Option<Format>) -> Result<Vec<String>> {
    let text = read_text(path)?;
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase()).unwrap_or_default();
    let format = format.or_else(|| Format::of(Path::new("x").with_extension(ending).as_path()).ok());
    ensure!(
        matches!(format, None | Some(Format::Jsonl)),
        "{} is not read as text; give plain text, or .jsonl with a text a line",
        path.display()
    );
    let lines = format.is_some();
    let texts = match lines {
        false => vec![text],
        true => {
            let of_line = |(number, line): (usize, &str)| {
                let place = || format!("{}, line {}", path.display(), number + 1);
                let row: Value = serde_json::from_str(line).with_context(place)?;
                let text = row.get(key).and_then(Value::as_str);
                let text = text.with_context(|| format!("{}: no text under `{key}`: give --text-column", place()))?;
                Ok(text.to_owned())
            };
            let rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            rows.map(of_line).collect::<Result<Vec<_>>>()?
        }
    };
    ensure!(texts.iter().any(|text| !text.is_empty()), "{} has no text", path.display());
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_json_are_texts_and_another_file_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let path = write("a.txt", "one\n\ntwo\n");
        assert_eq!(read_plain(&path, "text", None).unwrap(), ["one\n\ntwo\n"]);
        let path = write("a.jsonl", "{\"text\":\"one\\ntwo\"}\n\n{\"text\":\"three\",\"label\":1}\n");
        assert_eq!(read_plain(&path, "text", None).unwrap(), ["one\ntwo", "three"]);
        let lines = std::fs::read_to_string(&path).unwrap();
        for (name, format) in [("a.NDJSON", None), ("a", Some(Format::Jsonl)), ("a.txt", Some(Format::Jsonl))] {
            assert_eq!(read_plain(&write(name, &lines), "text", format).unwrap(), ["one\ntwo", "three"], "{name}");
        }
        for (name, format) in [("a.json", None), ("a.csv", None), ("b.txt", Some(Format::Csv))] {
            let error = read_plain(&write(name, &lines), "text", format).unwrap_err().to_string();
            assert!(error.contains("is not read as text"), "{error}");
        }
        let error = format!("{:#}", read_plain(&path, "body", None).unwrap_err());
        assert!(error.contains("line 1") && error.contains("`body`"), "{error}");
        let error = format!("{:#}", read_plain(&write("b.jsonl", "\n{\"text\"\n"), "text", None).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
        assert!(read_plain(&write("c.txt", ""), "text", None).is_err());
    }
}
