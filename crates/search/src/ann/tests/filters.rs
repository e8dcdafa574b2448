//! Searches among some of the rows.

use super::*;

/// Whatever share of the rows counts: enough results, of those that count, and nearly the nearest ones.
#[test]
fn filters_of_any_share_find_their_nearest() {
    for metric in METRICS {
        let world = World::new(metric, vectors(12_000, 1, 9), |_| {});
        for every in [1, 2, 10, 100, 1000, 6000] {
            let allowed = |old: u32| old.is_multiple_of(every);
            let queries = vectors(25, 2, 9);
            let recall = world.recall(&queries, &request(10), world.source(), Some(&allowed));
            assert!(recall > 0.95, "{metric:?}, one in {every}: {recall}");
        }
        // Rows of one neighbourhood, and none at all.
        let centre = &vectors(1, 5, 9);
        let near = nearest(metric, &world.data, centre, 0..12_000, 300);
        let queries = vectors(25, 2, 9);
        let recall =
            world.recall(&queries, &request(10), world.source(), Some(&|old| near.contains(&old)));
        assert!(recall > 0.95, "{metric:?}, a neighbourhood: {recall}");
        world.recall(&queries, &request(10), world.source(), Some(&|_| false));
    }
}

/// More wanted than rows count: all of them, also when lists must be looked through to the last.
#[test]
fn results_are_never_fewer_than_there_are() {
    let world = World::new(Metric::Euclidean, vectors(9000, 1, 9), |_| {});
    let queries = vectors(3, 2, 9);
    assert!((world.recall(&queries, &request(9000), world.source(), None) - 1.0).abs() < 1e-9);
    let most = |old: u32| !old.is_multiple_of(9);
    assert!(world.recall(&queries, &request(9000), world.source(), Some(&most)) > 0.999);
    for (count, k) in [(1, 10), (2, 1), (47, 100), (300, 10)] {
        let equal = World::new(Metric::Cosine, vec![0.25; count * DIMENSION], |_| {});
        assert!(equal.index.is_flat());
        equal.recall(&queries, &request(k), equal.source(), None);
    }
    let equal = World::new(Metric::Euclidean, vec![0.25; 9000 * DIMENSION], |_| {});
    equal.recall(&queries, &request(10), equal.source(), None);
}

/// Rows that count because of where they lie, and queries that lie elsewhere.
#[test]
fn filters_that_follow_the_vectors_find_their_nearest() {
    for metric in METRICS {
        let world = World::new(metric, vectors(20_000, 1, 9), |_| {});
        for (value, below) in [(0, -0.2), (0, 0.2), (7, 0.5), (11, 0.8)] {
            let allowed = |old: u32| world.data[old as usize * DIMENSION + value] < below;
            let queries = vectors(40, 2, 9);
            let recall = world.recall(&queries, &request(10), world.source(), Some(&allowed));
            assert!(recall > 0.95, "{metric:?}, value {value} below {below}: {recall}");
        }
    }
}
