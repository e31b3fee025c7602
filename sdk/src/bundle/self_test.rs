//! Inputs with the outputs expected of them, packed with a model.

use serde::{Deserialize, Serialize};

use super::BundleError;

/// The most values that are kept of one output.
const SAMPLES: usize = 64;
const MAX_VECTORS: usize = 256;

/// Inputs and expected outputs, by which a device can see that it runs the model right; the section
/// `selftest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// The most by which an output may differ: the length of the difference over the length of what was expected.
    pub tolerance: f32,
    /// The inputs.
    pub vectors: Vec<SelfTestVector>,
}

/// One input and what comes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfTestVector {
    /// One text, or two for models that read two.
    pub texts: Vec<String>,
    /// Their token ids, special tokens included.
    pub ids: Vec<u32>,
    /// For each output that the task reads, some of its values: see [`SelfTest::sample`].
    pub outputs: Vec<Vec<f32>>,
}

impl SelfTest {
    /// The values of an output that are compared: every `k`-th where `k` is the number of values divided by 64, at
    /// least 1, and at most 64 of them.
    pub fn sample(values: &[f32]) -> Vec<f32> {
        Self::places(values.len()).filter_map(|place| values.get(place).copied()).collect()
    }

    /// Where the values of [`sample`](Self::sample) stand among so many.
    pub(crate) fn places(count: usize) -> impl Iterator<Item = usize> {
        (0..count).step_by((count / SAMPLES).max(1)).take(SAMPLES)
    }

    pub(super) fn check(&self) -> Result<(), BundleError> {
        let fail =
            |reason: &str| Err(BundleError::ManifestField { field: "selftest".to_owned(), reason: reason.to_owned() });
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return fail("must have a tolerance above 0 and below 1");
        }
        if !(1..=MAX_VECTORS).contains(&self.vectors.len()) {
            return fail("must have 1 to 256 vectors");
        }
        let whole = |vector: &SelfTestVector| {
            (1..=2).contains(&vector.texts.len())
                && (1..=2).contains(&vector.outputs.len())
                && vector.outputs.iter().all(|output| (1..=SAMPLES).contains(&output.len()))
                && vector.outputs.iter().flatten().all(|value| value.is_finite())
        };
        if !self.vectors.iter().all(whole) {
            return fail("has a vector without texts or outputs, or with more than there can be");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_spread() {
        let values: Vec<f32> = (0..1000).map(|v| v as f32).collect();
        let sample = SelfTest::sample(&values);
        assert_eq!((sample.len(), sample[1], sample[63]), (64, 15.0, 945.0));
        assert_eq!(SelfTest::sample(&values[..3]), [0.0, 1.0, 2.0]);
        assert_eq!(SelfTest::sample(&values[..100]).len(), 64);
        assert!(SelfTest::sample(&[]).is_empty());
    }
}
