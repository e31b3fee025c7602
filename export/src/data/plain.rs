//! Text without labels, to be scored by a model that writes text.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::read_text;

/// The texts of a file: of `.jsonl` one a line, under the key `key`; any other file is one text as a whole.
///
/// # Errors
/// No such file, not UTF-8; by file and line broken JSON or a line without that key; no text at all.
pub fn read_plain(path: &Path, key: &str) -> Result<Vec<String>> {
    let text = read_text(path)?;
    let lines = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"));
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
        assert_eq!(read_plain(&path, "text").unwrap(), ["one\n\ntwo\n"]);
        let path = write("a.jsonl", "{\"text\":\"one\\ntwo\"}\n\n{\"text\":\"three\",\"label\":1}\n");
        assert_eq!(read_plain(&path, "text").unwrap(), ["one\ntwo", "three"]);
        let error = format!("{:#}", read_plain(&path, "body").unwrap_err());
        assert!(error.contains("line 1") && error.contains("`body`"), "{error}");
        let error = format!("{:#}", read_plain(&write("b.jsonl", "\n{\"text\"\n"), "text").unwrap_err());
        assert!(error.contains("line 2"), "{error}");
        assert!(read_plain(&write("c.txt", ""), "text").is_err());
    }
}
