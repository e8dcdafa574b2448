//! The bytes: the same ones whatever builds them, and damaged ones.

use super::super::fuzz::fuzz_input;
use super::*;
use vb_kernel::Level;

/// Everything that a search can see of an index.
fn answers(built: &Built, kernels: Kernels) -> Vec<(u32, u32)> {
    let index = Index::open(&built.tree).expect("it was just built");
    let source = Whole { index: &index, lists: &built.lists, codes: &built.codes };
    let parts = [Part { index: &index, source, allowed: None }];
    let mut searcher = Searcher::new(kernels);
    let mut answers = Vec::new();
    for query in vectors(20, 3, 9).chunks(DIMENSION) {
        searcher.search(query, &parts, &request(10));
        answers.extend(searcher.near().iter().map(|near| (near.rank.to_bits(), near.row)));
    }
    answers
}

#[test]
fn threads_and_levels_change_nothing() {
    let data = vectors(9000, 2, 9);
    for bits in [RowBits::Four, RowBits::Eight] {
        let params = Params { row_bits: bits, ..Params::new(Metric::Cosine, DIMENSION) };
        let build = |threads: usize, kernels: Kernels| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| build(&data, params, kernels))
        };
        let scalar = Kernels::at(Level::Scalar).expect("the scalar level is everywhere");
        let first = build(1, scalar);
        let expected = answers(&first, scalar);
        for kernels in Level::ALL.into_iter().filter_map(Kernels::at) {
            let built = build(3, kernels);
            assert!(built == first, "{}", kernels.level());
            assert_eq!(answers(&built, kernels), expected, "{}", kernels.level());
        }
    }
}

/// Vectors whose squares overflow are indexed and found, and disturb no others.
#[test]
fn huge_vectors_are_tamed() {
    let mut data = vectors(9000, 1, 9);
    data[..DIMENSION].fill(f32::MAX);
    data[DIMENSION..2 * DIMENSION].fill(-1e30);
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let world = World::new(metric, data.clone(), |_| {});
        let recall = world.recall(&vectors(20, 2, 9), &request(10), world.source(), None);
        let floor = if metric == Metric::Cosine { 0.95 } else { 0.0 };
        assert!(recall >= floor, "{metric:?}: {recall}");
    }
}

#[test]
fn damaged_lists_are_noticed() {
    let world = World::new(Metric::Cosine, vectors(9000, 1, 9), |_| {});
    let place = world.index.list_place(3);
    let run = &world.built.lists[place.start as usize..place.end as usize];
    assert_eq!(world.index.check_list(3, run), Ok(()));
    assert!(world.index.check_list(4, run).is_err());
    assert!(world.index.check_list(3, &run[1..]).is_err());
    assert!(world.index.check_list(u32::MAX, run).is_err());
    let mut damaged = run.to_vec();
    damaged[100] ^= 1;
    assert!(world.index.check_list(3, &damaged).is_err());
}

/// Bytes with a few changes never make anything panic.
#[test]
fn hostile_bytes_are_boring() {
    let mut random = Random(11);
    for metric in METRICS {
        let world = World::new(metric, vectors(8300, 1, 9), |_| {});
        let small = World::new(metric, vectors(70, 1, 9), |_| {});
        for built in [&world.built, &small.built] {
            for _ in 0..60 {
                let mut framed = fuzz_input(built);
                for _ in 0..random.below(6) {
                    // Headers are where it hurts.
                    let reach = if random.below(2) == 0 { 200 } else { framed.len() };
                    let place = random.below(reach.min(framed.len()));
                    framed[place] = random.next() as u8;
                }
                if random.below(4) == 0 {
                    framed.truncate(random.below(framed.len()));
                }
                fuzz(&framed);
            }
        }
    }
    for length in [0, 3, 11, 12, 80, 500] {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        fuzz(&bytes);
    }
}
