//! Web archives (ISO 28500): the pages and texts of WARC and WET files.
//!
//! Read here and not by a crate, for the one on crates.io reads records of any length into memory and brings a calendar and
//! URL tables along.

use std::borrow::Cow;
use std::io::{BufRead, Read};

use anyhow::{Result, bail, ensure};
use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};

use super::charset;
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

/// The page of an HTTP response that went well; `None` for others.
fn page(mut response: &[u8]) -> Result<Option<Content>> {
    let Some(status) = first_line(&mut response)? else { return Ok(None) };
    let headers = headers(&mut response)?;
    let fine = status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    let kind = value(&headers, "content-type").filter(|kind| kind.to_ascii_lowercase().contains("html"));
    if !fine || kind.is_none() {
        return Ok(None);
    }
    let page = body(response, &headers).and_then(|body| charset::decoded(body, kind));
    Ok(Some(page.map_or_else(Content::Broken, Content::Html)))
}

/// What an HTTP response carries, unpacked. Some crawlers store it so and keep the headers, so these alone do not tell.
fn body(response: &[u8], headers: &[(String, String)]) -> std::result::Result<Vec<u8>, String> {
    let coding = |name| value(headers, name).unwrap_or_default().to_ascii_lowercase();
    let whole = match coding("transfer-encoding").ends_with("chunked") && begins_with_chunk(response) {
        true => Cow::Owned(of_chunks(response).ok_or("a page in damaged chunks")?),
        false => Cow::Borrowed(response),
    };
    match coding("content-encoding").as_str() {
        "gzip" | "x-gzip" if whole.starts_with(&[0x1f, 0x8b]) => unpacked(GzDecoder::new(&*whole)),
        // Meant is zlib's format; some servers leave its header out.
        "deflate" if is_zlib(&whole) => unpacked(ZlibDecoder::new(&*whole)),
        "deflate" if !whole.trim_ascii_start().starts_with(b"<") => unpacked(DeflateDecoder::new(&*whole)),
        "" | "identity" | "gzip" | "x-gzip" | "deflate" => Ok(whole.into_owned()),
        coding => Err(format!("a page in the coding {coding}")),
    }
}

/// Whether a length in hexadecimal comes first, and after so many bytes a line's end, or none where the crawler stopped.
fn begins_with_chunk(body: &[u8]) -> bool {
    chunk(body).is_some_and(|(_, rest)| rest.is_none_or(|rest| rest.is_empty() || after_line_end(rest).is_some()))
}

/// The bytes of a chunk and what follows them; nothing does where it is cut short.
fn chunk(body: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = body.iter().take(HEADER as usize).position(|&byte| byte == b'\n')?;
    let length = body[..end].split(|&byte| byte == b';').next()?.trim_ascii();
    let digits = std::str::from_utf8(length).ok().filter(|digits| digits.bytes().all(|c| c.is_ascii_hexdigit()))?;
    let length = usize::from_str_radix(digits, 16).ok()?;
    let rest = &body[end + 1..];
    Some(rest.split_at_checked(length).map_or((rest, None), |(bytes, rest)| (bytes, Some(rest))))
}

fn after_line_end(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n"))
}

/// The chunks of a body in one piece; `None` where something else is between them. The last may be cut short, as bodies are
/// that the crawler found too long.
fn of_chunks(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    while !body.is_empty() {
        let (bytes, rest) = chunk(body)?;
        whole.extend_from_slice(bytes);
        match rest.filter(|rest| !bytes.is_empty() && !rest.is_empty()) {
            Some(rest) => body = after_line_end(rest)?,
            None => break,
        }
    }
    Some(whole)
}

/// RFC 1950, section 2.2.
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..] if first & 15 == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0)
}

