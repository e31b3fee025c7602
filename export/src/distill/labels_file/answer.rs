//! What one row of a file of answers says of a text, or of a word.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Answers;
use crate::data::{Goal, labels_of, some_labels};

/// No probability counts as less (with many labels the limit is lower, see `smoothing`): its logarithm must be finite, and a
/// teacher that says 0 is not that sure.
const FLOOR: f64 = 1e-6;
/// How far probabilities may be from adding up to 1: they are written with few digits.
const TOLERANCE: f64 = 1e-3;
/// What a label without probabilities leaves to the other one of two. Soft targets need finite logits; at this value
/// their cross-entropy differs from that of the hard label by a thousandth.
const SMOOTHING: f64 = 1e-3;

/// What a label without probabilities leaves to each other one. The square of their number keeps the sum of square roots,
/// and so what a temperature of 2 makes of it, as small as it is with two labels.
fn smoothing(labels: usize) -> f64 {
    SMOOTHING / ((labels - 1) as f64).powi(2)
}

impl Answers<'_> {
    /// The logits of one text, or of one word.
    pub(super) fn answer(&self, form: &str, given: &Value) -> Result<Vec<f64>> {
        if self.goal == Goal::Value {
            ensure!(form == "label", "`{form}` is for labels; a number is the `label`");
            let number = match given {
                Value::String(text) => text.trim().parse().ok(),
                given => given.as_f64(),
            };
            return Ok(vec![number.with_context(|| format!("the label {given} is no number"))?]);
        }
        match form {
            "probabilities" => self.probabilities(given),
            "logits" => {
                let values = self.values(given, "logits")?;
                if let Some(missing) = values.iter().position(Option::is_none) {
                    bail!("`logits` has no \"{}\"", self.labels[missing]);
                }
                Ok(values.into_iter().flatten().collect())
            }
            _ if self.goal == Goal::Labels => self.several(given),
            _ => self.hard(given),
        }
    }

    fn place(&self, label: &str) -> Result<usize> {
        match self.labels.iter().position(|own| own == label) {
            Some(place) => Ok(place),
            None => bail!(
                "unknown label \"{label}\"; the labels are {}; if the training rows do not show all, begin the file with a line \
                 {{\"labels\": [...]}}",
                some_labels(self.labels)
            ),
        }
    }

    /// A list's order as the model's places.
    pub(super) fn order_of(&self, labels: &Value) -> Result<Vec<usize>> {
        let Some(labels) = labels.as_array() else { bail!("`labels` is not a list") };
        let places = labels.iter().map(|label| self.place(&name_of(label)?)).collect::<Result<Vec<_>>>()?;
        for (place, label) in self.labels.iter().enumerate() {
            match places.iter().filter(|&&other| other == place).count() {
                0 => bail!("`labels` has no \"{label}\""),
                1 => {}
                _ => bail!("`labels` has \"{label}\" twice"),
            }
        }
        Ok(places)
    }

    /// Numbers in the model's order; `None` where a label is left out.
    fn values(&self, given: &Value, name: &str) -> Result<Vec<Option<f64>>> {
        let mut values = vec![None; self.labels.len()];
        let number = |value: &Value, label: usize| match value.as_f64() {
            Some(number) => Ok(number),
            None => bail!("`{name}` of \"{}\" is {value}, no number", self.labels[label]),
        };
        match given {
            Value::Object(given) => {
                for (label, value) in given {
                    let place = self.place(label)?;
                    values[place] = Some(number(value, place)?);
                }
            }
            Value::Array(given) => {
                ensure!(
                    given.len() == self.labels.len(),
                    "`{name}` has {} numbers for {} labels",
                    given.len(),
                    self.labels.len()
                );
                for (&place, value) in self.order.iter().zip(given) {
                    values[place] = Some(number(value, place)?);
                }
            }
            _ => bail!("`{name}` is neither an object nor a list"),
        }
        Ok(values)
    }

    fn probabilities(&self, given: &Value) -> Result<Vec<f64>> {
        let values: Vec<f64> =
            self.values(given, "probabilities")?.into_iter().map(Option::unwrap_or_default).collect();
        if let Some(place) = values.iter().position(|value| *value < 0.0) {
            bail!("the probability of \"{}\" is {}", self.labels[place], values[place]);
        }
        if self.goal == Goal::Labels {
            let beyond = values.iter().position(|value| *value > 1.0);
            ensure!(beyond.is_none(), "a probability is above 1: {values:?}");
            let kept = values.into_iter().map(|value| value.clamp(FLOOR, 1.0 - FLOOR));
            return Ok(kept.map(|value| (value / (1.0 - value)).ln()).collect());
        }
        let sum: f64 = values.iter().sum();
        ensure!((sum - 1.0).abs() <= TOLERANCE, "the probabilities add up to {sum}, not to 1");
        let floor = smoothing(self.labels.len()).min(FLOOR);
        Ok(values.into_iter().map(|value| value.max(floor).ln()).collect())
    }

    /// Several labels, which have all but a thousandth, as the others have no more than that.
    fn several(&self, given: &Value) -> Result<Vec<f64>> {
        let names: Vec<String> = match given {
            Value::Array(names) => names.iter().map(name_of).collect::<Result<_>>()?,
            Value::Null => Vec::new(),
            other => labels_of(&name_of(other)?).map(str::to_owned).collect(),
        };
        let odds = (SMOOTHING / (1.0 - SMOOTHING)).ln();
        let mut logits = vec![odds; self.labels.len()];
        for name in names {
            logits[self.place(&name)?] = -odds;
        }
        Ok(logits)
    }

    fn hard(&self, label: &Value) -> Result<Vec<f64>> {
        let place = self.place(&name_of(label)?)?;
        let other = smoothing(self.labels.len());
        let mut logits = vec![other.ln(); self.labels.len()];
        logits[place] = (1.0 - other * (self.labels.len() - 1) as f64).ln();
        Ok(logits)
    }
}

/// A label as the readers of labelled text take it.
pub(super) fn name_of(label: &Value) -> Result<String> {
    Ok(match label {
        Value::String(label) => label.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(label) => label.to_string(),
        _ => bail!("the label {label} is not text or a number"),
    })
}
