//! Gigabytes per second of the row kernels, per level and dimension, beside a plain read of the
//! same buffer. `cargo run --release -p vb-kernel --example bandwidth [MEGABYTES]`

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::hint::black_box;
use std::time::Instant;
use vb_kernel::{Kernels, Level};

const DIMENSIONS: [usize; 4] = [100, 384, 768, 1536];
const REPEATS: usize = 5;
/// Bytes of rows per kernel call, as a scan would hand them over.
const CALL_BYTES: usize = 64 << 10;

fn main() {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(512);
    let buffer: Vec<f32> = (0..megabytes << 18).map(|i| (i % 1009) as f32 * 1e-3).collect();
    println!("buffer {megabytes} MB, best of {REPEATS}; GB/s (share of the plain read)");
    for dimension in DIMENSIONS {
        measure_dimension(&buffer, dimension);
    }
}

fn measure_dimension(buffer: &[f32], dimension: usize) {
    let rows = &buffer[..buffer.len() / dimension * dimension];
    let read = best(rows, || black_box(read_all(rows)));
    println!("d = {dimension:4}: plain read {read:6.2}");
    for kernels in [Level::Avx2, Level::Avx512].into_iter().filter_map(Kernels::at) {
        let dot = best(rows, || scan(rows, dimension, |q, r, o| kernels.dot_rows(q, r, o)));
        let l2 = best(rows, || scan(rows, dimension, |q, r, o| kernels.l2_squared_rows(q, r, o)));
        let (dot_share, l2_share) = (dot / read, l2 / read);
        println!(
            "          {:7} dot {dot:6.2} ({dot_share:.2})   l2 {l2:6.2} ({l2_share:.2})",
            kernels.level()
        );
    }
}

fn scan(rows: &[f32], dimension: usize, kernel: impl Fn(&[f32], &[f32], &mut [f32])) -> u64 {
    let query = vec![0.5; dimension];
    let mut out = vec![0.0; (CALL_BYTES / 4 / dimension).max(1)];
    for rows in rows.chunks(out.len() * dimension) {
        let out = &mut out[..rows.len() / dimension];
        kernel(&query, rows, out);
        black_box(out);
    }
    0
}

/// Every byte once, in eight independent sums that the compiler keeps in registers.
fn read_all(rows: &[f32]) -> u64 {
    let mut sums = [0u64; 16];
    for block in rows.as_chunks::<16>().0 {
        for (sum, value) in sums.iter_mut().zip(block) {
            *sum = sum.wrapping_add(u64::from(value.to_bits()));
        }
    }
    sums.iter().fold(0, |sum, lane| sum ^ lane)
}

/// The best of some passes over `rows`, in GB/s.
fn best(rows: &[f32], mut pass: impl FnMut() -> u64) -> f64 {
    let bytes = size_of_val(rows) as f64;
    let seconds = (0..REPEATS).map(|_| {
        let start = Instant::now();
        black_box(pass());
        start.elapsed().as_secs_f64()
    });
    bytes / 1e9 / seconds.fold(f64::INFINITY, f64::min)
}
