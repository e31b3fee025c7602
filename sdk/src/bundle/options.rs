//! How a bundle is to be opened: what must hold for it, and what helps to read it.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::encryption::{Encrypted, Hook};
use super::source::{self, Source};
use super::{Bundle, BundleError, Manifest, PublicKey, SectionInfo, signature};
use crate::{Error, Result};

/// The longest bundle that is read from a stream, unless told otherwise.
const SIZE_LIMIT: u64 = 4 << 30;

/// Settings for opening a [`Bundle`]; [`Bundle::options`] makes one.
///
/// What is set here is checked as early as it can be: the signature when only
/// the header is read, the build number right after the manifest, and only
/// then is anything decrypted.
#[derive(Clone, Debug)]
pub struct BundleOptions {
    pub(super) encrypted: Encrypted,
    trusted_keys: Option<Vec<PublicKey>>,
    minimum_build: u64,
    size_limit: u64,
    /// Leave the hash of weights that are not encrypted to [`Bundle::check_weights`].
    pub(super) weights_later: bool,
}

impl Default for BundleOptions {
    fn default() -> Self {
        BundleOptions {
            encrypted: Encrypted::default(),
            trusted_keys: None,
            minimum_build: 0,
            size_limit: SIZE_LIMIT,
            weights_later: false,
        }
    }
}

impl BundleOptions {
    /// How to decrypt the sections that the header calls encrypted. The hook
    /// gets the section's entry and its stored bytes, and returns its content,
    /// or in words why it cannot. It is called once for each such section while
    /// the bundle is opened; the content stays in memory as long as the bundle.
    ///
    /// Encryption hides; it does not prove where a bundle comes from. Bundles
    /// from elsewhere need [`trusted_keys`](BundleOptions::trusted_keys) too,
    /// and then the hook sees only what one of the keys has signed.
    pub fn decrypt(
        mut self,
        hook: impl Fn(&SectionInfo, &[u8]) -> std::result::Result<Vec<u8>, String> + Send + Sync + 'static,
    ) -> Self {
        self.encrypted = Encrypted::Decrypt(Hook(Arc::new(hook)));
        self
    }

    /// Opens a bundle without decrypting anything: to look at it, or to sign
    /// it. Encrypted sections then have no content, labels among them, and no
    /// model can be made of the bundle.
    pub fn keep_encrypted(mut self) -> Self {
        self.encrypted = Encrypted::Keep(HashMap::new());
        self
    }

    /// For the writer, which knows what it has encrypted.
    pub(super) fn keep_encrypted_but(mut self, known: HashMap<String, Vec<u8>>) -> Self {
        self.encrypted = Encrypted::Keep(known);
        self
    }

    /// Asks for a signature by one of these keys, which [`Bundle::verify`]
    /// describes. It is checked before the manifest or anything else in the
    /// sections is looked at. Without keys no signature is asked for; an empty
    /// list trusts nobody, and opening then fails.
    pub fn trusted_keys(mut self, keys: impl IntoIterator<Item = PublicKey>) -> Self {
        self.trusted_keys = Some(keys.into_iter().collect());
        self
    }

    /// The lowest build number of the manifest that will do. A caller who keeps
    /// the highest number seen so far cannot be given an older model again.
    /// The number proves something only in a bundle whose signature is checked.
    pub fn minimum_build(mut self, build: u64) -> Self {
        self.minimum_build = build;
        self
    }

    /// The longest bundle that is read to memory from a stream, or from a place
    /// in a file that cannot be mapped. Default 4 GiB.
    pub fn size_limit(mut self, bytes: u64) -> Self {
        self.size_limit = bytes;
        self
    }

    /// Bundles whose weights are not checked yet: who opens one must call [`Bundle::check_weights`] before anything that
    /// depends on them is given away.
    pub(crate) fn weights_later(mut self) -> Self {
        self.weights_later = true;
        self
    }

    /// Opens a bundle file; see [`Bundle::open`].
    ///
    /// # Errors
    /// Those of [`Bundle::open`], and [`Error::Bundle`] if a trusted signature
    /// is missing or wrong, or a section cannot be decrypted;
    /// [`Error::Rollback`] if the build is too low; [`Error::InvalidArgument`]
    /// for an empty list of keys.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Bundle> {
        let path = path.as_ref();
        self.open_as(path, path.display().to_string())
    }

    /// Opens the file at `path` and calls it `name` in error messages.
    pub(super) fn open_as(&self, path: &Path, name: String) -> Result<Bundle> {
        self.check_keys()?;
        Bundle::check(name, Source::of_path(path)?, self)
    }

    /// Opens a bundle held in memory.
    ///
    /// # Errors
    /// Those of [`open`](BundleOptions::open) but for the file.
    pub fn open_bytes(&self, bytes: impl Into<Arc<[u8]>>) -> Result<Bundle> {
        self.check_keys()?;
        Bundle::check(source::MEMORY.to_owned(), Source::Shared(bytes.into()), self)
    }

    /// Opens a bundle that is a file already open, or lies in one; see
    /// [`Bundle::from_file`].
    ///
    /// # Errors
    /// Those of [`Bundle::from_file`] and [`open`](BundleOptions::open).
    pub fn open_file(&self, file: File, offset: u64, length: Option<u64>) -> Result<Bundle> {
        self.check_keys()?;
        Bundle::check(source::FILE.to_owned(), Source::of_file(file, offset, length, self.size_limit)?, self)
    }

    /// Reads a bundle from a stream; see [`Bundle::from_reader`].
    ///
    /// # Errors
    /// Those of [`Bundle::from_reader`] and [`open`](BundleOptions::open).
    pub fn open_reader(&self, reader: impl Read, length_hint: Option<u64>) -> Result<Bundle> {
        self.check_keys()?;
        let name = source::READER;
        Bundle::check(name.to_owned(), Source::of_reader(reader, name, length_hint, self.size_limit)?, self)
    }

    /// Checks a bundle that was opened with other settings against these, as
    /// far as it is not too late.
    pub(crate) fn accept(&self, bundle: &Bundle) -> Result<()> {
        if let Some(keys) = &self.trusted_keys {
            bundle.verify(keys)?;
        }
        self.check_build(bundle.manifest())
    }

    fn check_keys(&self) -> Result<()> {
        self.trusted_keys.as_deref().map_or(Ok(()), some_keys)
    }

    /// `content` is that of the section with the signatures.
    pub(super) fn check_signature(&self, sections: &[SectionInfo], content: Option<&[u8]>) -> Result<(), BundleError> {
        match &self.trusted_keys {
            Some(keys) => signature::verify(sections, content, keys).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn check_build(&self, manifest: &Manifest) -> Result<()> {
        if manifest.build < self.minimum_build {
            let (model, build) = (manifest.id.clone(), manifest.build);
            return Err(Error::Rollback { model, build, minimum: self.minimum_build });
        }
        Ok(())
    }
}

/// An empty list is more likely a mistake than a wish.
pub(super) fn some_keys(keys: &[PublicKey]) -> Result<()> {
    match keys {
        [] => Err(Error::InvalidArgument("the list of trusted keys is empty: no bundle could pass".to_owned())),
        _ => Ok(()),
    }
}
