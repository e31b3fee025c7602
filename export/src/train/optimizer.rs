//! AdamW and LAMB with decoupled weight decay, global-norm clipping and savable state.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::layers::first_steps;
use super::{lamb, layer_factors};
use crate::arch::Params;
use crate::shim;

/// Settings of [`Optimizer`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerOptions {
    /// The rule of a step.
    pub kind: OptimizerKind,
    /// First-moment decay.
    pub beta1: f64,
    /// Second-moment decay.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay of weights; biases and LayerNorm are never decayed.
    pub weight_decay: f64,
    /// Moments are divided by how much they lack of their average yet (Kingma 2015, section 3). BERT's AdamW and
    /// ALBERT's LAMB leave that out.
    pub bias_correction: bool,
    /// Gradients are scaled down to this global norm; 0 switches clipping off.
    pub clip_norm: f64,
}

/// The rule of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Loshchilov 2019.
    #[default]
    AdamW,
    /// You 2020: AdamW whose update of each tensor is scaled to the tensor's own norm, for large batches.
    Lamb,
}

impl Default for OptimizerOptions {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::AdamW,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            bias_correction: true,
            clip_norm: 1.0,
        }
    }
}

impl OptimizerOptions {
    pub(super) fn check(&self, stage: &str) -> Result<()> {
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            ensure!((0.0..1.0).contains(&beta), "{stage}: optimizer.{name} must be from 0 to below 1");
        }
        ensure!(
            self.epsilon > 0.0 && self.epsilon.is_finite(),
            "{stage}: optimizer.epsilon must be above 0, as 1e-8 is"
        );
        for (name, value) in [("weight_decay", self.weight_decay), ("clip_norm", self.clip_norm)] {
            ensure!(value >= 0.0 && value.is_finite(), "{stage}: optimizer.{name} must be at least 0");
        }
        Ok(())
    }
}

/// Parameters that are treated alike.
struct Group {
    members: Vec<usize>,
    /// Whether weight decay and LAMB's trust ratio apply.
    decays: bool,
    /// On the learning rate.
    factor: f64,
    /// The step, from 0, at which they begin to learn: bias correction counts from there.
    begins: u64,
}

fn decays(name: &str) -> bool {
    !(name.ends_with(".bias") || name.ends_with("norm.weight"))
}

/// The optimizer's state; order is that of the parameters.
pub struct Optimizer {
    options: OptimizerOptions,
    names: Vec<String>,
    groups: Vec<Group>,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
    step: u64,
}

/// Root of the sum of squares over all gradients that are defined, a scalar tensor of theirs.
///
/// # Errors
/// A libtorch error.
pub fn global_norm(gradients: &[Tensor]) -> Result<Tensor> {
    let defined: Vec<Tensor> = gradients.iter().filter(|g| g.defined()).map(Tensor::shallow_clone).collect();
    shim::global_norm(&defined)
}

impl Optimizer {
    /// Zero moments for every parameter. `layer_decay` is that of [`layer_factors`].
    pub fn new(params: &Params, options: OptimizerOptions, layer_decay: f64) -> Self {
        Self::unfreezing(params, options, layer_decay, 0)
    }

