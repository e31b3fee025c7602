//! Exponential moving averages of the weights.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use tch::Tensor;

use crate::arch::Params;

/// The averages, in the order of the parameters.
pub(super) struct Average {
    decay: f64,
    tensors: BTreeMap<String, Tensor>,
}

impl Average {
    /// Begins with the weights as they are.
    pub(super) fn new(params: &Params, decay: f64) -> Self {
        let tensors = params.iter().map(|(name, t)| (name.to_owned(), t.detach().copy())).collect();
        Self { decay, tensors }
    }

    /// Takes the weights after the `step`th step (from 1) in: `average += (1 - d) (weight - average)`, with
    /// `d = min(decay, (1 + step) / (10 + step))`, so that the weights of the start are soon forgotten
    /// (`tf.train.ExponentialMovingAverage` with `num_updates`).
    ///
    /// # Errors
    /// A libtorch error.
    pub(super) fn update(&mut self, params: &Params, step: u64) -> Result<()> {
        let decay = self.decay.min((1 + step) as f64 / (10 + step) as f64);
        let _no_grad = tch::no_grad_guard();
        for ((_, weight), average) in params.iter().zip(self.tensors.values_mut()) {
            let _ = average.f_lerp_(weight, 1.0 - decay)?;
        }
        Ok(())
    }

    /// Does something while the weights are the averages; afterwards they are to the bit what they were.
    ///
    /// # Errors
    /// Those of what is done.
    pub(super) fn in_place_of<T>(&self, params: &Params, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = params.iter().map(|(name, t)| (name.to_owned(), t.detach().copy())).collect();
        params.copy_from(&self.tensors)?;
        let result = work();
        params.copy_from(&own)?;
        result
    }

    /// The averages by the names of the weights.
    pub(super) fn weights(&self) -> Vec<(String, Tensor)> {
        self.tensors.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect()
    }

    /// State as named tensors: `average.NAME`.
    pub(super) fn state(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.tensors.iter().map(|(name, t)| (format!("average.{name}"), t.shallow_clone()))
    }

    /// Restores what [`Average::state`] gave.
    ///
    /// # Errors
    /// A missing tensor, or one of another shape.
    pub(super) fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for (name, own) in &mut self.tensors {
            let value = state.get(&format!("average.{name}"));
            let value = value.with_context(|| format!("the checkpoint has no average of `{name}`"))?;
            ensure!(value.size() == own.size(), "the average of `{name}` has shape {:?}", value.size());
            tch::no_grad(|| own.f_copy_(value))?;
        }
        Ok(())
    }
}
