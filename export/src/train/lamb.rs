//! LAMB (You 2020, "Large Batch Optimization for Deep Learning", algorithm 2).

use anyhow::Result;
use tch::Tensor;

use super::OptimizerOptions;
use super::optimizer::Lists;

/// One step in place, the `count`th (from 1), of parameters whose gradients are divided by the scalar `scale`.
///
/// `u = m / (sqrt(v) + epsilon) + weight_decay w`, then `w -= learning_rate |w| / |u| u`, the trust ratio being 1
/// where a norm is 0. With `decays` off neither weight decay nor ratio applies: so LayerNorm and biases in ALBERT's
/// `lamb_optimizer.py`, which also has no bias correction.
///
/// # Errors
/// A libtorch error, such as out of memory.
pub(super) fn step(
    (weights, gradients, first, second): Lists,
    scale: &Tensor,
    count: u64,
    learning_rate: f64,
    decays: bool,
    options: &OptimizerOptions,
) -> Result<()> {
    let OptimizerOptions { beta1, beta2, epsilon, weight_decay, bias_correction, .. } = *options;
    let correction = |beta: f64| if bias_correction { 1.0 - beta.powf(count as f64) } else { 1.0 };
    let (first_correction, second_correction) = (correction(beta1), correction(beta2));
    let _no_grad = tch::no_grad_guard();
    let tensors = weights.into_iter().zip(gradients).zip(first).zip(second);
    for (((mut weight, gradient), mut first), mut second) in tensors {
        let gradient = gradient.f_div(scale)?;
        let _ = first.f_lerp_(&gradient, 1.0 - beta1)?;
        let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - beta2)?;
        let root = second.f_div_scalar(second_correction)?.f_sqrt()?.f_add_scalar(epsilon)?;
        let mut update = first.f_div_scalar(first_correction)?.f_div(&root)?;
        if decays {
            update = update.f_add(&weight.f_mul_scalar(weight_decay)?)?;
            let (own, new) = (weight.f_norm()?, update.f_norm()?);
            // Stays on the device: asking for the norms would stop the queue of a GPU at each tensor.
            let both = own.f_gt(0.0)?.f_logical_and(&new.f_gt(0.0)?)?;
            let ratio = own.f_div(&new)?.f_where_self(&both, &own.f_ones_like()?)?;
            update = update.f_mul(&ratio)?;
        }
        let _ = weight.f_sub_(&update.f_mul_scalar(learning_rate)?)?;
    }
    Ok(())
}
