//! Limits that a report must keep, for scripts.

use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::Report;

/// A limit: `retention=97`, `gain=0.5`, `latency=3`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Requirement {
    what: What,
    limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// At least so many percent of the teacher's score, of the shipped student.
    Retention,
    /// At least such a score in percent.
    Score,
    /// At least so many points over the control.
    Gain,
    /// At most so many points lost by fewer bits on test.
    Drop,
    /// At most so many milliseconds for the median text.
    Latency,
    /// At most so many MB.
    Size,
}

const NAMES: [(&str, What); 6] = [
    ("retention", What::Retention),
    ("score", What::Score),
    ("gain", What::Gain),
    ("drop", What::Drop),
    ("latency", What::Latency),
    ("size", What::Size),
];

impl FromStr for Requirement {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = NAMES.map(|(name, _)| name).join(", ");
        let (name, number) =
            text.split_once('=').with_context(|| format!("\"{text}\": write NAME=NUMBER ({names})"))?;
        let Some((_, what)) = NAMES.iter().find(|(known, _)| *known == name) else {
            bail!("\"{name}\" cannot be required; use {names}");
        };
        let limit: f64 = number.parse().with_context(|| format!("\"{number}\" is no number"))?;
        if !limit.is_finite() {
            bail!("\"{number}\" is no limit");
        }
        Ok(Self { what: *what, limit })
    }
}

impl Requirement {
    /// Whether it can be kept only where the teacher's own score is known.
    pub fn needs_teacher(&self) -> bool {
        self.what == What::Retention
    }

    /// What is wrong with a report, if it does not keep the limit.
    pub fn broken_by(&self, report: &Report) -> Option<String> {
        let Some(shipped) = report.models.last() else {
            return Some("nothing was measured".to_owned());
        };
        let limit = self.limit;
        let by_bits = format!("drop by {}", report.quantization.element());
        let (name, found, unit, at_least): (&str, _, _, _) = match self.what {
            What::Retention => ("retention", shipped.retention.map_or(f64::NAN, |kept| kept.value * 100.0), "%", true),
            What::Score => ("score", shipped.score.value * 100.0, "%", true),
            What::Gain => ("gain over the control", report.comparison.gain.value * 100.0, " points", true),
            What::Drop => (&by_bits, report.quantization.test_drop_points, " points", false),
            What::Latency => ("latency", shipped.latency_p50_ms, " ms", false),
            What::Size => ("size", shipped.file_bytes as f64 / 1e6, " MB", false),
        };
        // The shipped file is of one seed; the gain is the mean of all.
        let whose = if self.what == What::Gain { "student, over all seeds," } else { &shipped.name };
        let kept = if at_least { found >= limit } else { found <= limit };
        let word = if at_least { "at least" } else { "at most" };
        (!kept).then(|| {
            let found = if found.is_nan() { "unknown".to_owned() } else { format!("{found:.2}{unit}") };
            format!("the {name} of the {whose} is {found}, and {word} {limit}{unit} is required")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_mistakes_named() {
        let limit: Requirement = "retention=97.5".parse().unwrap();
        assert_eq!(limit, Requirement { what: What::Retention, limit: 97.5 });
        for (text, expected) in [
            ("retention", "NAME=NUMBER"),
            ("speed=3", "retention, score"),
            ("size=big", "no number"),
            ("size=nan", "limit"),
        ] {
            let error = text.parse::<Requirement>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_report_keeps_or_breaks_each_limit() {
        let mut report = crate::report::tests::report("text-classification", "accuracy");
        let broken = |report: &Report, text: &str| text.parse::<Requirement>().unwrap().broken_by(report);
        // 97.8% of the teacher, 90.0%, 2.5 points over the control, 0.5 lost by int8, 0.785 ms, 15.7 MB.
        for kept in ["retention=97.8", "score=90", "gain=2.5", "drop=0.5", "latency=0.785", "size=15.7"] {
            assert_eq!(broken(&report, kept), None, "{kept}");
        }
        for (limit, message) in [
            ("retention=98", "the retention of the student int8 is 97.83%, and at least 98% is required"),
            ("score=90.01", "the score of the student int8 is 90.00%, and at least 90.01% is required"),
            (
                "gain=2.6",
                "the gain over the control of the student, over all seeds, is 2.50 points, and at least 2.6 points",
            ),
            ("drop=0.4", "the drop by int8 of the student int8 is 0.50 points, and at most 0.4 points"),
            ("latency=0.7", "the latency of the student int8 is 0.79 ms, and at most 0.7 ms"),
            ("size=15", "the size of the student int8 is 15.70 MB, and at most 15 MB"),
        ] {
            let found = broken(&report, limit).unwrap();
            assert!(found.starts_with(message), "{found}");
        }
        // What is not known keeps no limit.
        report.models[3].retention = None;
        assert!(broken(&report, "retention=1").unwrap().contains("is unknown"));
        report.models[3].score.value = f64::NAN;
        assert!(broken(&report, "score=1").unwrap().contains("is unknown"));
        report.models[3].latency_p50_ms = f64::NAN;
        assert!(broken(&report, "latency=1000").is_some());
        report.models.clear();
        assert!(broken(&report, "size=1000").is_some());
    }
}
