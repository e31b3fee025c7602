//! Random numbers that are the same everywhere.

/// A number in [0, 1) for one draw of one row: a function of its three arguments and of nothing else, so that a text
/// does not depend on its batch mates, on threads, or on how many draws were made before.
///
/// It is SplitMix64 (Steele, Lea, Flood 2014) as a counter: `mix(mix(mix(seed) + g (row + 1)) + g (draw + 1))` modulo
/// 2^64, with g = 0x9E3779B97F4A7C15 and `mix` its finalizer; the upper 53 bits are the number, over 2^53.
pub(crate) fn uniform(seed: u64, row: u64, draw: u64) -> f64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let step = |state: u64, count: u64| mix(state.wrapping_add(GOLDEN.wrapping_mul(count.wrapping_add(1))));
    let bits = step(step(mix(seed), row), draw) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs of SplitMix64 with seed 1234567, as in Rosetta Code and the reference code in C.
    #[test]
    fn the_finalizer_is_that_of_splitmix64() {
        let golden = 0x9E37_79B9_7F4A_7C15u64;
        let outputs = [1u64, 2, 3].map(|n| mix(1_234_567u64.wrapping_add(golden.wrapping_mul(n))));
        assert_eq!(outputs, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn numbers_are_spread_and_differ_by_every_argument() {
        let mut tenths = [0usize; 10];
        for draw in 0..10_000 {
            let number = uniform(7, 0, draw);
            assert!((0.0..1.0).contains(&number));
            tenths[(number * 10.0) as usize] += 1;
        }
        assert!(tenths.iter().all(|&count| (850..1150).contains(&count)), "{tenths:?}");
        assert_ne!(uniform(7, 0, 1), uniform(7, 1, 0));
        assert_ne!(uniform(7, 0, 0), uniform(8, 0, 0));
        assert_eq!(uniform(7, 3, 5), uniform(7, 3, 5));
    }
}
