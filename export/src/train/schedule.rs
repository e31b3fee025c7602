//! Learning-rate schedules.

use serde::{Deserialize, Serialize};

/// The learning rate after warming up. All warm up linearly from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Falls linearly to 0 ([`linear_warmup_decay`]).
    #[default]
    Linear,
    /// Stays (`get_constant_schedule_with_warmup` of `transformers`).
    Constant,
    /// Falls along half a cosine to a least share of the peak (Loshchilov 2017, "SGDR", equation 5, without
    /// restarts; `get_cosine_with_min_lr_schedule_with_warmup` of `transformers`).
    Cosine,
}

impl Schedule {
    /// Factor on the peak learning rate at `step` (from 0) of `total`. `min_factor` is where the cosine ends.
    pub fn factor(self, step: u64, warmup: u64, total: u64, min_factor: f64) -> f64 {
        if step < warmup || self == Schedule::Linear {
            return linear_warmup_decay(step, warmup, total);
        }
        match self {
            Schedule::Linear | Schedule::Constant => 1.0,
            Schedule::Cosine => {
                let gone = (step - warmup) as f64 / total.saturating_sub(warmup).max(1) as f64;
                let half = (1.0 + (std::f64::consts::PI * gone.min(1.0)).cos()) / 2.0;
                min_factor + (1.0 - min_factor) * half
            }
        }
    }
}

/// Factor on the peak learning rate at `step` (from 0) of `total`: linear from 0 over `warmup` steps, then
/// linear to 0 (`get_linear_schedule_with_warmup` of `transformers`).
pub fn linear_warmup_decay(step: u64, warmup: u64, total: u64) -> f64 {
    if step < warmup {
        step as f64 / warmup.max(1) as f64
    } else {
        total.saturating_sub(step) as f64 / total.saturating_sub(warmup).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule::{Constant, Cosine, Linear};
    use super::*;

    fn values(schedule: Schedule, min_factor: f64) -> Vec<f64> {
        (0..11).map(|step| schedule.factor(step, 2, 10, min_factor)).collect()
    }

    #[test]
    fn rises_then_falls() {
        assert_eq!(values(Linear, 0.5), [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]);
        assert_eq!(linear_warmup_decay(0, 0, 10), 1.0);
        assert_eq!(linear_warmup_decay(5, 0, 0), 0.0);
    }

    #[test]
    fn rises_then_stays() {
        assert_eq!(values(Constant, 0.5), [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!(Constant.factor(0, 0, 10, 0.0), 1.0);
    }

    #[test]
    fn follows_the_cosine_to_its_least() {
        // Quarters of the way: cos 45 and 135 degrees.
        let root = 0.5f64.sqrt();
        for (least, quarter, half, three) in [
            (0.0, (1.0 + root) / 2.0, 0.5, (1.0 - root) / 2.0),
            (0.2, 0.2 + 0.4 * (1.0 + root), 0.6, 0.2 + 0.4 * (1.0 - root)),
        ] {
            let values = values(Cosine, least);
            assert_eq!(values[..3], [0.0, 0.5, 1.0]);
            for (step, want) in [(4, quarter), (6, half), (8, three), (10, least)] {
                assert!((values[step] - want).abs() < 1e-12, "step {step}: {} for {want}", values[step]);
            }
        }
        assert_eq!(Cosine.factor(99, 2, 10, 0.2), 0.2);
    }
}
