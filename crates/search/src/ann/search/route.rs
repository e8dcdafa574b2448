//! Which lists, in which order, of all parts.

use super::super::index::Index;
use super::super::recall::Model;
use super::super::source::{Part, Source};
use super::super::tree::Lookup;
use super::{Query, Request, Searcher};
use crate::schema::Metric;

/// Lists of a part that are put in order first; more only if those were not enough.
const FIRST: usize = 256;

/// A list to look into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    /// Squared distance of the query to its centroid, or the negated inner product.
    pub(super) base: f32,
    pub(super) part: u32,
    pub(super) list: u32,
    /// Expected to count in it.
    weight: f32,
    /// `z = reach - rank x slope`; see `recall`.
    reach: f32,
    slope: f32,
}

impl Stop {
    /// Vectors expected in the list that are nearer than `rank`.
    pub(super) fn expected(&self, tail: &super::NormalTail, rank: f32) -> f32 {
        self.weight * tail.at(self.reach - rank * self.slope)
    }
}

pub(super) fn by_base(a: &Stop, b: &Stop) -> std::cmp::Ordering {
    a.base.total_cmp(&b.base).then((a.part, a.list).cmp(&(b.part, b.list)))
}

/// Groups of a tree to look into for a recall.
fn groups(groups: usize, target: f32) -> usize {
    let share = match target {
        ..0.9 => 0.7,
        ..0.96 => 1.2,
        ..0.985 => 2.0,
        _ => 2.8,
    };
    (((groups as f32).sqrt() * share).ceil() as usize).max(4)
}

impl Searcher {
    /// Fills `stops` with the nearest lists of parts with trees, and `flats` with all lists of flat ones.
    pub(super) fn route<S: Source>(&mut self, parts: &[Part<'_, S>], request: &Request) {
        for (number, part) in (0..).zip(parts) {
            if self.queries[number as usize].is_done || part.count() == 0 {
                continue;
            }
            match &part.index.tree {
                None => self.all_lists(number, part),
                Some(tree) => self.nearest_lists(number, part, groups(tree.groups(), request.target), FIRST),
            }
        }
    }

    /// Adds the lists of parts with trees that `route` left out; false if there was none.
    pub(super) fn route_rest<S: Source>(&mut self, parts: &[Part<'_, S>]) -> bool {
        let before = self.stops.len();
        let known: std::collections::HashSet<(u32, u32)> =
            self.stops.iter().map(|stop| (stop.part, stop.list)).collect();
        for (number, part) in (0..).zip(parts) {
            if !self.queries[number as usize].is_done && part.count() > 0 && !part.index.is_flat() {
                self.nearest_lists(number, part, usize::MAX, usize::MAX);
            }
        }
        let mut place = 0;
        self.stops.retain(|stop| {
            place += 1;
            place <= before || !known.contains(&(stop.part, stop.list))
        });
        self.stops.len() > before
    }

    /// About the `count` lists of an index nearest to a rotated vector around its centre, with their centroids.
    pub(in super::super) fn near_lists(
        &mut self,
        vector: &[f32],
        index: &Index,
        count: usize,
    ) -> Vec<(u32, Vec<f32>)> {
        let Some(tree) = &index.tree else { return Vec::new() };
        let lookup = Lookup { groups: groups(tree.groups(), 0.95), by_product: false, kernels: self.kernels };
        tree.find(vector, &lookup, &mut self.scratch);
        let near = self.scratch.nearest(count);
        near.iter().map(|&(_, list)| (list, tree.centroid(list))).collect()
    }

    fn nearest_lists<S>(&mut self, number: u32, part: &Part<'_, S>, groups: usize, count: usize) {
        let Some(tree) = &part.index.tree else { return };
        let query = &self.queries[number as usize];
        let by_product = part.index.shape.metric == Metric::InnerProduct;
        let lookup = Lookup { groups, by_product, kernels: self.kernels };
        tree.find(&query.values, &lookup, &mut self.scratch);
        let found = &mut self.scratch.found;
        if count < found.len() {
            found.select_nth_unstable_by(count, super::super::tree::by_cost);
            found.truncate(count);
        }
        let stop = |&(cost, list): &(f32, u32)| stop(number, part, query, cost, list);
        self.stops.extend(found.iter().map(stop));
    }

    fn all_lists<S>(&mut self, number: u32, part: &Part<'_, S>) {
        let query = &self.queries[number as usize];
        let cost = match part.index.shape.metric {
            Metric::InnerProduct => 0.0,
            Metric::Euclidean | Metric::Cosine => query.squared,
        };
        let lists = 0..part.index.lists.len() as u32;
        self.flats.extend(lists.map(|list| stop(number, part, query, cost, list)));
    }
}

fn stop<S>(number: u32, part: &Part<'_, S>, query: &Query, cost: f32, list: u32) -> Stop {
    let index = part.index;
    let entry = &index.lists[list as usize];
    let Model { effective, .. } = index.model;
    let share = if part.allowed.is_some() { part.count() as f32 / index.rows.max(1) as f32 } else { 1.0 };
    let residual = entry.spread.max(f32::MIN_POSITIVE);
    let base = cost + query.shift;
    let (reach, scale) = match index.shape.metric {
        Metric::InnerProduct => (base, (residual * query.squared).sqrt()),
        Metric::Euclidean | Metric::Cosine => (base + residual, 2.0 * (residual * cost).sqrt()),
    };
    let slope = effective.sqrt() / scale.max(1e-30);
    Stop {
        base,
        part: number,
        list,
        weight: entry.count as f32 * share,
        reach: reach * slope,
        slope,
    }
}
