//! The sessions of one model: made when needed, up to a limit, and lent out.
//!
//! One ONNX Runtime session serves one run at a time (`Session::run` takes
//! `&mut`), so that calls from several threads need several sessions.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::cancel::Interrupt;
use super::limits::Limits;
use super::lock;
use super::memory::MemoryPlan;
use super::provider::ProviderReport;
use super::session::{ModelSession, SessionOptions};
use crate::{Bundle, Error, Result};

#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    bundle: Bundle,
    options: SessionOptions,
    plan: MemoryPlan,
    providers: ProviderReport,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle: Vec<ModelSession>,
    // Idle, lent out, or being made.
    count: usize,
}

impl Interrupt for Shared {
    fn interrupt(&self) {
        // Taking the lock makes sure that whoever is about to wait is waiting.
        drop(lock(&self.state));
        self.changed.notify_all();
    }
}

impl Pool {
    /// A pool with its first session made, so that a bundle that cannot run
    /// fails when it is opened.
    pub(crate) fn new(bundle: Bundle, options: SessionOptions, plan: MemoryPlan) -> Result<Pool> {
        let first = ModelSession::new(&bundle, &options)?;
        let providers = first.providers().clone();
        let shared = Shared { state: Mutex::new(State { idle: vec![first], count: 1 }), changed: Condvar::new() };
        Ok(Pool { shared: Arc::new(shared), bundle, options, plan, providers })
    }

    /// The most sessions.
    pub(crate) fn limit(&self) -> usize {
        self.plan.sessions
    }

    /// What runs the model.
    pub(crate) fn providers(&self) -> &ProviderReport {
        &self.providers
    }

    /// Tokens of one batch, padding included.
    pub(crate) fn batch_tokens(&self) -> usize {
        self.plan.batch_tokens
    }

    /// What the sessions may use.
    pub(crate) fn plan(&self) -> &MemoryPlan {
        &self.plan
    }

    /// Lends a session, waiting for one if all are in use and no more may be
    /// made.
    pub(crate) fn take(&self, limits: &Limits) -> Result<Lent<'_>> {
        let _watch = limits.watch_cancel(&(Arc::clone(&self.shared) as Arc<dyn Interrupt>));
        let mut state = lock(&self.shared.state);
        loop {
            limits.check()?;
            if let Some(session) = state.idle.pop() {
                return Ok(Lent { session: Some(session), shared: &self.shared });
            }
            if state.count < self.plan.sessions {
                state.count += 1;
                drop(state);
                return self.make();
            }
            state = match limits.time_left() {
                None => self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    fn make(&self) -> Result<Lent<'_>> {
        // Returned empty if making it fails, which gives its place back.
        let mut lent = Lent { session: None, shared: &self.shared };
        lent.session = Some(ModelSession::new(&self.bundle, &self.options)?);
        Ok(lent)
    }
}

/// A session on loan; it goes back when dropped.
pub(crate) struct Lent<'a> {
    session: Option<ModelSession>,
    shared: &'a Shared,
}

impl Lent<'_> {
    /// The session.
    pub(crate) fn session(&mut self) -> Result<&mut ModelSession> {
        self.session.as_mut().ok_or_else(|| Error::Internal("a loan without a session".to_owned()))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        match self.session.take() {
            Some(session) => state.idle.push(session),
            None => state.count -= 1,
        }
        drop(state);
        // All, not one: the one woken might be one that gives up just then.
        self.shared.changed.notify_all();
    }
}