fn unpacked(packed: impl Read) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    packed.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|_| "a packed page that is damaged")?;
    match bytes.len() as u64 > LONGEST {
        true => Err(format!("a page of more than {LONGEST} bytes")),
        false => Ok(bytes),
    }
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
    /// What a response with such headers and such a body gives.
    fn answer(headers: &str, body: &[u8]) -> String {
        let response =
            [format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{headers}\r\n").as_bytes(), body].concat();
        match page(&response).unwrap().unwrap() {
            Content::Html(page) => page,
            Content::Broken(reason) => format!("broken: {reason}"),
            Content::Text(text) => panic!("{text}"),
        }
    }

    #[test]
    fn bodies_in_chunks_are_put_together() {
        let chunked = |body: &str| answer("Transfer-Encoding: Chunked\r\n", body.as_bytes());
        assert_eq!(
            chunked("7;x=y\r\n<p>one \r\n0A  \r\ntwo\r\nthree\r\n0\r\nTrailer: 1\r\n\r\n"),
            "<p>one two\r\nthree"
        );
        assert_eq!(chunked("3\n<p>\n1\na\n0\n\n"), "<p>a");
        // As stored by a crawler that unpacks, and by one that stops in the middle.
        assert_eq!(chunked("<p>one</p>\r\n"), "<p>one</p>\r\n");
        assert_eq!(chunked("404\r\n<p>one</p>".repeat(200).as_str()), "404\r\n<p>one</p>".repeat(200));
        assert_eq!(chunked("3\r\n<p>\r\n10\r\nhalf"), "<p>half");
        assert_eq!(chunked("3\r\n<p>"), "<p>");
        assert_eq!(chunked(""), "");
        assert_eq!(chunked("3\r\n<p>\r\nno length\r\n"), "broken: a page in damaged chunks");
        assert_eq!(chunked("ffffffffffffffffff\r\nx"), "ffffffffffffffffff\r\nx");
        assert_eq!(answer("", b"3\r\n<p>\r\n0\r\n\r\n"), "3\r\n<p>\r\n0\r\n\r\n", "not said to be in chunks");
    }

    #[test]
    fn packed_bodies_are_unpacked() {
        use std::io::Write;

        use flate2::Compression;
        use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
        let html = "<p>één</p>".repeat(100);
        let level = Compression::fast();
        let mut zipped = GzEncoder::new(Vec::new(), level);
        zipped.write_all(html.as_bytes()).unwrap();
        let zipped = zipped.finish().unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        zlib.write_all(html.as_bytes()).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), level);
        raw.write_all(html.as_bytes()).unwrap();
        assert_eq!(answer("Content-Encoding: GZIP\r\n", &zipped), html);
        assert_eq!(answer("Content-Encoding: deflate\r\n", &zlib.finish().unwrap()), html);
        assert_eq!(answer("Content-Encoding: deflate\r\n", &raw.finish().unwrap()), html);
        let chunks = [format!("{:x}\r\n", zipped.len()).as_bytes(), &zipped, b"\r\n0\r\n\r\n"].concat();
        assert_eq!(answer("Content-Encoding: x-gzip\r\nTransfer-Encoding: chunked\r\n", &chunks), html);
        for coding in ["gzip", "deflate", "identity"] {
            assert_eq!(answer(&format!("Content-Encoding: {coding}\r\n"), html.as_bytes()), html, "stored unpacked");
        }
        assert_eq!(answer("Content-Encoding: gzip\r\n", &zipped[..20]), "broken: a packed page that is damaged");
        let mut long = GzEncoder::new(Vec::new(), level);
        (0..65).for_each(|_| long.write_all(&[b' '; 1 << 20]).unwrap());
        let long = answer("Content-Encoding: gzip\r\n", &long.finish().unwrap());
        assert_eq!(long, format!("broken: a page of more than {LONGEST} bytes"));
    }

    #[test]
    fn the_encoding_that_a_server_names_is_read() {
        let latin = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<p>\xe9";
        assert!(matches!(page(latin).unwrap(), Some(Content::Html(page)) if page == "<p>é"));
        assert_eq!(answer("", b"<p>\xe9"), "broken: not UTF-8");
    }
}
