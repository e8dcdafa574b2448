//! Recall against speed of the vector index on the data sets of `bench/data`, in process, one query at a time.
//!
//! ```text
//! cargo run --release -p vb-search --example ann -- SET [OPTION...]
//!   SET             glove100, minilm384, or clusteredD: 100,000 made rows of D dimensions
//!   targets=A,B     recalls to search for (or `targets=` for none)
//!   ks=A,B          numbers of nearest, at the default target
//!   odd             queries unlike the rows
//!   filters         filters that keep 0.1 % to 90 %, random and correlated ones
//!   nocodes         also without CODES in memory: more candidates for the exact step
//!   merge           also an index merged from four of a quarter each, one after another
//!   drift           rows of one distribution, then more and more of another, merged step by step
//!   bits=4|8        bits of the second stage (default: by dimension)
//!   rows=N          only the first N rows
//!   queries=N       only the first N queries (default 1000)
//! ANN_DATA          the folder of the sets (default bench/data/work)
//! ```
#![expect(clippy::print_stdout, reason = "it prints its measurements")]

mod data;
mod filters;
mod measure;
mod odd;

use std::time::Instant;

use data::{Set, exact};
use measure::{Run, Segment, process_seconds};
use vb_kernel::Kernels;
use vb_search::Metric;
use vb_search::ann::{Params, Request, RowBits};

/// What to measure.
struct Bench {
    set: Set,
    params: Params,
    arguments: Vec<String>,
    kernels: Kernels,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().cloned().unwrap_or_else(|| "glove100".into());
    let bench = Bench::new(&name, arguments);
    if bench.has("drift") {
        return bench.drift();
    }
    let segment = bench.build(&name);
    bench.measure(&segment);
    if bench.has("merge") {
        bench.measure(&bench.merge_quarters());
    }
}

impl Bench {
    fn new(name: &str, arguments: Vec<String>) -> Self {
        let mut bench = Self {
            set: Set { dimension: 1, base: Vec::new(), queries: Vec::new() },
            params: Params::new(Metric::Cosine, 1),
            arguments,
            kernels: Kernels::detect(),
        };
        bench.set = Set::load(name, bench.number("rows", usize::MAX));
        bench.set.queries.truncate(bench.number("queries", 1000) * bench.set.dimension);
        bench.params = Params::new(Metric::Cosine, bench.set.dimension);
        match bench.value("bits") {
            Some("4") => bench.params.row_bits = RowBits::Four,
            Some("8") => bench.params.row_bits = RowBits::Eight,
            _ => {}
        }
        bench
    }

    fn has(&self, word: &str) -> bool {
        self.arguments.iter().any(|argument| argument == word)
    }

    fn value(&self, key: &str) -> Option<&str> {
        let of = |argument: &'_ String| {
            argument.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')).is_some()
        };
        let found = self.arguments.iter().find(|argument| of(argument))?;
        Some(&found[key.len() + 1..])
    }

    fn number(&self, key: &str, default: usize) -> usize {
        self.value(key).map_or(default, |text| text.parse().expect("a number"))
    }

    fn numbers<T: std::str::FromStr>(&self, key: &str, default: &str) -> Vec<T> {
        let text = self.value(key).unwrap_or(default);
        let of = |part: &str| part.parse().unwrap_or_else(|_| panic!("{key}: {part}"));
        text.split(',').filter(|part| !part.is_empty()).map(of).collect()
    }

    fn build(&self, name: &str) -> Segment {
        let (start, before) = (Instant::now(), process_seconds());
        let segment = Segment::build(&self.set.base, 0, self.params, self.kernels);
        let raw = self.set.base.len() as f64 * 4.0;
        let share = |bytes: &[u8]| format!("{:.2} %", bytes.len() as f64 / raw * 100.0);
        println!(
            "{name}: {} x {}, built in {:.1} s, {:.1} CPU s; of raw: tree {} + lists {}, codes {}; {} lists",
            self.set.rows(),
            self.set.dimension,
            start.elapsed().as_secs_f32(),
            process_seconds() - before,
            share(&segment.built.tree),
            share(&segment.built.lists),
            share(&segment.built.codes),
            segment.index.lists(),
        );
        segment
    }

    /// Merges an index of the first quarter with those of the others, one after another.
    fn merge_quarters(&self) -> Segment {
        let params = self.params;
        let size = self.set.rows().div_ceil(4) * self.set.dimension;
        let build = |vectors: &[f32]| Segment::build(vectors, 0, params, self.kernels);
        let mut quarters = self.set.base.chunks(size).map(build);
        let mut merged = quarters.next().expect("there are rows");
        let mut seconds = 0.0;
        for next in quarters {
            let before = process_seconds();
            merged = merged.merged(&next, &params, self.kernels);
            seconds += process_seconds() - before;
        }
        println!("merged from four quarters in {seconds:.1} CPU s:");
        merged
    }

    fn measure(&self, segment: &Segment) {
        let all = [vec![true; self.set.rows()]];
        let (targets, ks) = (self.numbers::<f32>("targets", "0.9,0.95,0.98,0.99"), self.ks());
        let k = ks.iter().copied().chain([10]).max().expect("ten at least");
        let truth = self.exact(&self.set.queries, k, &all);
        let run = self.run(segment, &self.set.queries, &truth[0]);
        for target in targets {
            let figures = run.figures(&Request { target, ..Request::nearest(10) }, 7);
            println!("target {target:<8} {figures}");
        }
        for k in ks {
            println!("k {k:<13} {}", run.figures(&Request::nearest(k), 3));
        }
        if self.has("nocodes") {
            let run = Run { has_codes: false, ..run };
            println!("without CODES   {}", run.figures(&Request::nearest(10), 5));
        }
        if self.has("odd") {
            self.odd(segment);
        }
        if self.has("filters") {
            self.filters(segment);
        }
    }

    fn ks(&self) -> Vec<usize> {
        self.numbers("ks", "")
    }

    /// The exactly nearest of each query, for each filter.
    fn exact(&self, queries: &[f32], k: usize, filters: &[Vec<bool>]) -> Vec<Vec<Vec<u32>>> {
        exact(&self.set.base, queries, self.set.dimension, k, filters, self.kernels)
    }

    /// All rows of one segment.
    fn run<'a>(&self, segment: &'a Segment, queries: &'a [f32], truth: &'a [Vec<u32>]) -> Run<'a> {
        let segments = std::slice::from_ref(segment);
        Run { segments, mask: None, queries, truth, has_codes: true, kernels: self.kernels }
    }
}
