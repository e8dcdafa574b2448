//! Code kernels with AVX2 and FMA: two groups of a block per register.

use super::avx2::reduce;
use crate::codes::{BLOCK, Block, CodeBlocks, CodeQuery, Survivor, candidates, report, unpack};
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _CMP_LT_OQ, _mm_add_epi16, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_srli_epi16, _mm_unpackhi_epi16, _mm_unpacklo_epi16, _mm256_add_epi16, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_cmp_ps, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtepu16_epi32, _mm256_extracti128_si256, _mm256_fmadd_ps, _mm256_fnmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_movemask_ps, _mm256_set_m128i, _mm256_set1_epi8,
    _mm256_set1_ps, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_storeu_si256, _mm256_sub_epi16,
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
    for number in 0..list.count.div_ceil(BLOCK) {
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

/// Sums of eight vectors each.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn sums(codes: &[u8], table: &[u8]) -> [__m128i; 4] {
    let nibble = _mm256_set1_epi8(15);
    // As with AVX-512: even sums carry 256 times the odd ones until the end.
    let mut lanes = [_mm256_setzero_si256(); 4];
    let ((codes, _), (table, _)) = (codes.as_chunks::<32>(), table.as_chunks::<32>());
    for (codes, table) in codes.iter().zip(table) {
        let (codes, table) = (load_bytes(codes), load_bytes(table));
        let low = _mm256_shuffle_epi8(table, _mm256_and_si256(codes, nibble));
        let high =
            _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
        lanes[0] = _mm256_add_epi16(lanes[0], low);
        lanes[1] = _mm256_add_epi16(lanes[1], _mm256_srli_epi16::<8>(low));
        lanes[2] = _mm256_add_epi16(lanes[2], high);
        lanes[3] = _mm256_add_epi16(lanes[3], _mm256_srli_epi16::<8>(high));
    }
    let [first, second] = interleave(lanes[0], lanes[1]);
    let [third, fourth] = interleave(lanes[2], lanes[3]);
    [first, second, third, fourth]
}

/// Joins the two groups of a register, and even with odd vectors.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn interleave(even: __m256i, odd: __m256i) -> [__m128i; 2] {
    let even = fold(_mm256_sub_epi16(even, _mm256_slli_epi16::<8>(odd)));
    let odd = fold(odd);
    [_mm_unpacklo_epi16(even, odd), _mm_unpackhi_epi16(even, odd)]
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn fold(lanes: __m256i) -> __m128i {
    _mm_add_epi16(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256::<1>(lanes))
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

#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_u8(codes: &[u8], query: &[f32]) -> f32 {
    let mut lanes = [_mm256_setzero_ps(); 4];
    let (blocks, tail) = codes.as_chunks::<32>();
    let (query_blocks, query_tail) = query.as_chunks::<32>();
    for (codes, query) in blocks.iter().zip(query_blocks) {
        step(codes, query, &mut lanes);
    }
    if !tail.is_empty() {
        let (mut codes, mut query) = ([0u8; 32], [0.0f32; 32]);
        codes[..tail.len()].copy_from_slice(tail);
        query[..tail.len()].copy_from_slice(query_tail);
        step(&codes, &query, &mut lanes);
    }
    reduce(lanes)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn step(codes: &[u8; 32], query: &[f32; 32], lanes: &mut [__m256; 4]) {
    let ((codes, _), (query, _)) = (codes.as_chunks::<8>(), query.as_chunks::<8>());
    for ((codes, query), lane) in codes.iter().zip(query).zip(lanes) {
        #[expect(unsafe_code, reason = "loads from memory")]
        // SAFETY: there are 8 codes and 8 values, and the loads need no alignment.
        let (codes, query) =
            unsafe { (_mm_loadl_epi64(codes.as_ptr().cast()), _mm256_loadu_ps(query.as_ptr())) };
        *lane = _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(codes)), query, *lane);
    }
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_u4(codes: &[u8], query: &[f32]) -> f32 {
    let mut lanes = [_mm256_setzero_ps(); 4];
    let (runs, tail) = codes.as_chunks::<16>();
    let (query_blocks, query_tail) = query.as_chunks::<32>();
    for (run, query) in runs.iter().zip(query_blocks) {
        step(&nibbles(run), query, &mut lanes);
    }
    if !tail.is_empty() {
        let mut query = [0.0f32; 32];
        query[..query_tail.len()].copy_from_slice(query_tail);
        step(&unpack(tail), &query, &mut lanes);
    }
    reduce(lanes)
}

/// Low halves, then high ones.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn nibbles(run: &[u8; 16]) -> [u8; 32] {
    let mut codes = [0; 32];
    #[expect(unsafe_code, reason = "loads from and stores to memory")]
    // SAFETY: there are 16 bytes to load and room for 32, and neither needs alignment.
    unsafe {
        let bytes = _mm_loadu_si128(run.as_ptr().cast());
        let both = _mm256_set_m128i(_mm_srli_epi16::<4>(bytes), bytes);
        let both = _mm256_and_si256(both, _mm256_set1_epi8(15));
        _mm256_storeu_si256(codes.as_mut_ptr().cast(), both);
    }
    codes
}

#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_u8_rows(query: &[f32], rows: &[u8], stride: usize, out: &mut [f32]) {
    for (row, out) in rows.chunks(stride).zip(out) {
        *out = dot_u8(&row[..query.len()], query);
    }
}
