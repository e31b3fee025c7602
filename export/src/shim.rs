//! libtorch operations that tch does not bind (`export/shim`).

#[cxx::bridge(namespace = "limbeck::shim")]
mod ffi {
    /// What autocast was set to, for one kind of device.
    #[derive(Clone, Copy, Debug)]
    struct AutocastState {
        /// CUDA, else CPU.
        cuda: bool,
        enabled: bool,
        /// An `at::ScalarType`.
        kind: i8,
    }

    unsafe extern "C++" {
        include!("limbeck-export/shim/torch_shim.h");

        /// # Safety
        /// Every address must be that of a live `at::Tensor`; the lists have equal lengths.
        #[allow(clippy::too_many_arguments)]
        unsafe fn fused_adamw(
            parameters: &[usize],
            gradients: &[usize],
            first_moments: &[usize],
            second_moments: &[usize],
            step: usize,
            grad_scale: usize,
            stopped: usize,
            learning_rate: f64,
            beta1: f64,
            beta2: f64,
            weight_decay: f64,
            epsilon: f64,
        ) -> Result<()>;

        /// # Safety
        /// Every address must be that of a live `at::Tensor`; `result` is assigned to.
        unsafe fn global_norm(tensors: &[usize], result: usize) -> Result<()>;

        /// # Safety
        /// Every address must be that of a live `at::Tensor`; those of `copies` are assigned to.
        unsafe fn bf16_copies(tensors: &[usize], copies: &[usize]) -> Result<()>;

        /// # Safety
        /// Both addresses must be those of live `at::Tensor`s; `result` is assigned to.
        unsafe fn pinned(tensor: usize, result: usize) -> Result<()>;

        /// # Safety
        /// Every address must be that of a live `at::Tensor`; `result` is assigned to.
        unsafe fn norm_as_it_is(input: usize, weight: usize, bias: usize, epsilon: f64, result: usize) -> Result<()>;

        type Underway;

        /// # Safety
        /// The address must be that of a live `at::Tensor`.
        unsafe fn underway(tensor: usize) -> Result<UniquePtr<Underway>>;

        /// # Safety
        /// The address must be that of a live `at::Tensor`, which is assigned to.
        unsafe fn arrived(&self, result: usize) -> Result<()>;

        /// # Safety
        /// Both addresses must be those of live `at::Tensor`s; `result` is assigned to.
        unsafe fn dropout(input: usize, rate: f64, result: usize) -> Result<()>;

        fn no_cudnn_attention();

        fn autocast_bf16(cuda: bool) -> Result<AutocastState>;

        fn autocast_restore(before: AutocastState);
    }
}

use anyhow::{Result, bail, ensure};
use tch::{Device, Tensor};

pub(crate) use ffi::AutocastState;

fn addresses(tensors: &[Tensor]) -> Vec<usize> {
    tensors.iter().map(|t| t.as_ptr() as usize).collect()
}

fn named(error: cxx::Exception) -> anyhow::Error {
    anyhow::anyhow!("libtorch: {error}")
}

/// Numbers of one fused AdamW step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub learning_rate: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub epsilon: f64,
}

/// Updates parameters and both moments in place; `count` is the scalar step number (from 1), and the
/// gradients are divided by the scalar `grad_scale` first. Where the scalar `stopped` is 1, nothing is changed.
pub(crate) fn fused_adamw(
    parameters: &[Tensor],
    gradients: &[Tensor],
    moments: (&[Tensor], &[Tensor]),
    (count, grad_scale, stopped): (&Tensor, &Tensor, &Tensor),
    step: Step,
) -> Result<()> {
    let lengths = [gradients.len(), moments.0.len(), moments.1.len()];
    ensure!(lengths.iter().all(|&n| n == parameters.len()), "AdamW lists differ in length");
    if parameters.is_empty() {
        return Ok(());
    }
    let (p, g, m, v) = (addresses(parameters), addresses(gradients), addresses(moments.0), addresses(moments.1));
    // SAFETY: tch's C_tensor pointers are at::Tensor addresses; all tensors outlive the call, and the
    // C++ side copies the handles. The lists have equal lengths, checked above.
    unsafe {
        ffi::fused_adamw(
            &p,
            &g,
            &m,
            &v,
            count.as_ptr() as usize,
            grad_scale.as_ptr() as usize,
            stopped.as_ptr() as usize,
            step.learning_rate,
            step.beta1,
            step.beta2,
            step.weight_decay,
            step.epsilon,
        )
    }
    .map_err(named)
}

/// Root of the sum of squares over all values of all tensors, a scalar tensor on their device; without a tensor 0.
pub(crate) fn global_norm(tensors: &[Tensor]) -> Result<Tensor> {
    if tensors.is_empty() {
        return Ok(Tensor::from(0f32));
    }
    let mut result = Tensor::new();
    // SAFETY: tch's C_tensor pointers are at::Tensor addresses; all outlive the call, and `result` is ours alone.
    unsafe { ffi::global_norm(&addresses(tensors), result.as_mut_ptr() as usize) }.map_err(named)?;
    Ok(result)
}

/// A tensor of the CPU on a GPU, which takes it when its turn comes: from other than pinned memory it would be waited for
/// until all that the GPU has to do is done.
pub(crate) fn upload(tensor: &Tensor, device: Device) -> Result<Tensor> {
    let mut pinned = Tensor::new();
    // SAFETY: tch's C_tensor pointers are at::Tensor addresses; both outlive the call, and `pinned` is ours alone.
    unsafe { ffi::pinned(tensor.as_ptr() as usize, pinned.as_mut_ptr() as usize) }.map_err(named)?;
    Ok(pinned.f_to_device_(device, tensor.kind(), true, false)?)
}

