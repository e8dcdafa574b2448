//! Whole-number kernels with AVX2: 16 codes to a register of words.

use crate::ints::RUN;
use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi32, _mm_cvtepu8_epi16, _mm_cvtsi64_si128, _mm_cvtsi128_si32,
    _mm_loadu_si128, _mm_madd_epi16, _mm_shuffle_epi32, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cvtepu8_epi16, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_madd_epi16, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_srli_epi16,
    _mm256_zextsi128_si256,
};

/// Codes of a register.
const WIDTH: usize = 16;

#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_u8(codes: &[u8], query: &[i16]) -> i32 {
    let mut sums = _mm256_setzero_si256();
    let ((blocks, tail), (values, value_tail)) =
        (codes.as_chunks::<WIDTH>(), query.as_chunks::<WIDTH>());
    for (codes, query) in blocks.iter().zip(values) {
        sums = add(codes, query, sums);
    }
    // Half a register is what most dimensions leave over, rounded up to a multiple of 8 as they are.
    let (half, value_half) = (tail.split_first_chunk(), value_tail.split_first_chunk());
    let (tail, value_tail) = match (half, value_half) {
        (Some((codes, tail)), Some((query, value_tail))) => {
            sums = add_half(codes, query, sums);
            (tail, value_tail)
        }
        _ => (tail, value_tail),
    };
    if !tail.is_empty() {
        let (mut codes, mut query) = ([0; WIDTH / 2], [0; WIDTH / 2]);
        codes[..tail.len()].copy_from_slice(tail);
        query[..tail.len()].copy_from_slice(value_tail);
        sums = add_half(&codes, &query, sums);
    }
    total(sums)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_half(codes: &[u8; WIDTH / 2], query: &[i16; WIDTH / 2], sums: __m256i) -> __m256i {
    let codes = _mm_cvtepu8_epi16(_mm_cvtsi64_si128(i64::from_le_bytes(*codes)));
    let products = _mm_madd_epi16(codes, load_half(query));
    _mm256_add_epi32(sums, _mm256_zextsi128_si256(products))
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_u8_rows(query: &[i16], rows: &[u8], out: &mut [i32]) {
    for (row, out) in rows.chunks_exact(query.len().max(1)).zip(out) {
        *out = dot_u8(row, query);
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn add(codes: &[u8; WIDTH], query: &[i16; WIDTH], sums: __m256i) -> __m256i {
    let codes = _mm256_cvtepu8_epi16(load_bytes(codes));
    _mm256_add_epi32(sums, _mm256_madd_epi16(codes, load_words(query)))
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_u4(codes: &[u8], query: &[i16]) -> i32 {
    let mut sums = _mm256_setzero_si256();
    let ((runs, tail), (values, value_tail)) =
        (codes.as_chunks::<{ RUN / 2 }>(), query.as_chunks::<RUN>());
    for (run, query) in runs.iter().zip(values) {
        sums = add_halves(run, query, sums);
    }
    if !tail.is_empty() {
        let (mut run, mut query) = ([0; RUN / 2], [0; RUN]);
        run[..tail.len()].copy_from_slice(tail);
        let (low, high) = value_tail.split_at(tail.len());
        query[..low.len()].copy_from_slice(low);
        query[RUN / 2..][..high.len()].copy_from_slice(high);
        sums = add_halves(&run, &query, sums);
    }
    total(sums)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_halves(run: &[u8; RUN / 2], query: &[i16; RUN], sums: __m256i) -> __m256i {
    let words = _mm256_cvtepu8_epi16(load_bytes(run));
    let low = _mm256_and_si256(words, _mm256_set1_epi16(15));
    let high = _mm256_srli_epi16::<4>(words);
    let (halves, _) = query.as_chunks::<{ RUN / 2 }>();
    let sums = _mm256_add_epi32(sums, _mm256_madd_epi16(low, load_words(&halves[0])));
    _mm256_add_epi32(sums, _mm256_madd_epi16(high, load_words(&halves[1])))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_bytes(bytes: &[u8; 16]) -> __m128i {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 16 bytes, and the load needs no alignment.
    unsafe {
        _mm_loadu_si128(bytes.as_ptr().cast())
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_half(words: &[i16; 8]) -> __m128i {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 8 words, and the load needs no alignment.
    unsafe {
        _mm_loadu_si128(words.as_ptr().cast())
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_words(words: &[i16; 16]) -> __m256i {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 16 words, and the load needs no alignment.
    unsafe {
        _mm256_loadu_si256(words.as_ptr().cast())
    }
}

/// The sum of eight.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn total(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b1110>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b01>(two)))
}
