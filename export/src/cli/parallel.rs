//! Choosing the processes that train together.

use anyhow::Result;
use clap::{Args, ValueEnum};
use limbeck_export::device::training_device;
use limbeck_export::progress::{Output, Reporter};
use limbeck_export::train::{Alone, Group};
use tch::Device;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// One process
    #[default]
    None,
    /// The processes that mpirun started, on CPUs
    Mpi,
    /// The processes that torchrun started, a GPU each
    Nccl,
}

/// Where training runs, and in how many processes.
#[derive(Args)]
pub(super) struct Parallel {
    /// Where to train: auto, cpu or cuda
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads for training; default: all cores
    #[arg(long)]
    threads: Option<i32>,
    /// Processes that train together, each on its share of every step's rows; for programs built with the feature
    #[arg(long, value_enum, default_value_t)]
    parallel: Kind,
}

/// The processes, and this one's device.
pub(super) struct Processes {
    pub group: Joined,
    pub device: Device,
}

impl Processes {
    /// Whether this one speaks for all.
    pub(super) fn leads(&self) -> bool {
        self.group.group().rank() == 0
    }

    /// Progress, which only the one that leads shows.
    pub(super) fn reporter(&self, json: bool) -> Reporter {
        if self.leads() { super::reporter(json) } else { Reporter::new(Output::Silent) }
    }
}

pub(super) enum Joined {
    Alone(Alone),
    #[cfg(feature = "mpi")]
    Mpi(limbeck_export::train::Mpi),
    #[cfg(feature = "nccl")]
    Nccl(limbeck_export::train::Nccl),
}

impl Joined {
    pub(super) fn group(&self) -> &dyn Group {
        match self {
            Self::Alone(group) => group,
            #[cfg(feature = "mpi")]
            Self::Mpi(group) => group,
            #[cfg(feature = "nccl")]
            Self::Nccl(group) => group,
        }
    }

    /// Leaves the others, when all is done.
    pub(super) fn finish(self) {
        #[cfg(feature = "mpi")]
        if let Self::Mpi(group) = self {
            group.finish();
        }
    }
}

impl Parallel {
    /// Joins the processes that were asked for.
    pub(super) fn join(&self) -> Result<Processes> {
        if let Some(threads) = self.threads {
            anyhow::ensure!(threads > 0, "--threads must be at least 1");
            tch::set_num_threads(threads);
        }
        let fits = match self.parallel {
            Kind::None => true,
            Kind::Mpi => self.device != "cuda",
            Kind::Nccl => self.device != "cpu",
        };
        anyhow::ensure!(
            fits,
            "--device {} does not go with --parallel: its processes are on CPUs with mpi, and have a GPU each with nccl",
            self.device
        );
        Ok(match self.parallel {
            Kind::None => Processes { group: Joined::Alone(Alone), device: training_device(&self.device)? },
            Kind::Mpi => mpi()?,
            Kind::Nccl => nccl()?,
        })
    }
}

#[cfg(feature = "mpi")]
fn mpi() -> Result<Processes> {
    Ok(Processes { group: Joined::Mpi(limbeck_export::train::Mpi::start()?), device: Device::Cpu })
}

#[cfg(not(feature = "mpi"))]
fn mpi() -> Result<Processes> {
    anyhow::bail!("this limbeck was built without MPI; build it with --features mpi (it needs Open MPI and libclang)")
}

#[cfg(feature = "nccl")]
fn nccl() -> Result<Processes> {
    // CUDA must be there before its GPUs are counted.
    training_device("cuda")?;
    let group = limbeck_export::train::Nccl::start()?;
    let device = group.device();
    Ok(Processes { group: Joined::Nccl(group), device })
}

#[cfg(not(feature = "nccl"))]
fn nccl() -> Result<Processes> {
    anyhow::bail!("this limbeck was built without NCCL; build it with --features nccl and a CUDA libtorch")
}
