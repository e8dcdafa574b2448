//! Scans equal "rank every row, sort by (rank, key), take k".

use super::{
    Candidate, Docs, ListRange, Mask, Place, PreparedQuery, Rows, TopK, row_norm, scan_rows,
};
use crate::segment::{Lists, build_lists};
use crate::testing::{kernels, metric};
use crate::{DocId, Metric};
use bytes::Bytes;
use proptest::prelude::*;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::ops::Range;
use vb_kernel::{Kernels, Level};

/// What is scanned: rows and everything that decides about them.
#[derive(Clone, Debug)]
struct Case {
    dimension: usize,
    query: Vec<f32>,
    values: Vec<f32>,
    /// One per row, ascending.
    docs: Vec<DocId>,
    allowed: Option<RoaringBitmap>,
    deleted: Option<RoaringBitmap>,
    k: usize,
    /// Where the rows are cut into scans.
    cuts: Vec<usize>,
    arrangement: Arrangement,
    with_norms: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Arrangement {
    Sequence,
    Ids,
    OneList,
    ThreeLists,
}

impl Case {
    fn rows(&self) -> usize {
        self.docs.len()
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dimension..][..self.dimension]
    }

    fn mask(&self) -> Mask<'_> {
        Mask { allowed: self.allowed.as_ref(), deleted: self.deleted.as_ref() }
    }

    fn ranges(&self) -> Vec<Range<usize>> {
        let mut cuts: Vec<usize> = self.cuts.iter().map(|cut| cut % (self.rows() + 1)).collect();
        cuts.extend([0, self.rows()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| pair[0]..pair[1]).collect()
    }

    /// The documents of the rows, as lists: three lists take turns of whole thirds, out of order.
    fn lists(&self) -> Vec<Vec<DocId>> {
        let third = self.rows() / 3;
        match self.arrangement {
            Arrangement::ThreeLists => {
                let (a, rest) = self.docs.split_at(third);
                let (b, c) = rest.split_at(third);
                vec![c.to_vec(), a.to_vec(), b.to_vec()]
            }
            _ => vec![self.docs.clone()],
        }
    }
}

/// Ties by key are broken by a scrambled order that is neither that of documents nor of rows.
fn by_key(a: Place, b: Place) -> Ordering {
    let key = |place: Place| place.doc.wrapping_mul(0x9E37_79B1).rotate_left(7);
    key(a).cmp(&key(b))
}

/// The rank by its definition, over the scalar kernels.
fn rank(metric: Metric, query: &[f32], row: &[f32]) -> f64 {
    let scalar = Kernels::at(Level::Scalar).expect("everywhere");
    match metric {
        Metric::Euclidean => f64::from(scalar.l2_squared(query, row)),
        Metric::InnerProduct => f64::from(-scalar.dot(query, row)) + 0.0,
        Metric::Cosine => {
            let norms = scalar.norm_squared(query).sqrt() * scalar.norm_squared(row).sqrt();
            let cosine = scalar.dot(query, row) / norms;
            if norms == 0.0 { 1.0 } else { f64::from((1.0 - cosine).clamp(0.0, 2.0)) }
        }
    }
}

fn naive(case: &Case, docs: &[DocId], rank: impl Fn(&[f32]) -> f64) -> Vec<Candidate> {
    let rows = (0..case.rows()).filter(|&row| case.mask().admits(docs[row]));
    let mut all: Vec<Candidate> = rows
        .map(|row| Candidate {
            rank: rank(case.row(row)),
            place: Place { source: 9, doc: docs[row] },
        })
        .collect();
    all.sort_by(|a, b| a.rank.total_cmp(&b.rank).then_with(|| by_key(a.place, b.place)));
    all.truncate(case.k);
    all
}

/// Scans the pieces into one `TopK` each, last piece first, and merges them.
fn scanned(case: &Case, kernels: Kernels, metric: Metric) -> Vec<Candidate> {
    let query = PreparedQuery::new(kernels, metric, &case.query);
    let rows = case.values.chunks_exact(case.dimension);
    let norms: Vec<f32> = rows.map(|row| row_norm(kernels, row)).collect();
    let lists = Bytes::from(build_lists(u32::MAX, &case.lists()));
    let lists = Lists::open(u32::MAX, &lists).expect("valid");
    let mut merged = TopK::new(case.k);
    for range in case.ranges().into_iter().rev() {
        let values = range.start * case.dimension..range.end * case.dimension;
        let rows = Rows {
            values: &case.values[values],
            norms: case.with_norms.then(|| &norms[range.clone()]),
            docs: match case.arrangement {
                Arrangement::Sequence => Docs::Sequence {
                    start: case.docs.get(range.start).copied().unwrap_or_default(),
                    len: range.len(),
                },
                Arrangement::Ids => Docs::Ids(&case.docs[range]),
                _ => Docs::Lists(ListRange::new(&lists, &range)),
            },
        };
        let mut top = TopK::new(case.k);
        scan_rows(&query, rows, case.mask(), 9, &mut top, &by_key);
        merged.merge(top, &by_key);
    }
    merged.into_sorted(&by_key)
}

