//! Indexes, searched and timed.

use bytes::Bytes;
use vb_kernel::Kernels;
use vb_search::aligned;
use vb_search::ann::{
    Builder, Built, Index, MergeInput, Near, Outcome, Params, Part, Request, RowMask, Searcher,
    Slots, Whole, Work, merge,
};

/// One index and the floats of its rows.
pub(crate) struct Segment {
    pub(crate) built: Built,
    /// Both as segments have them in memory.
    lists: Bytes,
    codes: Bytes,
    pub(crate) index: Index,
    slots: Option<Slots>,
    /// The vectors, row by row.
    pub(crate) floats: Vec<f32>,
    /// What its first pushed row is called.
    pub(crate) start: u32,
}

impl Segment {
    pub(crate) fn build(vectors: &[f32], start: u32, params: Params, kernels: Kernels) -> Self {
        let mut builder = Builder::new(params, kernels);
        vectors.chunks(4096 * params.dimension).for_each(|rows| builder.push(rows));
        let built = builder.finish();
        Self::open(built, vectors.to_vec(), start)
    }

    /// This one with the rows of another after its own.
    pub(crate) fn merged(&self, other: &Self, params: &Params, kernels: Kernels) -> Self {
        let (a, b) = (&self.index, &other.index);
        let numbers: Vec<u32> = (0..a.rows() + b.rows()).collect();
        let (of_a, of_b) = numbers.split_at(a.rows() as usize);
        let inputs = [self.input(of_a), other.input(of_b)];
        let built = merge(params, &inputs, a.rows() + b.rows(), kernels).expect("just built");
        let floats = [self.floats.as_slice(), &other.floats].concat();
        Self::open(built, floats, self.start)
    }

    fn open(built: Built, floats: Vec<f32>, start: u32) -> Self {
        let index = Index::open(&built.tree).expect("it was just built");
        let slots = index.slots(&built.lists).expect("it was just built");
        let [lists, codes] = [&built.lists, &built.codes].map(|section| aligned(section));
        Self { built, lists, codes, index, slots, floats, start }
    }

    fn input<'a>(&'a self, rows: &'a [u32]) -> MergeInput<'a> {
        let Built { lists, codes, .. } = &self.built;
        MergeInput { index: &self.index, lists, codes, rows }
    }

    fn part<'a>(&'a self, run: &Run<'a>) -> Part<'a, Whole<'a>> {
        let index = &self.index;
        let codes = if run.has_codes { &*self.codes } else { &[] };
        let source = Whole { index, lists: &self.lists, codes, slots: self.slots.as_ref() };
        Part { index, source, allowed: run.mask }
    }

    /// The mask of the rows that `allowed` holds for.
    pub(crate) fn mask(&self, allowed: &[bool]) -> RowMask {
        let counts = |old: &u32| allowed[*old as usize];
        let rows = (0..self.index.rows()).filter(counts);
        RowMask::from_bitmap(&rows.collect(), self.index.rows())
    }
}

/// What is measured.
pub(crate) struct Run<'a> {
    pub(crate) segments: &'a [Segment],
    /// Of the only segment.
    pub(crate) mask: Option<&'a RowMask>,
    pub(crate) queries: &'a [f32],
    pub(crate) truth: &'a [Vec<u32>],
    /// Whether CODES is in memory.
    pub(crate) has_codes: bool,
    pub(crate) kernels: Kernels,
}

/// What came out.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) recall: f64,
    pub(crate) estimated: f32,
    /// CPU seconds of a query.
    pub(crate) seconds: f64,
    work: Work,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "recall {:.4} (estimated {:.3})  {:6.0} per core s  {:6.1} us  lists {:4} (skipped {:4}) codes {:6} rows {:4} kB {:4}",
            self.recall,
            self.estimated,
            1.0 / self.seconds,
            self.seconds * 1e6,
            self.work.lists,
            self.work.lists_skipped,
            self.work.codes,
            self.work.rows,
            self.work.bytes / 1000,
        )
    }
}

impl Run<'_> {
    /// Recall, the best time of some `rounds` over all queries, and the mean work.
    pub(crate) fn figures(&self, request: &Request, rounds: usize) -> Figures {
        let parts = self.parts();
        let mut searcher = Searcher::new(self.kernels);
        let (mut hits, mut wanted, mut total) = (0, 0, Work::default());
        for (query, truth) in self.queries().zip(self.truth) {
            let (found, work) = self.query(&mut searcher, query, &parts, request);
            let truth = &truth[..truth.len().min(request.k)];
            let found: Vec<u32> = found.iter().map(|near| self.name(near.1)).collect();
            assert!(found.len() >= truth.len(), "under-return");
            hits += truth.iter().filter(|row| found.contains(row)).count();
            wanted += truth.len();
            total = sum(total, work);
        }
        let count = self.truth.len();
        Figures {
            recall: hits as f64 / wanted.max(1) as f64,
            estimated: total.recall / count as f32,
            seconds: self.time(&mut searcher, &parts, request, rounds),
            work: Work {
                lists: total.lists / count,
                lists_skipped: total.lists_skipped / count,
                codes: total.codes / count,
                rows: total.rows / count,
                bytes: total.bytes / count,
                ..total
            },
        }
    }

    fn parts(&self) -> Vec<Part<'_, Whole<'_>>> {
        self.segments.iter().map(|segment| segment.part(self)).collect()
    }

    fn queries(&self) -> impl Iterator<Item = &[f32]> {
        self.queries.chunks(self.segments[0].index.dimension())
    }

    fn name(&self, near: Near) -> u32 {
        let segment = &self.segments[near.part as usize];
        segment.start + near.row
    }

    /// The nearest by exact distance, and what it took.
    fn query(
        &self,
        searcher: &mut Searcher,
        query: &[f32],
        parts: &[Part<'_, Whole<'_>>],
        request: &Request,
    ) -> (Vec<(f32, Near)>, Work) {
        let Outcome::Done(work) = searcher.search(query, parts, request) else {
            panic!("everything is loaded")
        };
        let row = |near: &Near| {
            let floats = &self.segments[near.part as usize].floats;
            &floats[near.row as usize * query.len()..][..query.len()]
        };
        searcher.near().iter().for_each(|near| self.kernels.prefetch(row(near)));
        let exact = |near: &Near| (-self.kernels.dot(query, row(near)), *near);
        let mut exact: Vec<(f32, Near)> = searcher.near().iter().map(exact).collect();
        let place = |near: &Near| (near.part, near.row);
        exact.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(place(&a.1).cmp(&place(&b.1))));
        exact.truncate(request.k);
        (exact, work)
    }

    fn time(
        &self,
        searcher: &mut Searcher,
        parts: &[Part<'_, Whole<'_>>],
        request: &Request,
        rounds: usize,
    ) -> f64 {
        let mut best = f64::MAX;
        for _ in 0..rounds {
            let before = thread_seconds();
            for query in self.queries() {
                std::hint::black_box(self.query(searcher, query, parts, request));
            }
            best = best.min((thread_seconds() - before) / self.truth.len() as f64);
        }
        best
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
pub(crate) fn process_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = text.rsplit(')').next().expect("fields").split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}
