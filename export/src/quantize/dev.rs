//! What the loss of fewer bits is measured on.

use anyhow::Result;
use limbeck::Model;
use limbeck::bundle::Task;

use crate::data::Rows;
use crate::measure::{task_quality, text_quality};
use crate::progress::Reporter;

/// Bytes of the texts that units are measured on alone.
const SAMPLE_BYTES: usize = 32 << 10;

/// Held-out data.
pub enum Dev {
    /// With labels: what is lost are points of 100 of the task's measure.
    Labelled(Rows),
    /// Texts, for a model that writes text: what is lost is how much higher its perplexity is, in percent.
    Texts(Vec<String>),
}

impl Dev {
    /// Rows or texts.
    pub fn len(&self) -> usize {
        match self {
            Dev::Labelled(rows) => rows.len(),
            Dev::Texts(texts) => texts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What a loss is counted in.
    pub fn unit(&self) -> &'static str {
        match self {
            Dev::Labelled(_) => "points",
            Dev::Texts(_) => "percent",
        }
    }

    /// Name of the measure and its value.
    pub(super) fn score(&self, model: &Model, reporter: &Reporter) -> Result<(String, f64)> {
        Ok(match self {
            Dev::Labelled(rows) => {
                let found = task_quality(model, rows, reporter)?;
                let (name, value) = found.headline();
                (name.to_owned(), value)
            }
            Dev::Texts(texts) => ("perplexity".to_owned(), text_quality(model, texts, reporter)?.perplexity),
        })
    }

    /// What is lost from one score to another, in [`unit`](Self::unit).
    pub(super) fn lost(&self, before: f64, after: f64) -> f64 {
        match self {
            Dev::Labelled(_) => (before - after) * 100.0,
            Dev::Texts(_) => (after / before - 1.0) * 100.0,
        }
    }

    /// At most so many rows, or texts, which are not long together.
    pub(super) fn sample(&self, most: usize) -> Dev {
        match self {
            Dev::Labelled(rows) => Dev::Labelled(rows.sample(most)),
            Dev::Texts(texts) => {
                let mut left = SAMPLE_BYTES;
                let cut = |text: &String| {
                    let end = text.floor_char_boundary(left);
                    left -= end;
                    text[..end].to_owned()
                };
                Dev::Texts(texts.iter().take(most).map(cut).filter(|text| !text.is_empty()).collect())
            }
        }
    }

    /// The texts of each run: one, or two where the model reads two together.
    pub(super) fn inputs(&self, model: &Model) -> Vec<Vec<&str>> {
        match self {
            Dev::Labelled(rows) => inputs(model, rows),
            Dev::Texts(texts) => texts.iter().map(|text| vec![text.as_str()]).collect(),
        }
    }
}

/// Those of rows with labels.
pub(super) fn inputs<'r>(model: &Model, rows: &'r Rows) -> Vec<Vec<&'r str>> {
    let together =
        matches!(model.bundle().manifest().task, Task::PairClassification | Task::QuestionAnswering | Task::Order);
    let mut inputs = Vec::new();
    for (text, pair) in rows.texts() {
        let both = std::iter::once(text).chain(pair);
        match together {
            true => inputs.push(both.collect()),
            false => inputs.extend(both.map(|text| vec![text])),
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_texts_ends_where_it_is_long_enough() {
        let texts = Dev::Texts(vec!["a".to_owned(), "\u{e9}".repeat(SAMPLE_BYTES), "\u{e9}".to_owned()]);
        let Dev::Texts(sample) = texts.sample(256) else { panic!("texts") };
        assert_eq!(sample.len(), 2);
        // The boundary lies within a character.
        assert_eq!(sample[1].len(), SAMPLE_BYTES - 2);
        let Dev::Texts(sample) = texts.sample(1) else { panic!("texts") };
        assert_eq!(sample, ["a"]);
    }

    #[test]
    fn a_higher_perplexity_is_a_loss() {
        let texts = Dev::Texts(vec![String::new()]);
        assert!((texts.lost(20.0, 20.5) - 2.5).abs() < 1e-9 && texts.lost(20.0, 19.0) < 0.0);
        assert_eq!((texts.unit(), texts.len(), texts.is_empty()), ("percent", 1, false));
        let rows = Dev::Labelled(Rows::Texts(Vec::new()));
        assert!((rows.lost(0.9, 0.89) - 1.0).abs() < 1e-9 && rows.unit() == "points");
    }
}
