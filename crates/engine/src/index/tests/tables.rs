//! The writer's tables against a map: batches, flushes and merges begun and committed at any moment,
//! and after every manifest a look at what a restart would find.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;
use vb_commit::Store;
use vb_search::{PartId, SectionKind};

use super::super::body::{Body, DeletedBitmap, decode_bitmap};
use super::super::compact::plan_commit;
use super::super::event::{decode, encode_delete};
use super::super::flush::{self, Flush};
use super::super::merge::{self, Merge, Merged};
use super::super::object::object_name;
use super::super::tables::Tables;
use super::super::view::{Folded, Published, SegmentView, Snapshot, Source, View};
use super::*;
use crate::context::Context;
use crate::fetch::{self, Loaded, Origin, Wanted};
use crate::options::{Options, Sabotage};
use crate::records::IndexId;

#[derive(Clone, Debug)]
enum Step {
    /// The payloads of one group.
    Apply(Vec<Payload>),
    Freeze,
    /// Builds and commits what is frozen.
    Fold,
    /// Merges the segments whose bits are set, as they are now.
    BeginMerge(u8),
    CommitMerge,
}

#[derive(Clone, Debug)]
enum Payload {
    /// Keys and values.
    Put(Vec<(u8, u8)>),
    Delete(Vec<u8>),
}

impl Payload {
    fn event(&self) -> IndexEvent {
        match self {
            Self::Put(rows) => put(rows),
            Self::Delete(numbers) => delete(numbers),
        }
    }

    fn apply_to(&self, expected: &mut Expected) {
        match self {
            Self::Put(rows) => {
                for (number, value) in rows {
                    expected.insert(key(*number).to_vec(), f32::from(*value));
                }
            }
            Self::Delete(numbers) => expected.retain(|key, _| !numbers.contains(&key[1])),
        }
    }
}

type Expected = BTreeMap<Vec<u8>, f32>;

fn step() -> impl Strategy<Value = Step> {
    let put = prop::collection::vec((0u8..12, any::<u8>()), 1..5);
    let delete = prop::collection::vec(0u8..14, 1..4);
    let payload =
        prop_oneof![3 => put.prop_map(Payload::Put), 2 => delete.prop_map(Payload::Delete)];
    prop_oneof![
        6 => prop::collection::vec(payload, 1..4).prop_map(Step::Apply),
        2 => Just(Step::Freeze),
        2 => Just(Step::Fold),
        2 => any::<u8>().prop_map(Step::BeginMerge),
        2 => Just(Step::CommitMerge),
    ]
}

fn key(number: u8) -> Box<[u8]> {
    vec![b'k', number].into()
}

fn put(rows: &[(u8, u8)]) -> IndexEvent {
    let batch = PutBatch {
        keys: rows.iter().map(|(number, _)| key(*number)).collect(),
        vectors: vec![VectorColumn {
            values: rows.iter().flat_map(|(_, value)| [f32::from(*value), 0.0]).collect(),
            present: None,
        }],
        metadata: vec![None; rows.len()],
        attributes: vec![Attributes::default(); rows.len()],
    };
    decode(&schema(), encode_put(&schema(), &batch)).unwrap()
}

fn delete(numbers: &[u8]) -> IndexEvent {
    let keys: Vec<_> = numbers.iter().map(|number| key(*number)).collect();
    decode(&schema(), encode_delete(&keys)).unwrap()
}

fn origin() -> Origin {
    let options = Options { threads: Some(0), ..Options::default() };
    let context = Context::new(Store::memory(), 1, options, kernels());
    Origin { context: Arc::new(context), id: IndexId(1), schema: Arc::new(schema()) }
}

fn empty_tables(published: &Arc<Published>, segments: Vec<SegmentView>) -> Tables {
    Tables::new(Arc::new(schema()), kernels(), Arc::clone(published), segments, Vec::new())
}

async fn apply(origin: &Origin, tables: &mut Tables, payloads: &[Payload]) {
    let events = payloads.iter().map(|payload| Ok::<_, Infallible>(payload.event()));
    tables.stage(events).unwrap();
    let mut loaded = Loaded::new(origin.clone(), tables.segments().into());
    while let Some(missing) = tables.settle(&mut loaded).unwrap() {
        loaded.receive(fetch::read(&origin.context, missing).await.unwrap());
    }
}

