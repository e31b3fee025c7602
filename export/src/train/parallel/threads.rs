//! Processes that train together, played by threads, for tests.

use std::sync::{Arc, Barrier, Mutex};

use anyhow::Result;
use tch::Tensor;

use super::Group;

/// One of some threads that train together.
pub(crate) struct Thread {
    rank: usize,
    all: Arc<Shared>,
}

struct Shared {
    size: usize,
    barrier: Barrier,
    slots: Mutex<Vec<Vec<Tensor>>>,
}

impl Thread {
    /// Shows own tensors, and works on those of all when all have.
    fn meet(&self, tensors: &[Tensor], work: impl FnOnce(&[Vec<Tensor>])) {
        self.all.slots.lock().unwrap()[self.rank] = tensors.iter().map(|t| t.detach().copy()).collect();
        self.all.barrier.wait();
        work(&self.all.slots.lock().unwrap());
        self.all.barrier.wait();
    }
}

impl Group for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.all.size
    }

    fn all_reduce_mean(&self, tensors: &[Tensor]) -> Result<()> {
        self.meet(tensors, |all| {
            for (i, tensor) in tensors.iter().enumerate() {
                let sum: Tensor = all.iter().map(|own| own[i].shallow_clone()).sum();
                tensor.detach().copy_(&(sum / self.all.size as f64));
            }
        });
        Ok(())
    }

    fn broadcast(&self, tensors: &[Tensor], from: usize) -> Result<()> {
        self.meet(tensors, |all| {
            for (tensor, value) in tensors.iter().zip(&all[from]) {
                tensor.detach().copy_(value);
            }
        });
        Ok(())
    }

    fn barrier(&self) -> Result<()> {
        self.meet(&[], |_| {});
        Ok(())
    }
}

/// Two of them.
pub(crate) fn pair() -> [Thread; 2] {
    let all = Arc::new(Shared { size: 2, barrier: Barrier::new(2), slots: Mutex::new(vec![Vec::new(), Vec::new()]) });
    [0, 1].map(|rank| Thread { rank, all: all.clone() })
}
