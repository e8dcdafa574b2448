//! The limits of the machine, measured in the same run as the service.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde::Serialize;
use vb_kernel::Kernels;

use crate::Outcome;

/// The machine a report was made on.
#[derive(Serialize)]
pub(crate) struct Description {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernels: String,
}

pub(crate) fn describe() -> Description {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Description {
        cpu: model.map_or("unknown".into(), |(_, name)| name.trim().to_owned()),
        cores: thread::available_parallelism().map_or(1, usize::from),
        kernels: Kernels::detect().level().to_string(),
    }
}

/// Bytes per second at which `threads` threads together stream memory that no cache holds: the best of
/// five passes over `bytes` bytes each, read by a sum over eight independent accumulators.
pub(crate) fn read_bandwidth(threads: usize, bytes: usize) -> f64 {
    let words: Vec<u64> = (0..bytes as u64 / 8).collect();
    let share = words.len() / threads;
    let pass = || {
        let start = Instant::now();
        thread::scope(|scope| {
            for part in words.chunks(share) {
                scope.spawn(move || black_box(sum(part)));
            }
        });
        bytes as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(|_| pass()).fold(0.0, f64::max)
}

fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for chunk in words.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// Bytes per second of appending `piece` bytes and syncing them, over and over for about a second.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn append_and_sync(folder: &Path, piece: usize) -> Outcome<f64> {
    let path = folder.join("append-probe");
    let error = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut file = File::create(&path).map_err(error)?;
    let bytes = vec![0x5a_u8; piece];
    let start = Instant::now();
    let mut written = 0;
    while start.elapsed().as_secs_f64() < 1.0 {
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(error)?;
        written += piece;
    }
    let rate = written as f64 / start.elapsed().as_secs_f64();
    fs::remove_file(&path).map_err(error)?;
    Ok(rate)
}
