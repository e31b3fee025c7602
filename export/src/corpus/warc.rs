//! Web archives (ISO 28500): the pages and texts of WARC and WET files.
//!
//! Read here and not by a crate, for the one on crates.io reads records of any length into memory and brings a calendar and
//! URL tables along.

use std::io::{BufRead, Read};

use anyhow::{Result, bail, ensure};

use super::source::{Content, Document, LONGEST};

/// Lines of a record's or a page's header at most.
const HEADERS: usize = 1000;
/// Bytes of such a line at most.
const HEADER: u64 = 1 << 16;

/// The documents of an archive.
pub(super) struct WarcReader<R> {
    bytes: R,
}

impl<R: BufRead> WarcReader<R> {
    pub(super) fn new(bytes: R) -> Self {
        Self { bytes }
    }

    /// The next page (`response` of type HTML) or text (`conversion`); other records are passed over.
    ///
    /// # Errors
    /// Bytes that are no records.
    pub(super) fn read(&mut self) -> Result<Option<Document>> {
        while let Some(version) = first_line(&mut self.bytes)? {
            ensure!(version.starts_with("WARC/"), "not a web archive: a record begins with {:?}", shortened(&version));
            let headers = headers(&mut self.bytes)?;
            let of = |name: &str| value(&headers, name);
            let Some(length) = of("content-length").and_then(|length| length.parse::<u64>().ok()) else {
                bail!("a record of the web archive has no Content-Length");
            };
            let kind = of("warc-type").unwrap_or_default().to_owned();
            let url = of("warc-target-uri").map(|url| url.trim_matches(['<', '>']).to_owned());
            let wanted = matches!(kind.as_str(), "response" | "conversion");
            let mut body = self.bytes.by_ref().take(length);
            let content = if wanted && length <= LONGEST {
                let mut bytes = Vec::new();
                body.read_to_end(&mut bytes)?;
                ensure!(bytes.len() as u64 == length, "the web archive ends inside of a record");
                if kind == "conversion" { Some(text(bytes)) } else { page(&bytes)? }
            } else {
                std::io::copy(&mut body, &mut std::io::sink())?;
                wanted.then(|| Content::Broken(format!("a record of more than {LONGEST} bytes")))
            };
            if let Some(content) = content {
                return Ok(Some(Document { content, url, ..Document::default() }));
            }
        }
        Ok(None)
    }
}

fn text(bytes: Vec<u8>) -> Content {
    String::from_utf8(bytes).map_or_else(|_| Content::Broken("not UTF-8".to_owned()), Content::Text)
}

/// The page of an HTTP response that went well; `None` for others. Compressed bodies are not unpacked: crawlers store them
/// unpacked.
fn page(mut response: &[u8]) -> Result<Option<Content>> {
    let Some(status) = first_line(&mut response)? else { return Ok(None) };
    let headers = headers(&mut response)?;
    let fine = status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    let html = value(&headers, "content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("html"));
    if !fine || !html {
        return Ok(None);
    }
    Ok(Some(match value(&headers, "content-encoding") {
        None | Some("identity" | "") => Content::Html(String::from_utf8_lossy(response).into_owned()),
        Some(coding) => Content::Broken(format!("a page in the coding {coding}")),
    }))
}

/// The next line that is not empty.
fn first_line(bytes: &mut impl BufRead) -> Result<Option<String>> {
    loop {
        match header_line(bytes)? {
            Some(line) if line.is_empty() => {}
            line => return Ok(line),
        }
    }
}

fn headers(bytes: &mut impl BufRead) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some(line) = header_line(bytes)?.filter(|line| !line.is_empty()) {
        ensure!(headers.len() < HEADERS, "a record with more than {HEADERS} header lines");
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    Ok(headers)
}

fn header_line(bytes: &mut impl BufRead) -> Result<Option<String>> {
    let mut line = Vec::new();
    if bytes.by_ref().take(HEADER).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str, url: &str, body: &str) -> String {
        format!(
            "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nContent-Length: {}\r\n\r\n{body}\r\n\r\n",
            body.len()
        )
    }

    fn all(archive: &[u8]) -> Result<Vec<(String, String)>> {
        let mut reader = WarcReader::new(archive);
        let mut found = Vec::new();
        while let Some(document) = reader.read()? {
            let text = match document.content {
                Content::Text(text) => format!("text {text}"),
                Content::Html(text) => format!("page {text}"),
                Content::Broken(reason) => format!("broken {reason}"),
            };
            found.push((document.url.unwrap_or_default(), text));
        }
        Ok(found)
    }

    #[test]
    fn pages_and_texts_come_out_and_the_rest_does_not() {
        let http =
            |status: &str, kind: &str, body: &str| format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n{body}");
        let archive = [
            record("warcinfo", "", "software: x"),
            record("request", "http://a/", "GET / HTTP/1.1\r\n\r\n"),
            record("response", "<http://a/>", &http("200 OK", "text/HTML; charset=utf-8", "<p>one\r\n\r\ntwo</p>")),
            record("response", "http://b/", &http("404 Not Found", "text/html", "<p>gone</p>")),
            record("response", "http://c/", &http("200 OK", "image/png", "png")),
            record("conversion", "http://d/", "plain 🙂"),
            record(
                "response",
                "http://e/",
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: br\r\n\r\nx",
            ),
        ]
        .concat();
        let found = all(archive.as_bytes()).unwrap();
        let expected = [
            ("http://a/", "page <p>one\r\n\r\ntwo</p>"),
            ("http://d/", "text plain 🙂"),
            ("http://e/", "broken a page in the coding br"),
        ];
        assert_eq!(found, expected.map(|(url, text)| (url.to_owned(), text.to_owned())));
        assert!(all(b"").unwrap().is_empty());
        for cut in [10, 60, archive.len() - 30] {
            // Cut anywhere: an end or an error, never a panic.
            let _ = all(&archive.as_bytes()[..cut]);
        }
        assert!(all(b"<html>").unwrap_err().to_string().contains("not a web archive"));
        assert!(all(b"WARC/1.0\r\nWARC-Type: response\r\n\r\nx").unwrap_err().to_string().contains("Content-Length"));
        let short = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 9\r\n\r\nx";
        assert!(all(short).unwrap_err().to_string().contains("ends inside"));
    }
}
