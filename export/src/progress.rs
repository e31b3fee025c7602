//! What a person (or a program) sees while limbeck works.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::train::{EpochRecord, TrainStep};

/// Where progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Bars and lines on standard error.
    Human,
    /// One JSON object a line on standard output.
    JsonLines,
    /// Nowhere, for tests.
    Silent,
}

/// A progress line is printed at most this often where there is no terminal to draw a bar on.
const PLAIN_EVERY: Duration = Duration::from_secs(15);
/// JSON step events are this far apart at least.
const JSON_EVERY: Duration = Duration::from_millis(200);

/// Reports progress in one of the three ways.
pub struct Reporter {
    output: Output,
    log: OnceLock<File>,
}

impl Reporter {
    /// A reporter for an output.
    pub fn new(output: Output) -> Self {
        Self { output, log: OnceLock::new() }
    }

    /// Keeps notes and epochs in a file too, after what an earlier run left there.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn log_to(&self, path: &Path) -> Result<()> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        // A second call keeps the first file: one run has one log.
        let _ = self.log.set(file);
        Ok(())
    }

    fn log(&self, line: &str) {
        if let Some(mut file) = self.log.get() {
            // The log is a convenience: a full disk is noticed by what must be saved.
            let _ = writeln!(file, "{line}");
        }
    }

    /// A line of text.
    pub fn note(&self, text: &str) {
        self.log(text);
        match self.output {
            Output::Human => told_to_people(text),
            Output::JsonLines => self.event("note", &json!({ "text": text })),
            Output::Silent => {}
        }
    }

    /// A JSON event; nothing for people.
    pub fn event(&self, name: &str, value: &impl Serialize) {
        if self.output != Output::JsonLines {
            return;
        }
        let mut line = json!({ "event": name });
        if let (Some(line), Ok(Value::Object(fields))) = (line.as_object_mut(), serde_json::to_value(value)) {
            line.extend(fields);
        }
        // A closed pipe is the reader's choice; training goes on.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    /// A finished epoch.
    pub fn epoch(&self, stage: &str, record: &EpochRecord) {
        self.event("epoch", &json!({"stage": stage, "epoch": record.epoch, "loss": record.loss, "dev": record.dev}));
        let line = format!("  {stage}: epoch {}  loss {:.4}  dev {:.4}", record.epoch, record.loss, record.dev);
        self.log(&line);
        if self.output == Output::Human {
            if std::io::stderr().is_terminal() {
                // Keeps the line above a bar that is being drawn.
                told_to_people(&format!("\r\x1b[2K{line}"));
            } else {
                told_to_people(&line);
            }
        }
    }

    /// A bar for `total` units of which `done` are behind us.
    pub fn bar(&self, name: &str, total: u64, done: u64) -> Bar {
        let drawn = (self.output == Output::Human && std::io::stderr().is_terminal()).then(|| {
            let style = ProgressStyle::with_template("  {prefix:<10} [{bar:30}] {pos}/{len}  {eta_words}  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .with_key("eta_words", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    let _ = write!(out, "{} left", HumanDuration(Duration::from_secs(state.eta().as_secs())));
                })
                .progress_chars("=> ");
            let bar = ProgressBar::new(total).with_style(style).with_prefix(name.to_owned());
            bar.set_position(done);
            bar.reset_eta();
            bar
        });
        Bar {
            output: self.output,
            name: name.to_owned(),
            total,
            first: done,
            drawn,
            started: Instant::now(),
            last: Mutex::new(Instant::now()),
        }
    }
}

/// A line on standard error, which may be gone: training goes on without a reader.
fn told_to_people(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// A step for people; the bar adds how far it is and how long the rest takes.
fn told(step: &TrainStep) -> String {
    format!("loss {:.3}  lr {:.1e}  {:.0} tokens/s", step.loss, step.learning_rate, step.tokens_per_second)
}

/// A running progress bar.
pub struct Bar {
    output: Output,
    name: String,
    total: u64,
    first: u64,
    drawn: Option<ProgressBar>,
    started: Instant,
    last: Mutex<Instant>,
}

impl Bar {
    /// A training step is done.
    pub(crate) fn step(&self, done: u64, step: &TrainStep) {
        if self.output == Output::JsonLines && (self.due(JSON_EVERY) || done == self.total) {
            let reporter = Reporter::new(self.output);
            let mut value = serde_json::to_value(step).unwrap_or_default();
            value["stage"] = json!(self.name);
            value["step"] = json!(done);
            value["steps"] = json!(self.total);
            value["eta_seconds"] = json!(self.eta(done).as_secs());
            reporter.event("step", &value);
            return;
        }
        self.advance(done, &told(step));
    }

    /// `done` of the total is behind us.
    pub fn advance(&self, done: u64, message: &str) {
        match &self.drawn {
            Some(bar) => {
                bar.set_message(message.to_owned());
                bar.set_position(done);
            }
            None if self.output == Output::Human && self.due(PLAIN_EVERY) => {
                let eta = HumanDuration(self.eta(done));
                told_to_people(&format!("  {}: {done}/{}  about {eta} left  {message}", self.name, self.total));
            }
            None if self.output == Output::JsonLines && (self.due(JSON_EVERY) || done == self.total) => {
                let eta = self.eta(done).as_secs();
                let value = json!({"stage": self.name, "done": done, "total": self.total, "eta_seconds": eta});
                Reporter::new(self.output).event("progress", &value);
            }
            None => {}
        }
    }

    /// Done: the bar goes away.
    pub fn finish(&self) {
        if let Some(bar) = &self.drawn {
            bar.finish_and_clear();
        }
    }

    fn eta(&self, done: u64) -> Duration {
        let worked = done.saturating_sub(self.first).max(1) as f64;
        let left = self.total.saturating_sub(done) as f64;
        Duration::from_secs((self.started.elapsed().as_secs_f64() / worked * left) as u64)
    }

    fn due(&self, every: Duration) -> bool {
        let Ok(mut last) = self.last.lock() else { return false };
        let due = last.elapsed() >= every;
        if due {
            *last = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_told_with_its_learning_rate() {
        let step = TrainStep {
            loss: 0.12345,
            parts: Default::default(),
            learning_rate: 2.96e-4,
            gradient_norm: 1.0,
            tokens_per_second: 1234.5,
        };
        assert_eq!(told(&step), "loss 0.123  lr 3.0e-4  1234 tokens/s");
        let json = serde_json::to_value(&step).unwrap();
        assert_eq!(json["learning_rate"], 2.96e-4);
    }
}
