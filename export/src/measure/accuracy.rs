//! Accuracy of a bundle.

use anyhow::{Context, Result};
use limbeck::bundle::Task;
use limbeck::{Classification, ClassifyOptions, Model, OrderOptions, Usage};
use serde::{Deserialize, Serialize};

use crate::data::{Example, some_labels};
use crate::progress::Reporter;

/// How a classifier did on a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of right answers, 0 to 1.
    pub value: f64,
    /// Lower end of the 95% Wilson interval.
    pub low: f64,
    /// Upper end of the 95% Wilson interval.
    pub high: f64,
    /// Number of examples.
    pub examples: usize,
    /// Share of the largest class: what guessing it would score.
    pub majority: f64,
    /// Texts that were longer than the model takes.
    pub truncated: usize,
    /// Tokens that were not read.
    pub tokens_dropped: usize,
    /// Label names, in the order of `confusion`.
    pub labels: Vec<String>,
    /// `confusion[true][predicted]`, counts.
    pub confusion: Vec<Vec<usize>>,
    /// Right or wrong for each example, in order, for paired comparisons.
    #[serde(skip)]
    pub correct: Vec<bool>,
    /// The probability of the label chosen, for each example.
    #[serde(skip)]
    pub confidence: Vec<f32>,
}

/// 95% Wilson score interval of a share.
pub fn wilson_interval(right: usize, of: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (of as f64, right as f64 / of as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// Texts handed to the sdk at a time: enough for its batching, few enough for a live progress bar.
pub(super) const CHUNK: usize = 64;

/// Classifies texts, or pairs where the examples are pairs.
///
/// # Errors
/// Those of the sdk.
pub fn classify(model: &Model, examples: &[Example], options: &ClassifyOptions) -> Result<Vec<Classification>> {
    let pairs: Option<Vec<(&str, &str)>> =
        examples.iter().map(|e| Some((e.text.as_str(), e.pair.as_deref()?))).collect();
    Ok(match pairs {
        Some(pairs) => model.classify_pairs(&pairs, options)?,
        None => {
            let texts: Vec<&str> = examples.iter().map(|e| e.text.as_str()).collect();
            model.classify_batch(&texts, options)?
        }
    })
}

/// What the labels of data for [`Task::Order`] are, in the order of its logits.
const ORDERS: [&str; 2] = ["in-order", "swapped"];

fn both(example: &Example) -> Result<(&str, &str)> {
    let second = example.pair.as_deref().with_context(|| format!("{}: no second text", example.source))?;
    Ok((&example.text, second))
}

/// The best label of each example: its place, its probability, and what was read.
fn best(model: &Model, examples: &[Example]) -> Result<Vec<(usize, f32, Usage)>> {
    if model.bundle().manifest().task != Task::Order {
        let answers = classify(model, examples, &ClassifyOptions::new().top_k(1))?;
        let best = |answer: &Classification| {
            let label = answer.labels.first().context("the sdk gave no label")?;
            Ok((label.index, label.probability, answer.usage))
        };
        return answers.iter().map(best).collect();
    }
    let pairs = examples.iter().map(both).collect::<Result<Vec<_>>>()?;
    let answers = model.order_batch(&pairs, &OrderOptions::new())?;
    Ok(answers
        .iter()
        .map(|answer| match answer.probability >= 0.5 {
            true => (0, answer.probability, answer.usage),
            false => (1, 1.0 - answer.probability, answer.usage),
        })
        .collect())
}

/// Classifies every example through the sdk (texts too long are truncated, and counted).
///
/// # Errors
/// A label that the bundle does not have, or an error of the sdk.
pub fn evaluate(model: &Model, examples: &[Example], reporter: &Reporter, name: &str) -> Result<Evaluation> {
    let labels = match model.bundle().manifest().task {
        Task::Order => ORDERS.map(str::to_owned).to_vec(),
        _ => model.bundle().labels().to_vec(),
    };
    let mut confusion = vec![vec![0usize; labels.len()]; labels.len()];
    let (mut correct, mut confidence) = (Vec::with_capacity(examples.len()), Vec::with_capacity(examples.len()));
    let (mut truncated, mut tokens_dropped) = (0, 0);
    let bar = reporter.bar(name, examples.len() as u64, 0);
    for chunk in examples.chunks(CHUNK) {
        for (example, (index, probability, usage)) in chunk.iter().zip(best(model, chunk)?) {
            let truth = labels.iter().position(|l| *l == example.label).with_context(|| {
                format!(
                    "{}: label \"{}\" is not one of the bundle's: {}",
                    example.source,
                    example.label,
                    some_labels(&labels)
                )
            })?;
            confusion[truth][index] += 1;
            correct.push(truth == index);
            confidence.push(probability);
            truncated += usize::from(usage.tokens_dropped > 0);
            tokens_dropped += usage.tokens_dropped;
        }
        bar.advance(correct.len() as u64, "evaluating");
    }
    bar.finish();
    let right = correct.iter().filter(|&&c| c).count();
    let (low, high) = wilson_interval(right, correct.len());
    let largest = confusion.iter().map(|row| row.iter().sum::<usize>()).max().unwrap_or(0);
    let of = correct.len().max(1) as f64;
    Ok(Evaluation {
        value: right as f64 / of,
        low,
        high,
        examples: correct.len(),
        majority: largest as f64 / of,
        truncated,
        tokens_dropped,
        labels,
        confusion,
        correct,
        confidence,
    })
}

#[cfg(test)]
mod tests {
    use super::wilson_interval;

    #[test]
    fn wilson_equals_the_textbook() {
        // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
        let (low, high) = wilson_interval(81, 263);
        assert!((low - 0.2553).abs() < 5e-5 && (high - 0.3662).abs() < 5e-5, "{low} {high}");
        let (low, high) = wilson_interval(0, 20);
        assert!(low == 0.0 && (high - 0.1611).abs() < 5e-5);
    }
}
