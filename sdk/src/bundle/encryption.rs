//! Encrypted sections. The library has no cipher of its own: the caller brings
//! one, and keeps the keys.

use std::collections::HashMap;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::{BundleError, SectionInfo, SectionKind};

/// The value of the header's key `encryption`.
pub(super) const CALLER: &str = "caller";

type Outcome = std::result::Result<Vec<u8>, String>;
/// From the stored bytes of a section to its content.
pub(super) type Decrypt = dyn Fn(&SectionInfo, &[u8]) -> Outcome + Send + Sync;
/// From the content of a section, by name and kind, to the bytes to store.
pub(super) type Encrypt = dyn Fn(&str, &SectionKind, &[u8]) -> Outcome + Send + Sync;

/// A caller's function.
pub(super) struct Hook<F: ?Sized>(pub Arc<F>);

impl<F: ?Sized> Clone for Hook<F> {
    fn clone(&self) -> Self {
        Hook(Arc::clone(&self.0))
    }
}

// A hook that panics leaves nothing half done here: its bundle is not opened.
impl<F: ?Sized> UnwindSafe for Hook<F> {}
impl<F: ?Sized> RefUnwindSafe for Hook<F> {}

impl<F: ?Sized> fmt::Debug for Hook<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// What to do about encrypted sections.
#[derive(Clone, Debug, Default)]
pub(super) enum Encrypted {
    /// Refuse the bundle.
    #[default]
    Refuse,
    /// Leave them as they are: they have no content for the reader, but for
    /// those whose content is known, by name.
    Keep(HashMap<String, Vec<u8>>),
    /// Ask the caller.
    Decrypt(Hook<Decrypt>),
}

impl Encrypted {
    /// The content of an encrypted section; none if it stays encrypted.
    pub(super) fn open(&self, section: &SectionInfo, stored: &[u8]) -> Result<Option<Vec<u8>>, BundleError> {
        match self {
            Encrypted::Refuse => Err(BundleError::Encrypted { name: section.name.clone() }),
            Encrypted::Keep(known) => Ok(known.get(&section.name).cloned()),
            Encrypted::Decrypt(hook) => (hook.0)(section, stored)
                .map(Some)
                .map_err(|reason| BundleError::Decryption { name: section.name.clone(), reason }),
        }
    }
}

/// Whether sections of a kind may be encrypted: what decides on a bundle has
/// to be readable before anything is decrypted.
pub(super) fn allowed(kind: &SectionKind) -> bool {
    !matches!(kind, SectionKind::Manifest | SectionKind::Signature)
}
