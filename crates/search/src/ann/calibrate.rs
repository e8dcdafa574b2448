//! Measuring an index with some of its own rows as queries; see `recall`.
//!
//! Each of those searches goes on far beyond what is needed, and notes on its way the strain and what it has found.
//! What it has in the end counts as the truth; so the strain at which searches have, on average, the wanted share of
//! it is where to stop.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::cluster::Vectors;
use super::codes::Row;
use super::index::Index;
use super::random::Random;
use super::recall::{Model, TARGETS};
use super::search::{Checkpoint, OPENING, Request, Searcher};
use super::source::{Part, Whole};

/// Rows that are asked for.
const QUERIES: usize = 240;
/// The nearest that are counted, without the row itself.
const K: usize = 10;
/// Lists that a measured search looks into.
const LISTS: usize = 400;
/// How many times the lists are hardly more.
const MORE_LISTS: f32 = 1.04;
/// Strains that are tried: from the first up by the ratio.
const STOP_FIRST: f32 = 1.0;
const STOP_RATIO: f32 = 1.15;
const STOPS: usize = 250;

/// The model of an index with a tree; of a flat one only the length is asked. Its CODES are by the numbers of rows still.
pub(super) fn model(
    index: &mut Index,
    lists: &[u8],
    codes: &[u8],
    seed: u64,
    kernels: Kernels,
) -> Model {
    index.model.length = length(index, codes);
    if index.is_flat() {
        return index.model;
    }
    let all: Vec<u32> = (0..index.rows).collect();
    let sample = Random(seed).sample(&all, QUERIES);
    let traces: Vec<Vec<Noted>> =
        sample.par_iter().map(|row| trace(index, lists, codes, *row, kernels)).collect();
    let model = Model { stops: stops(&traces), ..index.model };
    let lists_at_start = model.stops.map(|stop| {
        let mut needed: Vec<usize> = traces.iter().map(|trace| first_beyond(trace, stop)).collect();
        needed.sort_unstable();
        (OPENING + needed[needed.len() * 3 / 4]) as u32
    });
    Model { lists_at_start, ..model }
}

/// Root mean square of the lengths of rows.
fn length(index: &Index, codes: &[u8]) -> f32 {
    let rows = codes.chunks_exact(index.shape.row_bytes());
    let count = rows.len().max(1) as f64;
    let squares: f64 = rows.map(|row| f64::from(Row::open(row).norm)).sum();
    (squares / count).sqrt() as f32
}

/// What a search had at some place.
#[derive(Clone, Copy, Debug)]
struct Noted {
    strain: f32,
    /// The share of the truth.
    recall: f32,
}

/// What one search had along its way, before each list behind its opening.
fn trace(index: &Index, lists: &[u8], codes: &[u8], row: u32, kernels: Kernels) -> Vec<Noted> {
    let vectors = Vectors { bytes: codes, shape: index.shape };
    let mut query = vec![0.0; index.shape.padded()];
    vectors.decode(row, &mut query);
    query.iter_mut().zip(&index.centre).for_each(|(value, centre)| *value += centre);
    let parts = [Part { index, source: Whole { index, lists, codes, slots: None }, allowed: None }];
    let request = Request { target: 1.0, lists_max: LISTS, ..Request::nearest(K + 1) };
    let mut searcher = Searcher::new(kernels);
    let (checkpoints, near) = searcher.trace(&query, &parts, &request);
    let others = near.iter().map(|near| near.row).filter(|other| *other != row);
    let truth: Vec<u32> = others.take(K).collect();
    let note = |checkpoint: &Checkpoint| {
        let found = truth.iter().filter(|row| checkpoint.rows.contains(row)).count();
        Noted { strain: checkpoint.strain, recall: found as f32 / truth.len().max(1) as f32 }
    };
    checkpoints.iter().map(note).collect()
}

/// The first place of a trace whose strain is above `stop`, or its end.
fn first_beyond(trace: &[Noted], stop: f32) -> usize {
    trace.iter().position(|noted| noted.strain > stop).unwrap_or(trace.len())
}

/// The strain at which the average recall is at least each target: of those that cost hardly more than the smallest, the
/// largest. Where clusters lie far apart, nearly any strain ends the searches of rows at their border; those of queries
/// between clusters should not end there.
fn stops(traces: &[Vec<Noted>]) -> [f32; 8] {
    let tried = std::iter::successors(Some(STOP_FIRST), |stop| Some(stop * STOP_RATIO)).take(STOPS);
    let curve: Vec<Ended> = tried.map(|stop| Ended::at(stop, traces)).collect();
    let mut largest = STOP_FIRST;
    TARGETS.map(|target| {
        let enough = curve.iter().position(|ended| ended.recall >= target);
        let from = enough.unwrap_or(curve.len() - 1);
        let lists_max = curve[from].lists * MORE_LISTS;
        let as_cheap = curve[from..].iter().take_while(|ended| ended.lists <= lists_max);
        largest = as_cheap.last().map_or(largest, |ended| ended.stop.max(largest));
        largest
    })
}

/// What searches would have if they stopped at a strain, on average.
#[derive(Clone, Copy, Debug)]
struct Ended {
    stop: f32,
    recall: f32,
    lists: f32,
}

impl Ended {
    fn at(stop: f32, traces: &[Vec<Noted>]) -> Self {
        let (mut recall, mut lists) = (0.0, 0);
        for trace in traces {
            let place = first_beyond(trace, stop);
            recall += trace.get(place).map_or(1.0, |noted| noted.recall);
            lists += (place + OPENING - 1).max(OPENING);
        }
        let count = traces.len() as f32;
        Self { stop, recall: recall / count, lists: lists as f32 / count }
    }
}
