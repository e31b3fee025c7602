//! Ternary codes of 2 bits as bytes.

use super::isa::per_isa;
use super::lanes::Lanes;
use super::matrix::DEPTH;

per_isa! {
    /// Each byte as the [`DEPTH`] codes that [`super::pack_ternary`] made it of.
    pub(super) fn unpack(bytes: &[u8], codes: &mut [i8]) = unpack_bytes;
}

// Plain numbers, which the compiler puts into the registers of each kind of lanes.
#[inline(always)]
fn unpack_bytes<L: Lanes>(bytes: &[u8], codes: &mut [i8]) {
    for (&byte, codes) in bytes.iter().zip(codes.as_chunks_mut::<DEPTH>().0) {
        let byte = u32::from(byte);
        // Two bits at the bottom of each byte; then those above them as the upper one is, which is the sign.
        let pairs = (byte | (byte << 6) | (byte << 12) | (byte << 18)) & 0x0303_0303;
        let signs = (pairs >> 1) & 0x0101_0101;
        *codes = (pairs | (signs * 0xFC)).to_le_bytes().map(|code| code as i8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::matrix::pack_ternary;

    #[test]
    fn every_byte_is_read_the_same_everywhere() {
        let bytes: Vec<u8> = (0..=255).chain(0..=76).collect();
        for isa in Isa::available() {
            let mut codes = vec![9; bytes.len() * DEPTH];
            unpack(isa, &bytes, &mut codes);
            for (at, &code) in codes.iter().enumerate() {
                let bits = (bytes[at / DEPTH] >> (at % DEPTH * 2) & 3) as i8;
                assert_eq!(code, if bits > 1 { bits - 4 } else { bits }, "{isa:?} {at}");
            }
        }
    }

    #[test]
    fn what_is_packed_comes_back() {
        let codes: Vec<i8> = (0..400).map(|i: usize| ((i * 7 + i / 3) % 3) as i8 - 1).collect();
        let mut found = vec![9; 400];
        unpack(Isa::best(), &pack_ternary(&codes).unwrap(), &mut found);
        assert_eq!(found, codes);
    }
}
