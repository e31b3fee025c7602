//! Files of word vectors.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Lines that are read, as in the released code: the files begin with the commonest words.
const MAX_WORDS: usize = 100_000;

/// Words with a vector each.
pub(super) struct Vectors {
    pub words: Vec<String>,
    /// `words x dimensions`, row by row.
    pub values: Vec<f32>,
    pub dimensions: usize,
}

/// Reads the first 100,000 words of a file with a word and its numbers a line, with white space between them (GloVe,
/// and word2vec's text format with its first line of two counts). Words with white space in them, `<unk>`, vectors of
/// zeros and words that were there before are left out.
///
/// # Errors
/// By line: not UTF-8, a number that is none, more or fewer numbers than on the first line. A file without words.
pub(super) fn read(path: &Path) -> Result<Vectors> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    let mut vectors = Vectors { words: vec![], values: vec![], dimensions: 0 };
    let (mut seen, mut line, mut number, mut header) = (HashSet::new(), Vec::new(), 0, 0);
    while number < MAX_WORDS + header {
        line.clear();
        if file.read_until(b'\n', &mut line).with_context(|| format!("cannot read {}", path.display()))? == 0 {
            break;
        }
        number += 1;
        let place = || format!("{}, line {number}", path.display());
        let Ok(text) = std::str::from_utf8(&line) else { bail!("{}: not UTF-8", place()) };
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.is_empty() {
            continue;
        }
        if number == 1 && fields.len() == 2 && fields.iter().all(|field| field.parse::<u64>().is_ok()) {
            header = 1;
            continue;
        }
        if vectors.dimensions == 0 {
            vectors.dimensions = fields.len() - 1;
        }
        let is_number = |field: &&str| field.parse::<f32>().is_ok();
        let words = fields.len().saturating_sub(vectors.dimensions);
        // Some published files have words with spaces.
        if words == 0 || vectors.dimensions == 0 || fields[1..words.max(1)].iter().any(is_number) {
            bail!("{}: {} numbers after \"{}\", {} before", place(), fields.len() - 1, fields[0], vectors.dimensions);
        }
        let before = vectors.values.len();
        for field in &fields[words..] {
            match field.parse::<f32>() {
                Ok(value) if value.is_finite() => vectors.values.push(value),
                _ => bail!("{}: \"{field}\" is no number; a line has a word and its vector", place()),
            }
        }
        let zero = vectors.values[before..].iter().all(|&value| value == 0.0);
        if words > 1 || zero || fields[0] == "<unk>" || !seen.insert(fields[0].to_owned()) {
            vectors.values.truncate(before);
        } else {
            vectors.words.push(fields[0].to_owned());
        }
    }
    if vectors.words.is_empty() {
        bail!("{} has no word vectors: a word and its numbers a line", path.display());
    }
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &[u8]) -> Result<Vectors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.txt");
        std::fs::write(&path, content).unwrap();
        read(&path)
    }

    #[test]
    fn words_and_numbers() {
        let content = b"film 1 0.5\n\nmovie -1e-1 2\r\n<unk> 1 1\nnull 0 0\nfilm 7 7\nat home 1 2\ncaf\xc3\xa9 3 4";
        let vectors = parse(content).unwrap();
        assert_eq!(
            (&vectors.words[..], vectors.dimensions),
            (&["film", "movie", "caf\u{e9}"].map(str::to_owned)[..], 2)
        );
        assert_eq!(vectors.values, [1.0, 0.5, -0.1, 2.0, 3.0, 4.0]);
        assert_eq!(parse(b"2 3\nfilm 1 2 3\nmovie 3 4 5\n").unwrap().dimensions, 3);
    }

    #[test]
    fn a_broken_line_is_named() {
        for (content, expected) in [
            (&b"film 1 2\nmovie 1\n"[..], "x.txt, line 2: 1 numbers after \"movie\", 2 before"),
            (b"film 1 2\nmovie 1 2 3\n", "line 2: 3 numbers"),
            (b"film 1 2\n\nmovie 1 two\n", "line 3: \"two\" is no number"),
            (b"film 1 nan\n", "line 1: \"nan\" is no number"),
            (b"film 1 2\n1.5\n", "line 2: 0 numbers"),
            (b"film\n", "line 1: 0 numbers"),
            (b"film 1 2\nm\xff 1 2\n", "line 2: not UTF-8"),
            (b"\n", "no word vectors"),
        ] {
            let error = parse(content).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }

    #[test]
    fn the_first_hundred_thousand() {
        let mut content: String = (0..MAX_WORDS).map(|i| format!("w{i} 1\n")).collect();
        content += "late broken\n";
        let vectors = parse(content.as_bytes()).unwrap();
        assert_eq!(vectors.words.len(), MAX_WORDS);
    }
}
