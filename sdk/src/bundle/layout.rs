//! The prefix and the header: where everything lies in the file.
//!
//! `docs/bundle-format.md` is the page for other implementers.

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use super::{BundleError, SectionInfo, SectionKind, encryption, hex, json, signature};

/// First bytes of every bundle. As in PNG, the line ends and the high bit make
/// damage by a text-mode copy show at once.
pub(super) const MAGIC: [u8; 8] = *b"\x89LBK\r\n\x1a\n";
/// Major version of the format written and read here.
pub(super) const MAJOR: u32 = 1;
/// Minor version of the format written here.
pub(super) const MINOR: u32 = 0;
/// Bytes before the JSON header.
pub(super) const PREFIX: u64 = 64;
/// Bytes of the prefix that the header's hash covers.
const HASHED_PREFIX: usize = 32;
/// Lowest alignment of a section.
pub(super) const MIN_ALIGNMENT: u64 = 64;
const MAX_ALIGNMENT: u64 = 65536;
const MAX_HEADER: u64 = 1 << 20;
const MAX_SECTIONS: usize = 64;
const MAX_NAME: usize = 128;

/// The JSON header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub sections: Vec<HeaderSection>,
}

/// A section as it stands in the JSON header.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HeaderSection {
    pub name: String,
    pub kind: String,
    pub offset: u64,
    pub length: u64,
    pub sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub align: Option<u64>,
    pub required: bool,
    pub compression: String,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

impl HeaderSection {
    pub(super) fn of(section: &SectionInfo) -> HeaderSection {
        HeaderSection {
            name: section.name.clone(),
            kind: section.kind.name().to_owned(),
            offset: section.offset,
            length: section.length,
            sha256: hex::encode(&section.sha256),
            align: (section.align != MIN_ALIGNMENT).then_some(section.align),
            required: section.required,
            compression: "none".to_owned(),
            encryption: section.encrypted.then(|| encryption::CALLER.to_owned()),
        }
    }
}

/// What is absent by default, and not `null`, when it is there.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

/// The hash stored in the prefix, over its first 32 bytes and the header.
pub(super) fn header_hash(prefix: &[u8], header: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(prefix.get(..HASHED_PREFIX).unwrap_or(prefix));
    hash.update(header);
    hash.finalize().into()
}

/// The prefix for a header.
pub(super) fn prefix(header: &[u8], file_length: u64) -> [u8; PREFIX as usize] {
    let mut bytes = [0; PREFIX as usize];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&MAJOR.to_le_bytes());
    bytes[12..16].copy_from_slice(&MINOR.to_le_bytes());
    bytes[16..24].copy_from_slice(&(header.len() as u64).to_le_bytes());
    bytes[24..32].copy_from_slice(&file_length.to_le_bytes());
    let hash = header_hash(&bytes, header);
    bytes[32..].copy_from_slice(&hash);
    bytes
}

/// The first multiple of `align` that is not below `offset`; none on overflow.
pub(super) fn align_up(offset: u64, align: u64) -> Option<u64> {
    offset.checked_next_multiple_of(align)
}

/// Reads and checks prefix and header, and that the sections fill the file.
/// Returns the sections and where the header ends. The bytes of the sections
/// and of the gaps between them are not looked at.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<SectionInfo>, u64), BundleError> {
    let stated = stated(bytes)?;
    let header = header(bytes, &stated)?;
    let (size, file_length) = (bytes.len() as u64, stated.file_length);
    if size < file_length {
        return Err(BundleError::Truncated { what: "the bundle", expected: file_length, found: size });
    }
    if size > file_length {
        return Err(BundleError::TrailingBytes { extra: size - file_length });
    }
    let header = json::parse("the header", header)?;
    Ok((check_sections(header, stated.header_end, size)?, stated.header_end))
}

/// What the prefix says, which only the header's hash makes true.
pub(super) struct Stated {
    pub header_end: u64,
    pub file_length: u64,
}

/// Reads and checks the prefix, which may be all there is of the file so far.
pub(super) fn stated(bytes: &[u8]) -> Result<Stated, BundleError> {
    check_magic(bytes)?;
    let Some(prefix) = bytes.get(..PREFIX as usize) else {
        return Err(BundleError::Truncated { what: "the prefix", expected: PREFIX, found: bytes.len() as u64 });
    };

    let major = u32_at(prefix, 8);
    if major != MAJOR {
        return Err(BundleError::UnsupportedVersion { found: major, supported: MAJOR });
    }
    // The minor version is not looked at: later ones may only add sections
    // that are not required and fields of the manifest.

    let header_length = u64_at(prefix, 16);
    if header_length > MAX_HEADER {
        let what = "the length of the header".to_owned();
        return Err(BundleError::LimitExceeded { what, found: header_length, limit: MAX_HEADER });
    }
    Ok(Stated { header_end: PREFIX + header_length, file_length: u64_at(prefix, 24) })
}

