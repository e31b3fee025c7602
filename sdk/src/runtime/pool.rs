//! The sessions of one model.
//!
//! One ONNX Runtime session serves one run at a time (`Session::run` takes
//! `&mut`), so that calls from several threads need several sessions.

use std::sync::Arc;

use super::cancel::Interrupt;
use super::lending::{Lending, Lent};
use super::limits::Limits;
use super::memory::MemoryPlan;
use super::provider::ProviderReport;
use super::session::{ModelSession, SessionOptions};
use crate::{Bundle, Error, Result};

#[derive(Debug)]
pub(crate) struct Pool {
    sessions: Arc<Lending<ModelSession>>,
    bundle: Bundle,
    options: SessionOptions,
    plan: MemoryPlan,
    providers: ProviderReport,
}

impl Interrupt for Lending<ModelSession> {
    fn interrupt(&self) {
        self.wake();
    }
}

impl Pool {
    /// A pool with its first session made, so that a bundle that cannot run
    /// fails when it is opened.
    pub(crate) fn new(bundle: Bundle, options: SessionOptions, plan: MemoryPlan) -> Result<Pool> {
        let first = ModelSession::new(&bundle, &options)?;
        let providers = first.providers().clone();
        Ok(Pool { sessions: Arc::new(Lending::new(first, plan.sessions)), bundle, options, plan, providers })
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
    pub(crate) fn take(&self, limits: &Limits) -> Result<LentSession<'_>> {
        limits.check()?;
        // The usual case, in which nothing is set up for a wait.
        if let Some(lent) = self.sessions.take_idle() {
            return Ok(LentSession(lent));
        }
        let _watch = limits.watch_cancel(&(Arc::clone(&self.sessions) as Arc<dyn Interrupt>));
        let patience = || limits.check().map(|()| limits.time_left());
        let lent = self.sessions.take(patience, || ModelSession::new(&self.bundle, &self.options))?;
        Ok(LentSession(lent))
    }
}

/// A session on loan; it goes back when dropped.
pub(crate) struct LentSession<'a>(Lent<'a, ModelSession>);

impl LentSession<'_> {
    /// The session.
    pub(crate) fn session(&mut self) -> Result<&mut ModelSession> {
        self.0.get().ok_or_else(|| Error::Internal("a loan without a session".to_owned()))
    }
}
