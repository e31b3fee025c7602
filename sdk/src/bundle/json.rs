//! Strict JSON: no key twice in one object, at any depth.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::BundleError;

/// Parses `bytes` as `T`, refusing objects that have a key twice. `what` names
/// the text in error messages.
pub(crate) fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, BundleError> {
    check(what, bytes)?;
    serde_json::from_slice(bytes)
        .map_err(|error| BundleError::Json { what: what.to_owned(), detail: error.to_string() })
}

/// Checks that `bytes` are JSON without repeated keys.
pub(crate) fn check(what: &str, bytes: &[u8]) -> Result<(), BundleError> {
    match serde_json::from_slice::<UniqueKeys>(bytes) {
        Ok(UniqueKeys) => Ok(()),
        Err(error) => {
            let detail = error.to_string();
            match detail.strip_prefix(DUPLICATE).and_then(|rest| rest.split_once(END_OF_KEY)) {
                Some((key, _)) => {
                    Err(BundleError::DuplicateKey { what: what.to_owned(), key: key.chars().take(80).collect() })
                }
                None => Err(BundleError::Json { what: what.to_owned(), detail }),
            }
        }
    }
}

// serde_json carries our own errors as text only; these marks find the key again.
const DUPLICATE: &str = "duplicate key: ";
const END_OF_KEY: &str = "\u{0}";

/// Accepts any JSON and keeps none of it.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyJson)
    }
}

struct AnyJson;

impl<'de> Visitor<'de> for AnyJson {
    type Value = UniqueKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<UniqueKeys, A::Error> {
        while seq.next_element::<UniqueKeys>()?.is_some() {}
        Ok(UniqueKeys)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
        let mut seen = HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            map.next_value::<UniqueKeys>()?;
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("{DUPLICATE}{key}{END_OF_KEY}")));
            }
            seen.insert(key);
        }
        Ok(UniqueKeys)
    }
}

/// A key, borrowed from the text where it has no escapes: a vocabulary is tens of thousands of them.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_keys_are_found_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"[{"x":{"a":[],"b":null,"a":true}}]"#,
            r#"{"opset":{"a":1,"a":2}}"#,
            r#"{"\u0061":1,"a":2}"#,
        ] {
            let error = check("the text", text.as_bytes()).unwrap_err();
            assert_eq!(error, BundleError::DuplicateKey { what: "the text".into(), key: "a".into() }, "{text}");
        }
    }

    #[test]
    fn ordinary_json_passes() {
        for text in [r#"{"a":{"a":1},"b":[1.5,-2,"x",null,true,{"a":2}]}"#, "[]", "3"] {
            check("the text", text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "{", "[1,]", "{\"a\":1} x", "nul", "\u{feff}{}"] {
            assert!(matches!(check("the text", text.as_bytes()), Err(BundleError::Json { .. })), "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(check("the text", deep.as_bytes()), Err(BundleError::Json { .. })));
    }
}
