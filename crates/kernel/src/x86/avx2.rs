//! AVX2 and FMA: the 32 lanes are four registers of 8; a tail is loaded under masks, which reads
//! nothing beyond the slice and puts +0.0 in the lanes left over.

use super::reduce4;
use crate::scalar::LANES;
use std::arch::x86_64::{
    __m256, __m256i, _mm_add_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_cmpgt_epi32,
    _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_maskload_ps, _mm256_set1_epi32,
    _mm256_setr_epi32, _mm256_setzero_ps, _mm256_sub_ps,
};

/// Lanes 0..8, 8..16, 16..24 and 24..32.
type Block = [__m256; 4];

super::kernels!("avx2,fma");

#[target_feature(enable = "avx2,fma")]
#[inline]
fn zero() -> Block {
    [_mm256_setzero_ps(); 4]
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn step<const L2: bool>(a: Block, b: Block, lanes: Block) -> Block {
    [
        term::<L2>(a[0], b[0], lanes[0]),
        term::<L2>(a[1], b[1], lanes[1]),
        term::<L2>(a[2], b[2], lanes[2]),
        term::<L2>(a[3], b[3], lanes[3]),
    ]
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn term<const L2: bool>(a: __m256, b: __m256, lanes: __m256) -> __m256 {
    if L2 {
        let difference = _mm256_sub_ps(a, b);
        _mm256_fmadd_ps(difference, difference, lanes)
    } else {
        _mm256_fmadd_ps(a, b, lanes)
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(block: &[f32; LANES]) -> Block {
    let (parts, _) = block.as_chunks::<8>();
    [load8(&parts[0]), load8(&parts[1]), load8(&parts[2]), load8(&parts[3])]
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load8(part: &[f32; 8]) -> __m256 {
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: the array holds 8 values, and the load needs no alignment.
    unsafe {
        _mm256_loadu_ps(part.as_ptr())
    }
}

/// A tail of 0..=32 values, then +0.0.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_tail(tail: &[f32]) -> Block {
    let (first, rest) = tail.split_at(tail.len().min(8));
    let (second, rest) = rest.split_at(rest.len().min(8));
    let (third, fourth) = rest.split_at(rest.len().min(8));
    [load_masked(first), load_masked(second), load_masked(third), load_masked(fourth)]
}

/// Up to 8 values, then +0.0.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn load_masked(values: &[f32]) -> __m256 {
    let mask = first_lanes(values.len().min(8) as i32);
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: the mask selects the first values.len() lanes at most, and lanes that are not
    // selected are not read.
    unsafe {
        _mm256_maskload_ps(values.as_ptr(), mask)
    }
}

/// All ones in the first `count` lanes, zeros in the others.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn first_lanes(count: i32) -> __m256i {
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
}

/// The reduction tree: widths 16 and 8 join the registers, 4 the halves of the last.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn reduce(lanes: Block) -> f32 {
    let low = _mm256_add_ps(lanes[0], lanes[2]);
    let high = _mm256_add_ps(lanes[1], lanes[3]);
    let eight = _mm256_add_ps(low, high);
    reduce4(_mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight)))
}
