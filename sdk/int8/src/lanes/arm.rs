//! The registers of 64-bit ARM.

use std::arch::aarch64::*;

use super::{LANES, Lanes};

/// Four registers of NEON, which every 64-bit ARM has.
#[derive(Clone, Copy)]
pub(crate) struct Neon([float32x4_t; 4]);

impl Neon {
    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(float32x4_t, float32x4_t) -> float32x4_t) -> Self {
        Self(std::array::from_fn(|i| of(self.0[i], other.0[i])))
    }
}

// SAFETY, for every block: the instructions are there on every processor of this target; arrays are as long as the
// registers.
#[allow(clippy::undocumented_unsafe_blocks, unused_unsafe)]
impl Lanes for Neon {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([unsafe { vdupq_n_f32(value) }; 4])
    }
    #[inline(always)]
    fn load(values: &[f32; LANES]) -> Self {
        Self(std::array::from_fn(|i| unsafe { vld1q_f32(values.as_ptr().add(4 * i)) }))
    }
    #[inline(always)]
    fn store(self, values: &mut [f32; LANES]) {
        for (i, part) in self.0.into_iter().enumerate() {
            unsafe { vst1q_f32(values.as_mut_ptr().add(4 * i), part) };
        }
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vaddq_f32(a, b) })
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vsubq_f32(a, b) })
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vmulq_f32(a, b) })
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vdivq_f32(a, b) })
    }
    #[inline(always)]
    fn mul_add(self, factor: Self, summand: Self) -> Self {
        Self(std::array::from_fn(|i| unsafe { vfmaq_f32(summand.0[i], self.0[i], factor.0[i]) }))
    }
    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vbslq_f32(vcltq_f32(a, b), a, b) })
    }
    #[inline(always)]
    fn abs(self) -> Self {
        Self(self.0.map(|part| unsafe { vabsq_f32(part) }))
    }
    #[inline(always)]
    fn with_sign_of(self, other: Self) -> Self {
        self.each(other, |a, b| unsafe { vbslq_f32(vdupq_n_u32(1 << 31), b, a) })
    }
    #[inline(always)]
    fn add_exponent(self, exponent: Self) -> Self {
        self.each(exponent, |a, b| unsafe {
            let shifted = vshlq_n_u32::<23>(vreinterpretq_u32_f32(b));
            vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a), shifted))
        })
    }
    #[inline(always)]
    fn store_bytes(self, offset: u8, bytes: &mut [u8; LANES]) {
        unsafe {
            let [a, b, c, d] = self.0.map(|part| vmovn_u32(vreinterpretq_u32_f32(part)));
            let low = vmovn_u16(vcombine_u16(a, b));
            let high = vmovn_u16(vcombine_u16(c, d));
            vst1q_u8(bytes.as_mut_ptr(), vaddq_u8(vcombine_u8(low, high), vdupq_n_u8(offset)));
        }
    }
    #[inline(always)]
    fn largest(self) -> f32 {
        let [a, b, c, d] = self.0;
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(vmaxnmq_f32(a, b), vmaxnmq_f32(c, d))) }
    }

    type Sums = [int32x4_t; 4];
    type Pairs = [int16x8x2_t; 2];
    #[inline(always)]
    fn store_neighbours(self, pairs: &mut [i32; LANES / 2]) {
        unsafe {
            let [a, b, c, d] = self.0.map(|part| vmovn_u32(vreinterpretq_u32_f32(part)));
            vst1q_s32(pairs.as_mut_ptr(), vreinterpretq_s32_u16(vcombine_u16(a, b)));
            vst1q_s32(pairs.as_mut_ptr().add(4), vreinterpretq_s32_u16(vcombine_u16(c, d)));
        }
    }
    #[inline(always)]
    fn store_beside(self, other: Self, pairs: &mut [i32; LANES]) {
        for (i, (low, high)) in self.0.into_iter().zip(other.0).enumerate() {
            unsafe {
                // Shifts the upper one left and keeps the lower half of the lower one.
                let both = vsliq_n_u32::<16>(vreinterpretq_u32_f32(low), vreinterpretq_u32_f32(high));
                vst1q_s32(pairs.as_mut_ptr().add(4 * i), vreinterpretq_s32_u32(both));
            }
        }
    }
    #[inline(always)]
    fn load_pairs(pairs: &[i32; LANES]) -> Self::Pairs {
        let start: *const i16 = pairs.as_ptr().cast();
        unsafe { [vld2q_s16(start), vld2q_s16(start.add(LANES))] }
    }
    #[inline(always)]
    fn no_sums() -> Self::Sums {
        [unsafe { vdupq_n_s32(0) }; 4]
    }
    #[inline(always)]
    fn add_products(sums: Self::Sums, pair: i32, pairs: Self::Pairs) -> Self::Sums {
        let (low, high) = super::halves_of(pair);
        let [int16x8x2_t(a, b), int16x8x2_t(c, d)] = pairs;
        unsafe {
            let add = |sum, lows, highs| vmlal_n_s16(vmlal_n_s16(sum, lows, low), highs, high);
            [
                add(sums[0], vget_low_s16(a), vget_low_s16(b)),
                add(sums[1], vget_high_s16(a), vget_high_s16(b)),
                add(sums[2], vget_low_s16(c), vget_low_s16(d)),
                add(sums[3], vget_high_s16(c), vget_high_s16(d)),
            ]
        }
    }
    #[inline(always)]
    fn of_sums(sums: Self::Sums) -> Self {
        Self(sums.map(|sum| unsafe { vcvtq_f32_s32(sum) }))
    }
}
