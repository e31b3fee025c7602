//! The registers of x86-64.

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
