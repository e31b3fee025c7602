//! NCCL between processes that each train on a GPU of their own, through torch's c10d.

use std::env;

use anyhow::{Context, Result, ensure};
use tch::{Device, Tensor};

use super::Group;

#[cxx::bridge(namespace = "limbeck::shim")]
mod ffi {
    unsafe extern "C++" {
        include!("limbeck-export/shim/nccl.h");

        type NcclGroup;

        fn nccl_group(
            host: &str,
            port: u16,
            served: bool,
            prefix: &str,
            rank: i32,
            size: i32,
            device: i32,
        ) -> Result<UniquePtr<NcclGroup>>;

        /// # Safety
        /// Every address must be that of a live `at::Tensor`.
        unsafe fn all_reduce_mean(self: &NcclGroup, tensors: &[usize]) -> Result<()>;

        /// # Safety
        /// Every address must be that of a live `at::Tensor`.
        unsafe fn broadcast(self: &NcclGroup, tensors: &[usize], from: i32) -> Result<()>;

        fn barrier(self: &NcclGroup) -> Result<()>;
    }
}

/// All processes that `torchrun` started, or that have its variables from elsewhere (Slurm, Kubernetes). A process that
/// fails is noticed by `torchrun`, which ends the others.
pub struct Nccl {
    group: cxx::UniquePtr<ffi::NcclGroup>,
    rank: usize,
    size: usize,
    device: Device,
}

impl Nccl {
    /// Joins the processes by `RANK`, `WORLD_SIZE`, `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT`.
    ///
    /// # Errors
    /// A variable that is missing or no number, no such GPU, processes that do not come.
    pub fn start() -> Result<Self> {
        let text = |name: &str| env::var(name).with_context(|| format!("{name} is not set; start limbeck by torchrun"));
        let number = |name: &str| -> Result<u16> {
            let value = text(name)?;
            value.parse().with_context(|| format!("{name}=\"{value}\" is not a number from 0 to 65535"))
        };
        let (rank, size, local) = (number("RANK")?, number("WORLD_SIZE")?, number("LOCAL_RANK")?);
        ensure!(rank < size, "RANK is {rank}, and WORLD_SIZE {size}");
        let gpus = tch::Cuda::device_count();
        ensure!(i64::from(local) < gpus, "LOCAL_RANK is {local}, and this machine has {gpus} GPUs that CUDA sees");
        // torchrun serves the store itself, and starts processes anew in attempts.
        let served = env::var("TORCHELASTIC_USE_AGENT_STORE").is_ok_and(|value| value == "True");
        let attempt = env::var("TORCHELASTIC_RESTART_COUNT").unwrap_or_else(|_| "0".to_owned());
        let (host, port) = (text("MASTER_ADDR")?, number("MASTER_PORT")?);
        let prefix = format!("/limbeck/attempt_{attempt}");
        let group = ffi::nccl_group(&host, port, served, &prefix, rank.into(), size.into(), local.into())
            .map_err(|error| anyhow::anyhow!("cannot meet the other processes at {host}:{port}: {error}"))?;
        Ok(Self { group, rank: rank.into(), size: size.into(), device: Device::Cuda(local.into()) })
    }

    /// This process's GPU.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Addresses for the shim, of tensors that NCCL can send as they are.
    fn addresses(&self, tensors: &[Tensor]) -> Result<Vec<usize>> {
        for tensor in tensors {
            ensure!(tensor.device() == self.device, "a tensor is on {:?}, not {:?}", tensor.device(), self.device);
            ensure!(tensor.is_contiguous(), "a tensor of shape {:?} is not contiguous", tensor.size());
        }
        Ok(tensors.iter().map(|tensor| tensor.as_ptr() as usize).collect())
    }
}

fn named(error: cxx::Exception) -> anyhow::Error {
    anyhow::anyhow!("NCCL: {error}")
}

impl Group for Nccl {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_reduce_mean(&self, tensors: &[Tensor]) -> Result<()> {
        let addresses = self.addresses(tensors)?;
        // SAFETY: tch's C_tensor pointers are at::Tensor addresses, and the tensors outlive the call.
        unsafe { self.group.all_reduce_mean(&addresses) }.map_err(named)
    }

    fn broadcast(&self, tensors: &[Tensor], from: usize) -> Result<()> {
        let from = i32::try_from(from).context("no such process")?;
        let addresses = self.addresses(tensors)?;
        // SAFETY: tch's C_tensor pointers are at::Tensor addresses, and the tensors outlive the call.
        unsafe { self.group.broadcast(&addresses, from) }.map_err(named)
    }

    fn barrier(&self) -> Result<()> {
        self.group.barrier().map_err(named)
    }
}
