//! Code kernels with AVX-512 F and BW: four groups of a block per register.

use crate::codes::{ADDED, BLOCK, Block, CodeBlocks, CodeQuery, Survivor, candidates, report};
use std::arch::x86_64::{
    __m256i, __m512, __m512i, _CMP_LT_OQ, _mm256_add_epi16, _mm256_loadu_si256, _mm512_add_epi8,
    _mm512_add_epi16, _mm512_and_si512, _mm512_castsi512_si256, _mm512_cmp_ps_mask,
    _mm512_cvtepi32_ps, _mm512_cvtepu8_epi16, _mm512_cvtepu16_epi32, _mm512_extracti64x4_epi64,
    _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_si512, _mm512_mask_cmplt_epu32_mask,
    _mm512_mask_i32gather_epi32, _mm512_mask_test_epi32_mask, _mm512_maskz_loadu_epi8,
    _mm512_maskz_loadu_epi32, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_sllv_epi32, _mm512_srli_epi16,
    _mm512_srli_epi32, _mm512_storeu_ps,
};

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn scan_codes(
    list: &CodeBlocks<'_>,
    query: &CodeQuery<'_>,
    allowed: Option<&[u32]>,
    threshold: f32,
    survivors: &mut Vec<Survivor>,
) {
    let threshold = _mm512_set1_ps(threshold);
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
        for (half, sums) in sums.into_iter().enumerate() {
            let part = half * 16..half * 16 + 16;
            let bound = bound(query, &block, sums, half);
            below |= u32::from(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(bound, threshold)) << (16 * half);
            store(bound, &mut bounds[part]);
        }
        if below & candidates != 0 {
            report(number, below & candidates, &bounds, survivors);
        }
    }
}

/// Looks up 16 rows at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn mask_words(rows: &[[u8; 4]], mask: &[u64], words: &mut Vec<u32>) {
    for rows in rows.chunks(BLOCK) {
        let (low, high) = rows.split_at(rows.len().min(16));
        words.push(are_set(low, mask) | are_set(high, mask) << 16);
    }
}

/// A bit for each of at most 16 rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn are_set(rows: &[[u8; 4]], mask: &[u64]) -> u32 {
    let exist = ((1u32 << rows.len().min(16)) - 1) as u16;
    let end = _mm512_set1_epi32((mask.len() * 64) as i32);
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: of the rows only the first rows.len() lanes are read. Of the mask, seen as words of 32 bits (x86-64 is
    // little-endian), those at row / 32 are, of rows below 64 mask.len(), which is at most 2^30: all are inside.
    let (rows, words, inside) = unsafe {
        let rows = _mm512_maskz_loadu_epi32(exist, rows.as_ptr().cast());
        let inside = _mm512_mask_cmplt_epu32_mask(exist, rows, end);
        let places = _mm512_srli_epi32::<5>(rows);
        let zero = _mm512_setzero_si512();
        let words = _mm512_mask_i32gather_epi32::<4>(zero, inside, places, mask.as_ptr().cast());
        (rows, words, inside)
    };
    let places = _mm512_and_si512(rows, _mm512_set1_epi32(31));
    let bits = _mm512_sllv_epi32(_mm512_set1_epi32(1), places);
    u32::from(_mm512_mask_test_epi32_mask(inside, words, bits))
}

/// Sums of vectors 0..16 and 16..32.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn sums(codes: &[u8], table: &[u8]) -> [__m256i; 2] {
    let nibble = _mm512_set1_epi8(15);
    let (mut low, mut high) = (_mm512_setzero_si512(), _mm512_setzero_si512());
    for (codes, table) in codes.chunks(64 * ADDED).zip(table.chunks(64 * ADDED)) {
        let (mut low_bytes, mut high_bytes) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for (codes, table) in codes.chunks(64).zip(table.chunks(64)) {
            let (codes, table) = (load_bytes(codes), load_bytes(table));
            let halves = _mm512_and_si512(codes, nibble);
            low_bytes = _mm512_add_epi8(low_bytes, _mm512_shuffle_epi8(table, halves));
            let halves = _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble);
            high_bytes = _mm512_add_epi8(high_bytes, _mm512_shuffle_epi8(table, halves));
        }
        low = _mm512_add_epi16(low, widen(low_bytes));
        high = _mm512_add_epi16(high, widen(high_bytes));
    }
    [fold(low), fold(high)]
}

/// Of the four groups of a register, the sums of two pairs as words.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn widen(bytes: __m512i) -> __m512i {
    let high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64::<1>(bytes));
    _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes)), high)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn fold(lanes: __m512i) -> __m256i {
    let half = _mm512_extracti64x4_epi64::<1>(lanes);
    _mm256_add_epi16(_mm512_castsi512_si256(lanes), half)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn bound(query: &CodeQuery<'_>, block: &Block<'_>, sums: __m256i, half: usize) -> __m512 {
    let linear = |value: __m512, (zero, unit): (f32, f32)| {
        _mm512_fmadd_ps(value, _mm512_set1_ps(unit), _mm512_set1_ps(zero))
    };
    let sum = linear(to_floats(sums), (query.bias, query.scale));
    let slope = linear(to_floats(load_16(block.slopes, half)), block.slope);
    let offset = linear(to_floats(load_16(block.offsets, half)), block.offset);
    _mm512_fnmadd_ps(slope, sum, offset)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn to_floats(values: __m256i) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(values))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_16(values: &[u8; 2 * BLOCK], half: usize) -> __m256i {
    let values = &values[half * 32..][..32];
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 32 bytes, and the load needs no alignment.
    unsafe {
        _mm256_loadu_si256(values.as_ptr().cast())
    }
}

/// Up to 64 bytes, then zeros.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_bytes(bytes: &[u8]) -> __m512i {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: either there are 64 bytes, or only the first bytes.len() lanes are read.
    unsafe {
        match bytes.len() {
            64.. => _mm512_loadu_si512(bytes.as_ptr().cast()),
            length => _mm512_maskz_loadu_epi8((1 << length) - 1, bytes.as_ptr().cast()),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn store(values: __m512, out: &mut [f32]) {
    assert!(out.len() == 16);
    #[expect(unsafe_code, reason = "stores to memory")]
    // SAFETY: there is room for 16 values, and the store needs no alignment.
    unsafe {
        _mm512_storeu_ps(out.as_mut_ptr(), values);
    }
}
