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
    let (here, there) = (read(here)?, read(there)?);
    if here.is_empty() || here.len() != there.len() {
        bail!("{} answers here, {} there", here.len(), there.len());
    }
    let mut furthest: f64 = 0.0;
    for ((label, index, probability), (other_label, other_index, other)) in here.iter().zip(&there) {
        if (label, index) != (other_label, other_index) {
            bail!("here {label} ({index}), there {other_label} ({other_index})");
        }
        let distance = (probability - other).abs();
        // Also not if one of them is no number.
        if !matches!(distance.partial_cmp(&TOLERANCE), Some(std::cmp::Ordering::Less | std::cmp::Ordering::Equal)) {
            bail!("{label}: {probability} here, {other} there, further apart than {TOLERANCE}");
        }
        furthest = furthest.max(distance);
    }
    Ok(format!("{} labels equal, probabilities at most {furthest:.1e} apart (allowed: {TOLERANCE:.0e})", here.len()))
}

/// Compares what examples/c/sentiment prints: `label  0.995   3 tokens  0.42 ms  text`. The time may differ, and
/// the last digit by one.
///
/// # Errors
/// Something else differs.
pub fn lines(here: &str, there: &str) -> Result<String> {
    let (here, there): (Vec<_>, Vec<_>) = (here.lines().map(parts).collect(), there.lines().map(parts).collect());
    let near = |a: &Line, b: &Line| (a.1 - b.1).abs() < 0.0011;
    let equal = |(a, b): (&Line, &Line)| a.0 == b.0 && near(a, b);
    if here.is_empty() || here.len() != there.len() || !here.iter().zip(&there).all(equal) {
        bail!("here {here:?}, there {there:?}");
    }
    Ok(format!("{} labels equal, and probabilities to the three digits that are printed", here.len()))
}

/// Label, tokens and text; probability.
type Line = (Vec<String>, f64);

fn parts(line: &str) -> Line {
    let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    if words.len() < 6 {
        return (words, f64::NAN);
    }
    let probability = words.remove(1).parse().unwrap_or(f64::NAN);
    // label, tokens, "tokens", time, "ms", text
    words.remove(3);
    (words, probability)
}

fn read(text: &str) -> Result<Vec<(String, u32, f64)>> {
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().with_context(|| format!("`{line}` has too few fields"));
        let (label, index, probability) = (field()?.to_owned(), field()?.parse()?, field()?.parse()?);
        anyhow::Ok((label, index, probability))
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
    fn lines_may_differ_in_time_only() {
        let here = "positive  0.995   3 tokens  0.42 ms  a good film\n";
        assert!(lines(here, &here.replace("0.42", "99.00").replace("0.995", "0.994")).unwrap().starts_with("1 labels"));
        for there in [
            here.replace("positive", "negative"),
            here.replace("0.995", "0.990"),
            here.replace("  3 tokens", "  4 tokens"),
            String::new(),
            "positive".to_owned(),
        ] {
            assert!(lines(here, &there).is_err(), "{there}");
        }
        assert!(lines("x", "x").is_err() && lines("", "").is_err());
    }
}
