//! Recall against speed of the vector index on the data sets of `bench/data`, in process, one query at a time.
//!
//! ```text
//! cargo run --release -p vb-search --example ann -- glove100 [OPTION...]
//!   bits=4|8        bits of the second stage (default: by dimension)
//!   clustered       rows numbered list by list
//!   rows=N          only the first N rows; the exact nearest are found anew
//!   targets=A,B     recalls to search for
//!   k=N             how many of the nearest (default 10)
//!   filters         also with random filters that keep 0.1 % to 90 %
//!   merge           also an index merged from four of a quarter each, one after another
//!   lists=N         never more lists
//! ANN_DATA          the folder of the sets (default bench/data/work)
//! ```
#![expect(clippy::print_stdout, reason = "it prints its measurements")]

use std::time::Instant;

use rayon::prelude::*;
use vb_kernel::Kernels;
use vb_search::Metric;
use vb_search::ann::{
    Builder, Built, Index, MergeInput, Near, Outcome, Params, Part, Request, RowBits, RowMask,
    RowOrder, Searcher, Whole, Work, merge,
};

/// A data set in memory.
struct Set {
    dimension: usize,
    base: Vec<f32>,
    queries: Vec<f32>,
    truth: Vec<Vec<u32>>,
}

struct Options {
    set: String,
    params: Params,
    rows: usize,
    targets: Vec<f32>,
    k: usize,
    filters: bool,
    merge: bool,
    lists_max: usize,
}

fn main() {
    let kernels = Kernels::detect();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let name = arguments.first().cloned().unwrap_or_else(|| "glove100".into());
    let mut set = Set::load(&name);
    let options = Options::parse(name, &arguments, &set);
    set.cut(options.rows, options.k, kernels);
    let built = build(&set, &options, kernels);
    measure(&set, &built, &options, kernels);
    if options.merge {
        let built = merge_quarters(&set, &options, kernels);
        measure(&set, &built, &options, kernels);
    }
}

impl Options {
    fn parse(set: String, arguments: &[String], data: &Set) -> Self {
        let value = |key: &str| {
            arguments.iter().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='))
        };
        let has = |word: &str| arguments.iter().any(|argument| argument == word);
        let number =
            |key, default| value(key).map_or(default, |text| text.parse().expect("number"));
        let mut params = Params::new(Metric::Cosine, data.dimension);
        match value("bits") {
            Some("4") => params.row_bits = RowBits::Four,
            Some("8") => params.row_bits = RowBits::Eight,
            _ => {}
        }
        if has("clustered") {
            params.order = RowOrder::Clustered;
        }
        let targets = value("targets").unwrap_or("0.8,0.9,0.95,0.97,0.98,0.99,0.995,0.999");
        let targets = targets.split(',').map(|text| text.parse().expect("a recall")).collect();
        Self {
            set,
            params,
            rows: number("rows", usize::MAX),
            targets,
            k: number("k", 10),
            filters: has("filters"),
            merge: has("merge"),
            lists_max: number("lists", usize::MAX),
        }
    }
}

impl Set {
    fn load(name: &str) -> Self {
        let folder = std::env::var("ANN_DATA").unwrap_or_else(|_| "bench/data/work".into());
        let read = |part: &str| Npy::read(&format!("{folder}/{name}_{part}.npy"));
        let (base, queries, truth) = (read("base"), read("query"), read("gt"));
        let truth = truth.integers().chunks(truth.columns).map(<[u32]>::to_vec).collect();
        Self { dimension: base.columns, base: base.floats(), queries: queries.floats(), truth }
    }

    fn rows(&self) -> usize {
        self.base.len() / self.dimension
    }

    fn row(&self, row: u32) -> &[f32] {
        &self.base[row as usize * self.dimension..][..self.dimension]
    }

    fn cut(&mut self, rows: usize, k: usize, kernels: Kernels) {
        if rows < self.rows() {
            self.base.truncate(rows * self.dimension);
            self.truth = self.exact(k, |_| true, kernels);
        }
    }

    /// The `k` exactly nearest of the allowed rows, for every query.
    fn exact(
        &self,
        k: usize,
        allowed: impl Fn(u32) -> bool + Sync,
        kernels: Kernels,
    ) -> Vec<Vec<u32>> {
        let nearest = |query: &[f32]| {
            let mut scores = vec![0.0; self.rows()];
            kernels.dot_rows(query, &self.base, &mut scores);
            let mut order: Vec<u32> = (0..self.rows() as u32).filter(|row| allowed(*row)).collect();
            let by_score = |a: &u32, b: &u32| {
                scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b))
            };
            if k < order.len() {
                order.select_nth_unstable_by(k, by_score);
                order.truncate(k);
            }
            order
        };
        self.queries.par_chunks(self.dimension).map(nearest).collect()
    }
}

