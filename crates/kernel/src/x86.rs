//! The levels of x86-64 and what they share.

pub(crate) mod avx2;
pub(crate) mod avx512;
pub(crate) mod codes2;
pub(crate) mod codes512;
pub(crate) mod ints2;
pub(crate) mod ints512;

use std::arch::x86_64::{
    __m128, _MM_HINT_T1, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_prefetch,
    _mm_shuffle_ps,
};

/// The kernels of one level, entered with its CPU features, over what the level defines: a `Block` of
/// 32 lanes with `zero`, `load`, `load_tail`, `step` and `reduce`. One text for all levels, because the order of summation
/// is one.
macro_rules! kernels {
    ($features:literal) => {
        #[target_feature(enable = $features)]
        pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
            sum::<false>(a, b)
        }

        #[target_feature(enable = $features)]
        pub(crate) fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
            sum::<true>(a, b)
        }

        #[target_feature(enable = $features)]
        pub(crate) fn dot_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
            each_row::<false>(query, rows, out);
        }

        #[target_feature(enable = $features)]
        pub(crate) fn l2_squared_rows(query: &[f32], rows: &[f32], out: &mut [f32]) {
            each_row::<true>(query, rows, out);
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn each_row<const L2: bool>(query: &[f32], rows: &[f32], out: &mut [f32]) {
            let mut rest = rows;
            for out in out {
                let (row, next) = rest.split_at(query.len());
                *out = sum::<L2>(query, row);
                rest = next;
            }
        }

        #[target_feature(enable = $features)]
        #[inline]
        fn sum<const L2: bool>(a: &[f32], b: &[f32]) -> f32 {
            let mut lanes = zero();
            let (a_blocks, a_tail) = a.as_chunks::<LANES>();
            let (b_blocks, b_tail) = b.as_chunks::<LANES>();
            for (a, b) in a_blocks.iter().zip(b_blocks) {
                lanes = step::<L2>(load(a), load(b), lanes);
            }
            if !a_tail.is_empty() {
                lanes = step::<L2>(load_tail(a_tail), load_tail(b_tail), lanes);
            }
            reduce(lanes)
        }
    };
}
use kernels;

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

/// Hints every cache line of `bytes` into the second-level cache.
pub(crate) fn prefetch_bytes(bytes: &[u8]) {
    // Lines, not pieces of 64 bytes: what begins within a line may end in one more.
    let start = bytes.as_ptr().map_addr(|address| address & !63);
    let lines = (bytes.as_ptr().addr() - start.addr() + bytes.len()).div_ceil(64);
    for line in 0..lines {
        #[expect(unsafe_code, reason = "the hint takes a pointer")]
        // SAFETY: SSE is part of x86-64, and a prefetch touches no memory: it cannot fault.
        unsafe {
            _mm_prefetch::<_MM_HINT_T1>(start.wrapping_add(64 * line).cast());
        }
    }
}
