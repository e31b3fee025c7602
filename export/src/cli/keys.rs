//! Key files, read.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use limbeck::{PublicKey, SigningKey};
use zeroize::Zeroizing;

/// Far more than any key file has, so that a wrong file is not read whole.
const LIMIT: u64 = 4096;

pub(super) fn signing_key(path: &Path) -> Result<SigningKey> {
    let key = SigningKey::from_text(&text(path)?).with_context(|| path.display().to_string())?;
    warn_if_shared(path);
    Ok(key)
}

pub(super) fn public_key(path: &Path) -> Result<PublicKey> {
    PublicKey::from_hex(&text(path)?).with_context(|| path.display().to_string())
}

fn text(path: &Path) -> Result<Zeroizing<String>> {
    // With room for all of it, so that no copy stays behind where the text was before it grew.
    let mut text = Zeroizing::new(String::with_capacity(LIMIT as usize + 1));
    File::open(path)
        .and_then(|file| file.take(LIMIT).read_to_string(&mut text))
        .with_context(|| format!("cannot read the key {}", path.display()))?;
    Ok(text)
}

#[cfg(unix)]
fn warn_if_shared(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    if path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        eprintln!("warning: others can read {0}: chmod 600 {0}", path.display());
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path) {}