fn build(set: &Set, options: &Options, kernels: Kernels) -> Built {
    let (start, before) = (Instant::now(), process_seconds());
    let mut builder = Builder::new(options.params, kernels);
    set.base.chunks(4096 * set.dimension).for_each(|rows| builder.push(rows));
    let built = builder.finish();
    let raw = set.base.len() as f64 * 4.0;
    let share = |bytes: &[u8]| format!("{:.2} %", bytes.len() as f64 / raw * 100.0);
    println!(
        "{}: {} x {}, built in {:.1} s, {:.1} CPU s; of raw: tree {}, lists {}, codes {}",
        options.set,
        set.rows(),
        set.dimension,
        start.elapsed().as_secs_f32(),
        process_seconds() - before,
        share(&built.tree),
        share(&built.lists),
        share(&built.codes),
    );
    built
}

/// Merges an index of the first quarter with those of the others, one after another.
fn merge_quarters(set: &Set, options: &Options, kernels: Kernels) -> Built {
    let params = Params { order: RowOrder::AsGiven, ..options.params };
    let size = set.rows().div_ceil(4) * set.dimension;
    let mut merged: Option<Built> = None;
    let mut seconds = 0.0;
    for vectors in set.base.chunks(size) {
        let next = build_index(vectors, params, kernels);
        let before = process_seconds();
        merged = Some(match merged {
            None => next,
            Some(merged) => merge_two(&params, &merged, &next, kernels),
        });
        seconds += process_seconds() - before;
    }
    println!("merged from four quarters in {seconds:.1} CPU s:");
    merged.expect("there are vectors")
}

fn merge_two(params: &Params, first: &Built, second: &Built, kernels: Kernels) -> Built {
    let open = |built: &Built| Index::open(&built.tree).expect("it was just built");
    let (a, b) = (open(first), open(second));
    let rows = a.rows() + b.rows();
    let numbers: Vec<u32> = (0..rows).collect();
    let (of_a, of_b) = numbers.split_at(a.rows() as usize);
    let inputs = [
        MergeInput { index: &a, lists: &first.lists, codes: &first.codes, rows: of_a },
        MergeInput { index: &b, lists: &second.lists, codes: &second.codes, rows: of_b },
    ];
    merge(params, &inputs, rows, kernels).expect("they were just built")
}

fn build_index(vectors: &[f32], params: Params, kernels: Kernels) -> Built {
    let mut builder = Builder::new(params, kernels);
    builder.push(vectors);
    builder.finish()
}

fn measure(set: &Set, built: &Built, options: &Options, kernels: Kernels) {
    let index = Index::open(&built.tree).expect("it was just built");
    println!("{} lists", index.lists());
    let rows: Vec<f32> = built.order.iter().flat_map(|old| set.row(*old)).copied().collect();
    let run = Run { set, built, index: &index, rows: &rows, options, kernels };
    for target in &options.targets {
        run.line(&format!("target {target}"), *target, None, &set.truth);
    }
    if options.filters {
        for kept in [0.001f64, 0.01, 0.1, 0.5, 0.9] {
            let allowed = |row: u32| share(row) < kept;
            let truth = set.exact(options.k, allowed, kernels);
            let bits =
                (0..).zip(&built.order).filter(|(_, old)| allowed(**old)).map(|(row, _)| row);
            let mask = RowMask::from_bitmap(&bits.collect(), index.rows());
            run.line(&format!("kept {:4.1} %", kept * 100.0), 0.98, Some(&mask), &truth);
        }
    }
}

/// A number in 0..1 for each row.
fn share(row: u32) -> f64 {
    f64::from(row.wrapping_mul(0x9E37_79B1) ^ 0x5bd1_e995).rem_euclid(65_521.0) / 65_521.0
}

/// One index, measured.
struct Run<'a> {
    set: &'a Set,
    built: &'a Built,
    index: &'a Index,
    /// The vectors in the order of the index's rows.
    rows: &'a [f32],
    options: &'a Options,
    kernels: Kernels,
}

