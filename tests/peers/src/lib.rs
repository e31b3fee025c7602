//! What the engines written in Rust share: the protocol of `cargo xtask bench peers` (README.md), texts to token ids,
//! and mean pooling.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

/// The positions that the model has.
pub const MAX_TOKENS: usize = 512;

/// The command line.
pub struct Options {
    /// The bundle, graph or folder.
    pub model: PathBuf,
    /// `tokenizer.json`, where the model does not bring it.
    pub tokenizer: Option<PathBuf>,
    /// For one call.
    pub threads: usize,
}

impl Options {
    fn parse() -> Result<Self> {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let mut given: BTreeMap<&str, &str> = BTreeMap::new();
        for pair in words.chunks(2) {
            let [name, value] = pair else { return Err(anyhow!("`{}` needs a value", pair[0])) };
            given.insert(name, value);
        }
        let mut take = |name: &str| given.remove(name);
        let options = Self {
            model: take("--model").context("--model FILE is missing")?.into(),
            tokenizer: take("--tokenizer").map(Into::into),
            threads: take("--threads").unwrap_or("1").parse().context("--threads")?,
        };
        match given.keys().next() {
            None => Ok(options),
            Some(name) => Err(anyhow!("`{name}` is none of --model, --tokenizer, --threads")),
        }
    }

    /// The tokenizer that is given.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn tokenizer(&self) -> Result<&PathBuf> {
        self.tokenizer.as_ref().context("--tokenizer FILE is missing")
    }
}

/// The vectors of a call, of length 1, and how many tokens each text had.
pub struct Answer {
    /// One a text.
    pub vectors: Vec<Vec<f32>>,
    /// One a text, special tokens included.
    pub tokens: Vec<usize>,
}

/// An engine with the model opened.
pub trait Engine {
    /// Text in to vector out.
    ///
    /// # Errors
    /// The engine's own.
    fn embed(&mut self, texts: &[String]) -> Result<Answer>;
}

/// A line of the input.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    /// Opens the model and runs it once.
    Open { texts: Vec<String> },
    /// Runs it so many times; the vectors of the first call come back if they are wanted.
    Embed { texts: Vec<String>, calls: usize, vectors: bool },
}

/// Answers the lines of the standard input until it ends. `open` does all that a program does once.
///
/// # Errors
/// A line is malformed, or the engine fails: one line on the standard error, and the process ends.
pub fn serve<E: Engine>(versions: Value, open: impl Fn(&Options) -> Result<E>) -> Result<()> {
    let options = Options::parse()?;
    let mut opened: Option<E> = None;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match serde_json::from_str(&line?).context("a line of the input")? {
            Request::Open { texts } => {
                let before = memory();
                let started = Instant::now();
                let mut engine_opened = open(&options)?;
                let open_ms = milliseconds(started);
                let loaded = memory();
                let started = Instant::now();
                let answer = engine_opened.embed(&texts)?;
                let first_ms = milliseconds(started);
                opened = Some(engine_opened);
                json!({
                    "open_ms": open_ms, "first_ms": first_ms, "before": before, "opened": loaded, "answered": memory(),
                    "tokens": answer.tokens, "versions": versions,
                })
            }
            Request::Embed { texts, calls, vectors } => {
                let engine = opened.as_mut().context("`embed` comes after `open`")?;
                let mut times = Vec::with_capacity(calls);
                let mut first = None;
                for _ in 0..calls {
                    let started = Instant::now();
                    let answer = engine.embed(&texts)?;
                    times.push(milliseconds(started));
                    first.get_or_insert(answer);
                }
                let first = first.context("`calls` must be at least 1")?;
                let vectors = if vectors { json!(first.vectors) } else { Value::Null };
                json!({"ms": times, "tokens": first.tokens, "vectors": vectors})
            }
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Resident and anonymous memory of this process in MB; null where the system does not tell.
fn memory() -> Value {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0 / 1e6)
    };
    json!({"resident_mb": field("VmRSS:"), "private_mb": field("RssAnon:")})
}

/// Texts to ids, padded to the longest of the call; row after row.
pub struct Tokens {
    tokenizer: Tokenizer,
}

/// The ids of a call.
pub struct Batch {
    /// Texts.
    pub rows: usize,
    /// Tokens of the longest.
    pub columns: usize,
    /// `rows * columns`.
    pub ids: Vec<i64>,
    /// 1 for a token, 0 for padding.
    pub mask: Vec<i64>,
}

impl Tokens {
    /// Reads the tokenizer; its own padding and truncation are replaced.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(options: &Options) -> Result<Self> {
        let mut tokenizer = Tokenizer::from_file(options.tokenizer()?).map_err(|error| anyhow!(error))?;
        let truncation = TruncationParams { max_length: MAX_TOKENS, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| anyhow!(error))?;
        tokenizer.with_padding(Some(PaddingParams::default()));
        Ok(Self { tokenizer })
    }

    /// The ids of texts.
    ///
    /// # Errors
    /// There is no text, or the tokenizer's own.
    pub fn read(&self, texts: &[String]) -> Result<Batch> {
        let read = self.tokenizer.encode_batch_fast(texts.iter().map(String::as_str).collect(), true);
        let read = read.map_err(|error| anyhow!(error))?;
        let columns = read.first().context("no text")?.len();
        ensure!(read.iter().all(|row| row.len() == columns), "rows of several lengths");
        let all = |of: fn(&tokenizers::Encoding) -> &[u32]| read.iter().flat_map(of).map(|&id| i64::from(id)).collect();
        Ok(Batch {
            rows: read.len(),
            columns,
            ids: all(|row| row.get_ids()),
            mask: all(|row| row.get_attention_mask()),
        })
    }
}

impl Batch {
    /// Means over the tokens of `[rows, columns, width]` hidden states, each scaled to length 1.
    ///
    /// # Errors
    /// `hidden` has another size.
    pub fn mean_vectors(&self, hidden: &[f32]) -> Result<Answer> {
        let places = self.rows * self.columns;
        ensure!(!hidden.is_empty() && hidden.len() % places == 0, "{} values for {places} tokens", hidden.len());
        let width = hidden.len() / places;
        let rows = hidden.chunks(self.columns * width).zip(self.mask.chunks(self.columns));
        let (mut vectors, mut tokens) = (Vec::new(), Vec::new());
        for (states, mask) in rows {
            let mut sum = vec![0f32; width];
            for (state, _) in states.chunks(width).zip(mask).filter(|(_, kept)| **kept == 1) {
                sum.iter_mut().zip(state).for_each(|(sum, value)| *sum += value);
            }
            // The division by the number of tokens cancels.
            let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
            vectors.push(sum.iter().map(|value| value / length).collect());
            tokens.push(mask.iter().filter(|kept| **kept == 1).count());
        }
        Ok(Answer { vectors, tokens })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_no_part_of_the_mean() {
        let batch = Batch { rows: 2, columns: 2, ids: vec![0; 4], mask: vec![1, 1, 1, 0] };
        let answer = batch.mean_vectors(&[1.0, 0.0, 5.0, 8.0, 0.0, 2.0, 9.0, 9.0]).unwrap();
        assert_eq!(answer.vectors, [[0.6, 0.8], [0.0, 1.0]]);
        assert_eq!(answer.tokens, [2, 1]);
        assert!(batch.mean_vectors(&[1.0; 7]).is_err());
    }
}
