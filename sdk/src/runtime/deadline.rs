//! Ending runs at their deadline.
//!
//! ONNX Runtime has no deadline of its own, so one thread, named
//! `limbeck-deadline`, sleeps until the next deadline of any running call and
//! then ends that call. It is started by the first call that has a deadline,
//! serves the whole process and stays for good; a program that never uses
//! deadlines never has it.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;

use super::cancel::Interrupt;
use super::lock;
use crate::{Error, Result};

static WATCHDOG: OnceLock<Watchdog> = OnceLock::new();

#[derive(Default)]
struct Watchdog {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: bool,
    next: u64,
    // By time, then by number, so that equal deadlines do not collide.
    due: BTreeMap<(Instant, u64), Weak<dyn Interrupt>>,
}

/// Stops watching when dropped.
pub(super) struct Watch {
    key: (Instant, u64),
}

/// Interrupts `target` at `deadline`, unless the guard is dropped before.
pub(super) fn watch(deadline: Instant, target: &Arc<dyn Interrupt>) -> Result<Watch> {
    let watchdog = WATCHDOG.get_or_init(Watchdog::default);
    let mut state = lock(&watchdog.state);
    if !state.running {
        std::thread::Builder::new()
            .name("limbeck-deadline".to_owned())
            .stack_size(128 * 1024)
            .spawn(|| WATCHDOG.get_or_init(Watchdog::default).work())
            .map_err(|error| Error::Internal(format!("cannot start the thread that keeps deadlines: {error}")))?;
        state.running = true;
    }
    state.next += 1;
    let key = (deadline, state.next);
    state.due.insert(key, Arc::downgrade(target));
    if state.due.first_key_value().is_some_and(|(&first, _)| first == key) {
        watchdog.changed.notify_one();
    }
    Ok(Watch { key })
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(watchdog) = WATCHDOG.get() {
            lock(&watchdog.state).due.remove(&self.key);
        }
    }
}

impl Watchdog {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            let first = state.due.first_key_value().map(|(&(deadline, _), _)| deadline);
            state = match first.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => {
                    let target = state.due.pop_first().and_then(|(_, target)| target.upgrade());
                    drop(state);
                    if let Some(target) = target {
                        target.interrupt();
                    }
                    lock(&self.state)
                }
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    struct Tell(Mutex<mpsc::Sender<u32>>, u32);

    impl Interrupt for Tell {
        fn interrupt(&self) {
            let _ = lock(&self.0).send(self.1);
        }
    }

    #[test]
    fn deadlines_come_in_order_and_dropped_ones_never() {
        let (sender, receiver) = mpsc::channel();
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let target = |n| Arc::new(Tell(Mutex::new(sender.clone()), n)) as Arc<dyn Interrupt>;
        let (late, early, gone) = (target(2), target(1), target(3));
        let _late = watch(after(120), &late).unwrap();
        let _early = watch(after(30), &early).unwrap();
        drop(watch(after(60), &gone).unwrap());
        let wait = Duration::from_secs(20);
        assert_eq!(receiver.recv_timeout(wait), Ok(1));
        assert!(Instant::now() >= after(30));
        assert_eq!(receiver.recv_timeout(wait), Ok(2));
        assert!(Instant::now() >= after(120));
        assert!(receiver.try_recv().is_err());
    }
}
