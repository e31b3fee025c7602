//! Open MPI, or another MPI, between processes that train on CPUs.

use std::mem::ManuallyDrop;

use anyhow::{Context, Result, bail, ensure};
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Equivalence, Root};
use tch::{Device, Kind, Tensor};

use super::Group;

/// Values a message: MPI counts in 32 bits.
const PIECE: usize = 1 << 28;

/// All processes that `mpirun` started.
///
/// A process that ends without [`Mpi::finish`], because it failed, leaves without saying so to MPI: `mpirun` then ends
/// the others, which would wait for it for ever. (An error of MPI itself ends all processes at once, by its default.)
pub struct Mpi {
    universe: ManuallyDrop<Universe>,
    world: SimpleCommunicator,
}

impl Mpi {
    /// Joins the processes; once in a process.
    ///
    /// # Errors
    /// MPI was started before.
    pub fn start() -> Result<Self> {
        let universe = mpi::initialize().context("MPI was started before in this process")?;
        let world = universe.world();
        Ok(Self { universe: ManuallyDrop::new(universe), world })
    }

    /// Leaves when all are done.
    pub fn finish(self) {
        self.world.barrier();
        drop(ManuallyDrop::into_inner(self.universe));
    }

    fn broadcast_values<T: Equivalence + Copy + tch::kind::Element>(&self, tensor: &Tensor, from: i32) -> Result<()>
    where
        Vec<T>: TryFrom<Tensor, Error = tch::TchError>,
    {
        let mut values = Vec::<T>::try_from(tensor.detach().flatten(0, -1))?;
        for piece in values.chunks_mut(PIECE) {
            self.world.process_at_rank(from).broadcast_into(piece);
        }
        write(tensor, &values)
    }
}

fn on_cpu(tensor: &Tensor) -> Result<()> {
    ensure!(tensor.device() == Device::Cpu, "MPI is for training on CPUs; a tensor is on {:?}", tensor.device());
    Ok(())
}

/// Overwrites a tensor of any shape and strides.
fn write<T: tch::kind::Element>(tensor: &Tensor, values: &[T]) -> Result<()> {
    let new = Tensor::from_slice(values).f_view(&tensor.size()[..])?;
    tch::no_grad(|| tensor.detach().f_copy_(&new))?;
    Ok(())
}

impl Group for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn all_reduce_mean(&self, tensors: &[Tensor]) -> Result<()> {
        for tensor in tensors {
            on_cpu(tensor)?;
            let own = Vec::<f32>::try_from(tensor.detach().flatten(0, -1))?;
            let mut sums = vec![0f32; own.len()];
            for (own, sums) in own.chunks(PIECE).zip(sums.chunks_mut(PIECE)) {
                self.world.all_reduce_into(own, sums, SystemOperation::sum());
            }
            let size = self.size() as f32;
            sums.iter_mut().for_each(|sum| *sum /= size);
            write(tensor, &sums)?;
        }
        Ok(())
    }

    fn broadcast(&self, tensors: &[Tensor], from: usize) -> Result<()> {
        let from = i32::try_from(from).context("no such process")?;
        for tensor in tensors {
            on_cpu(tensor)?;
            match tensor.kind() {
                Kind::Float => self.broadcast_values::<f32>(tensor, from)?,
                Kind::Double => self.broadcast_values::<f64>(tensor, from)?,
                Kind::Int64 => self.broadcast_values::<i64>(tensor, from)?,
                Kind::Uint8 => self.broadcast_values::<u8>(tensor, from)?,
                other => bail!("tensors of {other:?} are not sent between processes"),
            }
        }
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        self.world.barrier();
        Ok(())
    }
}
