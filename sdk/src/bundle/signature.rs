//! Signatures: the section `signature.json` and the text that is signed.
//!
//! `docs/bundle-format.md` has the rules for other implementers.

use serde::{Deserialize, Serialize};

use super::encryption::CALLER;
use super::{BundleError, PublicKey, SIGNATURE, SectionInfo, SectionKind, SigningKey, hex, json};

/// Begins every signed text, so that no signature made for something else fits.
const DOMAIN: &str = "limbeck bundle signature v1\n";
const ED25519: &str = "ed25519";
const MAX_SIGNATURES: usize = 16;
const MAX_LENGTH: usize = 16 * 1024;

/// The content of the section.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signatures {
    signatures: Vec<Entry>,
}

/// One key's signature, checked for its form and not yet for its truth.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    algorithm: String,
    key_id: String,
    signature: String,
}

impl Entry {
    pub(super) fn new(key: &SigningKey, message: &[u8]) -> Entry {
        Entry { algorithm: ED25519.to_owned(), key_id: key.id(), signature: hex::encode(&key.sign(message)) }
    }

    /// Whether the two are by the same key.
    pub(super) fn same_key(&self, other: &Entry) -> bool {
        self.algorithm == other.algorithm && self.key_id == other.key_id
    }

    /// The signature; none if it is by an algorithm of a later version.
    fn ed25519(&self) -> Option<[u8; 64]> {
        if self.algorithm == ED25519 { hex::decode(&self.signature) } else { None }
    }
}

/// Where signatures may stand: in one section of the right name, which is the
/// last, so that nothing comes after what they cover.
pub(super) fn check_place(sections: &[SectionInfo]) -> Result<(), BundleError> {
    for (at, section) in sections.iter().enumerate().filter(|(_, section)| section.kind == SectionKind::Signature) {
        if at + 1 != sections.len() {
            return malformed(format!("`{}` is not the last section", section.name));
        }
        if section.name != SIGNATURE {
            return malformed(format!("has the name `{}` and not `{SIGNATURE}`", section.name));
        }
    }
    Ok(())
}

/// The text that is signed: one line for each section but the signatures' own,
/// in the order of the file.
pub(super) fn message<'a>(sections: impl IntoIterator<Item = &'a SectionInfo>) -> Result<Vec<u8>, BundleError> {
    let mut text = DOMAIN.to_owned();
    for section in sections.into_iter().filter(|section| section.kind != SectionKind::Signature) {
        let kind = section.kind.name();
        // Names are checked for every bundle. A kind unknown to this version
        // may be any text, which could otherwise pose as more fields and lines.
        if kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return malformed(format!(
                "cannot cover the section `{}`: its kind has other characters than A-Z a-z 0-9 . _ -",
                section.name
            ));
        }
        text += &format!(
            "{} {kind} {} {} {} {} none {}\n",
            section.name,
            section.length,
            hex::encode(&section.sha256),
            section.align,
            section.required,
            if section.encrypted { CALLER } else { "none" },
        );
    }
    Ok(text.into_bytes())
}

/// The content of the section for these signatures.
pub(super) fn write(entries: Vec<Entry>) -> crate::Result<Vec<u8>> {
    serde_json::to_vec(&Signatures { signatures: entries })
        .map_err(|error| crate::Error::Internal(format!("cannot write the signatures as JSON: {error}")))
}

/// The signatures of a section's content.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, BundleError> {
    if bytes.len() > MAX_LENGTH {
        return malformed(format!("has {} bytes and may have {MAX_LENGTH}", bytes.len()));
    }
    let entries = json::parse::<Signatures>(SIGNATURE, bytes)
        .map_err(|error| BundleError::MalformedSignature(format!("cannot be read: {error}")))?
        .signatures;
    if entries.is_empty() || entries.len() > MAX_SIGNATURES {
        return malformed(format!("has {} signatures; there must be 1 to {MAX_SIGNATURES}", entries.len()));
    }
    for (at, entry) in entries.iter().enumerate() {
        if hex::decode::<8>(&entry.key_id).is_none() {
            return malformed("has a key id that is not 16 lower-case hex digits".to_owned());
        }
        if entry.algorithm == ED25519 && entry.ed25519().is_none() {
            return malformed(format!("by the key {} is not 128 lower-case hex digits", entry.key_id));
        }
        if entries[..at].iter().any(|other| other.same_key(entry)) {
            return malformed(format!("by the key {} is there twice", entry.key_id));
        }
    }
    Ok(entries)
}

/// Checks that one of `keys` signed the bundle, and returns that key's id.
/// `content` is that of the section with the signatures, if there is one.
pub(super) fn verify(
    sections: &[SectionInfo],
    content: Option<&[u8]>,
    keys: &[PublicKey],
) -> Result<String, BundleError> {
    let entries = read(content.ok_or(BundleError::NotSigned)?)?;
    let message = message(sections)?;
    let mut wrong = None;
    for key in keys {
        let id = key.id();
        for signature in entries.iter().filter(|entry| entry.key_id == id).filter_map(Entry::ed25519) {
            if key.signed(&message, &signature) {
                return Ok(id);
            }
            wrong = Some(id.clone());
        }
    }
    Err(match wrong {
        Some(key_id) => BundleError::WrongSignature { key_id },
        None => {
            let ids: Vec<String> = entries.into_iter().map(|entry| entry.key_id).collect();
            BundleError::NoTrustedSignature { signers: ids.join(", ") }
        }
    })
}

/// Ids of the keys that a section names.
pub(super) fn signers(content: Option<&[u8]>) -> Result<Vec<String>, BundleError> {
    Ok(content.map(read).transpose()?.unwrap_or_default().into_iter().map(|entry| entry.key_id).collect())
}

fn malformed<T>(reason: String) -> Result<T, BundleError> {
    Err(BundleError::MalformedSignature(reason))
}
