//! Readers for JSON Lines, JSON arrays, CSV and TSV.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Example;

/// File formats of labelled text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line.
    Jsonl,
    /// One JSON array of objects.
    Json,
    /// Comma separated with quoting and a header row.
    Csv,
    /// Tab separated with a header row, no quoting.
    Tsv,
}

impl Format {
    /// The format that a file name's ending stands for.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("jsonl" | "ndjson") => Ok(Self::Jsonl),
            Some("json") => Ok(Self::Json),
            Some("csv") => Ok(Self::Csv),
            Some("tsv") => Ok(Self::Tsv),
            _ => bail!(
                "cannot tell the format of {} by its name; use .jsonl, .json, .csv or .tsv, or name it with `format`",
                path.display()
            ),
        }
    }
}

/// Where text and label are found in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Column or key of the text.
    #[serde(default = "default_text")]
    pub text: String,
    /// Column or key of the second text, where two are read together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// Column or key of the label.
    #[serde(default = "default_label")]
    pub label: String,
    /// Format, when the file name does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// New names for labels, by the name in the file. When given, other labels are an error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// A row may have several labels or none: a JSON array, or `|` between them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub several_labels: bool,
    /// Skip rows whose label is null or empty instead of refusing them.
    #[serde(default)]
    pub skip_unlabelled: bool,
}

fn default_text() -> String {
    "text".into()
}

fn default_label() -> String {
    "label".into()
}

impl Default for Schema {
    fn default() -> Self {
        Self {
            text: default_text(),
            pair: None,
            label: default_label(),
            format: None,
            rename: BTreeMap::new(),
            several_labels: false,
            skip_unlabelled: false,
        }
    }
}

/// What stands between the labels of a text that has several.
const LABEL_SEPARATOR: &str = "|";

/// The labels of a text that may have several.
pub fn labels_of(label: &str) -> impl Iterator<Item = &str> {
    label.split(LABEL_SEPARATOR).filter(|label| !label.is_empty())
}

/// Where a row stands, for messages.
struct Place<'a> {
    path: &'a Path,
    unit: &'static str,
    number: usize,
}

impl Place<'_> {
    fn say(&self, what: impl std::fmt::Display) -> String {
        format!("{}, {} {}: {what}", self.path.display(), self.unit, self.number)
    }
}

/// Reads a file of labelled text.
///
/// # Errors
/// Name file, line (or row) and field: not UTF-8, broken JSON or quoting, a missing column, an empty
/// text, a label that the schema does not rename, no rows at all.
pub fn read_examples(path: &Path, schema: &Schema) -> Result<Vec<Example>> {
    read_rows(path, schema, true)
}

/// The rows of a file in one of the formats; where they need not be `labelled`, what stands under the label's name is not
/// looked at, and their label is empty.
pub(super) fn read_rows(path: &Path, schema: &Schema, labelled: bool) -> Result<Vec<Example>> {
    let text = &read_text(path)?;
    let format = match schema.format {
        Some(format) => format,
        None => Format::of(path)?,
    };
    let mut rows = Rows { schema, path, labelled, examples: Vec::new() };
    match format {
        Format::Jsonl => rows.json_lines(text)?,
        Format::Json => rows.json_array(text)?,
        Format::Csv => rows.delimited(text, b',', true)?,
        Format::Tsv => rows.delimited(text, b'\t', false)?,
    }
    if rows.examples.is_empty() {
        bail!("{} has no {}rows", path.display(), if labelled { "labelled " } else { "" });
    }
    Ok(rows.examples)
}

/// A text file without its byte order mark.
///
/// # Errors
/// No such file; a line that is not UTF-8, by number.
pub fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + valid.iter().filter(|&&b| b == b'\n').count();
            bail!("{}, line {line}: not UTF-8; convert the file (for example with iconv) first", path.display());
        }
    }
}

struct Rows<'a> {
    schema: &'a Schema,
    path: &'a Path,
    labelled: bool,
    examples: Vec<Example>,
}

