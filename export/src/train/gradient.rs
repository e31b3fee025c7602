//! Loss and gradient of a step, over its micro-batches and all processes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tch::{Device, Kind, Tensor};

use super::optimizer::global_norm;
use super::parallel::mean_gradients;
use super::{Autocast, Loss, Precision, Stage};
use crate::data::Batch;
use crate::shim::Underway;

/// What a step's backward passes gave.
pub(super) struct Gradient {
    /// In the order of the parameters; undefined for one that took no part.
    pub tensors: Vec<Tensor>,
    /// Global norm of all of them, a scalar.
    pub norm: Tensor,
    /// 1 where a loss or the norm is not finite, else 0: a scalar fp32 tensor.
    pub unusable: Tensor,
    /// What of it is for people to see.
    pub numbers: Numbers,
    /// Tokens of this process.
    pub tokens: usize,
}

/// The numbers of a step, which may still be on their way from a GPU.
pub(super) struct Numbers {
    step: u64,
    /// Losses of micro-batches, the norm, values of the parts.
    values: Underway,
    /// How much each micro-batch counts, and its examples.
    micro_batches: Vec<(f64, Vec<usize>)>,
    parts: Vec<&'static str>,
    /// The mean loss of several processes.
    mean: Option<f64>,
}

/// What [`Numbers`] give.
pub(super) struct Seen {
    /// Mean over the rows of all processes.
    pub loss: f64,
    /// Means over the rows of this process.
    pub parts: BTreeMap<&'static str, f64>,
    /// The gradient's global norm.
    pub norm: f64,
}

impl Numbers {
    /// Waits for them.
    ///
    /// # Errors
    /// A loss or a norm that is not finite, with the examples named.
    pub(super) fn see(self, stage: &Stage) -> Result<Seen> {
        let values: Vec<f64> = Vec::try_from(self.values.arrived()?)?;
        let (losses, others) = values.split_at(self.micro_batches.len());
        let (&norm, parts) = others.split_first().context("a step without a norm")?;
        for (value, (_, indices)) in losses.iter().zip(&self.micro_batches) {
            ensure!(
                value.is_finite(),
                "{}: the loss is {value} at step {}; lower learning_rate, or look at its batch ({})",
                stage.name,
                self.step,
                stage.told(indices)
            );
        }
        let own = losses.iter().zip(&self.micro_batches).map(|(value, (share, _))| value * share).sum();
        let loss = self.mean.unwrap_or(own);
        ensure!(loss.is_finite(), "{}: the loss of another process is {loss} at step {}", stage.name, self.step);
        if !norm.is_finite() {
            let indices: Vec<usize> = self.micro_batches.into_iter().flat_map(|(_, indices)| indices).collect();
            let (name, step) = (stage.name, self.step);
            bail!("{name}: no update at step {step} ({}): the gradient norm is {norm}", stage.told(&indices));
        }
        Ok(Seen { loss, parts: self.parts.into_iter().zip(parts.iter().copied()).collect(), norm })
    }
}

