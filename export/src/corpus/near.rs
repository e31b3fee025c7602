//! Near-duplicates by MinHash with bands.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::words::words;

/// Numbers of a signature.
const SIGNATURE: usize = 128;
/// No document.
const NONE: u32 = u32::MAX;
/// Words of a shingle.
const SHINGLE: usize = 5;

/// The least hashes of a text's shingles under [`SIGNATURE`] permutations: the share of equal numbers of two texts
/// estimates the Jaccard similarity of their sets of shingles (Broder 1997).
pub(super) type Signature = Vec<u32>;

/// A hash that is the same on any machine, with its bits well mixed.
pub(super) fn hash(words: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for word in words {
        for byte in word.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    mixed(hash)
}

/// The finalizer of MurmurHash3.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Hashes of all runs of [`SHINGLE`] words; of all words together where there are fewer.
fn shingles(text: &str) -> Vec<u64> {
    let words = words(text);
    match words.len() {
        0 => vec![],
        1..SHINGLE => vec![hash(&words)],
        _ => words.windows(SHINGLE).map(hash).collect(),
    }
}

/// The signature of a normalised text.
pub(super) fn signature(text: &str) -> Signature {
    let mut least = vec![u32::MAX; SIGNATURE];
    for shingle in shingles(text) {
        for (place, least) in least.iter_mut().enumerate() {
            // One well-mixed hash for each place stands for a permutation.
            let own = mixed(shingle ^ (place as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15)) as u32;
            *least = (*least).min(own);
        }
    }
    least
}

/// What two documents must have in common to be the same one.
pub(super) type Fingerprint = [u8; 16];

/// Of a normalised text.
pub(super) fn fingerprint(text: &str) -> Fingerprint {
    let mut own = Fingerprint::default();
    own.copy_from_slice(&Sha256::digest(text.as_bytes())[..16]);
    own
}

/// The signatures of what was kept, to be asked for like ones. A document costs half a kilobyte, and for each band 23 to 43
/// bytes (the table is between 7/16 and 7/8 full): with the 25 bands of a similarity of 0.8 1.1 to 1.6 kilobytes in all,
/// with the 128 of 0.3 up to 6.
pub(super) struct Index {
    threshold: f64,
    /// Numbers of a band.
    rows: usize,
    /// By a band and its numbers, the last document that has them.
    last: HashMap<u64, u32>,
    /// For each band of each document the one before that has the same numbers there, or [`NONE`].
    before: Vec<u32>,
    signatures: Vec<Signature>,
}

impl Index {
    /// For documents at least so alike. Bands are as wide as leaves all but one in a thousand of such pairs with a band in
    /// common: `(1 - t^r)^(128 / r) <= 0.001` (Leskovec, "Mining of Massive Datasets", section 3.4).
    pub(super) fn new(threshold: f64) -> Self {
        let missed = |rows: usize| (1.0 - threshold.powi(rows as i32)).powi((SIGNATURE / rows) as i32);
        let rows = (1..=32).rev().find(|&rows| missed(rows) <= 1e-3).unwrap_or(1);
        Self { threshold, rows, last: HashMap::new(), before: Vec::new(), signatures: Vec::new() }
    }

    fn keys(&self, signature: &[u32]) -> Vec<u64> {
        let key = |(band, numbers): (usize, &[u32])| {
            let start = mixed(band as u64 + 1);
            numbers.iter().fold(start, |key, &number| mixed(key ^ u64::from(number)).rotate_left(7))
        };
        signature.chunks_exact(self.rows).enumerate().map(key).collect()
    }

    /// Whether something alike was added before.
    pub(super) fn has_alike(&self, signature: &[u32]) -> bool {
        let alike = |other: u32| {
            let other = &self.signatures[other as usize];
            let equal = signature.iter().zip(other).filter(|(a, b)| a == b).count();
            equal as f64 / SIGNATURE as f64 >= self.threshold
        };
        let keys = self.keys(signature);
        let bands = keys.len();
        let chain = |(band, key): (usize, &u64)| {
            let before =
                move |&other: &u32| Some(self.before[other as usize * bands + band]).filter(|own| *own < other);
            std::iter::successors(self.last.get(key).copied(), before)
        };
        keys.iter().enumerate().flat_map(chain).any(alike)
    }

    pub(super) fn add(&mut self, signature: Signature) {
        let number = self.signatures.len() as u32;
        for key in self.keys(&signature) {
            self.before.push(self.last.insert(key, number).unwrap_or(NONE));
        }
        self.signatures.push(signature);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(range: std::ops::Range<usize>) -> String {
        range.map(|i| format!("w{}", mixed(i as u64) % 100_000)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn signatures_estimate_similarity() {
        // Shingles of two texts of 1000 and of the first 1000 - k and k others.
        for shared in [0usize, 300, 700, 900, 1000] {
            let (a, b) = (words(0..1000), format!("{} {}", words(0..shared), words(5000..6000 - shared)));
            let both = shared.saturating_sub(SHINGLE - 1) as f64;
            let jaccard = both / (2.0 * 996.0 - both);
            let (a, b) = (signature(&a), signature(&b));
            let equal = a.iter().zip(&b).filter(|(a, b)| a == b).count() as f64 / SIGNATURE as f64;
            assert!((equal - jaccard).abs() < 0.13, "{equal} for {jaccard}");
        }
    }

    #[test]
    fn like_texts_are_found_and_others_not() {
        let mut index = Index::new(0.8);
        for document in 0..200 {
            index.add(signature(&words(document * 1000..document * 1000 + 400)));
        }
        let mut found = 0;
        for document in 0..200usize {
            let start = document * 1000;
            // One word of 400 changed: 5 of 396 shingles.
            let changed = format!("{} other {}", words(start..start + 200), words(start + 201..start + 400));
            found += usize::from(index.has_alike(&signature(&changed)));
            // Half of it is another text.
            let half = format!("{} {}", words(start..start + 200), words(900_000 + start..900_200 + start));
            assert!(!index.has_alike(&signature(&half)));
        }
        assert_eq!(found, 200);
        assert!(!index.has_alike(&signature("")) || Index::new(0.8).has_alike(&signature("")));
    }

    #[test]
    fn the_first_of_many_with_a_band_in_common_is_found() {
        // At this similarity a band is one number; all of these share the first.
        let mut index = Index::new(0.3);
        assert_eq!(index.rows, 1);
        let own =
            |document: u32| (0..SIGNATURE as u32).map(|at| if at == 0 { 7 } else { document * 1000 + at }).collect();
        for document in 1..50 {
            let signature: Signature = own(document);
            assert!(!index.has_alike(&signature));
            index.add(signature);
        }
        let mut like_the_first: Signature = own(1);
        like_the_first[40..].fill(3);
        assert!(index.has_alike(&like_the_first));
    }

    #[test]
    fn few_words_are_one_shingle() {
        assert_eq!(shingles("a b").len(), 1);
        assert_eq!(shingles("a b c d e f").len(), 2);
        assert!(shingles(" ").is_empty());
        assert_ne!(shingles("ab c"), shingles("a bc"));
    }

    #[test]
    fn like_texts_without_spaces_are_found() {
        let text = |range: std::ops::Range<usize>| {
            range.map(|i| char::from_u32(0x4e00 + (mixed(i as u64) % 20_000) as u32).unwrap()).collect::<String>()
        };
        let mut index = Index::new(0.8);
        index.add(signature(&text(0..400)));
        assert!(index.has_alike(&signature(&(text(0..200) + "好" + &text(201..400)))));
        assert!(!index.has_alike(&signature(&(text(0..200) + &text(1000..1200)))));
    }
}