/// Few distinct values, so that many distances are equal; vectors of zeros among them.
fn small_values() -> impl Strategy<Value = f32> + Clone {
    (-2i8..3).prop_map(f32::from)
}

fn any_finite() -> impl Strategy<Value = f32> {
    prop_oneof![
        4 => -1.0f32..1.0,
        2 => prop::sample::select(vec![0.0, -0.0, f32::MAX, f32::MIN, 1e30, -1e25, 1e-30, 1e-45]),
        1 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite()),
    ]
}

/// A row is of one kind of values or of a mix.
fn vector(dimension: usize, extreme: bool) -> BoxedStrategy<Vec<f32>> {
    let small = prop::collection::vec(small_values(), dimension);
    if !extreme {
        return small.boxed();
    }
    let scale = prop::sample::select(vec![1e-40f32, 1e-25, 1.0, 1e18, 1e37]);
    let scaled = (small.clone(), scale)
        .prop_map(|(row, scale)| row.into_iter().map(|value| value * scale).collect());
    prop_oneof![small, scaled, prop::collection::vec(any_finite(), dimension)].boxed()
}

/// A bitmap of some of the documents, of any density.
fn some_of(docs: &[DocId]) -> impl Strategy<Value = Option<RoaringBitmap>> + use<> {
    let docs = docs.to_vec();
    let chosen = (prop::sample::select(vec![0u32, 1, 10, 40, 60, 99, 100]), any::<u32>());
    let bitmap = chosen.prop_map(move |(percent, seed)| {
        let keeps = |doc: &&DocId| (**doc ^ seed).wrapping_mul(0x85EB_CA6B) >> 16 < percent * 656;
        docs.iter().filter(keeps).copied().collect::<RoaringBitmap>()
    });
    prop::option::weighted(0.7, bitmap)
}

fn case(extreme: bool) -> impl Strategy<Value = Case> {
    let arrangement = prop::sample::select(vec![
        Arrangement::Sequence,
        Arrangement::Ids,
        Arrangement::OneList,
        Arrangement::ThreeLists,
    ]);
    let rows = prop_oneof![3 => 0..40usize, 1 => 250..700usize];
    let shape = (1..40usize, rows, arrangement, 1..5u32, 0..1000u32);
    shape.prop_flat_map(move |(dimension, rows, arrangement, step, start)| {
        let step = if arrangement == Arrangement::Sequence { 1 } else { step };
        let docs: Vec<DocId> = (0..rows as u32).map(|row| start + row * step).collect();
        (
            vector(dimension, extreme),
            prop::collection::vec(vector(dimension, extreme), rows),
            some_of(&docs),
            some_of(&docs),
            prop_oneof![Just(0), Just(1), 0..30usize, Just(1000)],
            prop::collection::vec(0..1000usize, 0..4),
            any::<bool>(),
            Just((dimension, docs, arrangement)),
        )
            .prop_map(|(query, rows, allowed, deleted, k, cuts, with_norms, shape)| {
                let (dimension, docs, arrangement) = shape;
                let values = rows.concat();
                Case {
                    dimension,
                    query,
                    values,
                    docs,
                    allowed,
                    deleted,
                    k,
                    cuts,
                    arrangement,
                    with_norms,
                }
            })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1200))]

    #[test]
    fn a_scan_is_a_sort(case in case(false), kernels in kernels(), metric in metric()) {
        let docs = case.lists().concat();
        let expected = naive(&case, &docs, |row| rank(metric, &case.query, row));
        prop_assert_eq!(scanned(&case, kernels, metric), expected);
    }

    /// Sums overflow, underflow and cancel: ranks still are numbers, the same however the rows are
    /// cut and at every level, in order, and about right.
    #[test]
    fn a_scan_of_extreme_values_is_a_sort(
        case in case(true),
        kernels in kernels(),
        metric in metric(),
    ) {
        let docs = case.lists().concat();
        let found = scanned(&case, kernels, metric);
        let alone = |row: &[f32]| alone(&case, row, metric);
        prop_assert_eq!(&found, &naive(&case, &docs, alone));
        for candidate in found {
            let row = docs.iter().position(|&doc| doc == candidate.place.doc).expect("a row");
            check_near_exact(metric, &case.query, case.row(row), candidate.rank)?;
            prop_assert!(metric.distance(candidate.rank).is_finite());
        }
    }
}

/// The rank of one row scanned alone, at the scalar level.
fn alone(case: &Case, row: &[f32], metric: Metric) -> f64 {
    let scalar = Kernels::at(Level::Scalar).expect("everywhere");
    let query = PreparedQuery::new(scalar, metric, &case.query);
    let mut top = TopK::new(1);
    let rows = Rows { values: row, norms: None, docs: Docs::Ids(&[0]) };
    scan_rows(&query, rows, Mask::default(), 0, &mut top, &by_key);
    top.into_sorted(&by_key)[0].rank
}