/// The JSON header, its hash checked. What comes after it need not be there.
pub(super) fn header<'a>(bytes: &'a [u8], stated: &Stated) -> Result<&'a [u8], BundleError> {
    let Some(header) = bytes.get(PREFIX as usize..stated.header_end as usize) else {
        let found = bytes.len() as u64;
        return Err(BundleError::Truncated { what: "the header", expected: stated.header_end, found });
    };
    if header_hash(bytes, header) != bytes[HASHED_PREFIX..PREFIX as usize] {
        return Err(BundleError::HashMismatch { what: "the header".to_owned() });
    }
    Ok(header)
}

fn check_magic(bytes: &[u8]) -> Result<(), BundleError> {
    if bytes.starts_with(&MAGIC) {
        return Ok(());
    }
    if MAGIC.starts_with(bytes) {
        return Err(BundleError::Truncated { what: "the prefix", expected: PREFIX, found: bytes.len() as u64 });
    }
    let reason = if bytes.starts_with(b"\x89LBK") || bytes.starts_with(b"\x09LBK") || bytes.starts_with(b"LBK") {
        "its first bytes were changed, as a copy in text mode does; copy it again in binary mode"
    } else if bytes.starts_with(b"version https://git-lfs") {
        "it is a Git LFS pointer; run `git lfs pull` to get the file itself"
    } else {
        "it begins with other bytes than a bundle does; check that it is the right file"
    };
    Err(BundleError::NotABundle(reason))
}

fn check_sections(header: Header, header_end: u64, size: u64) -> Result<Vec<SectionInfo>, BundleError> {
    if header.sections.len() > MAX_SECTIONS {
        return Err(BundleError::LimitExceeded {
            what: "the number of sections".to_owned(),
            found: header.sections.len() as u64,
            limit: MAX_SECTIONS as u64,
        });
    }
    let mut sections: Vec<SectionInfo> = Vec::with_capacity(header.sections.len());
    let mut end = header_end;
    for section in header.sections {
        check_name(&section.name)?;
        if sections.iter().any(|other| other.name == section.name) {
            return Err(BundleError::SectionName { name: section.name, reason: "another section has it" });
        }
        let kind = SectionKind::from_name(&section.kind);
        if section.required
            && let SectionKind::Other(kind) = kind
        {
            return Err(BundleError::UnknownRequiredSection { name: section.name, kind });
        }
        if section.compression != "none" {
            return Err(BundleError::UnsupportedCompression { name: section.name, compression: section.compression });
        }
        let encrypted = section.encryption.is_some();
        if let Some(encryption) = section.encryption.filter(|encryption| encryption != encryption::CALLER) {
            return Err(BundleError::UnsupportedEncryption { name: section.name, encryption });
        }
        if encrypted && !encryption::allowed(&kind) {
            return Err(BundleError::EncryptionNotAllowed { name: section.name, kind: kind.name().to_owned() });
        }
        let align = section.align.unwrap_or(MIN_ALIGNMENT);
        if !align.is_power_of_two() || !(MIN_ALIGNMENT..=MAX_ALIGNMENT).contains(&align) {
            return Err(BundleError::Alignment { name: section.name, align });
        }
        let Some(sha256) = hex::decode(&section.sha256) else {
            return Err(BundleError::Json {
                what: "the header".to_owned(),
                detail: format!("the sha256 of `{}` is not 64 lower-case hex digits", section.name),
            });
        };
        // `end` is at most `size` here, so that neither sum can overflow.
        let expected = align_up(end, align).unwrap_or(u64::MAX);
        if section.offset != expected {
            return Err(BundleError::SectionOffset { name: section.name, expected, found: section.offset });
        }
        if section.length > size || expected > size - section.length {
            return Err(BundleError::LimitExceeded {
                what: format!("the end of the section `{}`", section.name),
                found: expected.saturating_add(section.length),
                limit: size,
            });
        }
        end = expected + section.length;
        sections.push(SectionInfo {
            name: section.name,
            kind,
            offset: section.offset,
            length: section.length,
            sha256,
            required: section.required,
            align,
            encrypted,
        });
    }
    if end != size {
        return Err(BundleError::FileLength { sections: end, file: size });
    }
    signature::check_place(&sections)?;
    Ok(sections)
}

/// Names stay usable as file names everywhere, so that unpacking is safe.
fn check_name(name: &str) -> Result<(), BundleError> {
    let reason = if name.is_empty() || name.len() > MAX_NAME {
        "it must have 1 to 128 characters"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        "only A-Z a-z 0-9 . _ - may be used"
    } else if name.starts_with('.') {
        "it must not begin with a dot"
    } else {
        return Ok(());
    };
    Err(BundleError::SectionName { name: name.chars().take(MAX_NAME).collect(), reason })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_does_not_overflow() {
        assert_eq!(align_up(65, 64), Some(128));
        assert_eq!(align_up(128, 64), Some(128));
        assert_eq!(align_up(u64::MAX - 3, 64), None);
    }

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for name in ["", ".", "..", "../a", "a/b", "a\\b", ".hidden", "a b", "é", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        check_name("model.onnx.data").unwrap();
    }
}
