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
        let slots = pairs.map(|(index, built)| index.slots(&built.lists).expect("just built"));
        let part = |number: usize| {
            let (index, built) = pairs[number];
            Part { index, source: whole(index, built, slots[number].as_ref()), allowed: None }
        };
        let parts = [part(0), part(1), part(2)];
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
    is_by_list: bool,
}

impl Source for Loading<'_> {
    fn list(&self, list: u32) -> Option<&[u8]> {
        self.loaded[list as usize].then(|| self.whole.list(list))?
    }

    fn is_by_list(&self) -> bool {
        self.is_by_list
    }

    fn row_codes(&self) -> RowCodes {
        RowCodes::None
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
            let source = Loading { whole, loaded: &loaded, is_by_list: false };
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

/// Before it is known which rows count, lists are named that it will take; each further wave names as many again, at least.
#[test]
fn lists_are_foreseen_by_the_share_of_rows_that_count() {
    for metric in METRICS {
        let world = World::new(metric, vectors(20_000, 1, 9), |_| {});
        let whole = Whole { codes: &[], ..world.source() };
        let counting = || (7..20_000).step_by(50);
        let mask = RowMask::from_bitmap(&counting().collect(), 20_000);
        let mut searcher = Searcher::new(Kernels::detect());
        let (mut waves, mut hits, queries) = (0, 0, 40);
        for query in vectors(queries, 2, 9).chunks(DIMENSION) {
            let mut loaded = vec![false; world.index.lists() as usize];
            let source = Loading { whole, loaded: &loaded, is_by_list: true };
            let parts = [Part { index: &world.index, source, allowed: None }];
            searcher.foresee(query, &parts, &[0.02], &request(10));
            assert!(searcher.near().is_empty() && searcher.missing_rows().is_empty());
            assert!(searcher.missing().len() > 10, "{:?}", searcher.missing());
            loop {
                for (_, list) in searcher.missing() {
                    assert!(!std::mem::replace(&mut loaded[*list as usize], true), "again");
                }
                waves += 1;
                let source = Loading { whole, loaded: &loaded, is_by_list: true };
                let parts = [Part { index: &world.index, source, allowed: Some(&mask) }];
                if searcher.search(query, &parts, &request(10)) != Outcome::Missing {
                    break;
                }
            }
            let found: Vec<u32> = searcher.near().iter().map(|near| near.row).collect();
            let truth = nearest(metric, &world.data, query, counting(), 10);
            hits += truth.iter().filter(|row| found.contains(row)).count();
        }
        assert!(hits > 370, "{metric:?}: {hits} of 400");
        assert!(waves <= 4 * queries, "{metric:?}: {waves} waves of {queries} queries");
    }
}

/// Row codes that come in list by list, with their lists or to lists that are all there.
struct Both<'a> {
    whole: Whole<'a>,
    lists: &'a [bool],
    rows: &'a [bool],
    is_by_list: bool,
}

impl Source for Both<'_> {
    fn list(&self, list: u32) -> Option<&[u8]> {
        self.lists[list as usize].then(|| self.whole.list(list))?
    }

    fn row_codes(&self) -> RowCodes {
        RowCodes::OfLists
    }

    fn is_by_list(&self) -> bool {
        self.is_by_list
    }

    fn row(&self, _: u32) -> Option<&[u8]> {
        None
    }

    fn rows(&self, list: u32) -> Option<&[u8]> {
        let place = self.whole.index.rows_place(list)?;
        let rows = &self.whole.codes[place.start as usize..place.end as usize];
        self.rows[list as usize].then_some(rows)
    }
}

/// With row codes read list by list as much is found as with all of them, few lists are looked into, and few vectors are left to look at;
/// every wave names something, and nothing twice. From 256 dimensions on most lists come without their row codes. That some are
/// there changes what is read, and not how far a search goes.
#[test]
fn row_codes_come_with_their_lists() {
    let narrow = METRICS
        .into_iter()
        .flat_map(|metric| [RowBits::Four, RowBits::Eight].map(|bits| (metric, bits, DIMENSION)));
    let wide = METRICS.map(|metric| (metric, RowBits::Four, 256));
    let cases = narrow.chain(wide);
    let cases = cases.flat_map(|case| [true, false].map(|is_by_list| (case, is_by_list)));
    for ((metric, row_bits, dimension), is_by_list) in cases {
        let data = vectors(20_000, 1, 9);
        let world = World::wide(metric, data, dimension, |params| params.row_bits = row_bits);
        let mut searcher = Searcher::new(Kernels::detect());
        let (mut waves, mut hits, mut candidates, queries) = (0, 0, 0, 40);
        let (mut lists_read, mut rows_read, mut looked_into) = (0, 0, 0);
        for query in vectors(queries, 2, 9).chunks(DIMENSION) {
            let wide = widened(query, dimension);
            let count = world.index.lists() as usize;
            let (mut lists, mut rows) = (vec![!is_by_list; count], vec![false; count]);
            looked_into += loop {
                let (whole, lists_there) = (world.source(), &lists);
                let source = Both { whole, lists: lists_there, rows: &rows, is_by_list };
                let parts = [Part { index: &world.index, source, allowed: None }];
                if let Outcome::Done(work) = searcher.search(&wide, &parts, &request(10)) {
                    break work.lists;
                }
                let (missing, missing_rows) = (searcher.missing(), searcher.missing_rows());
                assert!(!missing.is_empty() || !missing_rows.is_empty(), "nothing to load");
                let load = |all: &mut Vec<bool>, named: &[(u32, u32)]| {
                    for (_, list) in named {
                        assert!(!std::mem::replace(&mut all[*list as usize], true), "again");
                    }
                };
                load(&mut lists, missing);
                load(&mut rows, missing_rows);
                (lists_read, rows_read) =
                    (lists_read + missing.len(), rows_read + missing_rows.len());
                waves += 1;
            };
            let near = searcher.near();
            candidates += near.len();
            assert!(near.is_sorted_by(|a, b| a.rank <= b.rank));
            let mut found: Vec<u32> = near.iter().map(|near| near.row).collect();
            found.sort_unstable();
            assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "a row twice");
            let truth = nearest(metric, &world.data, query, 0..20_000, 10);
            hits += truth.iter().filter(|row| found.contains(row)).count();
        }
        let recall = hits as f64 / (10 * queries) as f64;
        assert!(recall > 0.97, "{metric:?}, {row_bits:?}, {dimension}: {recall}");
        if is_by_list {
            let with_rows = f64::from(rows_read as u32) / f64::from(lists_read as u32);
            assert_eq!(with_rows < 0.5, dimension == 256, "{with_rows} of the lists with rows");
        }
        let lists = world.index.lists() as usize;
        assert!(looked_into < queries * lists / 2, "{looked_into} of {lists} per query");
        assert!(waves <= 2 * queries, "{metric:?}: {waves} waves of {queries} queries");
        // Four bits say less about which are the nearest.
        let most = if row_bits == RowBits::Eight { 55 } else { 140 };
        assert!(candidates < most * queries, "{metric:?}, {row_bits:?}: {candidates}");
    }
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