/// The gradient of the mean loss over the rows of a step: each micro-batch counts by its rows. `weights` are the
/// parameters as leaves, of which those of the numbers `learning` get a gradient. This process takes every `size`th micro-batch.
///
/// Every random number comes from the seed, the step and the micro-batch. What the step's numbers are is not asked here: a GPU
/// has then what to do while the next step is put together.
///
/// # Errors
/// A loss that is not fp32; what `loss` itself finds wrong.
pub(super) fn gradient(
    stage: &Stage,
    weights: &[Tensor],
    learning: &[usize],
    (step, total): (u64, u64),
    micro_batches: &[Vec<usize>],
    loss: &dyn Fn(&Batch, f64) -> Result<Loss>,
) -> Result<Gradient> {
    let (rank, size) = (stage.group.rank(), stage.group.size());
    let own = || micro_batches.iter().enumerate().filter(|(k, _)| k % size == rank);
    let rows: usize = micro_batches.iter().map(Vec::len).sum();
    let own_rows: usize = own().map(|(_, indices)| indices.len()).sum();
    let mut tensors: Vec<Tensor> = weights.iter().map(|_| Tensor::new()).collect();
    let leaves: Vec<&Tensor> = learning.iter().map(|&index| &weights[index]).collect();
    let (mut losses, mut counted) = (Vec::new(), Vec::new());
    let (mut parts, mut tokens) = (BTreeMap::new(), 0);
    for (k, indices) in own() {
        let batch = Batch::new(stage.examples, indices.clone(), stage.pad_id, stage.params.device());
        tch::manual_seed(step_seed(stage.seed, step, k as u64));
        let entered = Autocast::entered();
        let Loss { total: loss_value, parts: values } = loss(&batch, step as f64 / total as f64)?;
        ensure!(
            stage.options.precision == Precision::Fp32 || Autocast::entered() > entered,
            "{}: precision is bf16, but the model was not told; this is a mistake in limbeck",
            stage.name
        );
        let kind = loss_value.kind();
        ensure!(matches!(kind, Kind::Float | Kind::Double), "{}: the loss is {kind:?}, not fp32", stage.name);
        // The processes' mean is taken later, hence times their number.
        let share = (indices.len() * size) as f64 / rows as f64;
        let weighted = if share == 1.0 { loss_value.shallow_clone() } else { &loss_value * share };
        let new = Tensor::f_run_backward(&[&weighted], &leaves, false, false)
            .with_context(|| format!("{}: backward pass of step {step}", stage.name))?;
        add(&mut tensors, learning, new)?;
        losses.push(loss_value.detach());
        counted.push((share, indices.clone()));
        for (name, value) in values {
            let value = value.detach() * (indices.len() as f64 / own_rows as f64);
            let sum = parts.remove(name).map_or_else(|| value.shallow_clone(), |sum: Tensor| sum + &value);
            parts.insert(name, sum);
        }
        tokens += batch.tokens;
    }
    let mean = match size {
        1 => None,
        _ => {
            let values: Vec<f64> = if losses.is_empty() { Vec::new() } else { Vec::try_from(stacked(&losses)?)? };
            let own = values.iter().zip(&counted).map(|(value, (share, _))| value * share).sum();
            Some(mean_gradients(stage.group, weights, &mut tensors, own)?)
        }
    };
    let norm = global_norm(&tensors)?;
    losses.push(norm.shallow_clone());
    let _no_grad = tch::no_grad_guard();
    let decisive = stacked(&losses)?;
    let unusable = decisive.f_isfinite()?.f_all()?.f_logical_not()?.f_to_kind(Kind::Float)?;
    let (parts, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let all = if values.is_empty() { decisive } else { Tensor::f_cat(&[decisive, stacked(&values)?], 0)? };
    let numbers = Numbers { step, values: Underway::start(&all)?, micro_batches: counted, parts, mean };
    Ok(Gradient { tensors, norm, unusable, numbers, tokens })
}

/// Scalars as one fp64 tensor, where the first of them is.
fn stacked(scalars: &[Tensor]) -> Result<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let device = scalars.first().map_or(Device::Cpu, Tensor::device);
    let same: Result<Vec<Tensor>, _> = scalars
        .iter()
        .map(|scalar| scalar.f_to_device(device)?.f_to_kind(Kind::Double)?.f_reshape([0i64; 0].as_slice()))
        .collect();
    Ok(Tensor::f_stack(&same?, 0)?)
}

/// Adds the gradients of the parameters `learning` to the sums of those before.
fn add(sums: &mut [Tensor], learning: &[usize], new: Vec<Tensor>) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    for (&index, new) in learning.iter().zip(new) {
        let sum = &mut sums[index];
        match (sum.defined(), new.defined()) {
            (_, false) => {}
            (false, true) => *sum = new,
            // Not in place: a gradient may share its memory with another.
            (true, true) => *sum = sum.f_add(&new)?,
        }
    }
    Ok(())
}

fn step_seed(seed: u64, step: u64, micro_batch: u64) -> i64 {
    let seed = seed.wrapping_mul(0x2545_F491_4F6C_DD1D);
    let place = step.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ micro_batch.wrapping_mul(0xD1B5_4A32_D192_ED03);
    (seed ^ place) as i64 & i64::MAX
}
