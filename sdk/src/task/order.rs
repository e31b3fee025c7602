//! Which of two texts comes first.

use std::time::Instant;

use serde::Serialize;

use super::options::{Usage, call_options};
use super::reading::{Detail, Reading, read_pair, require};
use super::rows::{self, Outcome};
use crate::bundle::{Activation, Task};
use crate::post::aggregate::weighted_mean;
use crate::post::softmax::calibrated;
use crate::runtime::session::not_finite;
use crate::text::window::Keep;
use crate::{Cancel, Error, Model, Overflow, Result};

/// Options of a call that tells the order of two texts.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OrderOptions {
    /// Read each pair in both orders and combine them, so that the answer for (b, a) is the opposite of that for
    /// (a, b), whatever the model makes of a text's mere place. Twice the work. Default: false.
    ///
    /// With `l(x, y)` the log odds of "x comes before y" when x is read first, the answer's are
    /// `(l(a, b) - l(b, a)) / 2`.
    pub both_orders: bool,
    /// What to do with a pair that is too long. Default: truncate the longer text, and report it. Windows, each of
    /// which holds the whole of the shorter text, are put together by the mean of their logits, each weighted by the
    /// number of its tokens.
    pub overflow: Overflow,
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

call_options!(OrderOptions);

impl OrderOptions {
    /// Reads each pair in both orders.
    pub fn both_orders(mut self, both: bool) -> Self {
        self.both_orders = both;
        self
    }
}

/// The answer for one pair of texts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Order {
    /// How likely the first text comes before the second; else the second comes before the first.
    pub probability: f32,
    /// The natural log of its odds, before the bundle's calibration: the logit of "in order" less that of "swapped".
    pub logit: f32,
    /// What was read and how long it took. Tokens count once, in both orders too.
    #[serde(flatten)]
    pub usage: Usage,
}

impl Model {
    /// Tells which of two texts comes first, with the default options, by a model that learned to tell two consecutive
    /// segments of a document from the same two swapped (sentence order; Lan et al. 2020, section 3.1).
    ///
    /// # Errors
    /// Those of [`order_with`](Model::order_with) that need no options.
    pub fn order(&self, first: &str, second: &str) -> Result<Order> {
        self.order_with(first, second, &OrderOptions::default())
    }

    /// Tells which of two texts comes first.
    ///
    /// # Errors
    /// [`Error::WrongTask`] if the model tells no order; else those of [`classify_with`](Model::classify_with).
    pub fn order_with(&self, first: &str, second: &str, options: &OrderOptions) -> Result<Order> {
        super::only(self.order_batch(&[(first, second)], options)?)
    }

    /// Tells the order of many pairs of texts; answers come in the order of the pairs.
    ///
    /// # Errors
    /// Those of [`order_with`](Model::order_with); the first error ends the whole call.
    pub fn order_batch(&self, pairs: &[(&str, &str)], options: &OrderOptions) -> Result<Vec<Order>> {
        require(self, &[Task::Order], "order")?;
        let limits = options.limits();
        limits.check()?;
        let mut rows = Vec::new();
        let mut readings = Vec::with_capacity(pairs.len());
        for &(first, second) in pairs {
            let (details, keep) = ([Detail::Ids; 2], Keep::Shorter);
            let given = read_pair(self, [first, second], details, keep, options.overflow, &limits, &mut rows)?;
            let swapped = match options.both_orders {
                true => Some(given.swapped(self, keep, options.overflow, &mut rows)?),
                false => None,
            };
            readings.push((given, swapped));
        }
        let outcomes = rows::run(self, &rows, &limits, |_, output| match output.values(0) {
            [in_order, swapped] => match in_order - swapped {
                odds if odds.is_nan() => Err(not_finite("logits", odds)),
                odds => Ok(odds),
            },
            other => Err(Error::Internal(format!("{} logits for two orders", other.len()))),
        })?;
        let temperature = self.bundle().calibration().temperature;
        let answers = readings.into_iter().map(|(reading, swapped)| {
            let start = Instant::now();
            let mut usage = reading.usage;
            // Rows in the other order follow the ones as given.
            let end = swapped.as_ref().map_or(reading.rows.end, |swapped| swapped.rows.end);
            usage.timings.inference = rows::time_of(outcomes.get(reading.rows.start..end).unwrap_or_default());
            let as_given = log_odds(&reading, &outcomes);
            let logit = match &swapped {
                None => as_given,
                Some(swapped) => {
                    usage.timings.tokenize += swapped.usage.timings.tokenize;
                    (as_given - log_odds(swapped, &outcomes)) / 2.0
                }
            };
            // A softmax over two logits is the sigmoid of their difference.
            let probability = calibrated(Activation::Sigmoid, &[logit], temperature).first().copied().unwrap_or(0.5);
            usage.timings.post = start.elapsed();
            Order { probability, logit, usage }
        });
        Ok(answers.collect())
    }
}

/// The log odds of "in order" over the windows of a reading.
fn log_odds(reading: &Reading, outcomes: &[Outcome<f32>]) -> f32 {
    let windows: Vec<&[f32]> = outcomes
        .get(reading.rows.clone())
        .unwrap_or_default()
        .iter()
        .map(|outcome| std::slice::from_ref(&outcome.value))
        .collect();
    weighted_mean(&windows, &reading.weights()).first().copied().unwrap_or(0.0)
}
