//! The levels of x86-64 and what they share.

pub(crate) mod avx2;
pub(crate) mod avx512;

use std::arch::x86_64::{
    __m128, _MM_HINT_T1, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_prefetch,
    _mm_shuffle_ps,
};

/// Values per cache line.
const LINE: usize = 16;

/// Hints every cache line of `row` into the second-level cache. (The first level has room for a few
/// lines on their way only: for rows of 3 kB that hint was 1.5 times slower.)
pub(crate) fn prefetch(row: &[f32]) {
    for line in row.chunks(LINE) {
        #[expect(unsafe_code, reason = "the hint takes a pointer")]
        // SAFETY: SSE is part of x86-64, and a prefetch touches no memory: it cannot fault.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
        }
    }
}

/// The last two steps of the reduction tree: widths 2 and 1 of the four lanes left.
#[inline]
fn reduce4(lanes: __m128) -> f32 {
    #[expect(unsafe_code, reason = "intrinsics outside a target_feature function")]
    // SAFETY: SSE is part of x86-64.
    unsafe {
        let two = _mm_add_ps(lanes, _mm_movehl_ps(lanes, lanes));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<0b01>(two, two)))
    }
}
