//! Whether codes are such that all sets of instructions give the same products.

use super::isa::{Isa, per_isa};
use super::lanes::Lanes;
use super::matrix::{COLUMNS, Codes, DEPTH, Mismatch};
use super::ternary::unpack;

/// Codes that lie side by side.
const GROUP: usize = COLUMNS * DEPTH;
/// Groups whose codes add up in 16 bits: 256 * -128 is the least that these hold.
const GROUPS: usize = 256;

per_isa! {
    /// Adds the codes of a panel's columns to `sums`, and makes `least` the least of them.
    fn add_up(codes: &[i8], sums: &mut [i32; COLUMNS], least: &mut i8) = add_up_codes;
}

// Plain numbers, which the compiler puts into the registers of each kind of lanes.
#[inline(always)]
fn add_up_codes<L: Lanes>(codes: &[i8], sums: &mut [i32; COLUMNS], least: &mut i8) {
    for part in codes.chunks(GROUPS * GROUP) {
        let (mut narrow, mut low) = ([0i16; GROUP], [0i8; GROUP]);
        for group in part.as_chunks::<GROUP>().0 {
            for ((narrow, low), &code) in narrow.iter_mut().zip(&mut low).zip(group) {
                *narrow += i16::from(code);
                *low = (*low).min(code);
            }
        }
        for (sum, narrow) in sums.iter_mut().zip(narrow.as_chunks::<DEPTH>().0) {
            *sum += narrow.iter().map(|&part| i32::from(part)).sum::<i32>();
        }
        *least = low.iter().fold(*least, |least, &code| least.min(code));
    }
}

/// Refuses the code -128, whose sign AVX2 cannot turn, and stored sums of columns that are not those of the codes, which
/// AVX-512 alone reads: answers would be others from processor to processor.
///
/// # Errors
/// What is wrong, with the number that is.
pub(super) fn check(codes: Codes, inputs: usize, sums: &[i32]) -> Result<(), Mismatch> {
    let isa = Isa::best();
    let size = inputs * COLUMNS;
    let mut unpacked = vec![0; if matches!(codes, Codes::Ternary(_)) { size } else { 0 }];
    for (panel, stored) in sums.chunks_exact(COLUMNS).enumerate() {
        let codes = match codes {
            Codes::Bytes(all) => &all[panel * size..(panel + 1) * size],
            Codes::Ternary(all) => {
                unpack(isa, &all[panel * size / DEPTH..(panel + 1) * size / DEPTH], &mut unpacked);
                &unpacked
            }
        };
        let (mut found, mut least) = ([0; COLUMNS], 0);
        add_up(isa, codes, &mut found, &mut least);
        if least == i8::MIN {
            return Err(Mismatch("codes with -128 among them, where -127 is the least that may be".to_owned()));
        }
        if let Some((found, stored)) = found.iter().zip(stored).find(|(found, stored)| found != stored) {
            return Err(Mismatch(format!("sums with {stored} among them, of codes that add up to {found}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::pack;

    #[test]
    fn columns_add_up_everywhere() {
        // More groups than 16 bits hold, the last not all of them.
        let (inputs, outputs) = (DEPTH * (2 * GROUPS + 3), 2 * COLUMNS);
        for code in [|_| 127i8, |_| -127, |i: usize| ((i * 101 % 255) as i32 - 127) as i8] {
            let codes: Vec<i8> = (0..inputs * outputs).map(code).collect();
            let packed = pack(&codes, &vec![1.0; outputs]).unwrap();
            for isa in Isa::available() {
                let (mut found, mut least) = ([5; COLUMNS], 0);
                add_up(isa, &packed.codes[inputs * COLUMNS..], &mut found, &mut least);
                let expected: Vec<i32> = packed.sums[COLUMNS..].iter().map(|sum| sum + 5).collect();
                let low = packed.codes[inputs * COLUMNS..].iter().copied().min().unwrap().min(0);
                assert_eq!((&found[..], least), (&expected[..], low), "{isa:?}");
            }
            assert_eq!(check(Codes::Bytes(&packed.codes), inputs, &packed.sums), Ok(()));
        }
    }

    /// Also where 16 bits hold just that.
    #[test]
    fn the_least_code_is_found_wherever_it_is() {
        let inputs = DEPTH * GROUPS;
        let codes = vec![-128i8; inputs * COLUMNS];
        let (mut found, mut least) = ([0; COLUMNS], 0);
        for isa in Isa::available() {
            (found, least) = ([0; COLUMNS], 0);
            add_up(isa, &codes, &mut found, &mut least);
        }
        assert_eq!((found, least), ([-128 * inputs as i32; COLUMNS], -128));
        for at in [0, 1, 63, 64, 129, 255] {
            let mut codes = [0i8; 4 * GROUP];
            codes[at] = -128;
            let mut sums = [0; COLUMNS];
            sums[at % GROUP / DEPTH] = -128;
            let error = check(Codes::Bytes(&codes), 4 * DEPTH, &sums).unwrap_err();
            assert!(error.0.contains("codes with -128"), "{at}: {error}");
        }
    }

    #[test]
    fn false_sums_are_found() {
        let codes: Vec<i8> = (0..GROUP * 4).map(|i| (i % 3) as i8 - 1).collect();
        let packed = pack(&codes, &[1.0; 2 * COLUMNS]).unwrap();
        for column in [0, 15, 16, 31] {
            for off in [1, -1, 1 << 24, i32::MIN] {
                let mut sums = packed.sums.clone();
                sums[column] = sums[column].wrapping_add(off);
                let error = check(Codes::Bytes(&packed.codes), packed.inputs, &sums).unwrap_err();
                assert!(error.0.contains(&format!("sums with {}", sums[column])), "{error}");
            }
        }
    }
}
