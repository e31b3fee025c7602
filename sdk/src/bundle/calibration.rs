//! What was measured on held-out data so that probabilities mean what they say.

use serde::{Deserialize, Serialize};

use super::BundleError;

/// How logits of a classifier become probabilities and decisions; the section `calibration.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Logits are divided by it (Guo et al. 2017, section 4.2, "temperature scaling"). 1 changes nothing.
    #[serde(default = "one")]
    pub temperature: f64,
    /// The lowest probability at which each label holds, in the order of the labels; for models whose labels
    /// are independent of each other. Empty: 0.5 for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thresholds: Vec<f32>,
    /// A text whose best probability is below is none of the labels' business. None: every text is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_scope: Option<f32>,
}

fn one() -> f64 {
    1.0
}

impl Default for Calibration {
    fn default() -> Self {
        Calibration { temperature: 1.0, thresholds: Vec::new(), out_of_scope: None }
    }
}

impl Calibration {
    /// Checks the values for a model of so many labels.
    pub(super) fn check(&self, labels: usize) -> Result<(), BundleError> {
        let fail = |field: &str, reason: String| {
            Err(BundleError::ManifestField { field: format!("calibration.{field}"), reason })
        };
        if !(self.temperature.is_finite() && (1e-3..=1e3).contains(&self.temperature)) {
            return fail("temperature", format!("is {} and must be from 0.001 to 1000", self.temperature));
        }
        if !self.thresholds.is_empty() && self.thresholds.len() != labels {
            return fail("thresholds", format!("are {} for {labels} labels", self.thresholds.len()));
        }
        let probabilities = self.thresholds.iter().chain(&self.out_of_scope);
        for &value in probabilities {
            if !(0.0..=1.0).contains(&value) {
                return fail("thresholds", format!("hold {value}, which is no probability"));
            }
        }
        Ok(())
    }

    /// The lowest probability at which a label holds.
    pub(crate) fn threshold(&self, label: usize) -> f32 {
        self.thresholds.get(label).copied().unwrap_or(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_no_sense_are_refused() {
        let good = Calibration { temperature: 1.5, thresholds: vec![0.2, 0.9], out_of_scope: Some(0.3) };
        good.check(2).unwrap();
        Calibration::default().check(5).unwrap();
        for bad in [
            Calibration { temperature: 0.0, ..good.clone() },
            Calibration { temperature: f64::NAN, ..good.clone() },
            Calibration { thresholds: vec![0.5], ..good.clone() },
            Calibration { thresholds: vec![0.5, 1.5], ..good.clone() },
            Calibration { out_of_scope: Some(f32::NAN), ..good.clone() },
        ] {
            assert!(bad.check(2).is_err(), "{bad:?}");
        }
        let empty: Calibration = serde_json::from_str("{}").unwrap();
        assert_eq!(empty, Calibration::default());
        assert_eq!((good.threshold(1), empty.threshold(1)), (0.9, 0.5));
    }
}
