//! A peer as a process that answers a line of JSON with a line of JSON (tests/peers/README.md).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

/// A running peer.
pub(super) struct Child {
    name: &'static str,
    process: Process,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// The answer to `open`.
#[derive(Debug, Deserialize)]
pub(super) struct Opened {
    pub import_ms: Option<f64>,
    pub open_ms: f64,
    pub first_ms: f64,
    pub before: Memory,
    pub answered: Memory,
    pub versions: Value,
    tokens: Vec<usize>,
}

/// In MB; none where the system does not tell.
#[derive(Debug, Deserialize)]
pub(super) struct Memory {
    pub resident_mb: Option<f64>,
    pub private_mb: Option<f64>,
}

/// The answer to `embed`.
#[derive(Debug, Deserialize)]
pub(super) struct Embedded {
    /// Of each call.
    pub ms: Vec<f64>,
    /// Of the first call.
    pub vectors: Option<Vec<Vec<f64>>>,
    tokens: Vec<usize>,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context(name)?;
        let (input, output) = (process.stdin.take(), process.stdout.take().context("no output")?);
        Ok(Self { name, process, input, output: BufReader::new(output) })
    }

    /// Opens its model and lets it answer once.
    ///
    /// # Errors
    /// It ends, or reads the text as another number of tokens.
    pub fn open(&mut self, texts: &[String], tokens: usize) -> Result<Opened> {
        let opened: Opened = self.ask(&json!({"open": {"texts": texts}}))?;
        self.check_tokens(&opened.tokens, texts, tokens)?;
        Ok(opened)
    }

    /// So many calls; the vectors of the first come back if they are wanted.
    ///
    /// # Errors
    /// It ends, or reads the texts as another number of tokens.
    pub fn embed(&mut self, texts: &[String], tokens: usize, calls: usize, vectors: bool) -> Result<Embedded> {
        let request = json!({"embed": {"texts": texts, "calls": calls, "vectors": vectors}});
        let embedded: Embedded = self.ask(&request)?;
        ensure!(embedded.ms.len() == calls, "{}: {} of {calls} calls", self.name, embedded.ms.len());
        self.check_tokens(&embedded.tokens, texts, tokens)?;
        Ok(embedded)
    }

    fn check_tokens(&self, found: &[usize], texts: &[String], tokens: usize) -> Result<()> {
        ensure!(
            found.len() == texts.len() && found.iter().all(|found| *found == tokens),
            "{} reads texts of {tokens} tokens as {found:?}: it does not do the same work",
            self.name
        );
        Ok(())
    }

    fn ask<T: for<'de> Deserialize<'de>>(&mut self, request: &Value) -> Result<T> {
        let gone = || format!("{} ended; its words are above", self.name);
        let input = self.input.as_mut().with_context(gone)?;
        writeln!(input, "{request}").and_then(|()| input.flush()).with_context(gone)?;
        let mut line = String::new();
        ensure!(self.output.read_line(&mut line).with_context(gone)? > 0, "{}", gone());
        serde_json::from_str(&line).with_context(|| format!("what {} answered", self.name))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its input is the end of it.
        self.input = None;
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Child::start("sh", command).unwrap()
    }

    #[test]
    fn answers_are_read_and_checked() {
        let texts = ["a".to_owned()];
        let line = r#"read request; echo '{"ms": [1.5, 2.0], "tokens": [3], "vectors": [[0.6, 0.8]]}'"#;
        let found = shell(line).embed(&texts, 3, 2, true).unwrap();
        assert_eq!((found.ms, found.vectors), (vec![1.5, 2.0], Some(vec![vec![0.6, 0.8]])));
        let error = shell(line).embed(&texts, 4, 2, true).unwrap_err().to_string();
        assert!(error.contains("texts of 4 tokens as [3]"), "{error}");
        assert!(shell(line).embed(&texts, 3, 1, true).unwrap_err().to_string().contains("2 of 1 calls"));
        let error = shell("exit 1").open(&texts, 3).unwrap_err().to_string();
        assert!(error.contains("sh ended"), "{error}");
    }
}
