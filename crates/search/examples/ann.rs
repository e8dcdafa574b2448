//! Recall against speed of the cluster index on one of the real sets: `cargo run --release -p vb-search
//! --example ann -- glove100`.
use std::time::Instant;
use vb_kernel::Kernels;
use vb_search::Metric;
use vb_search::ann::{AnnIndex, Effort};

fn npy(path: &str) -> (Vec<u8>, bool, usize, usize) {
    let b = std::fs::read(path).expect("data");
    let hl = if b[6] == 1 {
        10 + u16::from_le_bytes([b[8], b[9]]) as usize
    } else {
        12 + u32::from_le_bytes([b[8], b[9], b[10], b[11]]) as usize
    };
    let h = String::from_utf8_lossy(&b[..hl]).to_string();
    let shape: Vec<usize> = h
        .split("'shape': (")
        .nth(1)
        .expect("shape")
        .split(')')
        .next()
        .expect("shape")
        .split(',')
        .filter_map(|s| s.trim().parse().ok())
        .collect();
    (b[hl..].to_vec(), h.contains("<i8"), shape[0], shape[1])
}
fn floats(b: &[u8]) -> Vec<f32> {
    b.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().expect("4"))).collect()
}
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/schedstat").expect("linux");
    s.split(' ').next().expect("field").parse::<f64>().expect("number") / 1e9
}
fn cpu_all() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").expect("linux");
    let f: Vec<&str> = s.rsplit(')').next().expect("x").split_whitespace().collect();
    (f[11].parse::<f64>().expect("n") + f[12].parse::<f64>().expect("n")) / 100.0
}

fn main() {
    let set = std::env::args().nth(1).unwrap_or_else(|| "glove100".into());
    let dir = std::env::var("ANN_DATA").unwrap_or_else(|_| "bench/data/work".into());
    let (base, _, n, d) = npy(&format!("{dir}/{set}_base.npy"));
    let base = floats(&base);
    let (query, _, nq, _) = npy(&format!("{dir}/{set}_query.npy"));
    let query = floats(&query);
    let (gt, wide, _, gk) = npy(&format!("{dir}/{set}_gt.npy"));
    let gt: Vec<u32> = if wide {
        gt.chunks_exact(8).map(|c| i64::from_le_bytes(c.try_into().expect("8")) as u32).collect()
    } else {
        gt.chunks_exact(4).map(|c| i32::from_le_bytes(c.try_into().expect("4")) as u32).collect()
    };
    let kernels = Kernels::detect();
    let (t, c) = (Instant::now(), cpu_all());
    let index = AnnIndex::build(Metric::Cosine, &base, d, kernels);
    println!(
        "{set}: {n} x {d}, {} lists, built in {:.1} s, {:.1} CPU s, bytes {:?} of {}",
        index.lists(),
        t.elapsed().as_secs_f32(),
        cpu_all() - c,
        index.bytes(),
        base.len() * 4
    );
    let mut rows = vec![0f32; n * d];
    for (r, &i) in index.order().iter().enumerate() {
        let v = &base[i as usize * d..][..d];
        let norm = kernels.norm_squared(v).sqrt();
        for (o, x) in rows[r * d..][..d].iter_mut().zip(v) {
            *o = x / norm;
        }
    }
    let mut s = index.searcher();
    for groups in [8, 12, 20] {
        for deviations in [1.2f32, 1.9] {
            for lists in [10, 40, 60, 80, 120, 240] {
                let effort = Effort { lists, groups, deviations };
                let (mut hits, mut best, mut scanned, mut survivors) = (0, f64::MAX, 0, 0);
                for round in 0..3 {
                    let c = cpu();
                    for q in 0..nq {
                        let v = &query[q * d..][..d];
                        let (near, work) = s.search(v, 10, effort, None);
                        let mut exact: Vec<(f32, u32)> = near
                            .iter()
                            .map(|near| {
                                (-kernels.dot(v, &rows[near.row as usize * d..][..d]), near.row)
                            })
                            .collect();
                        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
                        exact.truncate(10);
                        if round == 0 {
                            scanned += work.scanned;
                            survivors += work.survivors;
                            let truth = &gt[q * gk..][..10];
                            hits += exact
                                .iter()
                                .filter(|x| truth.contains(&index.order()[x.1 as usize]))
                                .count();
                        } else {
                            std::hint::black_box(exact);
                        }
                    }
                    best = best.min(cpu() - c);
                }
                println!(
                    "groups {groups:2} deviations {deviations} lists {lists:3}: recall {:.4}  {:6.0} per core s  {:5.1} us  scanned {} survivors {}",
                    hits as f64 / (nq * 10) as f64,
                    nq as f64 / best,
                    best / nq as f64 * 1e6,
                    scanned / nq,
                    survivors / nq
                );
            }
        }
    }
}
