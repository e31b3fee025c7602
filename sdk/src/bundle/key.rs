//! Ed25519 keys as text: public ones to be shipped, signing ones to be kept.

use std::fmt;

use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::hex;
use crate::{Error, Result};

/// First line of a file that holds a signing key.
const SIGNING_KEY: &str = "limbeck signing key v1";

/// A key that checks signatures: 64 lower-case hex digits as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The key of 64 lower-case hex digits; white space around them is skipped,
    /// so that this reads the text of a `.pub` file.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the text is something else, or no point
    /// that Ed25519 can use. The text is not repeated in the message: it could
    /// be a secret key, given by mistake.
    pub fn from_hex(text: &str) -> Result<PublicKey> {
        let fail = |reason: &str| Err(Error::InvalidArgument(format!("the public key {reason}")));
        let text = text.trim_ascii();
        if text.starts_with(SIGNING_KEY) {
            return fail("is a signing key, which must stay secret: give the public key made with it");
        }
        let Some(bytes) = hex::decode(text) else {
            return fail("is not 64 lower-case hex digits");
        };
        match VerifyingKey::from_bytes(&bytes) {
            // A weak key lets one signature fit many texts.
            Ok(key) if !key.is_weak() => Ok(PublicKey(key)),
            _ => fail("is no key of Ed25519: check that it was copied whole"),
        }
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0.as_bytes())
    }

    /// The key's id: the first 8 bytes of the SHA-256 of its 32 bytes, as 16
    /// lower-case hex digits. It tells keys apart; only the key itself proves
    /// anything.
    pub fn id(&self) -> String {
        hex::encode(&Sha256::digest(self.0.as_bytes())[..8])
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.to_hex())
    }
}

/// A key that makes signatures. It is erased from memory when dropped, and
/// neither its `Debug` form nor any error shows it.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Makes a key of the operating system's random numbers.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has none to give.
    pub fn generate() -> Result<SigningKey> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(secret.as_mut_slice()).map_err(|error| Error::Io {
            action: "read",
            path: "<the system's random numbers>".into(),
            source: std::io::Error::other(error.to_string()),
        })?;
        Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(&secret)))
    }

    /// The key from the text of a key file, as [`to_text`](SigningKey::to_text)
    /// writes it; white space around the two lines is skipped.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the text is something else. The text is
    /// not repeated in the message.
    pub fn from_text(text: &str) -> Result<SigningKey> {
        let secret = text
            .trim_ascii()
            .strip_prefix(SIGNING_KEY)
            .and_then(|rest| rest.strip_prefix("\n").or_else(|| rest.strip_prefix("\r\n")))
            .and_then(hex::decode::<32>)
            .map(Zeroizing::new);
        match secret {
            Some(secret) => Ok(SigningKey(ed25519_dalek::SigningKey::from_bytes(&secret))),
            None => Err(Error::InvalidArgument(format!(
                "the signing key is not a line `{SIGNING_KEY}` and a line of 64 lower-case hex digits"
            ))),
        }
    }

    /// The text of a key file: a line that names the format, and a line of 64
    /// hex digits, which are the secret. It is erased from memory when dropped;
    /// write it only where nobody else can read it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(SIGNING_KEY.len() + 2 + 64));
        text.push_str(SIGNING_KEY);
        text.push('\n');
        hex::push(&mut text, self.0.as_bytes());
        text.push('\n');
        text
    }

    /// The key that checks this one's signatures.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The id of the [public key](PublicKey::id).
    pub fn id(&self) -> String {
        self.public_key().id()
    }

    pub(super) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(id {})", self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    /// The first test vector of RFC 8032, section 7.1.
    const SECRET: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn key() -> SigningKey {
        SigningKey::from_text(&format!("{SIGNING_KEY}\n{SECRET}\n")).unwrap()
    }

    #[test]
    fn keys_and_signatures_are_those_of_the_standard() {
        let key = key();
        assert_eq!(key.public_key().to_hex(), PUBLIC);
        // SHA-256 of the public key's bytes begins with these.
        assert_eq!(key.id(), "21fe31dfa154a261");
        assert_eq!(
            hex::encode(&key.sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
        assert!(key.public_key().signed(b"", &key.sign(b"")));
        assert!(!key.public_key().signed(b"x", &key.sign(b"")));
    }

    #[test]
    fn texts_round_trip() {
        let key = SigningKey::generate().unwrap();
        let text = key.to_text();
        assert_eq!(text.capacity(), text.len(), "the text never moved in memory");
        assert_eq!(SigningKey::from_text(&text).unwrap().id(), key.id());
        assert_eq!(SigningKey::from_text(&text.replace('\n', "\r\n")).unwrap().id(), key.id());
        let public = PublicKey::from_hex(&format!(" {}\n", key.public_key().to_hex())).unwrap();
        assert_eq!(public, key.public_key());
        assert_ne!(SigningKey::generate().unwrap().id(), key.id());
    }

    #[test]
    fn other_texts_are_refused_without_being_repeated() {
        let whole = key().to_text();
        let texts = [
            SECRET,
            &whole[..whole.len() - 2],
            &whole.to_uppercase(),
            &whole.replace('\n', " "),
            &format!("{}0", whole.trim()),
            &format!("{}{SECRET}", *whole),
            "",
        ];
        for text in texts {
            let error = SigningKey::from_text(text).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(!error.to_string().contains("9d61"), "{error}");
        }
        // Not a point; the identity, and a point of order 8.
        let no_keys = [
            "02".to_owned() + &"00".repeat(31),
            "01".to_owned() + &"00".repeat(31),
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
        ];
        for text in no_keys.iter().map(String::as_str).chain(["", &PUBLIC[1..], &PUBLIC.to_uppercase(), &whole]) {
            let error = PublicKey::from_hex(text).unwrap_err();
            assert_eq!(error.code(), Code::InvalidArgument);
            assert!(!error.to_string().contains("9d61"), "{error}");
        }
        assert!(PublicKey::from_hex(&whole).unwrap_err().to_string().contains("must stay secret"));
    }

    #[test]
    fn debug_forms_keep_the_secret() {
        assert_eq!(format!("{:?}", key()), "SigningKey(id 21fe31dfa154a261)");
        assert_eq!(format!("{:?}", key().public_key()), format!("PublicKey({PUBLIC})"));
    }
}
