//! PyTorch's side as one program that runs all that is asked of it.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use super::PEER;
use crate::command::command;

/// A running `serve` of the peer.
pub(super) struct Served {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Served {
    pub(super) fn start(python: &Path) -> Result<Self> {
        let mut program = command(python);
        program.args([PEER, "serve"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().context("starting python")?;
        let out = child.stdout.take().context("python has no output")?;
        Ok(Self { child, answers: BufReader::new(out).lines() })
    }

    pub(super) fn ask(&mut self, arguments: &[String]) -> Result<Value> {
        let input = self.child.stdin.as_mut().context("python has no input")?;
        writeln!(input, "{}", serde_json::to_string(arguments)?).context("asking python")?;
        loop {
            let line = self.answers.next().context("python ended; its words are above")?.context("reading python")?;
            if line.starts_with('{') {
                return serde_json::from_str(&line).context("what python printed");
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
