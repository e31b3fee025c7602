//! What one program prints on two machines.

use anyhow::{Context, Result, bail};

/// The most by which a probability may differ between processors.
const TOLERANCE: f64 = 1e-5;

/// Compares what tests/c/classify prints, lines of label, index, probability and logit, and says how many there
/// were and how far apart at most.
///
/// # Errors
/// A label, its place or the number of answers differs, or a probability by more than [`TOLERANCE`].
pub fn answers(here: &str, there: &str) -> Result<String> {
    let furthest = furthest(here, there, |answer| answer.probability, TOLERANCE)?;
    Ok(format!(
        "{} labels equal, probabilities at most {furthest:.1e} apart (allowed: {TOLERANCE:.0e})",
        here.lines().count()
    ))
}

/// The most by which a logit may differ: fp32 kernels round otherwise from processor to processor, and by that an
/// activation of an 8-bit layer may now and then fall to the code beside it.
const LOGIT_TOLERANCE: f64 = 1e-3;

/// Compares logits in what answers.c prints, lines of the same form.
///
/// # Errors
/// A label or its rank differs, or a logit by more than [`LOGIT_TOLERANCE`].
pub fn logits(here: &str, there: &str) -> Result<String> {
    let furthest = furthest(here, there, |answer| answer.logit, LOGIT_TOLERANCE)?;
    Ok(format!(
        "{} labels equal, logits at most {furthest:.1e} apart (allowed: {LOGIT_TOLERANCE:.0e})",
        here.lines().count()
    ))
}

/// A line.
struct Answer {
    label: String,
    index: u32,
    probability: f64,
    logit: f64,
}

/// How far apart two lists of answers are at most.
fn furthest(here: &str, there: &str, value: fn(&Answer) -> f64, tolerance: f64) -> Result<f64> {
    let (here, there) = (read(here)?, read(there)?);
    if here.is_empty() || here.len() != there.len() {
        bail!("{} answers here, {} there", here.len(), there.len());
    }
    let mut furthest: f64 = 0.0;
    for (here, there) in here.iter().zip(&there) {
        if (&here.label, here.index) != (&there.label, there.index) {
            bail!("here {} ({}), there {} ({})", here.label, here.index, there.label, there.index);
        }
        let distance = (value(here) - value(there)).abs();
        // Also not if one of them is no number.
        if !matches!(distance.partial_cmp(&tolerance), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
            bail!("{}: {} here, {} there, further apart than {tolerance}", here.label, value(here), value(there));
        }
        furthest = furthest.max(distance);
    }
    Ok(furthest)
}

fn read(text: &str) -> Result<Vec<Answer>> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().with_context(|| format!("`{line}` has too few fields"));
        let (label, index) = (field()?.to_owned(), field()?.parse()?);
        anyhow::Ok(Answer { label, index, probability: field()?.parse()?, logit: field()?.parse()? })
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_differences_of_probabilities_pass() {
        let here = "positive\t1\t0.9951\t2.6\nnegative\t0\t0.0049\t-2.6\n";
        assert!(answers(here, &here.replace("0.9951", "0.995105")).unwrap().starts_with("2 labels equal"));
        for (there, part) in [
            (here.replace("0.9951", "0.9953"), "further apart"),
            (here.replace("0.9951", "NaN"), "further apart"),
            (here.replace("negative\t0", "negative\t1"), "there negative (1)"),
            (here.lines().next().unwrap().to_owned(), "1 there"),
            ("positive".to_owned(), "too few fields"),
        ] {
            let error = answers(here, &there).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert!(answers("", "").is_err());
    }

    #[test]
    fn only_small_differences_of_logits_pass() {
        let here = "positive\t1\t0.9951\t2.6\nnegative\t0\t0.0049\t-2.6\n";
        assert!(logits(here, &here.replace("\t2.6", "\t2.6009")).unwrap().starts_with("2 labels equal"));
        for (there, part) in [
            (here.replace("-2.6", "-2.6011"), "further apart"),
            (here.replace("-2.6", "NaN"), "further apart"),
            (here.replace("\t-2.6", ""), "too few fields"),
            (here.replace("positive\t1", "negative\t1"), "there negative (1)"),
        ] {
            let error = logits(here, &there).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
