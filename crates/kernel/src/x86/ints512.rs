//! Whole-number kernels with AVX-512 F, BW and VL: 32 codes to a register of words.

use crate::ints::RUN;
use std::arch::x86_64::{
    __m128i, __m256i, __m512i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_maskz_loadu_epi8,
    _mm_shuffle_epi32, _mm_storeu_si128, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_hadd_epi32,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maskz_loadu_epi8, _mm256_maskz_loadu_epi16,
    _mm256_set1_epi16, _mm256_setzero_si256, _mm256_srli_epi16, _mm512_add_epi32,
    _mm512_castsi512_si256, _mm512_cvtepu8_epi16, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
    _mm512_madd_epi16, _mm512_maskz_loadu_epi16, _mm512_setzero_si512,
};

/// Codes of a register.
const WIDTH: usize = 32;
/// Rows whose sums are joined at once.
const ROWS: usize = 4;

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn dot_u8(codes: &[u8], query: &[i16]) -> i32 {
    let sums = sums(codes, query);
    let low = _mm256_castsi256_si128(sums);
    total(_mm_add_epi32(low, _mm256_extracti128_si256::<1>(sums)))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn dot_u8_rows(query: &[i16], rows: &[u8], out: &mut [i32]) {
    let stride = query.len().max(1);
    let (fours, rest) = out.as_chunks_mut::<ROWS>();
    let (four_rows, rest_rows) = rows.split_at(fours.len() * ROWS * query.len());
    for (out, rows) in fours.iter_mut().zip(four_rows.chunks_exact(ROWS * stride)) {
        let row = |place: usize| sums(&rows[place * stride..][..stride], query);
        let first = _mm256_hadd_epi32(row(0), row(1));
        let second = _mm256_hadd_epi32(row(2), row(3));
        let both = _mm256_hadd_epi32(first, second);
        let low = _mm256_castsi256_si128(both);
        let joined = _mm_add_epi32(low, _mm256_extracti128_si256::<1>(both));
        #[expect(unsafe_code, reason = "stores to memory")]
        // SAFETY: there is room for four sums, and the store needs no alignment.
        unsafe {
            _mm_storeu_si128(out.as_mut_ptr().cast(), joined);
        }
    }
    for (row, out) in rest_rows.chunks_exact(stride).zip(rest) {
        *out = dot_u8(row, query);
    }
}

/// Eight sums that add up to the product.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn sums(codes: &[u8], query: &[i16]) -> __m256i {
    let ((blocks, tail), (values, value_tail)) =
        (codes.as_chunks::<WIDTH>(), query.as_chunks::<WIDTH>());
    let mut sums = _mm512_setzero_si512();
    for (codes, query) in blocks.iter().zip(values) {
        #[expect(unsafe_code, reason = "loads from memory")]
        // SAFETY: there are 32 codes and 32 values, and the loads need no alignment.
        let (codes, query) = unsafe {
            (_mm256_loadu_si256(codes.as_ptr().cast()), _mm512_loadu_si512(query.as_ptr().cast()))
        };
        sums = add(codes, query, sums);
    }
    if !tail.is_empty() {
        let mask = ((1u64 << tail.len().min(value_tail.len())) - 1) as u32;
        #[expect(unsafe_code, reason = "loads from memory")]
        // SAFETY: only as many lanes are read as there are codes and values.
        let (codes, query) = unsafe {
            let codes = _mm256_maskz_loadu_epi8(mask, tail.as_ptr().cast());
            (codes, _mm512_maskz_loadu_epi16(mask, value_tail.as_ptr()))
        };
        sums = add(codes, query, sums);
    }
    let high = _mm512_extracti64x4_epi64::<1>(sums);
    _mm256_add_epi32(_mm512_castsi512_si256(sums), high)
}

/// Adds products.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn add(codes: __m256i, query: __m512i, sums: __m512i) -> __m512i {
    _mm512_add_epi32(sums, _mm512_madd_epi16(_mm512_cvtepu8_epi16(codes), query))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn dot_u4(codes: &[u8], query: &[i16]) -> i32 {
    let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (run, query) in codes.chunks(RUN / 2).zip(query.chunks(RUN)) {
        (low, high) = add_halves(run, query, low, high);
    }
    let sums = _mm256_add_epi32(low, high);
    let first = _mm256_castsi256_si128(sums);
    total(_mm_add_epi32(first, _mm256_extracti128_si256::<1>(sums)))
}

/// Adds the products of a run, of its low and its high halves.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn add_halves(run: &[u8], query: &[i16], low: __m256i, high: __m256i) -> (__m256i, __m256i) {
    let (first, second) = query.split_at(run.len());
    let count = run.len().min(first.len()).min(second.len()).min(RUN / 2);
    let mask = ((1u32 << count) - 1) as u16;
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: only the first `count` lanes are read, and there are as many bytes and values in each half.
    let (run, first, second) = unsafe {
        let run = _mm_maskz_loadu_epi8(mask, run.as_ptr().cast());
        let first = _mm256_maskz_loadu_epi16(mask, first.as_ptr());
        (run, first, _mm256_maskz_loadu_epi16(mask, second.as_ptr()))
    };
    let words = _mm256_cvtepu8_epi16(run);
    let low_codes = _mm256_and_si256(words, _mm256_set1_epi16(15));
    let high_codes = _mm256_srli_epi16::<4>(words);
    (
        _mm256_add_epi32(low, _mm256_madd_epi16(low_codes, first)),
        _mm256_add_epi32(high, _mm256_madd_epi16(high_codes, second)),
    )
}

/// The sum of four.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn total(sums: __m128i) -> i32 {
    let two = _mm_add_epi32(sums, _mm_shuffle_epi32::<0b1110>(sums));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two)))
}
