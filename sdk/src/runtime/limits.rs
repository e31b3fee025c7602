//! The cancel token and deadline of one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cancel::{self, Cancel, Interrupt};
use super::deadline;
use crate::{Error, Result};

/// What may end a call early.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Ends the call from another thread.
    pub cancel: Option<Cancel>,
    /// Ends the call at this moment.
    pub deadline: Option<Instant>,
}

/// Keeps a target under watch until it is dropped.
pub(crate) struct Watch {
    _cancel: Option<cancel::Watch>,
    _deadline: Option<deadline::Watch>,
}

impl Limits {
    /// An error if the call should not go on.
    pub(crate) fn check(&self) -> Result<()> {
        if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            return Err(Error::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(Error::DeadlineExceeded);
        }
        Ok(())
    }

    /// Whether nothing can end the call early.
    pub(crate) fn is_unlimited(&self) -> bool {
        self.cancel.is_none() && self.deadline.is_none()
    }

    /// Time left until the deadline, if there is one.
    pub(crate) fn time_left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Interrupts `target` on cancel and at the deadline.
    pub(crate) fn watch(&self, target: &Arc<dyn Interrupt>) -> Result<Watch> {
        Ok(Watch {
            _deadline: self.deadline.map(|deadline| deadline::watch(deadline, target)).transpose()?,
            _cancel: self.cancel.as_ref().map(|cancel| cancel.watch(target)),
        })
    }

    /// Interrupts `target` on cancel only, for those who keep time themselves.
    pub(crate) fn watch_cancel(&self, target: &Arc<dyn Interrupt>) -> Watch {
        Watch { _deadline: None, _cancel: self.cancel.as_ref().map(|cancel| cancel.watch(target)) }
    }
}