/// Every live document of a view, by reading all of it; a key that is live twice is an error.
async fn live(origin: &Origin, view: &View) -> Expected {
    let mut loaded = Loaded::new(origin.clone(), Arc::clone(&view.segments));
    let kinds = [SectionKind::KEYS, SectionKind::LISTS, SectionKind::VECTOR_EXTENTS];
    let sections: Vec<Wanted> = (0..view.segments.len())
        .flat_map(|number| kinds.map(|kind| (number, PartId::Section(kind, 0))))
        .collect();
    hold(origin, &mut loaded, sections).await;
    let extents = loaded.segments().iter().enumerate().flat_map(|(number, segment)| {
        (0..segment.extent_count(0)).map(move |extent| (number, segment.vector_part(0, extent)))
    });
    let extents: Vec<Wanted> = extents.collect();
    hold(origin, &mut loaded, extents).await;
    let mut found = BTreeMap::new();
    let snapshot = Snapshot { view, segments: loaded.segments() };
    for source in (0..view.source_count()).map(|number| snapshot.source(number)) {
        let docs = match source {
            Source::Segment(view, _) => view.docs(),
            Source::Chunk(view) => u32::try_from(view.chunk.len()).unwrap(),
        };
        for doc in (0..docs).filter(|doc| !source.deleted().contains(*doc)) {
            let value = source.vector(0, doc).unwrap()[0];
            let before = found.insert(source.key(doc).to_vec(), value);
            assert_eq!(before, None, "one live document per key");
        }
    }
    found
}

async fn hold(origin: &Origin, loaded: &mut Loaded, wanted: Vec<Wanted>) {
    while let Some(missing) = loaded.hold(wanted.iter().copied()).unwrap() {
        loaded.receive(fetch::read(&origin.context, missing).await.unwrap());
    }
}

/// An index without a log: what its manifest says, and what came since.
struct Index {
    origin: Origin,
    published: Arc<Published>,
    tables: Tables,
    manifest: u64,
    body: Body,
    /// Payloads that are not folded, and how many of them are frozen.
    tail: Vec<Payload>,
    frozen: usize,
    flush: Option<Flush>,
    merged: Option<Merged>,
    expected: Expected,
    /// The same as of the freeze, and as of the manifest's floor.
    expected_frozen: Expected,
    expected_folded: Expected,
}

impl Index {
    async fn new() -> Self {
        let published = Arc::new(Published::default());
        let mut index = Self {
            origin: origin(),
            tables: empty_tables(&published, Vec::new()),
            published,
            manifest: 0,
            body: Body::empty(schema()),
            tail: Vec::new(),
            frozen: 0,
            flush: None,
            merged: None,
            expected: BTreeMap::new(),
            expected_frozen: BTreeMap::new(),
            expected_folded: BTreeMap::new(),
        };
        apply(&index.origin, &mut index.tables, &[]).await;
        index
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Apply(payloads) => {
                payloads.iter().for_each(|payload| payload.apply_to(&mut self.expected));
                apply(&self.origin, &mut self.tables, &payloads).await;
                self.tail.extend(payloads);
            }
            Step::Freeze if self.flush.is_none() && self.tables.active_bytes() > 0 => {
                self.frozen = self.tail.len();
                self.expected_frozen = self.expected.clone();
                self.flush = Some(Flush {
                    id: self.origin.id,
                    schema: Arc::clone(&self.origin.schema),
                    base: self.manifest,
                    from: 1,
                    counters: self.body.counters,
                    floor: 2,
                    frozen: self.tables.freeze(),
                });
            }
            Step::Fold => self.fold().await,
            Step::BeginMerge(mask) => self.begin_merge(mask).await,
            Step::CommitMerge => self.commit_merge(),
            Step::Freeze => {}
        }
        let view = self.published.view();
        assert_eq!(live(&self.origin, &view).await, self.expected);
        assert_eq!(view.live, self.expected.len() as u64);
        self.check_restart().await;
    }

    async fn fold(&mut self) {
        let Some(flush) = self.flush.take() else { return };
        let flushed = flush::run(&self.origin, &flush).await.unwrap();
        self.body = flushed.body.clone();
        self.manifest += 1;
        self.tables.swap(&flush.frozen, flushed);
        self.tail.drain(..self.frozen);
        self.expected_folded = self.expected_frozen.clone();
    }

    async fn begin_merge(&mut self, mask: u8) {
        let segments = self.tables.segments().iter().enumerate();
        let chosen = segments.filter(|(number, _)| mask >> (number % 8) & 1 == 1);
        let inputs: Vec<SegmentView> = chosen.map(|(_, view)| view.clone()).collect();
        if inputs.is_empty() {
            return;
        }
        let name = object_name(self.origin.context.random(), self.manifest);
        let merge = Merge { inputs: inputs.into(), name };
        self.merged = Some(merge::run(&self.origin, merge).await.unwrap());
    }

    fn commit_merge(&mut self) {
        // The writer lets it wait.
        if self.flush.is_some() {
            return;
        }
        let Some(merged) = self.merged.take() else { return };
        let listed = |name| self.tables.segments().iter().any(|view| view.meta.name == name);
        let all_listed = merged.merge.inputs.iter().all(|input| listed(input.meta.name));
        let planned = plan_commit(
            &self.origin.schema,
            self.body.counters,
            self.tables.segments(),
            self.manifest + 1,
            &merged,
            1,
            Sabotage::None,
        );
        assert_eq!(planned.is_ok(), all_listed);
        let Ok(commit) = planned else { return };
        self.body = commit.body;
        self.manifest += 1;
        self.tables.swap_merged(&merged, commit.output);
    }

    /// A process that opens the index now finds the same records, and one that does not know of the
    /// tail finds those as of the manifest's floor.
    async fn check_restart(&self) {
        self.check_opened(&[], &self.expected_folded, "of the manifest alone").await;
        self.check_opened(&self.tail, &self.expected, "after a restart").await;
    }

    async fn check_opened(&self, tail: &[Payload], expected: &Expected, what: &str) {
        let body = Body::decode(self.body.encode()).unwrap();
        let segments = body.segments.into_iter().map(|entry| {
            let bits = match &entry.deleted {
                DeletedBitmap::None => Default::default(),
                DeletedBitmap::Inline(bytes) => decode_bitmap(bytes, entry.meta.docs).unwrap(),
                DeletedBitmap::Object(_) => panic!("small bitmaps are inline"),
            };
            let folded = Folded { bits: Arc::new(bits), stored: entry.deleted };
            SegmentView::new(&schema(), Arc::new(entry.meta), folded).unwrap()
        });
        let segments: Vec<_> = segments.collect();
        let deleted: u64 = segments.iter().map(|view| view.folded.bits.len()).sum();
        assert_eq!(deleted, body.counters.deleted);
        let published = Arc::new(Published::default());
        let mut tables = empty_tables(&published, segments);
        apply(&self.origin, &mut tables, tail).await;
        assert_eq!(live(&self.origin, &published.view()).await, *expected, "{what}");
    }
}

