//! Indexes made of others.

use super::*;

/// Merging, again and again, with deletions and a second distribution, loses no recall and keeps lists in bounds.
#[test]
fn merged_indexes_find_as_much() {
    let mut sum = 0.0;
    for metric in METRICS {
        let params = Params::new(metric, DIMENSION);
        let mut data = vectors(9000, 1, 9);
        let mut world = World::new(metric, data.clone(), |_| {});
        for step in 0..4u64 {
            let more = vectors(3000, 20 + step, if step < 2 { 9 } else { 31 });
            let other = World::new(metric, more.clone(), |_| {});
            // Every fifth row of the first goes.
            let mut next = 0;
            let mut number = |row: u32| {
                if row % 5 == 4 {
                    return DROPPED;
                }
                next += 1;
                next - 1
            };
            let firsts: Vec<u32> = (0..world.index.rows()).map(&mut number).collect();
            let others: Vec<u32> = (next..next + 3000).collect();
            let rows = next + 3000;
            let input = |world: &World| (world.built.lists.clone(), world.built.codes.clone());
            let ((a_lists, a_codes), (b_lists, b_codes)) = (input(&world), input(&other));
            let inputs = [
                MergeInput { index: &world.index, lists: &a_lists, codes: &a_codes, rows: &firsts },
                MergeInput { index: &other.index, lists: &b_lists, codes: &b_codes, rows: &others },
            ];
            let built = merge(&params, &inputs, rows, Kernels::detect()).expect("whole inputs");
            let kept = (0u32..).zip(data.chunks(DIMENSION)).filter(|(row, _)| row % 5 != 4);
            data = kept.flat_map(|(_, row)| row.to_vec()).chain(more).collect();
            let index = Index::open(&built.tree).expect("it was just built");
            let slots = index.slots(&built.lists).expect("it was just built");
            world = World { metric, data: data.clone(), built, index, slots };
            let queries = [vectors(150, 2, 9), vectors(150, 2, 31)].concat();
            let recall = world.recall(&queries, &request(10), world.source(), None);
            assert!(recall > 0.95, "{metric:?}, step {step}: {recall}");
            sum += recall;
        }
        let sizes = world.index.lists.iter().map(|list| list.firsts);
        assert!(sizes.clone().max() <= Some(320), "{:?}", sizes.max());
    }
    let mean = sum / (4 * METRICS.len()) as f64;
    assert!(mean > 0.965, "{mean}");
}