fn check_near_exact(
    metric: Metric,
    query: &[f32],
    row: &[f32],
    rank: f64,
) -> Result<(), TestCaseError> {
    let wide = |(&x, &y): (&f32, &f32)| (f64::from(x), f64::from(y));
    let pairs = || query.iter().zip(row).map(wide);
    let dot: f64 = pairs().map(|(x, y)| x * y).sum();
    let magnitude: f64 = pairs().map(|(x, y)| (x * y).abs()).sum();
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let (exact, scale) = match metric {
        Metric::Euclidean => {
            let squared = pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>();
            (squared, squared)
        }
        Metric::InnerProduct => (-dot, magnitude),
        Metric::Cosine => {
            let norms = norm(query) * norm(row);
            (if norms == 0.0 { 1.0 } else { 1.0 - dot / norms }, 1.0)
        }
    };
    let slack = scale * 1e-5 + 1e-36;
    prop_assert!((rank - exact).abs() <= slack, "{metric:?}: {rank} is not {exact}");
    Ok(())
}

/// The result of a scan does not depend on how candidates were spread and merged.
#[test]
fn merging_is_associative() {
    let offer = |range: Range<u32>| {
        let mut top = TopK::new(7);
        for doc in range {
            let rank = f64::from(doc * 7 % 5);
            top.offer(Candidate { rank, place: Place { source: 0, doc } }, &by_key);
        }
        top
    };
    let (a, b, c) = (0..40, 40..41, 41..100);
    let mut left = offer(a.clone());
    left.merge(offer(b.clone()), &by_key);
    left.merge(offer(c.clone()), &by_key);
    let mut right = offer(c);
    right.merge(offer(b), &by_key);
    let mut outer = offer(a);
    outer.merge(right, &by_key);
    let all = offer(0..100).into_sorted(&by_key);
    assert_eq!(left.into_sorted(&by_key), all);
    assert_eq!(outer.into_sorted(&by_key), all);
    assert_eq!(all.len(), 7);
}

#[test]
fn distances_are_what_the_wire_shows() {
    assert_eq!(Metric::Euclidean.distance(25.0), 5.0);
    assert_eq!(Metric::Cosine.distance(0.25), 0.25);
    assert_eq!(Metric::InnerProduct.distance(-3.0), -3.0);
    assert_eq!(Metric::Euclidean.distance(f64::INFINITY), f32::MAX);
    assert_eq!(Metric::InnerProduct.distance(-1e300), f32::MIN);
}

#[test]
fn euclidean_distances_beyond_float32_squares_are_exact() {
    let (large, huge) = (2f32.powi(90), 2f32.powi(120));
    let query = PreparedQuery::new(Kernels::detect(), Metric::Euclidean, &[0.0, 0.0]);
    let rows = Rows {
        values: &[3.0 * huge, 4.0 * huge, 3.0 * large, 4.0 * large, 1.0, 0.0],
        norms: None,
        docs: Docs::Sequence { start: 0, len: 3 },
    };
    let mut top = TopK::new(3);
    scan_rows(&query, rows, Mask::default(), 0, &mut top, &by_key);
    let found = top.into_sorted(&by_key);
    let distances: Vec<f32> =
        found.iter().map(|found| Metric::Euclidean.distance(found.rank)).collect();
    assert_eq!(found.iter().map(|found| found.place.doc).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!(distances, [1.0, 5.0 * large, 5.0 * huge]);
}

/// One lane of the sum overflows although the whole does not: the infinite rank is not believed.
#[test]
fn a_lane_that_overflows_hides_no_row() {
    let mut overflowing = [0.0; 33];
    (overflowing[0], overflowing[32]) = (-3e38, -3e38);
    (overflowing[1], overflowing[2]) = (3e38, 3e38);
    let mut ordinary = [0.0; 33];
    ordinary[0] = -5.0;
    let query = PreparedQuery::new(Kernels::detect(), Metric::InnerProduct, &[1.0; 33]);
    let values = [ordinary, overflowing].concat();
    let rows = Rows { values: &values, norms: None, docs: Docs::Sequence { start: 0, len: 2 } };
    let mut top = TopK::new(1);
    scan_rows(&query, rows, Mask::default(), 0, &mut top, &by_key);
    let found = top.into_sorted(&by_key);
    assert_eq!(found, [Candidate { rank: 0.0, place: Place { source: 0, doc: 1 } }]);
}

/// A row damaged to NaN never leaves as NaN, and does not hide others.
#[test]
fn damaged_rows_rank_last() {
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::InnerProduct] {
        let query = PreparedQuery::new(Kernels::detect(), metric, &[1.0, 1.0]);
        let rows = Rows {
            values: &[f32::NAN, 1.0, 1.0, 1.0, f32::INFINITY, f32::NEG_INFINITY],
            norms: None,
            docs: Docs::Sequence { start: 0, len: 3 },
        };
        let mut top = TopK::new(3);
        scan_rows(&query, rows, Mask::default(), 0, &mut top, &by_key);
        let found = top.into_sorted(&by_key);
        assert_eq!(found[0].place.doc, 1, "{metric:?}");
        assert!(found.iter().all(|found| metric.distance(found.rank).is_finite()));
    }
}
