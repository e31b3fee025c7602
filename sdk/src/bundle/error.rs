//! What can be wrong with a bundle.

use crate::Code;

/// What is wrong with a bundle. Each way a file can be damaged, foreign or too
/// new has its own variant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The file does not begin like a bundle.
    #[error("not a limbeck bundle: {0}")]
    NotABundle(&'static str),

    /// The file ends before it should.
    #[error("the file ends too early: it has {found} bytes and {what} needs {expected}; copy or download it again")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes the file should have, at least.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },

    /// There are bytes after the end that the bundle states.
    #[error(
        "{extra} bytes follow the end of the bundle: something was appended to it; use the file as it was published"
    )]
    TrailingBytes {
        /// How many.
        extra: u64,
    },

    /// The bytes do not have the hash that was recorded for them.
    #[error("the bytes of {what} do not match their SHA-256: the file is damaged; copy or download it again")]
    HashMismatch {
        /// The header, or the name of the section.
        what: String,
    },

    /// The bundle has another major version than this library reads.
    #[error("the bundle has format version {found} and this library reads version {supported}: {}", newer_side(*found, *supported))]
    UnsupportedVersion {
        /// Major version of the bundle.
        found: u32,
        /// Major version this library reads.
        supported: u32,
    },

    /// A section of a kind unknown to this version must be understood.
    #[error(
        "the section `{name}` has the kind `{kind}`, which is required and which this version of the library does not know: update the library"
    )]
    UnknownRequiredSection {
        /// The section.
        name: String,
        /// Its kind.
        kind: String,
    },

    /// A section is stored in a way this version cannot read.
    #[error(
        "the section `{name}` is compressed with `{compression}`, which this version of the library does not read: update the library"
    )]
    UnsupportedCompression {
        /// The section.
        name: String,
        /// The compression named.
        compression: String,
    },

    /// The bundle asks for a newer library.
    #[error("the bundle needs {what} {needed} or later and this is {have}: update it")]
    NeedsNewer {
        /// What is too old.
        what: &'static str,
        /// The lowest version that will do.
        needed: String,
        /// The version there is.
        have: String,
    },

    /// The bundle uses a feature this version does not have.
    #[error("the bundle uses {what} `{value}`, which this version of the library does not know: update the library")]
    UnknownFeature {
        /// What kind of feature.
        what: &'static str,
        /// Its name.
        value: String,
    },

    /// Text that should be JSON of a certain form is not.
    #[error("{what} is not the JSON expected: {detail}")]
    Json {
        /// The header, or the name of the section.
        what: String,
        /// What the parser said.
        detail: String,
    },

    /// A JSON object has the same key twice, so that two readers could see
    /// two different bundles.
    #[error("{what} has the JSON key `{key}` twice")]
    DuplicateKey {
        /// The header, or the name of the section.
        what: String,
        /// The key.
        key: String,
    },

    /// A length or count is beyond what any bundle may have.
    #[error("{what} is {found} and may be at most {limit}")]
    LimitExceeded {
        /// What is too large.
        what: String,
        /// Its value.
        found: u64,
        /// The most it may be.
        limit: u64,
    },

    /// A section has a name that is not allowed, or that another one has.
    #[error("the section name `{name}` is not allowed: {reason}")]
    SectionName {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },

    /// A section does not lie where the ones before it end.
    #[error(
        "the section `{name}` begins at byte {found} and must begin at {expected}: sections may not overlap or leave holes"
    )]
    SectionOffset {
        /// The section.
        name: String,
        /// Where it must begin.
        expected: u64,
        /// Where the header says it begins.
        found: u64,
    },

    /// A section states an alignment that is not allowed.
    #[error("the section `{name}` has the alignment {align}, which is not a power of two from 64 to 65536")]
    Alignment {
        /// The section.
        name: String,
        /// The alignment stated.
        align: u64,
    },

    /// The sections end at another place than the file.
    #[error("the sections end at byte {sections} and the bundle says it has {file} bytes")]
    FileLength {
        /// Where the last section ends.
        sections: u64,
        /// The length stated in the prefix.
        file: u64,
    },

    /// Bytes between sections are not zero.
    #[error("the gap before the section `{name}` holds bytes that are not zero")]
    GapBytes {
        /// The section after the gap.
        name: String,
    },

    /// A section that the task needs is not there.
    #[error("the bundle has no section `{name}` of the kind `{kind}`, which its task needs")]
    MissingSection {
        /// The name it should have.
        name: &'static str,
        /// The kind it should have.
        kind: &'static str,
    },

    /// There are several sections of a kind that may be there only once.
    #[error("the bundle has more than one section of the kind `{kind}`")]
    RepeatedSection {
        /// The kind.
        kind: &'static str,
    },

    /// A field of the manifest has a value that makes no sense.
    #[error("the manifest's `{field}` {reason}")]
    ManifestField {
        /// The field, with dots for nesting.
        field: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The list of labels cannot be used.
    #[error("the labels {0}")]
    Labels(String),

    /// The graph is not what the manifest says it is.
    #[error("the graph does not fit the manifest: {0}")]
    Graph(String),

    /// A signature is asked for and the bundle has none.
    #[error(
        "the bundle is not signed, and a signature by a trusted key is required: use the bundle as it was published"
    )]
    NotSigned,

    /// The bundle is signed, by others than those trusted.
    #[error("no trusted key signed the bundle; it names the keys {signers}")]
    NoTrustedSignature {
        /// Ids of the keys named in the bundle, with commas.
        signers: String,
    },

    /// The signature under a trusted key's id is not by that key, or for
    /// another content.
    #[error("the signature by the key {key_id} does not fit the bundle: one of the two was changed or exchanged")]
    WrongSignature {
        /// Id of the key.
        key_id: String,
    },

    /// The section with the signatures breaks a rule.
    #[error("the signature {0}")]
    MalformedSignature(String),

    /// A section is encrypted and the caller gave no way to decrypt it.
    #[error("the section `{name}` is encrypted: give a decrypt hook when opening the bundle")]
    Encrypted {
        /// The section.
        name: String,
    },

    /// The caller's hook did not decrypt a section.
    #[error("the section `{name}` could not be decrypted: {reason}")]
    Decryption {
        /// The section.
        name: String,
        /// What the hook said.
        reason: String,
    },

    /// A section is encrypted in a way this version does not know.
    #[error(
        "the section `{name}` is encrypted by `{encryption}`, which this version of the library does not know: update the library"
    )]
    UnsupportedEncryption {
        /// The section.
        name: String,
        /// The encryption named.
        encryption: String,
    },

    /// A section is encrypted that has to be readable.
    #[error("the section `{name}` is encrypted, and the kind `{kind}` may not be")]
    EncryptionNotAllowed {
        /// The section.
        name: String,
        /// Its kind.
        kind: String,
    },
}

