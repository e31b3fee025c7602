//! Cancelling calls from another thread.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::lock;

/// Something that is waiting or working and can be made to stop early.
pub(crate) trait Interrupt: Send + Sync {
    /// Makes it stop soon. Must not block for long.
    fn interrupt(&self);
}

/// Cancels calls from another thread.
///
/// Clones share one state, so keep one and give one to the call. A token is
/// triggered once and stays so: use a new one for the next call. A call that is
/// waiting for a session returns at once; one that is inside ONNX Runtime
/// returns when the operator it is in has finished, which for the models this
/// library is made for is a few milliseconds.
///
/// ```
/// let cancel = limbeck::Cancel::new();
/// let for_the_call = limbeck::ClassifyOptions::new().cancel(cancel.clone());
/// cancel.cancel();
/// assert!(cancel.is_cancelled());
/// # let _ = for_the_call;
/// ```
#[derive(Clone, Default)]
pub struct Cancel {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cancelled: AtomicBool,
    targets: Mutex<Targets>,
}

#[derive(Default)]
struct Targets {
    next: u64,
    // Weak: a token kept for long must not keep sessions alive.
    list: BTreeMap<u64, Weak<dyn Interrupt>>,
}

impl Cancel {
    /// A token that is not triggered.
    pub fn new() -> Cancel {
        Cancel::default()
    }

    /// Ends the calls that use this token, now and later. Calling it again
    /// changes nothing.
    pub fn cancel(&self) {
        self.state.cancelled.store(true, Ordering::SeqCst);
        // Interrupted outside the lock, so that no target can wait for us.
        let targets: Vec<_> = lock(&self.state.targets).list.values().filter_map(Weak::upgrade).collect();
        for target in targets {
            target.interrupt();
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// Interrupts `target` when the token is triggered, until the guard is
    /// dropped; at once if it was triggered before.
    pub(super) fn watch(&self, target: &Arc<dyn Interrupt>) -> Watch {
        let id = {
            let mut targets = lock(&self.state.targets);
            targets.next += 1;
            let id = targets.next;
            targets.list.insert(id, Arc::downgrade(target));
            id
        };
        // `cancel` sets the flag before it reads the list: whichever of the
        // two comes first, one side sees the other.
        if self.is_cancelled() {
            target.interrupt();
        }
        Watch { state: Arc::clone(&self.state), id }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}

/// Stops watching when dropped.
pub(super) struct Watch {
    state: Arc<State>,
    id: u64,
}

impl Drop for Watch {
    fn drop(&mut self) {
        lock(&self.state.targets).list.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Interrupt for Counter {
        fn interrupt(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn targets_are_interrupted_only_while_watched() {
        let cancel = Cancel::new();
        let (watched, dropped) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let _guard = cancel.watch(&(Arc::clone(&watched) as Arc<dyn Interrupt>));
        drop(cancel.watch(&(Arc::clone(&dropped) as Arc<dyn Interrupt>)));
        cancel.clone().cancel();
        assert!(cancel.is_cancelled());
        assert_eq!(watched.0.load(Ordering::SeqCst), 1);
        assert_eq!(dropped.0.load(Ordering::SeqCst), 0);
        assert_eq!(lock(&cancel.state.targets).list.len(), 1, "the guard that was dropped left nothing behind");
    }

    #[test]
    fn a_late_target_is_interrupted_at_once() {
        let cancel = Cancel::new();
        cancel.cancel();
        let counter = Arc::new(Counter::default());
        let _guard = cancel.watch(&(Arc::clone(&counter) as Arc<dyn Interrupt>));
        assert_eq!(counter.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_token_does_not_keep_targets_alive() {
        let cancel = Cancel::new();
        let counter = Arc::new(Counter::default());
        let _guard = cancel.watch(&(Arc::clone(&counter) as Arc<dyn Interrupt>));
        let weak = Arc::downgrade(&counter);
        drop(counter);
        assert!(weak.upgrade().is_none());
        cancel.cancel();
    }
}
