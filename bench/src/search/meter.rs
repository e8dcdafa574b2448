//! Times queries one after another, and counts what they cost.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::Outcome;

/// A measurement of queries.
#[derive(Deserialize, Clone, Debug)]
pub(super) struct Run {
    /// What to aim at, one of those that the engine named.
    pub(super) setting: String,
    /// The name of a filter.
    #[serde(default)]
    pub(super) filter: Option<String>,
    /// The array whose rows are asked for.
    pub(super) queries: String,
    /// Stop after this long.
    pub(super) seconds: f64,
    /// But not before each query was answered once.
    #[serde(default)]
    pub(super) all: bool,
    /// Over HTTP: connections at a time.
    #[serde(default)]
    pub(super) connections: Option<usize>,
}

/// Queries that are not counted, before a measurement.
const WARMING: usize = 20;

/// What queries gave and took.
#[derive(Default)]
pub(super) struct Meter {
    /// The rows found for each query of the first pass, in their order.
    pub(super) ids: Vec<Vec<u64>>,
    pub(super) micros: Vec<f64>,
    pub(super) wall: f64,
}

/// Asks `ask(place)` for the queries `0..count`, over and over until the time is up.
///
/// # Errors
/// The first failure.
pub(super) fn measure(
    run: &Run,
    count: usize,
    mut ask: impl FnMut(usize) -> Outcome<Vec<u64>>,
) -> Outcome<Meter> {
    let start = Instant::now();
    let mut meter = Meter::default();
    for place in (0..count).cycle() {
        let asked = Instant::now();
        let found = ask(place)?;
        meter.micros.push(asked.elapsed().as_secs_f64() * 1e6);
        if meter.ids.len() < count {
            meter.ids.push(found);
        }
        let is_enough = !run.all || meter.ids.len() == count;
        if is_enough && start.elapsed() > Duration::from_secs_f64(run.seconds) {
            break;
        }
    }
    meter.wall = start.elapsed().as_secs_f64();
    Ok(meter)
}

/// Asks a few queries for nothing.
///
/// # Errors
/// The first failure.
pub(super) fn warm(count: usize, mut ask: impl FnMut(usize) -> Outcome<Vec<u64>>) -> Outcome {
    (0..WARMING).try_for_each(|place| ask(place * 37 % count).map(drop))
}

impl Meter {
    /// Adds what another connection measured at the same time.
    pub(super) fn add(&mut self, other: Self) {
        self.micros.extend(other.micros);
        self.wall = self.wall.max(other.wall);
    }

    /// The answer, with the CPU seconds that it took.
    pub(super) fn answer(mut self, cpu: f64) -> Value {
        self.micros.sort_by(f64::total_cmp);
        let at = |share: f64| self.micros[(self.micros.len() as f64 * share) as usize];
        json!({
            "ids": self.ids,
            "count": self.micros.len(),
            "cpu": cpu,
            "wall": self.wall,
            "p50": at(0.5),
            "p99": at(0.99),
        })
    }
}

/// CPU seconds of the calling thread alone.
pub(super) fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|field| field.parse::<f64>().ok());
    nanos.unwrap_or(0.0) / 1e9
}
