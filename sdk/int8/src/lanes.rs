//! Sixteen floats at a time, in the registers that the processor has.
//!
//! Written out and not left to the compiler: one that optimizes for size does not vectorize loops. Every operation is
//! IEEE 754's, so that all kinds of lanes give the same bits.

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm;
mod plain;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

/// What a target has without being asked.
#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon as Best;
#[cfg_attr(target_arch = "aarch64", allow(unused_imports))]
pub(crate) use plain::Plain;
#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
pub(crate) use plain::Plain as Best;

/// Lanes of every kind.
pub(crate) const LANES: usize = 16;

/// Sixteen floats. What is unsafe about them is that the processor must have the instructions.
pub(crate) trait Lanes: Copy {
    /// The same number everywhere.
    fn splat(value: f32) -> Self;
    fn load(values: &[f32; LANES]) -> Self;
    fn store(self, values: &mut [f32; LANES]);
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// self * factor + summand, rounded once.
    fn mul_add(self, factor: Self, summand: Self) -> Self;
    /// The larger of each two; the other where one is not a number.
    fn max(self, other: Self) -> Self;
    fn min(self, other: Self) -> Self;
    fn abs(self) -> Self;
    /// |self| with the sign of another.
    fn with_sign_of(self, other: Self) -> Self;
    /// The bits of self plus those of another shifted to the exponent.
    fn add_exponent(self, exponent: Self) -> Self;
    /// The lowest byte of each, plus an offset.
    fn store_bytes(self, offset: u8, bytes: &mut [u8; LANES]);
    /// The largest of all.
    fn largest(self) -> f32;

    /// Sixteen sums of 32 bits.
    type Sums: Copy;
    /// Sixteen pairs of 16-bit numbers.
    type Pairs: Copy;
    /// The lower halves of neighbours side by side: the one before in the lower half.
    fn store_neighbours(self, pairs: &mut [i32; LANES / 2]);
    /// The lower halves of each, and of another's in the upper halves.
    fn store_beside(self, other: Self, pairs: &mut [i32; LANES]);
    fn load_pairs(pairs: &[i32; LANES]) -> Self::Pairs;
    fn no_sums() -> Self::Sums;
    /// Sums plus both products of each pair with those of one pair.
    fn add_products(sums: Self::Sums, pair: i32, pairs: Self::Pairs) -> Self::Sums;
    /// The nearest floats.
    fn of_sums(sums: Self::Sums) -> Self;
}

/// The two numbers of a pair.
#[inline(always)]
fn halves_of(pair: i32) -> (i16, i16) {
    (pair as i16, (pair >> 16) as i16)
}
