//! The bytes: the same ones whatever builds them, and damaged ones.

use super::super::fuzz::fuzz_input;
use super::*;
use vb_kernel::Level;

/// Everything that a search can see of an index.
fn answers(built: &Built, kernels: Kernels) -> Vec<(u32, u32)> {
    let index = Index::open(&built.tree).expect("it was just built");
    let slots = index.slots(&built.lists).expect("it was just built");
    let source = whole(&index, built, slots.as_ref());
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

/// The sections of an index with a tree as version 1 had them: a centroid per child, rows of CODES by their numbers.
fn as_version_1(world: &World) -> Built {
    let index = &world.index;
    let mut rest = world.built.tree.as_slice();
    let mut take = |bytes: usize| {
        let (taken, after) = rest.split_at(bytes);
        rest = after;
        taken
    };
    let header = take(28);
    let count = |place: usize| {
        u32::from_le_bytes(header[place..place + 4].try_into().expect("four bytes")) as usize
    };
    let (lists, groups, children) = (count(16), count(20), count(24));
    let padded = DIMENSION.next_multiple_of(8);
    let (stops, at_start, length) = (take(32), take(32), take(4));
    let before = take(4 * (padded + groups * padded + groups + 1));
    let numbers = take(4 * children);
    let (centroids, codes) = (take(12 * lists), take(lists * padded));
    let entries = take(20 * lists);
    assert!(rest.is_empty());
    let mut tree = header.to_vec();
    tree[4] = 1;
    tree.extend([stops, &at_start[16..20], length, before].concat());
    let numbers: Vec<&[u8]> = numbers.chunks(4).collect();
    let of = |number: &[u8]| u32::from_le_bytes(number.try_into().expect("four bytes")) as usize;
    for number in &numbers {
        tree.extend([number, &centroids[12 * of(number)..][..12]].concat());
    }
    numbers.iter().for_each(|number| tree.extend(&codes[padded * of(number)..][..padded]));
    entries.chunks(20).for_each(|entry| tree.extend(&entry[..16]));
    let source = world.source();
    let rows = (0..index.rows()).flat_map(|row| source.row(row).expect("a row"));
    Built { tree, codes: rows.copied().collect(), ..world.built.clone() }
}

/// What older versions wrote gives the same answers, and merges into what this one writes.
#[test]
fn version_1_is_read() {
    for metric in METRICS {
        let world = World::new(metric, vectors(9000, 2, 9), |_| {});
        let built = as_version_1(&world);
        let kernels = Kernels::detect();
        assert_eq!(answers(&built, kernels), answers(&world.built, kernels));
        let index = Index::open(&built.tree).expect("version 1");
        assert_eq!(index.rows_place(0), None, "rows of a list do not lie together");
        let params = Params::new(metric, DIMENSION);
        let numbers: Vec<u32> = (0..9000).collect();
        let merged = |index: &Index, built: &Built| {
            let Built { lists, codes, .. } = built;
            let input = MergeInput { index, lists, codes, rows: &numbers };
            merge(&params, &[input], 9000, kernels).expect("whole inputs")
        };
        assert!(merged(&index, &built) == merged(&world.index, &world.built));
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
    let place = world.index.rows_place(3).expect("rows of a list lie together");
    let rows = &world.built.codes[place.start as usize..place.end as usize];
    assert_eq!(world.index.check_rows(3, rows), Ok(()));
    assert!(world.index.check_rows(4, rows).is_err());
    assert!(world.index.check_rows(3, &rows[1..]).is_err());
    assert!(world.index.check_rows(u32::MAX, rows).is_err());
    let mut damaged = rows.to_vec();
    damaged[7] ^= 1;
    assert!(world.index.check_rows(3, &damaged).is_err());
    // A row whose first list is none, and one with two.
    let mut lists = world.built.lists.clone();
    let numbers = world.index.list_place(3).end as usize - 4 * run_places(&world.index, 3);
    lists.copy_within(numbers..numbers + 4, numbers + 4);
    assert!(world.index.slots(&lists).is_err());
}

/// Row numbers of a run, those that are none too.
fn run_places(index: &Index, list: u32) -> usize {
    (index.lists[list as usize].count as usize).next_multiple_of(vb_kernel::BLOCK)
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
