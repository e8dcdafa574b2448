//! Several indexes, and indexes that are not loaded whole.

use super::*;

/// A tree and flat indexes, searched as one.
#[test]
fn parts_are_searched_as_one() {
    let data = vectors(13_000, 1, 9);
    for metric in METRICS {
        let params = Params::new(metric, DIMENSION);
        let (large, rest) = data.split_at(9000 * DIMENSION);
        let (small, fresh) = rest.split_at(3000 * DIMENSION);
        let of = |rows: &[f32]| build(rows, params, Kernels::detect());
        let (large, small, fresh) = (of(large), of(small), of(fresh));
        let open = |built: &Built| Index::open(&built.tree).expect("it was just built");
        let indexes = [open(&large), open(&small), open(&fresh)];
        let starts = [0, 9000, 12_000];
        let pairs = [(&indexes[0], &large), (&indexes[1], &small), (&indexes[2], &fresh)];
        let parts = pairs.map(|(index, built)| {
            let source = Whole { index, lists: &built.lists, codes: &built.codes };
            Part { index, source, allowed: None }
        });
        let mut searcher = Searcher::new(Kernels::detect());
        let mut hits = 0;
        for query in vectors(50, 2, 9).chunks(DIMENSION) {
            searcher.search(query, &parts, &request(10));
            let found: Vec<u32> =
                searcher.near().iter().map(|near| starts[near.part as usize] + near.row).collect();
            let truth = nearest(metric, &data, query, 0..13_000, 10);
            hits += truth.iter().filter(|row| found.contains(row)).count();
        }
        assert!(hits > 475, "{metric:?}: {hits} of 500");
    }
}

/// Lists that come in one by one.
struct Loading<'a> {
    whole: Whole<'a>,
    loaded: &'a [bool],
}

impl Source for Loading<'_> {
    fn list(&self, list: u32) -> Option<&[u8]> {
        self.loaded[list as usize].then(|| self.whole.list(list))?
    }

    fn has_rows(&self) -> bool {
        false
    }

    fn row(&self, _: u32) -> Option<&[u8]> {
        None
    }
}

/// Missing lists are named in few waves, and the answer is that of an index loaded whole.
#[test]
fn missing_lists_are_named_together() {
    let world = World::new(Metric::Cosine, vectors(20_000, 1, 9), |_| {});
    let whole = Whole { codes: &[], ..world.source() };
    let mut searcher = Searcher::new(Kernels::detect());
    let (mut waves, queries) = (0, 40);
    for query in vectors(queries, 2, 9).chunks(DIMENSION) {
        let parts = [Part { index: &world.index, source: whole, allowed: None }];
        searcher.search(query, &parts, &request(10));
        let expected = searcher.near().to_vec();
        let mut loaded = vec![false; world.index.lists() as usize];
        loop {
            let source = Loading { whole, loaded: &loaded };
            let parts = [Part { index: &world.index, source, allowed: None }];
            if searcher.search(query, &parts, &request(10)) != Outcome::Missing {
                break;
            }
            assert!(!searcher.missing().is_empty(), "nothing to load");
            let missing = searcher.missing().to_vec();
            for (_, list) in missing {
                assert!(!std::mem::replace(&mut loaded[list as usize], true), "named again");
            }
            waves += 1;
        }
        assert_eq!(searcher.near(), expected);
    }
    assert!(waves <= queries * 2, "{waves} waves of {queries} queries");
}

/// A bound from elsewhere ends the search early and keeps out what is beyond it.
#[test]
fn a_bound_from_elsewhere_is_kept() {
    let world = World::new(Metric::Euclidean, vectors(12_000, 1, 9), |_| {});
    let parts = [Part { index: &world.index, source: world.source(), allowed: None }];
    let mut searcher = Searcher::new(Kernels::detect());
    let query = vectors(1, 2, 9);
    searcher.search(&query, &parts, &request(10));
    let bound = searcher.near()[4].rank;
    searcher.search(&query, &parts, &Request { bound, ..request(10) });
    assert_eq!(searcher.near().len(), 4);
}
