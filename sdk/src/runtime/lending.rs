//! Things that are made when needed, up to a limit, and lent out.

use std::time::Duration;

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is lent, and who waits for it.
#[derive(Debug)]
pub(crate) struct Lending<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct State<T> {
    idle: Vec<T>,
    // Idle, lent out, or being made.
    count: usize,
}

impl<T> Lending<T> {
    /// At most `limit` things, of which the first is there.
    pub(crate) fn new(first: T, limit: usize) -> Lending<T> {
        Lending { state: Mutex::new(State { idle: vec![first], count: 1 }), changed: Condvar::new(), limit }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody who waits look again whether to go on waiting.
    pub(crate) fn wake(&self) {
        // Taking the lock makes sure that whoever is about to wait is waiting.
        drop(self.state());
        self.changed.notify_all();
    }

    /// Lends a thing that nobody uses, if there is one.
    pub(crate) fn take_idle(&self) -> Option<Lent<'_, T>> {
        let thing = self.state().idle.pop()?;
        Some(Lent { thing: Some(thing), lending: self })
    }

    /// Lends a thing, waiting for one if all are in use and `make` may make no more. Before each wait `patience` says
    /// how much longer it may take, without end if `None`, or gives up.
    pub(crate) fn take<E>(
        &self,
        patience: impl Fn() -> Result<Option<Duration>, E>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Lent<'_, T>, E> {
        let mut state = self.state();
        loop {
            let left = patience()?;
            if let Some(thing) = state.idle.pop() {
                return Ok(Lent { thing: Some(thing), lending: self });
            }
            if state.count < self.limit {
                state.count += 1;
                drop(state);
                // Returned empty if making it fails, which gives its place back.
                let mut lent = Lent { thing: None, lending: self };
                lent.thing = Some(make()?);
                return Ok(lent);
            }
            state = match left {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

/// A thing on loan; it goes back when dropped.
pub(crate) struct Lent<'a, T> {
    thing: Option<T>,
    lending: &'a Lending<T>,
}

impl<T> Lent<'_, T> {
    /// The thing; there until the loan is dropped.
    pub(crate) fn get(&mut self) -> Option<&mut T> {
        self.thing.as_mut()
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        let mut state = self.lending.state();
        match self.thing.take() {
            Some(thing) => state.idle.push(thing),
            None => state.count -= 1,
        }
        drop(state);
        // All, not one: the one woken might be one that gives up just then.
        self.lending.changed.notify_all();
    }
}
