//! Data-parallel training: several processes, each with its slice of every step's examples.

mod bucket;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(feature = "nccl")]
mod nccl;
#[cfg(test)]
pub(crate) mod threads;

use anyhow::{Context, Result};
use tch::Tensor;

pub(super) use bucket::mean_gradients;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
#[cfg(feature = "nccl")]
pub use nccl::Nccl;

/// Processes that train one model together. All make the same calls in the same order, with tensors of the same
/// shapes and kinds.
pub trait Group {
    /// This process, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Overwrites fp32 tensors with their means over all processes, the same bits in each.
    ///
    /// # Errors
    /// A process or the network between them failed.
    fn all_reduce_mean(&self, tensors: &[Tensor]) -> Result<()>;

    /// Overwrites tensors with those of one process.
    ///
    /// # Errors
    /// A process or the network between them failed.
    fn broadcast(&self, tensors: &[Tensor], from: usize) -> Result<()>;

    /// Waits until all processes are here.
    ///
    /// # Errors
    /// A process or the network between them failed.
    fn barrier(&self) -> Result<()>;
}

/// One process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Group for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce_mean(&self, _: &[Tensor]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, _: &[Tensor], _: usize) -> Result<()> {
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }
}

/// The bytes of process 0, in every process.
pub(super) fn broadcast_bytes(group: &dyn Group, own: Vec<u8>, device: tch::Device) -> Result<Vec<u8>> {
    if group.size() == 1 {
        return Ok(own);
    }
    let length = Tensor::from_slice(&[own.len() as i64]).to_device(device);
    group.broadcast(std::slice::from_ref(&length), 0)?;
    let length = usize::try_from(length.int64_value(&[0])).context("process 0 sent a length below 0")?;
    let mut bytes = own;
    bytes.resize(length, 0);
    let tensor = Tensor::from_slice(&bytes).to_device(device);
    group.broadcast(std::slice::from_ref(&tensor), 0)?;
    Ok(Vec::try_from(tensor.to_device(tch::Device::Cpu))?)
}

/// The number of process 0, in every process.
pub(super) fn broadcast_number(group: &dyn Group, own: f64, device: tch::Device) -> Result<f64> {
    if group.size() == 1 {
        return Ok(own);
    }
    let tensor = Tensor::from_slice(&[own]).to_device(device);
    group.broadcast(std::slice::from_ref(&tensor), 0)?;
    Ok(tensor.double_value(&[0]))
}
