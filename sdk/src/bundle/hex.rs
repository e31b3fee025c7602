//! Lower-case hexadecimal, the only form that bundles and key files have.

/// Lower-case hex.
pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push(&mut text, bytes);
    text
}

/// Appends lower-case hex. With room for it in `text`, no copy of the digits is
/// left anywhere else, which matters for secret keys.
pub(super) fn push(text: &mut String, bytes: &[u8]) {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
}

/// `N` bytes from exactly `2 * N` lower-case hex digits.
pub(super) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let text = text.as_bytes();
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_is_strict() {
        let bytes: [u8; 32] = std::array::from_fn(|i| (i * 37) as u8);
        assert_eq!(decode(&encode(&bytes)), Some(bytes));
        assert_eq!(decode::<32>(&encode(&bytes).to_uppercase()), None);
        assert_eq!(decode::<32>("00"), None);
        assert_eq!(decode::<32>(&"é".repeat(32)), None);
        assert_eq!(decode::<1>("+1"), None);
        assert_eq!(decode::<0>(""), Some([]));
        assert_eq!(encode(&[0x0f, 0xa0]), "0fa0");
    }
}
