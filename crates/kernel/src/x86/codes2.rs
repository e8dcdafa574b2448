//! Code kernels with AVX2 and FMA: two groups of a block per register.

use crate::codes::{ADDED, BLOCK, Block, CodeBlocks, CodeQuery, Survivor, candidates, report};
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_LT_OQ, _mm_loadu_si128, _mm256_add_epi8, _mm256_add_epi16,
    _mm256_and_si256, _mm256_andnot_si256, _mm256_castsi256_ps, _mm256_castsi256_si128,
    _mm256_cmp_ps, _mm256_cmpeq_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi16,
    _mm256_cvtepu16_epi32, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_fnmadd_ps,
    _mm256_loadu_si256, _mm256_mask_i32gather_epi32, _mm256_max_epu32, _mm256_movemask_ps,
    _mm256_set1_epi8, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_sllv_epi32, _mm256_srli_epi16, _mm256_srli_epi32, _mm256_storeu_ps, _mm256_xor_si256,
};

#[target_feature(enable = "avx2,fma")]
pub(crate) fn scan_codes(
    list: &CodeBlocks<'_>,
    query: &CodeQuery<'_>,
    allowed: Option<&[u32]>,
    threshold: f32,
    survivors: &mut Vec<Survivor>,
) {
    let threshold = _mm256_set1_ps(threshold);
    let mut bounds = [0.0f32; BLOCK];
    let mut pieces = list.pieces();
    for number in 0..list.count.div_ceil(BLOCK) {
        super::prefetch_bytes(pieces.next().unwrap_or_default());
        let candidates = candidates(list, allowed, number);
        if candidates == 0 {
            continue;
        }
        let block = Block::at(list, query, number);
        let sums = sums(block.codes, query.table);
        let mut below = 0;
        for (quarter, sums) in sums.into_iter().enumerate() {
            let part = quarter * 8..quarter * 8 + 8;
            let bound = bound(query, &block, sums, quarter);
            let is_below = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(bound, threshold));
            below |= (is_below as u32) << (8 * quarter);
            store(bound, &mut bounds[part]);
        }
        if below & candidates != 0 {
            report(number, below & candidates, &bounds, survivors);
        }
    }
}

/// Looks up 8 rows at a time.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn mask_words(rows: &[[u8; 4]], mask: &[u64], words: &mut Vec<u32>) {
    for rows in rows.chunks(BLOCK) {
        let (eights, rest) = rows.as_chunks::<8>();
        let mut word = 0;
        for (number, rows) in eights.iter().enumerate() {
            word |= are_set(rows, mask) << (8 * number);
        }
        if !rest.is_empty() {
            // Numbers that no mask has.
            let mut rows = [[u8::MAX; 4]; 8];
            rows[..rest.len()].copy_from_slice(rest);
            word |= are_set(&rows, mask) << (8 * eights.len());
        }
        words.push(word);
    }
}

/// A bit for each of eight rows.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn are_set(rows: &[[u8; 4]; 8], mask: &[u64]) -> u32 {
    let rows = load_bytes(rows.as_flattened().as_array().expect("8 x 4 bytes"));
    let end = _mm256_set1_epi32((mask.len() * 64) as i32);
    let beyond = _mm256_cmpeq_epi32(_mm256_max_epu32(rows, end), rows);
    let inside = _mm256_xor_si256(beyond, _mm256_set1_epi32(-1));
    let places = _mm256_srli_epi32::<5>(rows);
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: of the mask, seen as words of 32 bits (x86-64 is little-endian), those at row / 32 are read, of rows below
    // 64 mask.len(), which is at most 2^30: all are inside.
    let words = unsafe {
        let zero = _mm256_setzero_si256();
        _mm256_mask_i32gather_epi32::<4>(zero, mask.as_ptr().cast(), places, inside)
    };
    // The bit of a row becomes the sign of its lane: 31 less what is left of its number.
    let up = _mm256_andnot_si256(rows, _mm256_set1_epi32(31));
    _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sllv_epi32(words, up))) as u32
}

/// Sums of eight vectors each.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums(codes: &[u8], table: &[u8]) -> [__m128i; 4] {
    let nibble = _mm256_set1_epi8(15);
    let (mut low, mut high) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for (codes, table) in codes.chunks(32 * ADDED).zip(table.chunks(32 * ADDED)) {
        let (mut low_bytes, mut high_bytes) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        let ((codes, _), (table, _)) = (codes.as_chunks::<32>(), table.as_chunks::<32>());
        for (codes, table) in codes.iter().zip(table) {
            let (codes, table) = (load_bytes(codes), load_bytes(table));
            let halves = _mm256_and_si256(codes, nibble);
            low_bytes = _mm256_add_epi8(low_bytes, _mm256_shuffle_epi8(table, halves));
            let halves = _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble);
            high_bytes = _mm256_add_epi8(high_bytes, _mm256_shuffle_epi8(table, halves));
        }
        low = _mm256_add_epi16(low, widen(low_bytes));
        high = _mm256_add_epi16(high, widen(high_bytes));
    }
    let halves = |sums| (_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let ((first, second), (third, fourth)) = (halves(low), halves(high));
    [first, second, third, fourth]
}

/// The sums of the two groups of a register as words.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn widen(bytes: __m256i) -> __m256i {
    let high = _mm256_cvtepu8_epi16(_mm256_extracti128_si256::<1>(bytes));
    _mm256_add_epi16(_mm256_cvtepu8_epi16(_mm256_castsi256_si128(bytes)), high)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn bound(query: &CodeQuery<'_>, block: &Block<'_>, sums: __m128i, quarter: usize) -> __m256 {
    let linear = |value: __m256, (zero, unit): (f32, f32)| {
        _mm256_fmadd_ps(value, _mm256_set1_ps(unit), _mm256_set1_ps(zero))
    };
    let sum = linear(to_floats(sums), (query.bias, query.scale));
    let slope = linear(to_floats(load_8(block.slopes, quarter)), block.slope);
    let offset = linear(to_floats(load_8(block.offsets, quarter)), block.offset);
    _mm256_fnmadd_ps(slope, sum, offset)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn to_floats(values: __m128i) -> __m256 {
    _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(values))
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_8(values: &[u8; 2 * BLOCK], quarter: usize) -> __m128i {
    let values = &values[quarter * 16..][..16];
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 16 bytes, and the load needs no alignment.
    unsafe {
        _mm_loadu_si128(values.as_ptr().cast())
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_bytes(bytes: &[u8; 32]) -> __m256i {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 32 bytes, and the load needs no alignment.
    unsafe {
        _mm256_loadu_si256(bytes.as_ptr().cast())
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store(values: __m256, out: &mut [f32]) {
    assert!(out.len() == 8);
    #[expect(unsafe_code, reason = "stores to memory")]
    // SAFETY: there is room for 8 values, and the store needs no alignment.
    unsafe {
        _mm256_storeu_ps(out.as_mut_ptr(), values);
    }
}
