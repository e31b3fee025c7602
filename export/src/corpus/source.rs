//! Documents out of files, one at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use serde_json::{Map, Value};

use super::warc::WarcReader;
use super::{CorpusOptions, charset};

/// The longest line, page or record that is read; what is longer is counted as broken.
pub(super) const LONGEST: u64 = 64 << 20;

/// What a document is before it is filtered.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    /// File name and number in it.
    pub id: String,
    pub content: Content,
    pub url: Option<String>,
    /// Votes on the link to it.
    pub score: Option<f64>,
    /// The row that it came in, without its text.
    pub row: Map<String, Value>,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Text(String),
    Html(String),
    /// Not to be read, and why.
    Broken(String),
}

impl Default for Content {
    fn default() -> Self {
        Content::Text(String::new())
    }
}

/// The documents of a file.
pub(super) struct Documents<'a> {
    name: String,
    number: usize,
    options: &'a CorpusOptions,
    reader: Reader,
}

enum Reader {
    Rows(Box<dyn BufRead>),
    Text(Box<dyn BufRead>),
    Page(Option<Box<dyn BufRead>>),
    Warc(WarcReader<Box<dyn BufRead>>),
}

impl<'a> Documents<'a> {
    /// Opens a file; its name's ending says what it is.
    ///
    /// # Errors
    /// A file that cannot be opened, or of an unknown ending.
    pub(super) fn open(path: &Path, options: &'a CorpusOptions) -> Result<Self> {
        let bytes = open(path)?;
        let reader = match ending(path).as_deref() {
            Some("jsonl" | "ndjson") => Reader::Rows(bytes),
            Some("txt") => Reader::Text(bytes),
            Some("html" | "htm") => Reader::Page(Some(bytes)),
            Some("warc" | "wet") => Reader::Warc(WarcReader::new(bytes)),
            _ => bail!(
                "cannot tell what {} is by its name; use .jsonl, .txt, .html, .warc or .wet, with or without .gz",
                path.display()
            ),
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, number: 0, options, reader })
    }

    /// The next document; `None` at the end.
    ///
    /// # Errors
    /// A file that cannot be read on.
    pub(super) fn read(&mut self) -> Result<Option<Document>> {
        let found = match &mut self.reader {
            Reader::Rows(bytes) => loop {
                match line(bytes)? {
                    None => break None,
                    Some(Ok(line)) if without_mark(&line).trim().is_empty() => {}
                    Some(line) => break Some(row(line, self.options)),
                }
            },
            Reader::Text(bytes) => paragraph(bytes)?.map(|content| Document { content, ..Document::default() }),
            Reader::Page(bytes) => match bytes.take() {
                None => None,
                Some(bytes) => {
                    let mut page = Vec::new();
                    bytes.take(LONGEST + 1).read_to_end(&mut page)?;
                    let page = match page.len() as u64 > LONGEST {
                        true => Err(format!("a page of more than {LONGEST} bytes")),
                        false => charset::decoded(page, None),
                    };
                    let content = page.map_or_else(Content::Broken, Content::Html);
                    Some(Document { content, ..Document::default() })
                }
            },
            Reader::Warc(records) => records.read()?,
        };
        Ok(found.map(|document| {
            self.number += 1;
            Document { id: format!("{}:{}", self.name, self.number), ..document }
        }))
    }
}

/// The ending of a file's name, without `.gz`.
pub(super) fn ending(path: &Path) -> Option<String> {
    let zipped = path.extension().is_some_and(|ending| ending == "gz");
    let plain = if zipped { path.with_extension("") } else { path.to_owned() };
    plain.extension().and_then(|ending| ending.to_str()).map(str::to_owned)
}

/// What a file holds; of `.gz` what is in it.
///
/// # Errors
/// A file that cannot be opened.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file = BufReader::with_capacity(1 << 18, file);
    Ok(match path.extension().is_some_and(|ending| ending == "gz") {
        true => Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(file))),
        false => Box::new(file),
    })
}

/// Text without a byte-order mark.
pub(super) fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

/// The next line with its end: an error inside is one of this line, which is passed over.
fn line(mut bytes: &mut dyn BufRead) -> Result<Option<std::result::Result<String, String>>> {
    let mut line = Vec::new();
    if (&mut bytes).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') && line.len() as u64 == LONGEST {
        bytes.skip_until(b'\n')?;
        return Ok(Some(Err(format!("a line of more than {LONGEST} bytes"))));
    }
    Ok(Some(String::from_utf8(line).map_err(|_| "not UTF-8".to_owned())))
}

/// The lines up to an empty one. A document with a broken line is passed over to its end.
fn paragraph(bytes: &mut dyn BufRead) -> Result<Option<Content>> {
    let (mut text, mut broken) = (String::new(), None);
    while let Some(line) = line(bytes)? {
        match line.as_deref().map(without_mark) {
            Ok(line) if line.trim().is_empty() => {
                if !text.is_empty() || broken.is_some() {
                    break;
                }
            }
            Ok(line) if broken.is_none() => {
                text += line;
                if text.len() as u64 > LONGEST {
                    broken = Some(format!("a text of more than {LONGEST} bytes"));
                }
            }
            Ok(_) => {}
            Err(reason) => broken = Some(reason.to_owned()),
        }
    }
    Ok(match broken {
        Some(reason) => Some(Content::Broken(reason)),
        None => (!text.is_empty()).then_some(Content::Text(text)),
    })
}

fn row(line: std::result::Result<String, String>, options: &CorpusOptions) -> Document {
    let broken = |reason: String| Document { content: Content::Broken(reason), ..Document::default() };
    let parsed = line.and_then(|line| serde_json::from_str(without_mark(&line)).map_err(|error| error.to_string()));
    let mut row: Map<String, Value> = match parsed {
        Ok(Value::Object(row)) => row,
        Ok(_) => return broken("not an object".to_owned()),
        Err(reason) => return broken(reason),
    };
    let mut take = |key: &str| match row.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let content = match (take(&options.text_key), take(&options.html_key)) {
        (Some(text), _) => Content::Text(text),
        (None, Some(page)) => Content::Html(page),
        (None, None) => {
            return broken(format!(
                "no text under \"{}\" and no page under \"{}\"",
                options.text_key, options.html_key
            ));
        }
    };
    let url = row.get(&options.url_key).and_then(Value::as_str).map(str::to_owned);
    let score = row.get(&options.score_key).and_then(Value::as_f64);
    Document { id: String::new(), content, url, score, row }
}

/// All files' documents in order, from a number on.
pub(super) struct All<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    open: Option<Documents<'a>>,
    pub options: &'a CorpusOptions,
}

impl<'a> All<'a> {
    pub(super) fn new(files: &'a [PathBuf], options: &'a CorpusOptions) -> Self {
        Self { files: files.iter(), open: None, options }
    }

    /// Up to `count` documents.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(super) fn take(&mut self, count: usize) -> Result<Vec<Document>> {
        let mut documents = Vec::new();
        while documents.len() < count {
            let open = match &mut self.open {
                Some(open) => open,
                None => match self.files.next() {
                    Some(path) => self.open.insert(Documents::open(path, self.options)?),
                    None => break,
                },
            };
            match open.read().with_context(|| open.name.clone())? {
                Some(document) => documents.push(document),
                None => self.open = None,
            }
        }
        Ok(documents)
    }
}
