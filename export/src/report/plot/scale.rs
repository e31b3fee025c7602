//! From numbers to places on an axis.

/// What an axis shall be.
#[derive(Default)]
pub(super) struct Scale {
    pub title: String,
    /// Begin at 0.
    pub from_zero: bool,
    /// In powers, where all numbers are above 0.
    pub log: bool,
    /// The numbers that are written, where they are not to be round ones.
    pub ticks: Vec<f64>,
}

/// An axis that its numbers fit.
pub(super) struct Fitted {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
}

/// Numbers on an axis, about.
const TICKS: f64 = 7.0;
/// Numbers on an axis, at most.
const MOST: usize = 12;

impl Scale {
    /// The axis for some numbers, with a margin; `None` where none is finite.
    pub(super) fn fit(&self, values: impl Iterator<Item = f64>) -> Option<Fitted> {
        let ends = |ends: Option<(f64, f64)>, value: f64| match ends {
            None => Some((value, value)),
            Some((low, high)) => Some((low.min(value), high.max(value))),
        };
        let (mut low, mut high) = values.filter(|value| value.is_finite()).fold(None, ends)?;
        let log = self.log && low > 0.0;
        if log {
            let margin = (high / low).powf(0.06).max(1.1);
            (low, high) = (low / margin, high * margin);
        } else {
            let margin = if high > low { (high - low) * 0.06 } else { (high.abs() * 0.05).max(1e-3) };
            let zero = self.from_zero && low >= 0.0;
            (low, high) = (if zero { 0.0 } else { low - margin }, high + margin);
        }
        // Numbers so large that their difference is not finite have no picture.
        (high - low).is_finite().then(|| Fitted { low, high, log, ticks: self.ticks.clone() })
    }
}

impl Fitted {
    /// How far along the axis a number is, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        if self.log {
            (value.max(f64::MIN_POSITIVE) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// The numbers that are written, with their text.
    pub(super) fn ticks(&self) -> Vec<(f64, String)> {
        let within = |value: &f64| (self.low..=self.high).contains(value);
        if !self.ticks.is_empty() {
            let shown: Vec<f64> = self.ticks.iter().copied().filter(within).collect();
            let every = shown.len().div_ceil(MOST).max(1);
            return shown.into_iter().step_by(every).map(|value| (value, format!("{value}"))).collect();
        }
        if self.log {
            let powers = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let wide = self.high / self.low > 1e3;
            let factors: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let all = powers.flat_map(|power| factors.iter().map(move |factor| (factor * 10f64.powi(power), power)));
            let shown: Vec<(f64, i32)> = all.filter(|(value, _)| within(value)).take(MOST).collect();
            if shown.len() > 1 {
                let text = |(value, power): (f64, i32)| (value, number(value, -power));
                return shown.into_iter().map(text).collect();
            }
        }
        let rough = (self.high - self.low) / TICKS;
        let power = rough.log10().floor();
        let factor = rough / 10f64.powf(power);
        let step = 10f64.powf(power) * [1.0, 2.0, 5.0].into_iter().find(|&round| factor <= round).unwrap_or(10.0);
        let decimals = -step.log10().floor() as i32;
        let first = (self.low / step).ceil();
        (0..MOST)
            .map(|i| (first + i as f64) * step)
            .take_while(within)
            .map(|value| (value, number(value, decimals)))
            .collect()
    }
}

fn number(value: f64, decimals: i32) -> String {
    crate::report::words::fixed(value, decimals.clamp(0, 8) as usize, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(scale: Scale, values: &[f64]) -> Vec<String> {
        let fitted = scale.fit(values.iter().copied()).unwrap();
        let ticks = fitted.ticks();
        assert!(ticks.iter().all(|(value, _)| (0.0..=1.0).contains(&fitted.share(*value))));
        ticks.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn numbers_on_axes_are_round() {
        assert_eq!(texts(Scale::default(), &[86.1, 93.5]), ["86", "88", "90", "92"]);
        assert_eq!(texts(Scale { from_zero: true, ..Scale::default() }, &[15.7, 91.5]), ["0", "20", "40", "60", "80"]);
        assert_eq!(texts(Scale::default(), &[-0.3, 0.7]), ["-0.2", "0.0", "0.2", "0.4", "0.6"]);
        assert_eq!(texts(Scale { log: true, ..Scale::default() }, &[0.81, 17.4]), ["1", "2", "5", "10", "20"]);
        assert_eq!(texts(Scale { log: true, ..Scale::default() }, &[0.012, 40.0]), ["0.01", "0.1", "1", "10"]);
        let own = Scale { log: true, ticks: vec![16.0, 32.0, 64.0], ..Scale::default() };
        assert_eq!(texts(own, &[16.0, 64.0]), ["16", "32", "64"]);
        let many = Scale { ticks: (1..=50).map(f64::from).collect(), ..Scale::default() };
        assert_eq!(texts(many, &[1.0, 50.0]).len(), 10);
    }

    #[test]
    fn what_cannot_be_placed_has_no_axis_and_one_number_has() {
        let fit = |values: &[f64]| Scale::default().fit(values.iter().copied());
        assert!(
            fit(&[]).is_none() && fit(&[f64::NAN, f64::INFINITY]).is_none() && fit(&[-f64::MAX, f64::MAX]).is_none()
        );
        for one in [0.0, 0.9, -7.0, 1e-12, 1e12] {
            let fitted = fit(&[one, f64::NAN]).unwrap();
            assert!((fitted.share(one) - 0.5).abs() < 0.01 && !fitted.ticks().is_empty(), "{one}");
        }
        // A logarithm of nothing: a linear axis.
        let log = Scale { log: true, ..Scale::default() }.fit([0.0, 3.0].into_iter()).unwrap();
        assert!((log.share(1.5) - 0.5).abs() < 1e-9);
    }
}
