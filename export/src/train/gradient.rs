//! Loss and gradient of a step, over its micro-batches and all processes.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tch::{Kind, Tensor};

use super::optimizer::global_norm;
use super::parallel::mean_gradients;
use super::{Autocast, Loss, Precision, Stage};
use crate::data::Batch;

/// What a step's backward passes gave.
pub(super) struct Gradient {
    /// In the order of the parameters; undefined for one that took no part.
    pub tensors: Vec<Tensor>,
    /// Global norm of all of them.
    pub norm: f64,
    /// Mean over the rows of all processes.
    pub loss: f64,
    /// Means over the rows of this process.
    pub parts: BTreeMap<&'static str, f64>,
    /// Tokens of this process.
    pub tokens: usize,
}

/// The gradient of the mean loss over the rows of a step: each micro-batch counts by its rows. `weights` are the
/// parameters as leaves. This process takes every `size`th micro-batch.
///
/// Every random number comes from the seed, the step and the micro-batch.
///
/// # Errors
/// A loss that is not finite or not fp32, with the examples named; what `loss` itself finds wrong.
pub(super) fn gradient(
    stage: &Stage,
    weights: &[Tensor],
    (step, total): (u64, u64),
    micro_batches: &[Vec<usize>],
    loss: &dyn Fn(&Batch, f64) -> Result<Loss>,
) -> Result<Gradient> {
    let (rank, size) = (stage.group.rank(), stage.group.size());
    let own = || micro_batches.iter().enumerate().filter(|(k, _)| k % size == rank);
    let rows: usize = micro_batches.iter().map(Vec::len).sum();
    let own_rows: usize = own().map(|(_, indices)| indices.len()).sum();
    let mut tensors: Vec<Tensor> = weights.iter().map(|_| Tensor::new()).collect();
    let mut losses = Vec::new();
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
        let new = Tensor::f_run_backward(&[&weighted], weights, false, false)
            .with_context(|| format!("{}: backward pass of step {step}", stage.name))?;
        add(&mut tensors, new)?;
        losses.push((loss_value.detach(), share, indices));
        for (name, value) in values {
            let value = value.detach() * (indices.len() as f64 / own_rows as f64);
            let sum = parts.remove(name).map_or_else(|| value.shallow_clone(), |sum: Tensor| sum + &value);
            parts.insert(name, sum);
        }
        tokens += batch.tokens;
    }
    // Numbers are asked for when all work is queued, and all at once: on a GPU each question waits for the queue.
    // Of several processes' gradients only the norm of the mean counts.
    let own_norm = if size == 1 { Some(global_norm(&tensors)?) } else { None };
    let asked: Vec<&Tensor> = losses.iter().map(|(value, ..)| value).chain(parts.values()).chain(&own_norm).collect();
    let answers = numbers(&asked)?;
    let (of_losses, others) = answers.split_at(losses.len());
    let (of_parts, own_norm) = others.split_at(parts.len());
    let (mut loss, mut bad) = (0.0, None);
    for ((_, share, indices), &value) in losses.iter().zip(of_losses) {
        loss += value * share;
        if !value.is_finite() && bad.is_none() {
            bad = Some((value, indices));
        }
    }
    let parts = parts.keys().copied().zip(of_parts.iter().copied()).collect();
    let loss = mean_gradients(stage.group, weights, &mut tensors, loss)?;
    if let Some((value, indices)) = bad {
        bail!(
            "{}: the loss is {value} at step {step}; lower learning_rate, or look at its batch ({})",
            stage.name,
            stage.told(indices)
        );
    }
    ensure!(loss.is_finite(), "{}: the loss of another process is {loss} at step {step}", stage.name);
    let norm = match own_norm {
        &[own] => own,
        _ => global_norm(&tensors)?.double_value(&[]),
    };
    Ok(Gradient { tensors, norm, loss, parts, tokens })
}

/// The values of scalars.
fn numbers(scalars: &[&Tensor]) -> Result<Vec<f64>> {
    let Some(device) = scalars.first().map(|scalar| scalar.device()) else { return Ok(Vec::new()) };
    let _no_grad = tch::no_grad_guard();
    let same: Result<Vec<Tensor>, _> = scalars
        .iter()
        .map(|scalar| scalar.f_to_device(device)?.f_to_kind(Kind::Double)?.f_reshape([0i64; 0].as_slice()))
        .collect();
    Ok(Vec::try_from(Tensor::f_stack(&same?, 0)?)?)
}

/// Adds gradients to the sum of those before.
fn add(sums: &mut [Tensor], new: Vec<Tensor>) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    for (sum, new) in sums.iter_mut().zip(new) {
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
