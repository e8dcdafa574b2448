//! Code kernels with AVX-512 F and BW: four groups of a block per register.

use super::avx512::reduce;
use crate::codes::{BLOCK, Block, CodeBlocks, CodeQuery, Survivor, candidates, report, unpack};
use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _CMP_LT_OQ, _mm_add_epi16, _mm_and_si128, _mm_loadu_si128,
    _mm_maskz_loadu_epi8, _mm_set1_epi8, _mm_srli_epi16, _mm_unpackhi_epi16, _mm_unpacklo_epi16,
    _mm256_add_epi16, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_loadu_si256,
    _mm256_set_m128i, _mm512_add_epi16, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_cmp_ps_mask, _mm512_cvtepi32_ps, _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32,
    _mm512_extracti64x4_epi64, _mm512_fmadd_ps, _mm512_fnmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_cmplt_epu32_mask, _mm512_mask_i32gather_epi32,
    _mm512_mask_test_epi32_mask, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi32,
    _mm512_maskz_loadu_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_slli_epi16, _mm512_sllv_epi32,
    _mm512_srli_epi16, _mm512_srli_epi32, _mm512_storeu_ps, _mm512_sub_epi16,
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
    for number in 0..list.count.div_ceil(BLOCK) {
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
    // Even and odd bytes of the low halves, then of the high ones. The even sums also carry 256 times
    // the odd ones, taken away at the end.
    let mut lanes = [_mm512_setzero_si512(); 4];
    for (codes, table) in codes.chunks(64).zip(table.chunks(64)) {
        let (codes, table) = (load_bytes(codes), load_bytes(table));
        let low = _mm512_shuffle_epi8(table, _mm512_and_si512(codes, nibble));
        let high =
            _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16::<4>(codes), nibble));
        lanes[0] = _mm512_add_epi16(lanes[0], low);
        lanes[1] = _mm512_add_epi16(lanes[1], _mm512_srli_epi16::<8>(low));
        lanes[2] = _mm512_add_epi16(lanes[2], high);
        lanes[3] = _mm512_add_epi16(lanes[3], _mm512_srli_epi16::<8>(high));
    }
    [interleave(lanes[0], lanes[1]), interleave(lanes[2], lanes[3])]
}

/// Joins the four groups of a register, and even with odd vectors.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn interleave(even: __m512i, odd: __m512i) -> __m256i {
    let even = fold(_mm512_sub_epi16(even, _mm512_slli_epi16::<8>(odd)));
    let odd = fold(odd);
    _mm256_set_m128i(_mm_unpackhi_epi16(even, odd), _mm_unpacklo_epi16(even, odd))
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn fold(lanes: __m512i) -> __m128i {
    let half = _mm512_extracti64x4_epi64::<1>(lanes);
    let half = _mm256_add_epi16(_mm512_castsi512_si256(lanes), half);
    _mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
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

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn dot_u8(codes: &[u8], query: &[f32]) -> f32 {
    // Two variables, not an array: that one would be kept in memory.
    let (mut first, mut second) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let (blocks, tail) = codes.as_chunks::<32>();
    let (query_blocks, query_tail) = query.as_chunks::<32>();
    for (codes, query) in blocks.iter().zip(query_blocks) {
        let (low, high) = load_halves(codes);
        (first, second) = add(low, high, query, first, second);
    }
    let mut lanes = [first, second];
    if !tail.is_empty() {
        add_tail(tail, query_tail, &mut lanes);
    }
    reduce(lanes)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn dot_u4(codes: &[u8], query: &[f32]) -> f32 {
    let nibble = _mm_set1_epi8(15);
    let (mut first, mut second) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    let (runs, tail) = codes.as_chunks::<16>();
    let (query_blocks, query_tail) = query.as_chunks::<32>();
    for (run, query) in runs.iter().zip(query_blocks) {
        #[expect(unsafe_code, reason = "loads from memory")]
        // SAFETY: there are 16 bytes, and the load needs no alignment.
        let run = unsafe { _mm_loadu_si128(run.as_ptr().cast()) };
        let low = _mm_and_si128(run, nibble);
        let high = _mm_and_si128(_mm_srli_epi16::<4>(run), nibble);
        (first, second) = add(low, high, query, first, second);
    }
    let mut lanes = [first, second];
    if !tail.is_empty() {
        add_tail(&unpack(tail)[..2 * tail.len()], query_tail, &mut lanes);
    }
    reduce(lanes)
}

/// The two halves of 32 codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_halves(codes: &[u8; 32]) -> (__m128i, __m128i) {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 32 codes, and the loads need no alignment.
    unsafe {
        let codes = codes.as_ptr();
        (_mm_loadu_si128(codes.cast()), _mm_loadu_si128(codes.add(16).cast()))
    }
}

/// Adds the products of 16 and 16 codes with the values.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn add(
    low: __m128i,
    high: __m128i,
    query: &[f32; 32],
    first: __m512,
    second: __m512,
) -> (__m512, __m512) {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: there are 32 values, and the loads need no alignment.
    let (a, b) = unsafe {
        let query = query.as_ptr();
        (_mm512_loadu_ps(query), _mm512_loadu_ps(query.add(16)))
    };
    let low = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(low));
    let high = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high));
    (_mm512_fmadd_ps(low, a, first), _mm512_fmadd_ps(high, b, second))
}

/// Adds the products of at most 31 codes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn add_tail(codes: &[u8], query: &[f32], lanes: &mut [__m512; 2]) {
    let middle = codes.len().min(16);
    for ((from, to), lane) in [(0, middle), (middle, codes.len())].into_iter().zip(lanes) {
        *lane = _mm512_fmadd_ps(load_codes(&codes[from..to]), load_floats(&query[from..to]), *lane);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(crate) fn dot_u8_rows(query: &[f32], rows: &[u8], stride: usize, out: &mut [f32]) {
    for (row, out) in rows.chunks(stride).zip(out) {
        *out = dot_u8(&row[..query.len()], query);
    }
}

/// Up to 16 codes as floats, then +0.0.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_codes(codes: &[u8]) -> __m512 {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: either there are 16 codes, or only the first codes.len() lanes are read.
    let codes = unsafe {
        match codes.len() {
            16.. => _mm_loadu_si128(codes.as_ptr().cast()),
            length => _mm_maskz_loadu_epi8((1 << length) - 1, codes.as_ptr().cast()),
        }
    };
    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes))
}

/// Up to 16 values, then +0.0.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn load_floats(values: &[f32]) -> __m512 {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: either there are 16 values, or only the first values.len() lanes are read.
    unsafe {
        match values.len() {
            16.. => _mm512_loadu_ps(values.as_ptr()),
            length => _mm512_maskz_loadu_ps((1 << length) - 1, values.as_ptr()),
        }
    }
}
