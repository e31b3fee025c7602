//! No registers: what every processor has.

use super::{LANES, Lanes, halves_of};

/// In arrays.
#[cfg_attr(target_arch = "aarch64", allow(dead_code))]
#[derive(Clone, Copy)]
pub(crate) struct Plain([f32; LANES]);

impl Plain {
    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| of(self.0[i], other.0[i])))
    }
}

impl Lanes for Plain {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }
    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(*values)
    }
    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        *values = self.0;
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.each(other, |a, b| a / b)
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].mul_add(factor.0[i], summand.0[i])))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.each(other, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.each(other, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }
    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        self.each(other, f32::copysign)
    }
    #[inline(always)]
    fn add_exponent(self, exponent: Self) -> Self {
        self.each(exponent, |a, b| f32::from_bits(a.to_bits().wrapping_add(b.to_bits() << 23)))
    }
    #[inline(always)]
    fn store_bytes(self, offset: u8, bytes: &mut [u8; LANES]) {
        *bytes = self.0.map(|value| (value.to_bits() as u8).wrapping_add(offset));
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, |a, b| if a > b { a } else { b })
    }

    type Sums = [i32; LANES];
    type Pairs = [i32; LANES];
    #[inline(always)]
    fn store_neighbours(self, pairs: &mut [i32; LANES / 2]) {
        *pairs = std::array::from_fn(|i| pair_of(self.0[2 * i], self.0[2 * i + 1]));
    }
    #[inline(always)]
    fn store_beside(self, other: Self, pairs: &mut [i32; LANES]) {
        *pairs = std::array::from_fn(|i| pair_of(self.0[i], other.0[i]));
    }
    #[inline(always)]
    fn load_pairs(pairs: &[i32; LANES]) -> Self::Pairs {
        *pairs
    }
    #[inline(always)]
    fn no_sums() -> Self::Sums {
        [0; LANES]
    }
    #[inline(always)]
    fn add_products(sums: Self::Sums, pair: i32, pairs: Self::Pairs) -> Self::Sums {
        let (low, high) = halves_of(pair);
        let product = |a: i16, b: i16| i32::from(a) * i32::from(b);
        std::array::from_fn(|i| {
            let (a, b) = halves_of(pairs[i]);
            sums[i].wrapping_add(product(a, low)).wrapping_add(product(b, high))
        })
    }
    #[inline(always)]
    fn of_sums(sums: Self::Sums) -> Self {
        Self(sums.map(|sum| sum as f32))
    }
}

/// The lower halves of two floats' bits.
#[inline(always)]
fn pair_of(low: f32, high: f32) -> i32 {
    ((low.to_bits() & 0xFFFF) | (high.to_bits() << 16)) as i32
}
