//! AVX-512 F: the 32 lanes are two registers of 16; a tail is loaded under a mask, which reads
//! nothing beyond the slice and puts +0.0 in the lanes left over.

use super::reduce4;
use crate::scalar::LANES;
use std::arch::x86_64::{
    __m512, _mm_add_ps, _mm256_add_ps, _mm256_castpd_ps, _mm256_castps256_ps128,
    _mm256_extractf128_ps, _mm512_add_ps, _mm512_castps_pd, _mm512_castps512_ps256,
    _mm512_extractf64x4_pd, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_loadu_ps,
    _mm512_setzero_ps, _mm512_sub_ps,
};

/// Lanes 0..16 and 16..32.
type Block = [__m512; 2];

super::kernels!("avx512f");

#[target_feature(enable = "avx512f")]
#[inline]
fn zero() -> Block {
    [_mm512_setzero_ps(); 2]
}

#[target_feature(enable = "avx512f")]
#[inline]
fn step<const L2: bool>(a: Block, b: Block, lanes: Block) -> Block {
    [term::<L2>(a[0], b[0], lanes[0]), term::<L2>(a[1], b[1], lanes[1])]
}

#[target_feature(enable = "avx512f")]
#[inline]
fn term<const L2: bool>(a: __m512, b: __m512, lanes: __m512) -> __m512 {
    if L2 {
        let difference = _mm512_sub_ps(a, b);
        _mm512_fmadd_ps(difference, difference, lanes)
    } else {
        _mm512_fmadd_ps(a, b, lanes)
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(block: &[f32; LANES]) -> Block {
    let (low, high) = block.split_at(16);
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: both halves of the block hold 16 values, and the loads need no alignment.
    unsafe {
        [_mm512_loadu_ps(low.as_ptr()), _mm512_loadu_ps(high.as_ptr())]
    }
}

/// A tail of 0..=32 values, then +0.0.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_tail(tail: &[f32]) -> Block {
    let (low, high) = tail.split_at(tail.len().min(16));
    [load_masked(low), load_masked(high)]
}

/// Up to 16 values, then +0.0.
#[target_feature(enable = "avx512f")]
#[inline]
fn load_masked(values: &[f32]) -> __m512 {
    let mask = !(u32::MAX << values.len().min(16)) as u16;
    #[expect(unsafe_code, reason = "loads from memory")]
    // SAFETY: the mask has a bit for the first values.len() lanes at most, and lanes without a bit
    // are not read.
    unsafe {
        _mm512_maskz_loadu_ps(mask, values.as_ptr())
    }
}

/// The reduction tree: width 16 joins the registers, 8 and 4 their halves.
#[target_feature(enable = "avx512f")]
#[inline]
pub(super) fn reduce(lanes: Block) -> f32 {
    let sixteen = _mm512_add_ps(lanes[0], lanes[1]);
    let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(sixteen)));
    let eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), high);
    reduce4(_mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight)))
}