fn run(steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut index = Index::new().await;
        for step in steps {
            index.step(step).await;
        }
    });
}

#[test]
fn what_is_deleted_during_a_merge_is_deleted_in_its_segment() {
    let put = |rows: &[(u8, u8)]| Step::Apply(vec![Payload::Put(rows.to_vec())]);
    run(vec![
        put(&[(1, 1), (2, 2), (3, 3)]),
        Step::Freeze,
        Step::Fold,
        put(&[(4, 4), (1, 10)]),
        Step::Freeze,
        Step::Fold,
        put(&[(2, 20)]),
        Step::BeginMerge(0xff),
        put(&[(3, 30)]),
        Step::Apply(vec![Payload::Delete(vec![4])]),
        Step::Freeze,
        Step::Fold,
        Step::Apply(vec![Payload::Delete(vec![1])]),
        Step::CommitMerge,
        Step::BeginMerge(0xff),
        Step::CommitMerge,
    ]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_of_batches_flushes_and_merges_shows_the_newest_records(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        run(steps);
    }
}

/// The translation of bits against the plainest way: keys.
mod translation {
    use roaring::RoaringBitmap;
    use vb_search::MergeInput;

    use super::super::super::compact::translate;
    use super::*;

    proptest! {
        #[test]
        fn bits_follow_their_documents(
            inputs in prop::collection::vec(prop::collection::vec(any::<(bool, bool)>(), 1..60), 1..5),
            places in prop::collection::vec(0u32..1000, 300),
        ) {
            // Kept documents of all inputs, in any interleaving that keeps each input's order.
            let kept = inputs.iter().enumerate().flat_map(|(input, docs)| {
                let kept = docs.iter().zip(0u32..).filter(|((kept, _), _)| *kept);
                kept.map(move |(_, doc)| (input, doc))
            });
            let mut order: Vec<(u32, usize, u32)> =
                kept.zip(&places).map(|((input, doc), place)| (*place + doc * 1000, input, doc)).collect();
            order.sort_unstable();
            let mut moved: Vec<Vec<u32>> =
                inputs.iter().map(|docs| vec![MergeInput::DROPPED; docs.len()]).collect();
            for (new, (_, input, doc)) in (0u32..).zip(&order) {
                moved[*input][*doc as usize] = new;
            }
            let deleted: Vec<RoaringBitmap> = inputs.iter().map(|docs| {
                docs.iter().zip(0u32..).filter(|((kept, gone), _)| *gone || !kept).map(|(_, doc)| doc).collect()
            }).collect();
            let translated = translate(deleted.iter(), &moved);
            let expected: RoaringBitmap = (0u32..).zip(&order)
                .filter(|(_, (_, input, doc))| deleted[*input].contains(*doc))
                .map(|(new, _)| new)
                .collect();
            prop_assert_eq!(translated, expected);
        }
    }
}
