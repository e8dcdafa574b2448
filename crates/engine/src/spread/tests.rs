use super::*;
use crate::requests::{Explain, Hit};

fn loads(segments: &[(u64, u128)], processes: usize) -> Vec<u64> {
    let mut loads = vec![0; processes];
    for (place, (bytes, _)) in share_out(segments, processes).into_iter().zip(segments) {
        loads[place] += bytes;
    }
    loads
}

#[test]
fn shares_are_even_and_the_large_ones_stay_where_they_are() {
    let segments = [(400, 4), (10, 9), (390, 3), (410, 5), (20, 7)];
    assert_eq!(loads(&segments, 1), [1230]);
    assert_eq!(loads(&segments, 3), [410, 410, 410]);
    assert_eq!(share_out(&segments, 3), [1, 1, 2, 0, 2]);
    // One more small segment moves no large one.
    let mut more = segments.to_vec();
    more.push((5, 1));
    let before = share_out(&segments, 3);
    assert_eq!(share_out(&more, 3)[..5], before);
    // The order in which a manifest names them does not matter.
    let mut reversed = segments;
    reversed.reverse();
    let mut places = share_out(&reversed, 3);
    places.reverse();
    assert_eq!(places, before);
    assert!(share_out(&[], 3).is_empty());
}

fn found(rows: &[(f64, &'static str)]) -> Found {
    let hit = |(rank, key): &(f64, &'static str)| Hit {
        key: Bytes::from_static(key.as_bytes()),
        distance: Metric::Euclidean.distance(*rank),
        metadata: None,
    };
    Found {
        hits: rows.iter().map(hit).collect(),
        ranks: rows.iter().map(|(rank, _)| *rank).collect(),
        explain: Explain { rows_scanned: rows.len(), recall: 1.0, ..Explain::default() },
    }
}

#[test]
fn finds_are_merged_by_rank_and_ties_by_key() {
    let merged = merge(
        found(&[(1.0, "b"), (2.0, "z")]),
        vec![found(&[(1.0, "a"), (3.0, "x")]), found(&[]), found(&[(1.0, "c")])],
        Metric::Euclidean,
        4,
    );
    let keys: Vec<&[u8]> = merged.hits.iter().map(|hit| &hit.key[..]).collect();
    assert_eq!(keys, [b"a", b"b", b"c", b"z"]);
    assert_eq!((merged.ranks, merged.explain.rows_scanned), (vec![1.0, 1.0, 1.0, 2.0], 5));
}
