//! Replacing a model while it is in use.

use std::sync::{Arc, Mutex};

use crate::runtime::lock;
use crate::{Error, Model, Result};

/// A place for a model that can be replaced under load: calls in flight end on the model they began with, later ones
/// use the new one, and none fails for it. `Send + Sync`.
///
/// ```no_run
/// # fn main() -> limbeck::Result<()> {
/// use limbeck::{Model, Slot};
///
/// let slot = Slot::new(Model::open("sentiment.limbeck")?);
/// // On any thread, for each call anew:
/// let answer = slot.model().classify("crisp screen")?;
/// // On another, when an update has come:
/// slot.publish(Model::open("sentiment-2.limbeck")?)?;
/// // If it turns out to be worse:
/// slot.roll_back()?;
/// # Ok(())
/// # }
/// ```
///
/// The model before stays in memory until [`Slot::forget_previous`], so that going back costs nothing and cannot
/// fail for want of a file.
#[derive(Debug)]
pub struct Slot {
    state: Mutex<State>,
    // Held while a candidate is tested, so that two cannot pass each other.
    publishing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    current: Arc<Model>,
    previous: Option<Arc<Model>>,
    generation: u64,
}

impl Slot {
    /// A slot with its first model.
    pub fn new(model: impl Into<Arc<Model>>) -> Slot {
        let state = State { current: model.into(), previous: None, generation: 1 };
        Slot { state: Mutex::new(state), publishing: Mutex::new(()) }
    }

    /// The model in use. Ask anew for each call, or for each piece of work that must see one model throughout.
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&lock(&self.state).current)
    }

    /// Counts up with every change, from 1.
    pub fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    /// Puts a model in use, if it does the task of the one before, is no older build of it, and passes its own
    /// self-test. Returns the new generation. Bundle, signature and minimum build were checked when the model was
    /// opened: see [`ModelBuilder`](crate::ModelBuilder).
    ///
    /// # Errors
    /// [`Error::WrongTask`], [`Error::Rollback`] and those of [`Model::self_test`]; the model before then stays in
    /// use.
    pub fn publish(&self, model: impl Into<Arc<Model>>) -> Result<u64> {
        let candidate = model.into();
        let _one_at_a_time = lock(&self.publishing);
        let current = self.model();
        let (old, new) = (current.bundle().manifest(), candidate.bundle().manifest());
        if new.task != old.task {
            return Err(Error::WrongTask {
                model: new.id.clone(),
                have: new.task.name().to_owned(),
                want: "the task of the model in use",
            });
        }
        if new.id == old.id && new.build < old.build {
            return Err(Error::Rollback { model: new.id.clone(), build: new.build, minimum: old.build });
        }
        candidate.self_test()?;
        let mut state = lock(&self.state);
        let before = std::mem::replace(&mut state.current, candidate);
        let dropped = state.previous.replace(before);
        state.generation += 1;
        let generation = state.generation;
        drop(state);
        // Outside of the lock: giving a model's memory back takes a while.
        drop(dropped);
        Ok(generation)
    }

    /// Goes back to the model before. Returns the new generation. Going back again returns to the newer one.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if there is none.
    pub fn roll_back(&self) -> Result<u64> {
        let _one_at_a_time = lock(&self.publishing);
        let mut state = lock(&self.state);
        let Some(previous) = state.previous.take() else {
            return Err(Error::InvalidArgument("there is no model to go back to".to_owned()));
        };
        let newer = std::mem::replace(&mut state.current, previous);
        state.previous = Some(newer);
        state.generation += 1;
        Ok(state.generation)
    }

    /// Gives the memory of the model before back, once the calls that use it have ended.
    pub fn forget_previous(&self) {
        let dropped = lock(&self.state).previous.take();
        drop(dropped);
    }
}
