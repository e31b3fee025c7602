//! Whether this device runs a model as the machine did that packed it.

use serde::Serialize;

use super::reading::{Detail, read_one, read_pair};
use super::{rows, scoring};
use crate::bundle::{SelfTest, SelfTestVector, Task};
use crate::runtime::limits::Limits;
use crate::runtime::session::outputs_read;
use crate::text::window::Keep;
use crate::{Error, Model, Overflow, Result};

/// How a self-test went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SelfTestReport {
    /// Inputs that were run; 0 if the bundle has none.
    pub vectors: usize,
    /// The largest difference found, as part of what was expected.
    pub largest_difference: f32,
    /// The most that the bundle allows.
    pub tolerance: f32,
}

impl Model {
    /// Runs the inputs that were packed with the model and compares what comes of them with what is expected:
    /// whether the tokenizer gives the same ids and the graph the same values.
    ///
    /// # Errors
    /// [`Error::SelfTest`] if something else comes of them; [`Error::Bundle`] if the section is damaged;
    /// [`Error::Inference`] if ONNX Runtime fails.
    pub fn self_test(&self) -> Result<SelfTestReport> {
        let Some(SelfTest { tolerance, vectors }) = self.bundle().self_test()? else {
            return Ok(SelfTestReport::default());
        };
        let mut report = SelfTestReport { vectors: vectors.len(), largest_difference: 0.0, tolerance };
        for (number, vector) in vectors.iter().enumerate() {
            let difference = self.difference(number, vector)?;
            report.largest_difference = report.largest_difference.max(difference);
            if difference > tolerance {
                return Err(self.failed(
                    number,
                    format!(
                        "the outputs differ by {difference:.2e} of what was expected, where {tolerance:.0e} is allowed"
                    ),
                ));
            }
        }
        Ok(report)
    }

    /// Runs one text, or two for a model that reads two, and records what comes of it, for a [`SelfTest`] to be
    /// packed.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than two texts or none; else those of
    /// [`classify_with`](Model::classify_with), [`Error::TooLong`] among them.
    pub fn self_test_vector(&self, texts: &[&str]) -> Result<SelfTestVector> {
        let (limits, mut rows) = (Limits::default(), Vec::new());
        let texts_of = || texts.iter().map(|&text| text.to_owned()).collect();
        if let (Task::Generation, [text]) = (&self.bundle().manifest().task, texts) {
            let (ids, max) = (self.prompt_ids(text, &limits)?, self.bundle().manifest().max_tokens);
            if ids.len() > max {
                return Err(Error::TooLong { tokens: ids.len(), max });
            }
            let outputs = vec![scoring::sampled_logits(self, &ids, &limits)?];
            return Ok(SelfTestVector { texts: texts_of(), ids, outputs });
        }
        match *texts {
            [text] => read_one(self, text, Detail::Ids, Overflow::Error, &limits, &mut rows)?,
            [first, second] => {
                let details = [Detail::Ids; 2];
                read_pair(self, [first, second], details, Keep::Shorter, Overflow::Error, &limits, &mut rows)?
            }
            _ => return Err(Error::InvalidArgument(format!("a model reads one text or two, not {}", texts.len()))),
        };
        let outputs = outputs_read(&self.bundle().manifest().task);
        let outcomes = rows::run(self, &rows, &limits, |_, output| {
            Ok((0..outputs).map(|number| SelfTest::sample(output.values(number))).collect::<Vec<_>>())
        })?;
        Ok(SelfTestVector {
            texts: texts_of(),
            ids: rows.first().map_or_else(Vec::new, |row| row.ids.iter().map(|&id| id as u32).collect()),
            outputs: super::only(outcomes)?.value,
        })
    }

    fn difference(&self, number: usize, expected: &SelfTestVector) -> Result<f32> {
        let texts: Vec<&str> = expected.texts.iter().map(String::as_str).collect();
        let found = self.self_test_vector(&texts)?;
        if found.ids != expected.ids {
            return Err(self.failed(number, "the tokenizer gave other ids than expected".to_owned()));
        }
        if found.outputs.len() != expected.outputs.len() {
            return Err(self.failed(number, "there are more or fewer outputs than expected".to_owned()));
        }
        let mut largest = 0f32;
        for (found, expected) in found.outputs.iter().zip(&expected.outputs) {
            if found.len() != expected.len() {
                return Err(self.failed(number, "an output has another size than expected".to_owned()));
            }
            let square = |value: f32| f64::from(value) * f64::from(value);
            let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
            let length: f64 = expected.iter().map(|&value| square(value)).sum();
            largest = largest.max((difference / length.max(1e-12)).sqrt() as f32);
        }
        Ok(largest)
    }

    fn failed(&self, number: usize, reason: String) -> Error {
        Error::SelfTest { model: self.bundle().manifest().id.clone(), vector: number, reason }
    }
}