impl<'a> Rows<'a> {
    fn place(&self, unit: &'static str, number: usize) -> Place<'a> {
        Place { path: self.path, unit, number }
    }

    fn push(&mut self, place: &Place, text: &str, pair: Option<&str>, label: Option<String>) -> Result<()> {
        let label = if self.labelled { label } else { Some(String::new()) };
        let Some(label) = label.filter(|l| !l.is_empty() || self.schema.several_labels || !self.labelled) else {
            if self.schema.skip_unlabelled {
                return Ok(());
            }
            bail!(place.say(format_args!(
                "field `{}` is empty; set skip_unlabelled to leave such rows out",
                self.schema.label
            )));
        };
        let fields = [(Some(text), Some(&self.schema.text)), (pair, self.schema.pair.as_ref())];
        for (text, name) in fields {
            if let (Some(text), Some(name)) = (text, name)
                && text.trim().is_empty()
            {
                bail!(place.say(format_args!("field `{name}` is empty")));
            }
        }
        let label = if self.schema.rename.is_empty() || !self.labelled {
            label
        } else if self.schema.several_labels {
            labels_of(&label).map(|part| self.renamed(place, part)).collect::<Result<Vec<_>>>()?.join(LABEL_SEPARATOR)
        } else {
            self.renamed(place, &label)?.to_owned()
        };
        let (text, pair) = (text.to_owned(), pair.map(str::to_owned));
        self.examples.push(Example { text, pair, label, source: self.path.display().to_string() });
        Ok(())
    }

    fn renamed(&self, place: &Place, label: &str) -> Result<&str> {
        let rename = &self.schema.rename;
        rename.get(label).map(String::as_str).with_context(|| {
            let known: Vec<_> = rename.keys().map(String::as_str).collect();
            let field = &self.schema.label;
            place.say(format_args!("field `{field}` is \"{label}\"; the recipe knows {}", known.join(", ")))
        })
    }

    fn json_row(&mut self, place: &Place, row: &Value) -> Result<()> {
        let Some(object) = row.as_object() else { bail!(place.say("not a JSON object")) };
        let field = |name: &str| {
            object.get(name).with_context(|| {
                let names: Vec<_> = object.keys().map(String::as_str).collect();
                place.say(format_args!("no field `{name}`; the row has {}", names.join(", ")))
            })
        };
        let label = match self.labelled.then(|| field(&self.schema.label)).transpose()?.unwrap_or(&Value::Null) {
            Value::Null => None,
            Value::String(s) => Some(s.clone()),
            Value::Number(n) => Some(n.to_string()),
            Value::Bool(b) => Some(b.to_string()),
            // Several labels, as the same file in CSV would have them.
            Value::Array(labels) if self.schema.several_labels => {
                let name = |label: &Value| match label {
                    Value::String(label) if !label.contains(LABEL_SEPARATOR) => Ok(label.clone()),
                    Value::Number(label) => Ok(label.to_string()),
                    other => bail!(place.say(format_args!(
                        "field `{}` has the label {other}; labels are numbers, or text without {LABEL_SEPARATOR}",
                        self.schema.label
                    ))),
                };
                Some(labels.iter().map(name).collect::<Result<Vec<_>>>()?.join(LABEL_SEPARATOR))
            }
            _ => bail!(place.say(format_args!("field `{}` is not text or a number", self.schema.label))),
        };
        let text = |name: &str| match field(name)? {
            Value::String(s) => Ok(s.as_str()),
            _ => bail!(place.say(format_args!("field `{name}` is not text"))),
        };
        let pair = self.schema.pair.as_deref().map(text).transpose()?;
        self.push(place, text(&self.schema.text)?, pair, label)
    }

    fn json_lines(&mut self, text: &str) -> Result<()> {
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = self.place("line", index + 1);
            let row =
                serde_json::from_str(line).map_err(|e| anyhow::anyhow!(place.say(format_args!("broken JSON: {e}"))))?;
            self.json_row(&place, &row)?;
        }
        Ok(())
    }

    fn json_array(&mut self, text: &str) -> Result<()> {
        let rows: Vec<Value> = serde_json::from_str(text).with_context(|| {
            format!("{} is not a JSON array of objects; for one object a line name it .jsonl", self.path.display())
        })?;
        for (index, row) in rows.iter().enumerate() {
            let place = self.place("row", index + 1);
            self.json_row(&place, row)?;
        }
        Ok(())
    }

    fn delimited(&mut self, text: &str, delimiter: u8, quoting: bool) -> Result<()> {
        if quoting {
            self.quotes_are_closed(text, delimiter)?;
        }
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).quoting(quoting).from_reader(text.as_bytes());
        let headers =
            reader.headers().with_context(|| format!("{}: unreadable header row", self.path.display()))?.clone();
        let read = [Some(&self.schema.text), self.schema.pair.as_ref(), self.labelled.then_some(&self.schema.label)];
        for name in read.into_iter().flatten() {
            if headers.iter().filter(|header| header == name).count() > 1 {
                bail!("{}, line 1: there are several columns `{name}`; give each its own name", self.path.display());
            }
        }
        let column = |name: &str| {
            headers.iter().position(|h| h == name).with_context(|| {
                let names: Vec<_> = headers.iter().collect();
                format!("{}, line 1: no column `{name}`; the header has {}", self.path.display(), names.join(", "))
            })
        };
        let text_column = column(&self.schema.text)?;
        let label_column = self.labelled.then(|| column(&self.schema.label)).transpose()?;
        let pair_column = self.schema.pair.as_deref().map(column).transpose()?;
        for record in reader.records() {
            let record = record.map_err(|error| {
                let line = error.position().map_or(0, csv::Position::line);
                anyhow::anyhow!(self.place("line", line as usize).say(&error))
            })?;
            let line = record.position().map_or(0, csv::Position::line) as usize;
            let place = self.place("line", line);
            let label = label_column.map(|column| record.get(column));
            let (Some(text), Some(label)) = (record.get(text_column), label.unwrap_or(Some(""))) else {
                bail!(place.say("too few columns"));
            };
            let pair = pair_column.map(|column| record.get(column).unwrap_or_default());
            self.push(&place, text, pair, Some(label.to_owned()))?;
        }
        Ok(())
    }
}

