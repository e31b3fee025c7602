//! Learning-rate schedules.

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
    use super::linear_warmup_decay as factor;

    #[test]
    fn rises_then_falls() {
        let values: Vec<f64> = (0..11).map(|s| factor(s, 2, 10)).collect();
        assert_eq!(values, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0]);
        assert_eq!(factor(0, 0, 10), 1.0);
        assert_eq!(factor(5, 0, 0), 0.0);
    }
}
