//! Measuring an index with some of its own rows as queries; see `recall`.
//!
//! Each of those searches goes on far beyond what is needed, and notes on its way the expected gain and what it has
//! found. What it has in the end counts as the truth; so the gain at which searches have, on average, the wanted
//! share of it is where to stop.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::cluster::Vectors;
use super::index::Index;
use super::random::Random;
use super::recall::{Model, TARGETS};
use super::search::{Checkpoint, Request, Searcher};
use super::source::{Part, Whole};
use crate::schema::Metric;

/// Rows that are asked for.
const QUERIES: usize = 160;
/// The nearest that are counted, without the row itself.
const K: usize = 10;
/// Lists that a measured search looks into.
const LISTS: usize = 320;
/// Lists and vectors of each whose residuals' directions are looked at, per query.
const NEAR_LISTS: usize = 12;
const NEAR_ROWS: usize = 12;
/// Gains that are tried: from the first down by the ratio.
const STOP_FIRST: f32 = 0.5;
const STOP_RATIO: f32 = 0.85;
const STOPS: usize = 70;

/// The model of an index with a tree; that of a flat one is never asked.
pub(super) fn model(
    index: &mut Index,
    lists: &[u8],
    codes: &[u8],
    seed: u64,
    kernels: Kernels,
) -> Model {
    if index.is_flat() {
        return Model::default();
    }
    let all: Vec<u32> = (0..index.rows).collect();
    let sample = Random(seed).sample(&all, QUERIES);
    index.model.effective = effective(index, lists, codes, &sample, kernels);
    let traces: Vec<Vec<Noted>> =
        sample.par_iter().map(|row| trace(index, lists, codes, *row, kernels)).collect();
    let mut model = Model { stops: stops(&traces), missed: missed(&traces), ..index.model };
    let stop = model.stop(Request::TARGET);
    let mut needed: Vec<usize> = traces.iter().map(|trace| first_below(trace, stop)).collect();
    needed.sort_unstable();
    model.lists_at_start = (needed[needed.len() * 3 / 4] + 2) as u32;
    model
}

/// Dimensions that residuals look random in, seen from near queries.
fn effective(index: &Index, lists: &[u8], codes: &[u8], sample: &[u32], kernels: Kernels) -> f32 {
    let squares: Vec<(f64, u32)> = sample
        .par_iter()
        .map(|row| squared_cosines(index, lists, codes, *row, kernels))
        .collect();
    let (sum, count) =
        squares.iter().fold((0.0, 0u32), |(sum, count), next| (sum + next.0, count + next.1));
    if count == 0 || sum <= 0.0 {
        return index.shape.padded() as f32;
    }
    (f64::from(count) / sum).clamp(1.0, 65_536.0) as f32
}

/// Of the angles between residuals in near lists and the direction of the query: sum and count.
fn squared_cosines(
    index: &Index,
    lists: &[u8],
    codes: &[u8],
    row: u32,
    kernels: Kernels,
) -> (f64, u32) {
    let source = Whole { index, lists, codes };
    let vectors = Vectors { bytes: codes, shape: index.shape };
    let padded = index.shape.padded();
    let (mut query, mut vector) = (vec![0.0; padded], vec![0.0; padded]);
    vectors.decode(row, &mut query);
    let (mut sum, mut count) = (0.0, 0);
    let mut searcher = Searcher::new(kernels);
    let near = searcher.near_lists(&query, index, NEAR_LISTS);
    for (list, centroid) in near {
        let entry = &index.lists[list as usize];
        let place = index.list_place(list);
        let run = &source.lists[place.start as usize..place.end as usize];
        let direction: Vec<f32> = match index.shape.metric {
            Metric::InnerProduct => query.clone(),
            Metric::Euclidean | Metric::Cosine => {
                query.iter().zip(&centroid).map(|(query, centroid)| query - centroid).collect()
            }
        };
        let step = (entry.count as usize / NEAR_ROWS).max(1);
        let rows = index.run_rows(entry, run).take(entry.count as usize).step_by(step);
        for other in rows.filter(|other| *other != row) {
            vectors.decode(other, &mut vector);
            vector.iter_mut().zip(&centroid).for_each(|(value, centroid)| *value -= centroid);
            let lengths = kernels.norm_squared(&vector) * kernels.norm_squared(&direction);
            if lengths > 0.0 {
                let dot = kernels.dot(&vector, &direction);
                sum += f64::from(dot * dot / lengths);
                count += 1;
            }
        }
    }
    (sum, count)
}

/// What a search had at some place.
#[derive(Clone, Copy, Debug)]
struct Noted {
    gain: f32,
    miss: f32,
    /// The share of the truth.
    recall: f32,
}

/// What one search had along its way.
fn trace(index: &Index, lists: &[u8], codes: &[u8], row: u32, kernels: Kernels) -> Vec<Noted> {
    let vectors = Vectors { bytes: codes, shape: index.shape };
    let mut query = vec![0.0; index.shape.padded()];
    vectors.decode(row, &mut query);
    query.iter_mut().zip(&index.centre).for_each(|(value, centre)| *value += centre);
    let parts = [Part { index, source: Whole { index, lists, codes }, allowed: None }];
    let request = Request { target: 1.0, lists_max: LISTS, ..Request::nearest(K + 1) };
    let mut searcher = Searcher::new(kernels);
    let (checkpoints, near) = searcher.trace(&query, &parts, &request);
    let truth: Vec<u32> =
        near.iter().map(|near| near.row).filter(|other| *other != row).take(K).collect();
    let share = |checkpoint: &Checkpoint| {
        let found = truth.iter().filter(|row| checkpoint.rows.contains(row)).count();
        let recall = found as f32 / truth.len().max(1) as f32;
        Noted { gain: checkpoint.gain, miss: checkpoint.miss, recall }
    };
    checkpoints.iter().map(share).collect()
}

/// The first place of a trace where the gain is at most `stop`, or its end.
fn first_below(trace: &[Noted], stop: f32) -> usize {
    trace.iter().position(|noted| noted.gain <= stop).unwrap_or(trace.len())
}

/// The largest gain at which the average recall is at least each target.
fn stops(traces: &[Vec<Noted>]) -> [f32; 8] {
    let recall_at = |stop: f32| {
        let of = |trace: &Vec<Noted>| trace.get(first_below(trace, stop)).map_or(1.0, |at| at.recall);
        traces.iter().map(of).sum::<f32>() / traces.len() as f32
    };
    let tried = std::iter::successors(Some(STOP_FIRST), |stop| Some(stop * STOP_RATIO)).take(STOPS);
    let curve: Vec<(f32, f32)> = tried.map(|stop| (stop, recall_at(stop))).collect();
    TARGETS.map(|target| {
        let enough = curve.iter().find(|(_, recall)| *recall >= target);
        enough.or(curve.last()).map_or(STOP_FIRST, |(stop, _)| *stop)
    })
}

/// How many were missed for each that was expected, over all places.
fn missed(traces: &[Vec<Noted>]) -> f32 {
    let all = || traces.iter().flatten().filter(|noted| noted.miss < 1.0);
    let expected: f32 = all().map(|noted| noted.miss).sum();
    let missed: f32 = all().map(|noted| 1.0 - noted.recall).sum();
    if expected > 0.0 && missed > 0.0 { (missed / expected).clamp(0.01, 100.0) } else { 1.0 }
}
