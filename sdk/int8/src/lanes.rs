//! Sixteen floats at a time, in the registers that the processor has.
//!
//! Written out and not left to the compiler: one that optimizes for size does not vectorize loops. Every operation is
//! IEEE 754's, so that all kinds of lanes give the same bits.

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
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
#[inline(always)]
fn halves_of(pair: i32) -> (i16, i16) {
    (pair as i16, (pair >> 16) as i16)
}

/// The lower halves of two floats' bits.
#[inline(always)]
fn pair_of(low: f32, high: f32) -> i32 {
    ((low.to_bits() & 0xFFFF) | (high.to_bits() << 16)) as i32
}

#[cfg(not(any(target_arch = "aarch64", target_arch = "x86_64")))]
pub(crate) use Plain as Best;
/// What a target has without being asked.
#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon as Best;

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

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Lanes};

    /// One register of AVX-512 (F, BW, DQ, VL, VNNI).
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY, for every block: the type is only named in functions for processors that have the instructions; arrays
    // are as long as a register.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx512 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            Self(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            Self(unsafe { _mm512_loadu_ps(values.as_ptr()) })
        }
        #[inline(always)]
        fn store(self, values: &mut [f32; LANES]) {
            unsafe { _mm512_storeu_ps(values.as_mut_ptr(), self.0) }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            Self(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            Self(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            Self(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            Self(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, summand: Self) -> Self {
            Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, summand.0) })
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            Self(unsafe { _mm512_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            Self(unsafe { _mm512_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        fn abs(self) -> Self {
            Self(unsafe { _mm512_abs_ps(self.0) })
        }
        #[inline(always)]
        fn with_sign_of(self, other: Self) -> Self {
            unsafe {
                let sign = _mm512_and_ps(other.0, _mm512_set1_ps(-0.0));
                Self(_mm512_or_ps(_mm512_abs_ps(self.0), sign))
            }
        }
        #[inline(always)]
        fn add_exponent(self, exponent: Self) -> Self {
            unsafe {
                let shifted = _mm512_slli_epi32::<23>(_mm512_castps_si512(exponent.0));
                Self(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(self.0), shifted)))
            }
        }
        #[inline(always)]
        fn store_bytes(self, offset: u8, bytes: &mut [u8; LANES]) {
            unsafe {
                let low = _mm512_cvtepi32_epi8(_mm512_castps_si512(self.0));
                let low = _mm_add_epi8(low, _mm_set1_epi8(offset as i8));
                _mm_storeu_si128(bytes.as_mut_ptr().cast(), low);
            }
        }
        #[inline(always)]
        fn largest(self) -> f32 {
            unsafe { _mm512_reduce_max_ps(self.0) }
        }

        type Sums = __m512i;
        type Pairs = __m512i;
        #[inline(always)]
        fn store_neighbours(self, pairs: &mut [i32; LANES / 2]) {
            unsafe {
                let low = _mm512_cvtepi32_epi16(_mm512_castps_si512(self.0));
                _mm256_storeu_si256(pairs.as_mut_ptr().cast(), low);
            }
        }
        #[inline(always)]
        fn store_beside(self, other: Self, pairs: &mut [i32; LANES]) {
            unsafe {
                let upper = _mm512_slli_epi32::<16>(_mm512_castps_si512(other.0));
                let both = _mm512_mask_blend_epi16(0xAAAA_AAAA, _mm512_castps_si512(self.0), upper);
                _mm512_storeu_si512(pairs.as_mut_ptr().cast(), both);
            }
        }
        #[inline(always)]
        fn load_pairs(pairs: &[i32; LANES]) -> Self::Pairs {
            unsafe { _mm512_loadu_si512(pairs.as_ptr().cast()) }
        }
        #[inline(always)]
        fn no_sums() -> Self::Sums {
            unsafe { _mm512_setzero_si512() }
        }
        #[inline(always)]
        fn add_products(sums: Self::Sums, pair: i32, pairs: Self::Pairs) -> Self::Sums {
            unsafe { _mm512_dpwssd_epi32(sums, pairs, _mm512_set1_epi32(pair)) }
        }
        #[inline(always)]
        fn of_sums(sums: Self::Sums) -> Self {
            Self(unsafe { _mm512_cvtepi32_ps(sums) })
        }
    }

    /// Two registers of AVX2, with FMA.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256, __m256);

    /// An operation on both halves; a macro for the same reason as those of `rows`.
    macro_rules! halves {
        ($of:ident, $a:expr, $b:expr) => {
            unsafe { Avx2($of($a.0, $b.0), $of($a.1, $b.1)) }
        };
    }

    // SAFETY, for every block: as above.
    #[allow(clippy::undocumented_unsafe_blocks)]
    impl Lanes for Avx2 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            let half = unsafe { _mm256_set1_ps(value) };
            Self(half, half)
        }
        #[inline(always)]
        fn load(values: &[f32; LANES]) -> Self {
            let start = values.as_ptr();
            unsafe { Self(_mm256_loadu_ps(start), _mm256_loadu_ps(start.add(8))) }
        }
        #[inline(always)]
        fn store(self, values: &mut [f32; LANES]) {
            let start = values.as_mut_ptr();
            unsafe {
                _mm256_storeu_ps(start, self.0);
                _mm256_storeu_ps(start.add(8), self.1);
            }
        }
        #[inline(always)]
        fn add(self, other: Self) -> Self {
            halves!(_mm256_add_ps, self, other)
        }
        #[inline(always)]
        fn sub(self, other: Self) -> Self {
            halves!(_mm256_sub_ps, self, other)
        }
        #[inline(always)]
        fn mul(self, other: Self) -> Self {
            halves!(_mm256_mul_ps, self, other)
        }
        #[inline(always)]
        fn div(self, other: Self) -> Self {
            halves!(_mm256_div_ps, self, other)
        }
        #[inline(always)]
        fn mul_add(self, factor: Self, summand: Self) -> Self {
            unsafe { Self(_mm256_fmadd_ps(self.0, factor.0, summand.0), _mm256_fmadd_ps(self.1, factor.1, summand.1)) }
        }
        #[inline(always)]
        fn max(self, other: Self) -> Self {
            halves!(_mm256_max_ps, self, other)
        }
        #[inline(always)]
        fn min(self, other: Self) -> Self {
            halves!(_mm256_min_ps, self, other)
        }
        #[inline(always)]
        fn abs(self) -> Self {
            halves!(_mm256_andnot_ps, Self::splat(-0.0), self)
        }
        #[inline(always)]
        fn with_sign_of(self, other: Self) -> Self {
            let sign = halves!(_mm256_and_ps, other, Self::splat(-0.0));
            halves!(_mm256_or_ps, self.abs(), sign)
        }
        #[inline(always)]
        fn add_exponent(self, exponent: Self) -> Self {
            unsafe {
                let (a, b) = (_mm256_castps_si256(self.0), _mm256_castps_si256(self.1));
                let first = _mm256_slli_epi32::<23>(_mm256_castps_si256(exponent.0));
                let second = _mm256_slli_epi32::<23>(_mm256_castps_si256(exponent.1));
                Self(_mm256_castsi256_ps(_mm256_add_epi32(a, first)), _mm256_castsi256_ps(_mm256_add_epi32(b, second)))
            }
        }
        #[inline(always)]
        fn store_bytes(self, offset: u8, bytes: &mut [u8; LANES]) {
            unsafe {
                let low = _mm256_set1_epi32(0xFF);
                let first = _mm256_and_si256(_mm256_castps_si256(self.0), low);
                let second = _mm256_and_si256(_mm256_castps_si256(self.1), low);
                // Packing works by halves of a register, which are put in order after it.
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(first, second));
                let packed = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                let packed = _mm_add_epi8(packed, _mm_set1_epi8(offset as i8));
                _mm_storeu_si128(bytes.as_mut_ptr().cast(), packed);
            }
        }
        #[inline(always)]
        fn largest(self) -> f32 {
            unsafe {
                let eight = _mm256_max_ps(self.0, self.1);
                let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
                let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
            }
        }

        type Sums = [__m256i; 2];
        type Pairs = [__m256i; 2];
        #[inline(always)]
        fn store_neighbours(self, pairs: &mut [i32; LANES / 2]) {
            unsafe {
                let low = _mm256_set1_epi32(0xFFFF);
                let first = _mm256_and_si256(_mm256_castps_si256(self.0), low);
                let second = _mm256_and_si256(_mm256_castps_si256(self.1), low);
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(first, second));
                _mm256_storeu_si256(pairs.as_mut_ptr().cast(), words);
            }
        }
        #[inline(always)]
        fn store_beside(self, other: Self, pairs: &mut [i32; LANES]) {
            unsafe {
                for (half, (low, high)) in [(self.0, other.0), (self.1, other.1)].into_iter().enumerate() {
                    let upper = _mm256_slli_epi32::<16>(_mm256_castps_si256(high));
                    let both = _mm256_blend_epi16::<0xAA>(_mm256_castps_si256(low), upper);
                    _mm256_storeu_si256(pairs.as_mut_ptr().add(8 * half).cast(), both);
                }
            }
        }
        #[inline(always)]
        fn load_pairs(pairs: &[i32; LANES]) -> Self::Pairs {
            let start = pairs.as_ptr();
            unsafe { [_mm256_loadu_si256(start.cast()), _mm256_loadu_si256(start.add(8).cast())] }
        }
        #[inline(always)]
        fn no_sums() -> Self::Sums {
            [unsafe { _mm256_setzero_si256() }; 2]
        }
        #[inline(always)]
        fn add_products(sums: Self::Sums, pair: i32, pairs: Self::Pairs) -> Self::Sums {
            unsafe {
                let pair = _mm256_set1_epi32(pair);
                [
                    _mm256_add_epi32(sums[0], _mm256_madd_epi16(pairs[0], pair)),
                    _mm256_add_epi32(sums[1], _mm256_madd_epi16(pairs[1], pair)),
                ]
            }
        }
        #[inline(always)]
        fn of_sums(sums: Self::Sums) -> Self {
            unsafe { Self(_mm256_cvtepi32_ps(sums[0]), _mm256_cvtepi32_ps(sums[1])) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm {
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
}