    /// The same where layers begin to learn one after the other, embeddings at step `until`: [`first_steps`].
    pub(super) fn unfreezing(params: &Params, options: OptimizerOptions, layer_decay: f64, until: u64) -> Self {
        let names: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
        let mut groups: Vec<Group> = Vec::new();
        let named = || names.iter().map(String::as_str);
        let factors = layer_factors(named(), layer_decay);
        for (index, (factor, begins)) in factors.into_iter().zip(first_steps(named(), until)).enumerate() {
            let decays = decays(&names[index]);
            let alike = |group: &&mut Group| (group.decays, group.factor, group.begins) == (decays, factor, begins);
            match groups.iter_mut().find(alike) {
                Some(group) => group.members.push(index),
                None => groups.push(Group { members: vec![index], decays, factor, begins }),
            }
        }
        let zeros = || params.iter().map(|(_, tensor)| tensor.detach().zeros_like()).collect();
        Self { options, groups, first: zeros(), second: zeros(), names, step: 0 }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// The parameters that learn in the next step, by number; others are to have no gradient.
    pub(super) fn learning(&self) -> Vec<usize> {
        let begun = self.groups.iter().filter(|group| group.begins <= self.step);
        let mut learning: Vec<usize> = begun.flat_map(|group| group.members.iter().copied()).collect();
        learning.sort_unstable();
        learning
    }

    /// For a process whose state came from another.
    pub(super) fn set_steps(&mut self, steps: u64) {
        self.step = steps;
    }

    /// Updates `params` in place. `gradients` are in the order of `params`; a parameter whose gradient
    /// is undefined (it took no part in the loss) is left alone.
    ///
    /// Returns the global norm before clipping.
    ///
    /// # Errors
    /// A global norm that is not finite: then nothing was changed. Gradients of other parameters; a libtorch error,
    /// such as out of memory.
    pub fn step(&mut self, params: &Params, gradients: &[Tensor], learning_rate: f64) -> Result<f64> {
        let norm = global_norm(gradients)?;
        let known = norm.double_value(&[]);
        ensure!(known.is_finite(), "the gradient norm is {known}");
        self.update(params, gradients, &norm, &scalar(0.0, params.device()), learning_rate)?;
        Ok(known)
    }

    /// Whether [`Self::update`] heeds `stopped`.
    pub(super) fn can_be_stopped(&self) -> bool {
        self.options.kind == OptimizerKind::AdamW
    }

    /// [`Self::step`] with a global norm that nobody has looked at yet: no number is read back from the device. Where
    /// `stopped`, a scalar fp32 tensor, is 1, neither parameters nor moments change, but the step counts; LAMB pays no heed
    /// to it, and must be given a finite norm.
    ///
    /// # Errors
    /// Gradients of other parameters; a libtorch error.
    pub(super) fn update(
        &mut self,
        params: &Params,
        gradients: &[Tensor],
        norm: &Tensor,
        stopped: &Tensor,
        learning_rate: f64,
    ) -> Result<()> {
        self.fits(params, gradients)?;
        let weights: Vec<Tensor> = params.iter().map(|(_, tensor)| tensor.detach()).collect();
        self.step += 1;
        let scale = self.scale(norm, params.device())?;
        let gradients = apart(gradients)?;
        for group in &self.groups {
            let members: Vec<usize> = group.members.iter().copied().filter(|&i| gradients[i].defined()).collect();
            let pick = |tensors: &[Tensor]| members.iter().map(|&i| tensors[i].shallow_clone()).collect::<Vec<_>>();
            let lists = (pick(&weights), pick(&gradients), pick(&self.first), pick(&self.second));
            let rate = learning_rate * group.factor;
            let count = self.step.saturating_sub(group.begins).max(1);
            match self.options.kind {
                OptimizerKind::AdamW => self.adamw(lists, (&scale, stopped), count, rate, group.decays)?,
                OptimizerKind::Lamb => lamb::step(lists, &scale, count, rate, group.decays, &self.options)?,
            }
        }
        Ok(())
    }

    fn fits(&self, params: &Params, gradients: &[Tensor]) -> Result<()> {
        let known = self.names.iter().map(String::as_str).eq(params.iter().map(|(name, _)| name));
        ensure!(known && gradients.len() == self.names.len(), "the optimizer was made for other parameters");
        for ((name, weight), gradient) in params.iter().zip(gradients) {
            let fits = !gradient.defined() || gradient.size() == weight.size();
            ensure!(fits, "the gradient of `{name}` has shape {:?}, not {:?}", gradient.size(), weight.size());
        }
        Ok(())
    }

    /// What gradients of this norm are divided by, a scalar fp32 tensor.
    fn scale(&self, norm: &Tensor, device: Device) -> Result<Tensor> {
        let OptimizerOptions { clip_norm, .. } = self.options;
        if clip_norm == 0.0 {
            return Ok(scalar(1.0, device));
        }
        let _no_grad = tch::no_grad_guard();
        let exact = norm.f_to_device(device)?.f_to_kind(Kind::Double)?.f_add_scalar(1e-6)?.f_div_scalar(clip_norm)?;
        Ok(exact.f_clamp_min(1.0)?.f_to_kind(Kind::Float)?)
    }

    fn adamw(
        &self,
        (p, g, m, v): Lists,
        (scale, stopped): (&Tensor, &Tensor),
        count: u64,
        learning_rate: f64,
        decays: bool,
    ) -> Result<()> {
        let OptimizerOptions { beta1, beta2, epsilon, weight_decay, bias_correction, .. } = self.options;
        // The kernel corrects by 1 - beta^count, which is exactly 1 at infinity.
        let count = if bias_correction { count as f64 } else { f64::INFINITY };
        let count = scalar(count, scale.device());
        let weight_decay = if decays { weight_decay } else { 0.0 };
        let step = shim::Step { learning_rate, beta1, beta2, weight_decay, epsilon };
        shim::fused_adamw(&p, &g, (&m, &v), (&count, scale, stopped), step)
    }

    /// State as named tensors: `first.NAME`, `second.NAME`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.moments().map(|(name, tensor)| (name, tensor.shallow_clone())).collect()
    }

    fn moments(&self) -> impl Iterator<Item = (String, &Tensor)> {
        [("first", &self.first), ("second", &self.second)].into_iter().flat_map(|(prefix, tensors)| {
            self.names.iter().zip(tensors).map(move |(name, tensor)| (format!("{prefix}.{name}"), tensor))
        })
    }

    /// Restores what [`Optimizer::state`] gave after `step` steps.
    ///
    /// # Errors
    /// A missing tensor, or one of another shape.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>, step: u64) -> Result<()> {
        for (key, tensor) in self.moments() {
            let value = state.get(&key).with_context(|| format!("the checkpoint has no `{key}`"))?;
            ensure!(value.size() == tensor.size(), "`{key}` of the checkpoint has shape {:?}", value.size());
            tch::no_grad(|| tensor.shallow_clone().f_copy_(value))?;
        }
        self.step = step;
        Ok(())
    }
}

/// Made on the device: an upload would wait for all that a GPU has to do.
pub(super) fn scalar(value: f64, device: Device) -> Tensor {
    Tensor::full([0i64; 0].as_slice(), value, (Kind::Float, device))
}

/// The fused kernel reads gradients in the order of memory and scales them there: each must be contiguous, as the
/// weights are, and share its memory with no other. Autograd promises neither: the gradient of a sum is one number
/// seen many times, those of two summands are one tensor.
fn apart(gradients: &[Tensor]) -> Result<Vec<Tensor>> {
    let _no_grad = tch::no_grad_guard();
    let mut seen = HashSet::new();
    let apart = |gradient: &Tensor| {
        Ok(match gradient {
            g if !g.defined() => g.shallow_clone(),
            g if !g.is_contiguous() => g.f_contiguous()?,
            g if !seen.insert(g.data_ptr()) => g.copy(),
            g => g.shallow_clone(),
        })
    };
    gradients.iter().map(apart).collect()
}

/// Weights, gradients, first and second moments of a group, in one order.
pub(super) type Lists = (Vec<Tensor>, Vec<Tensor>, Vec<Tensor>, Vec<Tensor>);

#[cfg(test)]
mod tests;