fn newer_side(found: u32, supported: u32) -> &'static str {
    if found > supported { "update the library" } else { "pack the model again with a current exporter" }
}

impl BundleError {
    /// The stable code of this problem.
    pub fn code(&self) -> Code {
        use BundleError::*;
        match self {
            NotABundle(_) => Code::NotABundle,
            Truncated { .. } => Code::Truncated,
            HashMismatch { .. } => Code::Corrupt,
            UnsupportedVersion { .. }
            | UnknownRequiredSection { .. }
            | UnsupportedCompression { .. }
            | UnsupportedEncryption { .. }
            | Encrypted { .. }
            | Decryption { .. }
            | NeedsNewer { .. }
            | UnknownFeature { .. } => Code::Incompatible,
            NotSigned | NoTrustedSignature { .. } | WrongSignature { .. } | MalformedSignature(_) => Code::Signature,
            TrailingBytes { .. }
            | Json { .. }
            | DuplicateKey { .. }
            | LimitExceeded { .. }
            | SectionName { .. }
            | SectionOffset { .. }
            | Alignment { .. }
            | FileLength { .. }
            | GapBytes { .. }
            | MissingSection { .. }
            | RepeatedSection { .. }
            | EncryptionNotAllowed { .. }
            | ManifestField { .. }
            | Labels(_)
            | Graph(_) => Code::Malformed,
        }
    }
}
