//! Progress of a long step: a bar with an ETA on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::space::human;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Work, of which only the share is shown.
    Work,
}

/// A step under way.
pub struct Progress {
    label: String,
    unit: Unit,
    total: u64,
    bar: Option<ProgressBar>,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts; nothing is shown before the first `set`.
    pub fn new(label: &str, total: u64, unit: Unit) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {wide_msg}") {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(label.to_owned());
            bar
        });
        let now = Instant::now();
        Self { label: label.to_owned(), unit, total, bar, started: now, last_line: now }
    }

    /// Corrects the total.
    pub fn set_total(&mut self, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// Says how far the step is; `note` is what is under way.
    pub fn set(&mut self, done: u64, note: &str) {
        let done = done.min(self.total);
        let state = || state(self.unit, done, self.total, self.started.elapsed());
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(format!("{} {note}", state()));
        } else if self.last_line.elapsed() >= LINE_EVERY {
            eprintln!("{}: {}", self.label, state());
            self.last_line = Instant::now();
        }
    }

    /// Ends the step: the bar goes, one line stays.
    pub fn finish(self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        eprintln!("{what} in {}", time(self.started.elapsed()));
    }

    /// Ends the step without a word, for when an error follows.
    pub fn abandon(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn state(unit: Unit, done: u64, total: u64, elapsed: Duration) -> String {
    if done == 0 || total == 0 {
        return "starting".to_owned();
    }
    let counts = match unit {
        Unit::Bytes => format!("{} of {}, ", human(done), human(total)),
        Unit::Work => String::new(),
    };
    let left = elapsed.mul_f64(total.saturating_sub(done) as f64 / done as f64);
    format!("{counts}{}%, ETA {}", 100 * done / total, time(left))
}

/// `4.2 s`, `3 min 5 s`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    if seconds < 60 { format!("{seconds} s") } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_long_it_will_take() {
        let half_a_minute = Duration::from_secs(30);
        let bytes = state(Unit::Bytes, 250_000_000, 1_000_000_000, half_a_minute);
        assert_eq!(bytes, "250 MB of 1.0 GB, 25%, ETA 1 min 30 s");
        assert_eq!(state(Unit::Work, 6, 12, half_a_minute), "50%, ETA 30 s");
        assert_eq!(state(Unit::Work, 0, 0, half_a_minute), "starting");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(
            [0.04, 9.94, 59.4, 185.0].map(|s| time(Duration::from_secs_f64(s))),
            ["0.0 s", "9.9 s", "59 s", "3 min 5 s"]
        );
    }
}