impl Rows<'_> {
    /// Refuses a file that ends within quotes, of which the reader would make one long row.
    fn quotes_are_closed(&self, text: &str, delimiter: u8) -> Result<()> {
        // A row that is there by itself, unless a quote is still open before it.
        const END: &str = "\u{1}end\u{1}";
        let text = format!("{text}\n{END}\n");
        let mut last = csv::StringRecord::new();
        let mut rows = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        while rows.read_record(&mut last).unwrap_or(false) && !last.iter().any(|field| field.contains(END)) {}
        if last.len() == 1 && last.get(0) == Some(END) {
            return Ok(());
        }
        let line = last.position().map_or(0, csv::Position::line) as usize;
        bail!(
            self.place("line", line)
                .say("a quote is never closed; close it, or double it where it is part of the text")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, content: &[u8], schema: &Schema) -> Result<Vec<Example>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        read_examples(&path, schema)
    }

    #[test]
    fn every_format_gives_the_same_rows() {
        let schema = Schema::default();
        let want = [("one, \u{1F642}", "a"), ("two", "b")];
        for (name, content) in [
            ("x.jsonl", "{\"text\":\"one, \u{1F642}\",\"label\":\"a\"}\n\n{\"label\":\"b\",\"text\":\"two\"}\n"),
            ("x.json", "[{\"text\":\"one, \u{1F642}\",\"label\":\"a\"},{\"text\":\"two\",\"label\":\"b\"}]"),
            ("x.csv", "\u{feff}label,text\na,\"one, \u{1F642}\"\nb,two\n"),
            ("x.tsv", "text\tlabel\none, \u{1F642}\ta\r\ntwo\tb\n"),
        ] {
            let rows = read(name, content.as_bytes(), &schema).unwrap();
            let got: Vec<_> = rows.iter().map(|e| (e.text.as_str(), e.label.as_str())).collect();
            assert_eq!(got, want, "{name}");
        }
    }

    #[test]
    fn quoted_line_breaks_and_bare_quotes() {
        let schema = Schema::default();
        assert_eq!(read("x.csv", b"text,label\n\"a\nb\",y\n", &schema).unwrap()[0].text, "a\nb");
        assert_eq!(read("x.csv", b"label,text\ny,\"a \"\"b\"\"\"", &schema).unwrap()[0].text, "a \"b\"");
        assert_eq!(read("x.csv", b"label,text\ny,a 5\" disk", &schema).unwrap()[0].text, "a 5\" disk");
        assert_eq!(read("x.tsv", b"text\tlabel\nsay \"no\ty\n", &schema).unwrap()[0].text, "say \"no");
    }

    #[test]
    fn errors_name_file_line_and_field() {
        let plain = Schema::default();
        let renaming = Schema { rename: BTreeMap::from([("0".into(), "no".into())]), ..Schema::default() };
        for (name, content, schema, expected) in [
            ("x.jsonl", &b"{\"text\":\"a\",\"label\":1}\n{\"text\":"[..], &plain, "x.jsonl, line 2: broken JSON"),
            ("x.jsonl", b"{\"body\":\"a\",\"label\":1}", &plain, "line 1: no field `text`; the row has body, label"),
            ("x.json", b"[{\"text\":\"a\",\"label\":null}]", &plain, "row 1: field `label` is empty"),
            ("x.json", b"[{\"text\":\"  \",\"label\":1}]", &plain, "row 1: field `text` is empty"),
            ("x.csv", b"text,class\na,1\n", &plain, "line 1: no column `label`; the header has text, class"),
            ("x.csv", b"text,label\na,1\nb\n", &plain, "line 3"),
            ("x.csv", b"text,label\na,1\n\"b,1\nc,1\n", &plain, "line 3: a quote is never closed"),
            ("x.csv", b"label,text\n1,a\n1,\"b\n1,c", &plain, "line 3: a quote is never closed"),
            ("x.csv", b"text,label,text\na,1,b\n", &plain, "several columns `text`"),
            ("x.jsonl", b"{\"text\":\"a\",\"label\":1}", &renaming, "field `label` is \"1\"; the recipe knows 0"),
            ("x.jsonl", b"{\"text\":\"a\",\"label\":1}\n\xff\n", &plain, "x.jsonl, line 2: not UTF-8"),
            ("x.jsonl", b"", &plain, "no labelled rows"),
            ("x.txt", b"a", &plain, "cannot tell the format"),
        ] {
            let error = format!("{:#}", read(name, content, schema).unwrap_err());
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn unlabelled_rows_can_be_skipped() {
        let schema = Schema { skip_unlabelled: true, ..Schema::default() };
        let rows = read("x.json", b"[{\"text\":\"a\",\"label\":1},{\"text\":\"\",\"label\":null}]", &schema).unwrap();
        assert_eq!(rows.len(), 1);
    }
}