/// LayerNorm over the last dimension of `x` in the kind of its tensors, which under autocast would be fp32.
pub(crate) fn norm_as_it_is(x: &Tensor, weight: &Tensor, bias: &Tensor, epsilon: f64) -> Result<Tensor> {
    let [input, scale, shift] = [x, weight, bias].map(|tensor| tensor.as_ptr() as usize);
    let mut result = Tensor::new();
    // SAFETY: tch's C_tensor pointers are at::Tensor addresses; all outlive the call, and `result` is ours alone.
    unsafe { ffi::norm_as_it_is(input, scale, shift, epsilon, result.as_mut_ptr() as usize) }.map_err(named)?;
    Ok(result)
}

/// Values of a tensor on their way to the CPU.
pub(crate) struct Underway(cxx::UniquePtr<ffi::Underway>);

impl Underway {
    /// Sends them off; a GPU does so when it has done what it was given before.
    pub(crate) fn start(tensor: &Tensor) -> Result<Self> {
        // SAFETY: tch's C_tensor pointer is an at::Tensor's address, and outlives the call.
        unsafe { ffi::underway(tensor.as_ptr() as usize) }.map(Self).map_err(named)
    }

    /// Waits for them, and for nothing that a GPU was given since.
    pub(crate) fn arrived(&self) -> Result<Tensor> {
        let mut result = Tensor::new();
        // SAFETY: `result` is a live at::Tensor and ours alone.
        unsafe { self.0.arrived(result.as_mut_ptr() as usize) }.map_err(named)?;
        Ok(result)
    }
}

/// Dropout of a tensor of the CPU in fp32 or bf16, with a `rate` from 0 to below 1. libtorch's own draws its numbers in one
/// thread and keeps what it drew.
pub(crate) fn dropout(tensor: &Tensor, rate: f64) -> Result<Tensor> {
    let mut result = Tensor::new();
    // SAFETY: tch's C_tensor pointers are at::Tensor addresses; both outlive the call, and `result` is ours alone.
    unsafe { ffi::dropout(tensor.as_ptr() as usize, rate, result.as_mut_ptr() as usize) }.map_err(named)?;
    Ok(result)
}

/// Keeps fused attention on a GPU from cuDNN's kernels, for the whole process. They are made anew for each shape, which
/// takes 0.2 s on an H200, and batches of texts have many shapes.
pub(crate) fn no_cudnn_attention() {
    ffi::no_cudnn_attention();
}

/// bf16 copies of fp32 tensors, made all at once: on a GPU each small copy costs as much as a product. Their gradients come
/// back as fp32.
pub(crate) fn bf16_copies(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut copies: Vec<Tensor> = tensors.iter().map(|_| Tensor::new()).collect();
    let places: Vec<usize> = copies.iter_mut().map(|copy| copy.as_mut_ptr() as usize).collect();
    // SAFETY: tch's C_tensor pointers are at::Tensor addresses; all outlive the call, and `copies` are ours alone.
    unsafe { ffi::bf16_copies(&addresses(tensors), &places) }.map_err(named)?;
    Ok(copies)
}

/// Switches this thread's autocast to bf16 on; gives what was set before, for [`autocast_restore`].
pub(crate) fn autocast_bf16(device: Device) -> Result<AutocastState> {
    let cuda = match device {
        Device::Cpu => false,
        Device::Cuda(_) => true,
        other => bail!("precision = \"bf16\" is for CPU and CUDA, not {other:?}"),
    };
    ffi::autocast_bf16(cuda).map_err(named)
}

/// Undoes the latest [`autocast_bf16`] that is not undone.
pub(crate) fn autocast_restore(before: AutocastState) {
    ffi::autocast_restore(before);
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;
    use crate::train::Autocast;

    #[test]
    fn a_norm_in_bf16_stays_so_under_autocast_and_so_do_its_gradients() {
        let _turn = crate::seeded(91);
        let normal = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (x, weight, bias) = (normal(&[5, 3, 64]) * 3.0 + 1.0, normal(&[64]), normal(&[64]));
        let want = x.layer_norm([64], Some(&weight), Some(&bias), 1e-12, false);
        let [x, weight, bias] = [x, weight, bias].map(|t| t.to_kind(Kind::BFloat16).set_requires_grad(true));
        let own = {
            let _autocast = Autocast::bf16(Device::Cpu).unwrap();
            norm_as_it_is(&x, &weight, &bias, 1e-12).unwrap()
        };
        assert_eq!((own.kind(), own.size()), (Kind::BFloat16, want.size()));
        let difference = (own.to_kind(Kind::Float) - &want).abs().max().double_value(&[]);
        assert!(difference < 0.02 * want.abs().max().double_value(&[]), "{difference}");
        let gradients = Tensor::run_backward(&[own.sum(Kind::Float)], &[&x, &weight, &bias], false, false);
        assert!(gradients.iter().all(|gradient| gradient.kind() == Kind::BFloat16));
        assert_eq!(gradients[2], Tensor::full([64], 15.0, (Kind::BFloat16, Device::Cpu)));
        assert!(norm_as_it_is(&x, &weight.narrow(0, 0, 7), &bias, 1e-12).is_err());
    }

    #[test]
    fn values_under_way_are_those_that_were_sent() {
        let mut sent = Tensor::from_slice(&[1f64, f64::NAN, -3.0]);
        let underway = Underway::start(&sent).unwrap();
        let _ = sent.fill_(7.0);
        let arrived = Vec::<f64>::try_from(underway.arrived().unwrap()).unwrap();
        assert!(arrived[0] == 1.0 && arrived[1].is_nan() && arrived[2] == -3.0, "{arrived:?}");
    }
}
