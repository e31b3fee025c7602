//! BUNDLE

use std::sync::OnceLock;

use limbeck_sdk::{Bundle, PublicKey};

use crate::error::limbeck_error;
use crate::ffi::{self, guard};
use crate::status::limbeck_status;
use crate::text::limbeck_str;

/// A bundle, opened and verified: every offset, length and hash in it was
/// checked. Needs no ONNX Runtime, so it also serves to look at a file. A const
/// handle may be used from many threads. May be freed while models opened from
/// it live on.
pub struct limbeck_bundle {
    pub(crate) bundle: Bundle,
    manifest: OnceLock<String>,
    signers: OnceLock<Vec<String>>,
}

impl limbeck_bundle {
    pub(crate) fn new(bundle: Bundle) -> limbeck_bundle {
        limbeck_bundle { bundle, manifest: OnceLock::new(), signers: OnceLock::new() }
    }
}

/// Name of the model: "sentiment".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_id(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { view(bundle, |bundle| &bundle.manifest().id) }
}

/// Version of the model, for people: "0.1.0".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_version(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { view(bundle, |bundle| &bundle.manifest().version) }
}

/// Build number of the model, which grows with each build of one id.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_build(bundle: *const limbeck_bundle) -> u64 {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.manifest().build) }
}

/// What the model does: "text-classification".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_task(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { view(bundle, |bundle| bundle.manifest().task.name()) }
}

/// The most tokens that the model takes at one time, special tokens included.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_max_tokens(bundle: *const limbeck_bundle) -> usize {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.manifest().max_tokens) }
}

/// Size of the whole bundle in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_size(bundle: *const limbeck_bundle) -> u64 {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.size()) }
}

/// How many labels the model knows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_label_count(bundle: *const limbeck_bundle) -> usize {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| bundle.bundle.labels().len()) }
}

/// The label at `index`, counted from 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_label(
    bundle: *const limbeck_bundle,
    index: usize,
    out: *mut limbeck_str,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bundle) = unsafe { (ffi::out(out, "out")?, ffi::handle(bundle, "bundle")?) };
        *out = limbeck_str::view(ffi::item(bundle.bundle.labels(), index, "index", "the bundle", "labels")?);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// All that the manifest says, as a JSON object: architecture, languages, quality,
/// quantization and more, described in docs/bundle-format.md.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_manifest_json(bundle: *const limbeck_bundle) -> limbeck_str {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe {
        ffi::get(bundle, limbeck_str::EMPTY, |bundle| {
            let json = || serde_json::to_string(bundle.bundle.manifest()).unwrap_or_default();
            limbeck_str::view(bundle.manifest.get_or_init(json))
        })
    }
}

/// How many keys the bundle says it is signed by. This checks no signature.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_signer_count(bundle: *const limbeck_bundle) -> usize {
    // SAFETY: `bundle` is NULL or a live handle (rule 3 of the header).
    unsafe { ffi::get(bundle, 0, |bundle| signers(bundle).len()) }
}

/// The id of the key at `index`, 16 hex digits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_signer(
    bundle: *const limbeck_bundle,
    index: usize,
    out: *mut limbeck_str,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bundle) = unsafe { (ffi::out(out, "out")?, ffi::handle(bundle, "bundle")?) };
        *out = limbeck_str::view(ffi::item(signers(bundle), index, "index", "the bundle", "signatures")?);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Checks that one of `count` public keys (64 hex digits each) signed the bundle:
/// LIMBECK_OK with its place among `keys` in `out`, or LIMBECK_SIGNATURE. To have
/// it checked before anything else is read, give the keys to limbeck_bundle_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_verify(
    bundle: *const limbeck_bundle,
    keys: *const limbeck_str,
    count: usize,
    out: *mut usize,
    error: *mut *mut limbeck_error,
) -> limbeck_status {
    let body = || {
        // SAFETY: pointers are NULL or as their types say, by the header's rules.
        let (out, bundle, keys) = unsafe {
            let out = ffi::out(out, "out")?;
            (out, ffi::handle(bundle, "bundle")?, ffi::texts(keys, count, "keys")?)
        };
        let keys = keys.into_iter().map(PublicKey::from_hex).collect::<limbeck_sdk::Result<Vec<_>>>()?;
        let signer = bundle.bundle.verify(&keys)?;
        *out = keys.iter().position(|key| key.id() == signer).unwrap_or(0);
        Ok(())
    };
    // SAFETY: `error` is NULL or points to a pointer (rule 2 of the header).
    unsafe { guard(error, body) }
}

/// Frees a bundle. NULL is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn limbeck_bundle_free(bundle: *mut limbeck_bundle) {
    // SAFETY: `bundle` is NULL or a handle not freed before (rule 3 of the header).
    unsafe { ffi::free(bundle) }
}

/// # Safety
/// `bundle` is NULL or a live handle.
unsafe fn view(bundle: *const limbeck_bundle, read: impl Fn(&Bundle) -> &str) -> limbeck_str {
    // SAFETY: by this function's contract.
    unsafe { ffi::get(bundle, limbeck_str::EMPTY, |bundle| limbeck_str::view(read(&bundle.bundle))) }
}

/// Ids of the signing keys; none if the section with them cannot be read.
fn signers(bundle: &limbeck_bundle) -> &[String] {
    bundle.signers.get_or_init(|| bundle.bundle.signers().unwrap_or_default())
}
