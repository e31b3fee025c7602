//! Numbers and names as people read them. What is no number is `-`.

use crate::measure::Interval;

/// For what is not known, or no number.
pub(super) const NONE: &str = "-";

/// A measure's name for people: `entity F1`.
pub(super) fn measure_name(measure: &str) -> String {
    match measure {
        "f1" => "word F1".to_owned(),
        other => other.replace('_', " ").replace("f1", "F1").replace("spearman", "Spearman"),
    }
}

/// Whether a measure is a correlation, which nobody gives in percent.
pub(super) fn is_correlation(measure: &str) -> bool {
    matches!(measure, "spearman" | "pearson" | "matthews")
}

/// With some decimals and a unit.
pub(super) fn fixed(value: f64, decimals: usize, unit: &str) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    // A small negative number must not be written -0.0.
    let unsigned = format!("{:.decimals$}", value.abs());
    let zero = unsigned.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    format!("{}{unsigned}{unit}", if value < 0.0 && !zero { "-" } else { "" })
}

/// The same with a sign always.
pub(super) fn signed(value: f64, decimals: usize, unit: &str) -> String {
    let text = fixed(value, decimals, unit);
    if value.is_finite() && !text.starts_with('-') { format!("+{text}") } else { text }
}

/// A share from 0 to 1 in percent.
pub(super) fn percent(share: f64) -> String {
    fixed(share * 100.0, 1, "%")
}

/// A score: in percent, a correlation as it is.
pub(super) fn score(measure: &str, value: f64) -> String {
    if is_correlation(measure) { fixed(value, 3, "") } else { percent(value) }
}

/// The ends of a score's interval.
pub(super) fn score_interval(measure: &str, Interval { low, high, .. }: Interval) -> String {
    range(score(measure, low).trim_end_matches('%'), &score(measure, high))
}

/// The ends of a share's interval.
pub(super) fn percent_interval(Interval { low, high, .. }: Interval) -> String {
    range(percent(low).trim_end_matches('%'), &percent(high))
}

/// A difference of scores in points, hundredths of the measure.
pub(super) fn points(difference: f64) -> String {
    signed(difference * 100.0, 1, "")
}

/// The ends of a difference's interval, in points.
pub(super) fn points_interval(Interval { low, high, .. }: Interval) -> String {
    range(&points(low), &points(high))
}

fn range(low: &str, high: &str) -> String {
    if low == NONE || high == NONE { NONE.to_owned() } else { format!("{low} to {high}") }
}

/// A number of parameters.
pub(super) fn parameters(count: u64) -> String {
    if count >= 1_000_000 { fixed(count as f64 / 1e6, 1, " M") } else { fixed(count as f64 / 1e3, 1, " k") }
}

/// Bytes in MB of 10^6.
pub(super) fn megabytes(bytes: u64) -> String {
    fixed(bytes as f64 / 1e6, 1, " MB")
}

/// Mean, and sample standard deviation where there are two values at least.
pub(super) fn mean_and_deviation(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        let interval = Interval { value: 0.9, low: 0.881, high: 0.919 };
        assert_eq!(
            (score("accuracy", 0.9), score_interval("accuracy", interval)),
            ("90.0%".into(), "88.1 to 91.9%".into())
        );
        assert_eq!(
            (score("spearman", 0.9), score_interval("spearman", interval)),
            ("0.900".into(), "0.881 to 0.919".into())
        );
        assert_eq!(points_interval(Interval { value: 0.0, low: -0.0123, high: 0.0 }), "-1.2 to +0.0");
        assert_eq!(
            (points(-0.0001), points(-0.0), fixed(-0.004, 2, "%")),
            ("+0.0".into(), "+0.0".into(), "0.00%".into())
        );
        for nothing in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(
                (points(nothing), percent(nothing), fixed(nothing, 1, " ms")),
                ("-".into(), "-".into(), "-".into())
            );
            assert_eq!(percent_interval(Interval { value: 1.0, low: 0.5, high: nothing }), "-");
        }
        assert_eq!((parameters(14_350_874), parameters(4_400)), ("14.4 M".into(), "4.4 k".into()));
        assert_eq!(
            ["entity_f1", "f1", "spearman", "accuracy"].map(measure_name),
            ["entity F1", "word F1", "Spearman", "accuracy"]
        );
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), (2.0, Some(2f64.sqrt())));
        assert_eq!(mean_and_deviation(&[1.5]), (1.5, None));
    }
}
