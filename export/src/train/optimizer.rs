//! AdamW (Loshchilov 2019) with decoupled weight decay, global-norm clipping and savable state.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::shim;
use crate::arch::Params;

/// Settings of [`AdamW`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWOptions {
    /// First-moment decay.
    pub beta1: f64,
    /// Second-moment decay.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay of weights; biases and LayerNorm are never decayed.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm; 0 switches clipping off.
    pub clip_norm: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01, clip_norm: 1.0 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Decay,
    NoDecay,
}

fn group_of(name: &str) -> Group {
    if name.ends_with(".bias") || name.ends_with("norm.weight") { Group::NoDecay } else { Group::Decay }
}

/// The optimizer's state; names and order are those of the parameters.
pub struct AdamW {
    options: AdamWOptions,
    first: BTreeMap<String, Tensor>,
    second: BTreeMap<String, Tensor>,
    step: u64,
}

/// Root of the sum of squares over all gradients that are defined, a scalar tensor.
pub fn global_norm<'a>(gradients: impl IntoIterator<Item = &'a Tensor>) -> Tensor {
    let squares: Vec<Tensor> = gradients.into_iter().filter(|g| g.defined()).map(|g| g.norm().square()).collect();
    if squares.is_empty() { Tensor::from(0f32) } else { Tensor::stack(&squares, 0).sum(Kind::Float).sqrt() }
}

impl AdamW {
    /// Zero moments for every parameter.
    pub fn new(params: &Params, options: AdamWOptions) -> Self {
        let zeros = || params.iter().map(|(n, t)| (n.to_owned(), t.detach().zeros_like())).collect();
        Self { options, first: zeros(), second: zeros(), step: 0 }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Updates `params` in place. `gradients` are in the order of `params`; a parameter whose gradient
    /// is undefined (it took no part in the loss) is left alone.
    ///
    /// Returns the global norm before clipping.
    ///
    /// # Errors
    /// A libtorch error, such as out of memory.
    pub fn step(&mut self, params: &Params, gradients: &[Tensor], learning_rate: f64) -> Result<f64> {
        self.step += 1;
        let norm = global_norm(gradients);
        let norm_value = norm.double_value(&[]);
        let clip = self.options.clip_norm;
        let scale = if clip > 0.0 { ((norm_value + 1e-6) / clip).max(1.0) } else { 1.0 };
        let device = params.device();
        let scale = Tensor::from(scale as f32).to_device(device);
        let count = Tensor::from(self.step as f32).to_device(device);
        for group in [Group::Decay, Group::NoDecay] {
            let (mut p, mut g, mut m, mut v) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for ((name, tensor), gradient) in params.iter().zip(gradients) {
                if group_of(name) == group && gradient.defined() {
                    p.push(tensor.detach());
                    g.push(gradient.shallow_clone());
                    m.push(self.first[name].shallow_clone());
                    v.push(self.second[name].shallow_clone());
                }
            }
            let weight_decay = if group == Group::Decay { self.options.weight_decay } else { 0.0 };
            let AdamWOptions { beta1, beta2, epsilon, .. } = self.options;
            let step = shim::Step { learning_rate, beta1, beta2, weight_decay, epsilon };
            shim::fused_adamw(&p, &g, (&m, &v), &count, &scale, step)?;
        }
        Ok(norm_value)
    }

    /// State as named tensors: `first.NAME`, `second.NAME`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        [("first", &self.first), ("second", &self.second)]
            .into_iter()
            .flat_map(|(prefix, map)| map.iter().map(move |(n, t)| (format!("{prefix}.{n}"), t.shallow_clone())))
            .collect()
    }

    /// Restores what [`AdamW::state`] gave.
    ///
    /// # Errors
    /// A missing tensor.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, step: u64) -> Result<()> {
        for (prefix, map) in [("first", &self.first), ("second", &self.second)] {
            for (name, tensor) in map {
                let key = format!("{prefix}.{name}");
                let value = state.get(&key).with_context(|| format!("the checkpoint has no `{key}`"))?;
                tch::no_grad(|| tensor.shallow_clone().f_copy_(value))?;
            }
        }
        self.step = step;
        Ok(())
    }
}