impl Run<'_> {
    fn line(&self, what: &str, target: f32, allowed: Option<&RowMask>, truth: &[Vec<u32>]) {
        let source =
            Whole { index: self.index, lists: &self.built.lists, codes: &self.built.codes };
        let parts = [Part { index: self.index, source, allowed }];
        let request = Request {
            target,
            lists_max: self.options.lists_max,
            ..Request::nearest(self.options.k)
        };
        let mut searcher = Searcher::new(self.kernels);
        let (mut hits, mut wanted, mut total) = (0, 0, Work::default());
        for (query, truth) in self.set.queries.chunks(self.set.dimension).zip(truth) {
            let (found, work) = self.query(&mut searcher, query, &parts, &request);
            let truth = &truth[..truth.len().min(self.options.k)];
            let found: Vec<u32> =
                found.iter().map(|row| self.built.order[row.1 as usize]).collect();
            assert!(found.len() >= truth.len(), "under-return");
            hits += truth.iter().filter(|row| found.contains(row)).count();
            wanted += truth.len();
            total = sum(total, work);
        }
        let seconds = self.time(&mut searcher, &parts, &request);
        let count = truth.len();
        println!(
            "{what:13} recall {:.4} (estimated {:.3})  {:6.0} per core s  {:5.1} us  lists {:4} codes {:6} rows {:4} kB {:4}",
            hits as f64 / wanted.max(1) as f64,
            total.recall / count as f32,
            1.0 / seconds,
            seconds * 1e6,
            total.lists / count,
            total.codes / count,
            total.rows / count,
            total.bytes / count / 1000,
        );
    }

    /// CPU seconds of a query: the best of some rounds over all of them.
    fn time(
        &self,
        searcher: &mut Searcher,
        parts: &[Part<'_, Whole<'_>>],
        request: &Request,
    ) -> f64 {
        let count = self.set.queries.len() / self.set.dimension;
        let mut best = f64::MAX;
        for _ in 0..5 {
            let before = thread_seconds();
            for query in self.set.queries.chunks(self.set.dimension) {
                std::hint::black_box(self.query(searcher, query, parts, request));
            }
            best = best.min((thread_seconds() - before) / count as f64);
        }
        best
    }

    /// The nearest by exact distance, and what it took.
    fn query(
        &self,
        searcher: &mut Searcher,
        query: &[f32],
        parts: &[Part<'_, Whole<'_>>],
        request: &Request,
    ) -> (Vec<(f32, u32)>, Work) {
        let Outcome::Done(work) = searcher.search(query, parts, request) else {
            panic!("everything is loaded")
        };
        let row = |near: &Near| &self.rows[near.row as usize * query.len()..][..query.len()];
        searcher.near().iter().for_each(|near| self.kernels.prefetch(row(near)));
        let exact = |near: &Near| (-self.kernels.dot(query, row(near)), near.row);
        let mut exact: Vec<(f32, u32)> = searcher.near().iter().map(exact).collect();
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        exact.truncate(request.k);
        (exact, work)
    }
}

fn sum(a: Work, b: Work) -> Work {
    Work {
        lists: a.lists + b.lists,
        lists_skipped: a.lists_skipped + b.lists_skipped,
        codes: a.codes + b.codes,
        rows: a.rows + b.rows,
        bytes: a.bytes + b.bytes,
        recall: a.recall + b.recall,
    }
}

/// CPU seconds of this thread.
fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    text.split(' ').next().and_then(|field| field.parse::<f64>().ok()).expect("a number") / 1e9
}

/// CPU seconds of all threads.
fn process_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// A NumPy array of two dimensions.
struct Npy {
    bytes: Vec<u8>,
    is_wide: bool,
    columns: usize,
}

impl Npy {
    fn read(path: &str) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|cause| panic!("{path}: {cause}"));
        let header_end = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
        let header = String::from_utf8_lossy(&bytes[..header_end]).into_owned();
        let (_, shape) = header.split_once("'shape': (").expect("a shape");
        let columns = shape.split([',', ')']).nth(1).and_then(|text| text.trim().parse().ok());
        Self {
            bytes: bytes[header_end..].to_vec(),
            is_wide: header.contains("<i8"),
            columns: columns.expect("two dimensions"),
        }
    }

    fn floats(&self) -> Vec<f32> {
        self.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn integers(&self) -> Vec<u32> {
        if self.is_wide {
            let (numbers, _) = self.bytes.as_chunks::<8>();
            return numbers.iter().map(|bytes| i64::from_le_bytes(*bytes) as u32).collect();
        }
        self.bytes.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
    }
}
