//! Cancelling calls.

/// Cancels calls from another thread. Clones share one state.
#[derive(Clone, Debug, Default)]
pub struct Cancel(());

impl Cancel {
    /// A token that is not triggered.
    pub fn new() -> Cancel {
        Cancel::default()
    }
    /// Ends the calls that use this token, now and later.
    pub fn cancel(&self) {
        todo!()
    }
    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        todo!()
    }
}
