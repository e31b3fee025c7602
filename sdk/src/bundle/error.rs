//! What can be wrong with a bundle.

use crate::Code;

/// What is wrong with a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Placeholder of the skeleton.
    #[error("not a limbeck bundle")]
    NotABundle,
}

impl BundleError {
    /// The stable code of this problem.
    pub fn code(&self) -> Code {
        Code::NotABundle
    }
}
