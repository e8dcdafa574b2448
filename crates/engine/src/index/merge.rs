//! Merging segments into one: the records that the manifest does not say to be deleted, in order, read
//! and written as streams.
//!
//! ```text
//! keys, key indexes of the inputs --> order: which document of which input comes next
//!        |                              |
//!        |     per vector field: read the next window of extents --> append rows    \
//!        |     metadata:         read the next window of blocks  --> append         |  one object
//!        +---> lists, norms, keys, attributes: in memory                            /
//! ```
//!
//! A merge holds the keys of its inputs, the order, and one window of rows: not the vectors. It works
//! on one snapshot and leaves out every document whose deletion is *folded*. One that only a slot says
//! to be deleted stays: a manifest shows the records as of its floor, whichever slots behind that a
//! reader of it knows. What is deleted besides is carried over when the merge is committed
//! ([`super::compact`]), by [`Merged::moved`], which says where each document went.
//!
//! The cluster index of a field is made of those of the inputs where one of them has most of the vectors, and built
//! from the vectors as they pass otherwise.
//!
//! Its pieces are some milliseconds each, but for that index; before each it lets queries go first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use vb_commit::StoreErrorKind;
use vb_search::ann;
use vb_search::{
    Corrupt, DocId, KeysBuilder, ListBuilder, MergeInput, MetadataWriter, NormsBuilder, Part,
    PartId, SectionKind, Segment, StreamedSection, VectorsWriter, checksum, merge_attributes,
};

use super::body::SegmentMeta;
use super::clusters::{self, Collector, builder, params};
use super::collect::Writing;
use super::object::{SegmentWriter, SmallSection, in_reading_order};
use super::view::SegmentView;
use crate::error::Error;
use crate::fetch::{self, Loaded, Origin, Wanted, corrupt};
use crate::paths;

/// Bytes of a window at most; the budget may leave less.
const WINDOW_BYTES_MAX: usize = 16 << 20;
/// And at least, so that a merge goes on.
const WINDOW_BYTES_MIN: usize = 1 << 20;
/// Bytes of one ranged read at most.
const READ_BYTES_MAX: u64 = 8 << 20;
/// Gap between two parts of a window that is read rather than left out.
const GAP_BYTES_MAX: u64 = 256 << 10;
/// A block of metadata once it is unpacked, about.
const METADATA_BLOCK_BYTES: u64 = 8 << 10;
/// What a document costs while it is merged, beside its window: its key, hash and place, twice.
const DOC_BYTES: usize = 128;
/// What the object's writer holds.
const WRITER_BYTES: usize = 24 << 20;

/// Share of the output that the largest input has at least, if its clusters are to be kept.
const KEPT_SHARE_MIN: f64 = 0.75;

/// The most documents of a merged segment, for so many bytes.
pub(crate) fn docs_max(merge_bytes: usize) -> u64 {
    (merge_bytes / DOC_BYTES).max(1 << 18) as u64
}

/// A merge to be carried out.
#[derive(Clone, Debug)]
pub(crate) struct Merge {
    /// The inputs, with the deletions of the snapshot that the merge starts from.
    pub(crate) inputs: Arc<[SegmentView]>,
    /// Name of the object to be written.
    pub(crate) name: u128,
}

/// A merge whose object is written.
#[derive(Clone, Debug)]
pub(crate) struct Merged {
    pub(crate) merge: Merge,
    /// The new segment; `None` if no document was kept.
    pub(crate) output: Option<SegmentMeta>,
    /// By input and old document: the new one, or [`MergeInput::DROPPED`]. Kept ones ascend.
    pub(crate) moved: Arc<[Vec<DocId>]>,
    /// Keeps collection from the object.
    pub(crate) writing: Arc<Writing>,
}

/// Carries out a merge. On failure nothing is left in the store but, after an unknown outcome, an
/// object that no manifest names.
///
/// # Errors
/// [`Error::Corrupt`] if an input is damaged, or as the store fails.
pub(crate) async fn run(origin: &Origin, merge: Merge) -> Result<Merged, Error> {
    let budget = &origin.context.budget;
    let docs: usize = merge.inputs.iter().map(|view| view.docs() as usize).sum();
    let window = (budget.merges.bytes() / 4).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX);
    let codes = code_bytes(&merge.inputs);
    let _held = budget.merges.take(2 * window + WRITER_BYTES + docs * DOC_BYTES + codes).await;
    let writing = Arc::new(origin.context.garbage.writing(merge.name));
    let mut loaded = Loaded::new(origin.clone(), Arc::clone(&merge.inputs));
    hold(&mut loaded, key_parts(&merge.inputs)).await?;
    let order = order(&loaded, &merge).await?;
    if order.rows.is_empty() {
        return Ok(Merged { merge, output: None, moved: moved(order), writing });
    }
    let mut object =
        SegmentWriter::begin(&origin.context.store, origin.id, merge.name, order.docs()).await?;
    let job = Job { origin, merge: &merge, order: &order, window };
    let mut small = job.stream_all(&mut loaded, &mut object).await?;
    small.extend(job.keys(&loaded).await);
    let small = clusters::keep(origin, merge.name, order.docs(), small).await;
    object.small_sections(in_reading_order(small)).await?;
    // Nothing that was read until here is needed any more.
    drop(loaded);
    object.small_sections(job.attributes().await?).await?;
    let output = object.finish(order.hashes).await?;
    Ok(Merged { merge, output: Some(output), moved: moved(order), writing })
}

/// What the indexes of the inputs and of the output take in memory while they become one.
fn code_bytes(inputs: &[SegmentView]) -> usize {
    let of = |view: &SegmentView| -> u64 {
        let codes = view
            .meta
            .sections
            .iter()
            .filter(|entry| matches!(entry.kind, SectionKind::CODES | SectionKind::ROW_CODES));
        codes.map(|entry| 2 * entry.length).sum()
    };
    inputs.iter().map(|view| usize::try_from(of(view)).unwrap_or(usize::MAX)).sum()
}

fn moved(order: Arc<Order>) -> Arc<[Vec<DocId>]> {
    let moved = Arc::try_unwrap(order).map(|order| order.moved);
    moved.unwrap_or_else(|order| order.moved.clone()).into()
}

/// Which documents become the new segment, in its order.
#[derive(Debug)]
struct Order {
    rows: Vec<Row>,
    /// Hashes of the first and the last key.
    hashes: (u64, u64),
    moved: Vec<Vec<DocId>>,
}

/// A document of an input.
#[derive(Clone, Copy, Debug)]
struct Row {
    input: u32,
    doc: DocId,
}

impl Order {
    fn docs(&self) -> u32 {
        u32::try_from(self.rows.len()).expect("a planner keeps segments far below 2^32 documents")
    }
}

fn key_parts(inputs: &[SegmentView]) -> Vec<Wanted> {
    let parts = [SectionKind::KEYS, SectionKind::KEY_INDEX].map(|kind| PartId::Section(kind, 0));
    (0..inputs.len()).flat_map(|input| parts.map(|part| (input, part))).collect()
}

/// Takes parts in, reading those that are not in memory.
async fn hold(loaded: &mut Loaded, wanted: Vec<Wanted>) -> Result<(), Error> {
    while let Some(missing) = loaded.hold(wanted.iter().copied())? {
        let context = Arc::clone(&loaded.origin().context);
        let read = fetch::read(&context, missing).await?;
        loaded.receive(read);
    }
    Ok(())
}

async fn order(loaded: &Loaded, merge: &Merge) -> Result<Arc<Order>, Error> {
    let segments = loaded.segments().to_vec();
    let inputs = Arc::clone(&merge.inputs);
    let ordered = loaded.origin().context.pool.run(move || merge_order(&segments, &inputs)).await;
    let (input, cause) = match ordered {
        Ok(order) => return Ok(Arc::new(order)),
        Err(damaged) => damaged,
    };
    Err(loaded.corrupt(input, cause))
}

/// Number of an input, and what is wrong with it.
type Damaged = (usize, Corrupt);

/// The next document of an input that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head<'a> {
    hash: u64,
    key: &'a [u8],
    input: usize,
    doc: DocId,
}

/// k-way merge of the documents that are kept, by (hash, key).
fn merge_order(segments: &[Segment], inputs: &[SegmentView]) -> Result<Order, Damaged> {
    let mut ranks: Vec<u32> = vec![0; segments.len()];
    let mut next = |input: usize| -> Option<Head<'_>> {
        let (segment, deleted) = (&segments[input], &inputs[input].folded.bits);
        while ranks[input] < segment.docs() {
            let rank = ranks[input];
            ranks[input] += 1;
            let doc = segment.doc_at(rank);
            if !deleted.contains(doc) {
                return Some(Head {
                    hash: segment.hash_at(rank),
                    key: segment.key(doc),
                    input,
                    doc,
                });
            }
        }
        None
    };
    let mut heap: BinaryHeap<Reverse<Head<'_>>> =
        (0..segments.len()).filter_map(&mut next).map(Reverse).collect();
    let kept: u64 = inputs.iter().map(SegmentView::kept).sum();
    let mut rows = Vec::with_capacity(usize::try_from(kept).unwrap_or(0));
    let dropped = |segment: &Segment| vec![MergeInput::DROPPED; segment.docs() as usize];
    let mut moved: Vec<Vec<DocId>> = segments.iter().map(dropped).collect();
    let mut last_docs: Vec<Option<DocId>> = vec![None; segments.len()];
    let (mut first, mut last) = (None, None);
    while let Some(Reverse(head)) = heap.pop() {
        let Head { hash, key, input, doc } = head;
        if last.is_some_and(|last| last >= (hash, key)) {
            return Err((input, damage("a key is live twice, or keys are out of order")));
        }
        if last_docs[input].replace(doc).is_some_and(|before| before >= doc) {
            return Err((input, damage("documents are not in the order of their keys")));
        }
        moved[input][doc as usize] = rows.len() as DocId;
        rows.push(Row { input: input as u32, doc });
        first.get_or_insert(hash);
        last = Some((hash, key));
        heap.extend(next(input).map(Reverse));
    }
    let hashes = (first.unwrap_or(0), last.map_or(0, |(hash, _)| hash));
    Ok(Order { rows, hashes, moved })
}

fn damage(what: &'static str) -> Corrupt {
    Corrupt { part: "key index section", what }
}

/// A large section being written.
#[derive(Debug)]
enum Stream {
    Vectors { field: usize, writer: VectorsWriter, collector: Option<Collector> },
    Metadata(MetadataWriter),
}

impl Stream {
    fn push(&mut self, segment: &Segment, doc: DocId) -> Result<(), Corrupt> {
        match self {
            Self::Vectors { field, writer, collector } => {
                if let Some(vector) = segment.vector(*field, doc) {
                    writer.push(vector);
                    collector.iter_mut().for_each(|collector| collector.push(vector));
                }
            }
            Self::Metadata(writer) => writer.push(segment.metadata(doc)?.as_deref()),
        }
        Ok(())
    }

    /// The part that a document's piece is in, if it is not in one that is held anyway.
    fn part(&self, segment: &Segment, doc: DocId) -> Option<PartId> {
        match self {
            Self::Vectors { field, .. } => {
                segment.extent_of(*field, doc).map(|extent| segment.vector_part(*field, extent))
            }
            Self::Metadata(_) => segment.metadata_part(doc),
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        match self {
            Self::Vectors { writer, collector, .. } => {
                collector.iter_mut().for_each(Collector::encode);
                writer.take()
            }
            Self::Metadata(writer) => writer.take(),
        }
    }

    fn take_collector(&mut self) -> Option<Collector> {
        match self {
            Self::Vectors { collector, .. } => collector.take(),
            Self::Metadata(_) => None,
        }
    }

    fn finish(self) -> (Vec<Bytes>, StreamedSection) {
        match self {
            Self::Vectors { writer, .. } => writer.finish(),
            Self::Metadata(writer) => writer.finish(),
        }
    }

    fn field(&self) -> u8 {
        match self {
            Self::Vectors { field, .. } => *field as u8,
            Self::Metadata(_) => 0,
        }
    }
}

/// Rows that are copied in one go, and the parts they need.
#[derive(Debug, Default)]
struct Window {
    /// Rows of the order up to here.
    end: usize,
    parts: Vec<Wanted>,
    bytes: u64,
}

/// Rows from `start` on, until their parts fill the window.
fn next_window(
    stream: &Stream,
    segments: &[Segment],
    rows: &[Row],
    start: usize,
    bytes_max: usize,
) -> Window {
    let mut window = Window { end: start, ..Window::default() };
    let mut last: Vec<Option<PartId>> = vec![None; segments.len()];
    for row in &rows[start..] {
        let input = row.input as usize;
        let part = stream.part(&segments[input], row.doc);
        if let Some(part) = part.filter(|part| last[input] != Some(*part)) {
            let place = segments[input].place(part);
            let stored = place.map_or(0, |(range, _)| range.end - range.start);
            let length = stored.max(least_bytes(part));
            if window.bytes + length > bytes_max as u64 && window.end > start {
                break;
            }
            window.bytes += length;
            window.parts.push((input, part));
            last[input] = Some(part);
        }
        window.end += 1;
    }
    window
}

/// What a part takes in memory at least, however small it is in the store.
fn least_bytes(part: PartId) -> u64 {
    match part {
        PartId::MetadataBlock(_) => METADATA_BLOCK_BYTES,
        PartId::Section(..)
        | PartId::VectorExtent(..)
        | PartId::KeyBlock(_)
        | PartId::AttributeBlock(_)
        | PartId::CodeList(..)
        | PartId::RowCodeList(..) => 0,
    }
}

/// One merge under way.
struct Job<'a> {
    origin: &'a Origin,
    merge: &'a Merge,
    order: &'a Arc<Order>,
    window: usize,
}

impl Job<'_> {
    /// The large sections; returns the small ones that belong to them.
    async fn stream_all(
        &self,
        loaded: &mut Loaded,
        object: &mut SegmentWriter,
    ) -> Result<Vec<SmallSection>, Error> {
        let mut small = Vec::new();
        for field in 0..self.origin.schema.vector_fields.len() {
            hold(loaded, self.vector_parts(loaded, field)).await?;
            let (rows, lists) = self.lists(loaded, field).await;
            let dimension = self.origin.schema.vector_fields[field].dimension;
            let writer = VectorsWriter::new(self.order.docs(), rows, dimension);
            let keeps_clusters = self.keeps_clusters(loaded, field);
            let built = (!keeps_clusters).then(|| builder(self.origin, field, rows as usize));
            let collector = built.flatten();
            let stream = Stream::Vectors { field, writer, collector };
            let (directory, collector) = self.stream(loaded, object, stream).await?;
            small.push(directory);
            small.extend(lists);
            if let Some(collector) = collector {
                let docs = self.order.docs();
                small.extend(clusters::finish(self.origin, field, docs, collector).await);
            } else if keeps_clusters && rows > 0 {
                small.extend(self.clusters(field, rows).await?);
            }
        }
        hold(loaded, self.metadata_parts(loaded)).await?;
        let stream = Stream::Metadata(MetadataWriter::new(self.order.docs()));
        small.push(self.stream(loaded, object, stream).await?.0);
        Ok(small)
    }

    /// Whether the clusters of the inputs become those of the output: every input with vectors has some, and
    /// most of the output is in those of the largest. Clusters made for a few of the vectors would
    /// suit the others badly; then all are clustered anew.
    fn keeps_clusters(&self, loaded: &Loaded, field: usize) -> bool {
        let has_some =
            |segment: &Segment| segment.tree_part(field).is_some() || segment.row_count(field) == 0;
        let live = self.merge.inputs.iter().map(SegmentView::live);
        let (total, largest) = (live.clone().sum::<u64>(), live.max().unwrap_or(0));
        let is_most = largest as f64 >= KEPT_SHARE_MIN * total as f64;
        is_most && loaded.segments().iter().all(has_some)
    }

    /// The cluster index of a field, made of those of the inputs.
    async fn clusters(&self, field: usize, rows: u32) -> Result<Vec<SmallSection>, Error> {
        const KINDS: [SectionKind; 4] = [
            SectionKind::LISTS,
            SectionKind::CENTROIDS,
            SectionKind::CODES,
            SectionKind::ROW_CODES,
        ];
        let mut loaded = Loaded::new(self.origin.clone(), Arc::clone(&self.merge.inputs));
        let parts = |input: usize| {
            let segment = &loaded.segments()[input];
            let parts = KINDS.map(|kind| PartId::Section(kind, field as u8));
            let there = parts.into_iter().filter(|part| segment.place(*part).is_some());
            there.map(move |part| (input, part)).collect::<Vec<_>>()
        };
        let wanted = self.inputs().flat_map(parts).collect();
        hold(&mut loaded, wanted).await?;
        let (segments, order) = (loaded.segments().to_vec(), Arc::clone(self.order));
        let (params, kernels) = (params(self.origin, field), self.origin.context.kernels);
        let work = move || {
            let moved = moved_rows(&segments, &order, field);
            let inputs = segments.iter().zip(&moved).filter_map(|(segment, rows)| {
                let index = segment.clusters(field)?;
                let (lists, codes) = segment.whole_codes(field);
                Some(ann::MergeInput { index, lists, codes, rows })
            });
            let inputs: Vec<_> = inputs.collect();
            let built = ann::merge(&params, &inputs, rows, kernels)?;
            Ok(clusters::sections(field, order.docs(), &built))
        };
        let built: Result<_, Corrupt> = self.origin.context.builders.run(work).await;
        // Codes that passed their checks one by one and still contradict each other: which, merging cannot tell.
        built.map_err(|cause| loaded.corrupt(0, cause))
    }

    fn inputs(&self) -> std::ops::Range<usize> {
        0..self.merge.inputs.len()
    }

    fn vector_parts(&self, loaded: &Loaded, field: usize) -> Vec<Wanted> {
        let norms = self.origin.schema.vector_fields[field].metric == vb_search::Metric::Cosine;
        let number = field as u8;
        let of_input = |input: usize| {
            let lists = Some(PartId::Section(SectionKind::LISTS, number));
            let norms = norms.then_some(PartId::Section(SectionKind::NORMS, number));
            let directory = loaded.segments()[input].vector_directory(field);
            [lists, directory, norms].into_iter().flatten().map(move |part| (input, part))
        };
        self.inputs().flat_map(of_input).collect()
    }

    fn metadata_parts(&self, loaded: &Loaded) -> Vec<Wanted> {
        self.inputs().map(|input| (input, loaded.segments()[input].metadata_directory())).collect()
    }

    /// How many rows the field has, its lists and its norms.
    async fn lists(&self, loaded: &Loaded, field: usize) -> (u32, Vec<SmallSection>) {
        let (segments, order) = (loaded.segments().to_vec(), Arc::clone(self.order));
        let work = move || {
            let (mut lists, mut norms) = (ListBuilder::default(), None::<NormsBuilder>);
            for (doc, row) in (0..).zip(&order.rows) {
                let segment = &segments[row.input as usize];
                let Some(at) = segment.row_of(field, row.doc) else { continue };
                lists.push(doc);
                if let Some(norm) = segment.norm(field, at) {
                    norms.get_or_insert_default().push(norm);
                }
            }
            (lists.rows(), lists.finish(order.docs()), norms, order.docs())
        };
        let (rows, lists, norms, docs) = self.origin.context.pool.run(work).await;
        let number = field as u8;
        let mut small = vec![(SectionKind::LISTS, number, lists)];
        if self.origin.schema.vector_fields[field].metric == vb_search::Metric::Cosine {
            let norms = norms.unwrap_or_default().finish(docs);
            small.push((SectionKind::NORMS, number, norms));
        }
        (rows, small)
    }

    /// Writes one large section, window by window; returns its directory, and what was collected for
    /// its index.
    async fn stream(
        &self,
        loaded: &Loaded,
        object: &mut SegmentWriter,
        mut stream: Stream,
    ) -> Result<(SmallSection, Option<Collector>), Error> {
        let context = &self.origin.context;
        object.begin_section().await?;
        let mut kept: BTreeMap<Wanted, Part> = BTreeMap::new();
        let mut start = 0;
        while start < self.order.rows.len() {
            let segments = loaded.segments().to_vec();
            let order = Arc::clone(self.order);
            let bytes_max = self.window;
            let work = move || {
                let window = next_window(&stream, &segments, &order.rows, start, bytes_max);
                (stream, window)
            };
            let (planned, window) = context.pool.run(work).await;
            context.budget.pace.turn(2 * usize::try_from(window.bytes).unwrap_or(0)).await;
            self.read(loaded, &window, &mut kept).await?;
            let end = window.end;
            let (copied, pieces) = self.copy(loaded, planned, start..end, &kept).await?;
            stream = copied;
            object.append(pieces).await?;
            start = end;
        }
        let (field, collector) = (stream.field(), stream.take_collector());
        let (pieces, streamed) = stream.finish();
        object.append(pieces).await?;
        Ok((object.end_section(field, streamed), collector))
    }

    /// Reads the window's parts; those of the window before that it needs as well stay.
    async fn read(
        &self,
        loaded: &Loaded,
        window: &Window,
        kept: &mut BTreeMap<Wanted, Part>,
    ) -> Result<(), Error> {
        let mut wanted = window.parts.clone();
        wanted.sort_unstable();
        kept.retain(|part, _| wanted.binary_search(part).is_ok());
        wanted.retain(|part| !kept.contains_key(part));
        let mut by_input: BTreeMap<usize, Vec<PartId>> = BTreeMap::new();
        for (input, part) in wanted {
            by_input.entry(input).or_default().push(part);
        }
        let reads = by_input.into_iter().flat_map(|(input, parts)| {
            let places = places(&loaded.segments()[input], parts);
            cut_reads(places).into_iter().map(move |read| self.read_parts(input, read))
        });
        let reads: Vec<_> = reads.collect();
        for (input, parts) in try_join_all(reads).await? {
            kept.extend(parts.into_iter().map(|part| ((input, part.id()), part)));
        }
        Ok(())
    }

    /// Neighbouring parts of one input in one ranged read.
    async fn read_parts(
        &self,
        input: usize,
        places: Vec<Placed>,
    ) -> Result<(usize, Vec<Part>), Error> {
        let meta = &self.merge.inputs[input].meta;
        let path = paths::segment(self.origin.id, meta.name);
        let (Some(first), Some(last)) = (places.first(), places.last()) else {
            return Ok((input, Vec::new()));
        };
        let start = first.start;
        let bytes = match self.origin.context.store.get_range(&path, start..last.end).await {
            Err(error) if error.kind() == StoreErrorKind::Invalid => {
                return Err(corrupt(&path, start, "shorter than its manifest says"));
            }
            read => read?,
        };
        let (schema, docs) = (Arc::clone(&self.origin.schema), meta.docs);
        let open = move || -> Result<Vec<Part>, (u64, String)> {
            let open_one = |place: &Placed| {
                let at = |offset: u64| usize::try_from(offset - start).expect("it is in memory");
                let bytes = bytes.slice(at(place.start)..at(place.end));
                if checksum(&bytes) != place.crc {
                    return Err((place.start, "checksum mismatch".to_owned()));
                }
                Part::open(&schema, docs, place.part, &bytes)
                    .map_err(|cause| (place.start, cause.to_string()))
            };
            places.iter().map(open_one).collect()
        };
        let opened = self.origin.context.pool.run(open).await;
        let parts = opened.map_err(|(offset, reason)| corrupt(&path, offset, &reason))?;
        Ok((input, parts))
    }

    /// Appends rows to the stream; returns it and the bytes that are ready.
    async fn copy(
        &self,
        loaded: &Loaded,
        mut stream: Stream,
        rows: std::ops::Range<usize>,
        parts: &BTreeMap<Wanted, Part>,
    ) -> Result<(Stream, Vec<Bytes>), Error> {
        let mut segments = loaded.segments().to_vec();
        let parts: Vec<(usize, Part)> =
            parts.iter().map(|((input, _), part)| (*input, part.clone())).collect();
        let order = Arc::clone(self.order);
        let work = move || -> Result<(Stream, Vec<Bytes>), Damaged> {
            for (input, part) in &parts {
                segments[*input].add(part).map_err(|cause| (*input, cause))?;
            }
            for row in &order.rows[rows] {
                let input = row.input as usize;
                stream.push(&segments[input], row.doc).map_err(|cause| (input, cause))?;
            }
            let pieces = stream.take();
            Ok((stream, pieces))
        };
        let copied = self.origin.context.builders.run(work).await;
        copied.map_err(|(input, cause)| loaded.corrupt(input, cause))
    }

    async fn keys(&self, loaded: &Loaded) -> Vec<SmallSection> {
        let (segments, order) = (loaded.segments().to_vec(), Arc::clone(self.order));
        let work = move || {
            let mut keys = KeysBuilder::default();
            for row in &order.rows {
                let key = segments[row.input as usize].key(row.doc);
                keys.push(vb_search::key_hash(key), key);
            }
            keys.finish()
        };
        self.origin.context.pool.run(work).await
    }

    async fn attributes(&self) -> Result<Vec<SmallSection>, Error> {
        let mut loaded = Loaded::new(self.origin.clone(), Arc::clone(&self.merge.inputs));
        let all = PartId::Section(SectionKind::ATTRIBUTES, 0);
        let parts = |input: usize| {
            let directory = loaded.segments()[input].attribute_directory();
            [(input, directory), (input, all)]
        };
        let mut parts: Vec<Wanted> = self.inputs().flat_map(parts).collect();
        parts.dedup();
        hold(&mut loaded, parts).await?;
        let (segments, order) = (loaded.segments().to_vec(), Arc::clone(self.order));
        let work = move || {
            let input = |(segment, docs)| MergeInput { segment, docs };
            let moved = order.moved.iter().map(Vec::as_slice);
            let inputs: Vec<_> = segments.iter().zip(moved).map(input).collect();
            merge_attributes(&inputs, order.docs())
        };
        let sections = self.origin.context.pool.run(work).await;
        Ok(sections.map(|(kind, bytes)| (kind, 0, bytes)).into())
    }
}

/// By input and old row of a field: the new row, or [`ann::DROPPED`].
fn moved_rows(segments: &[Segment], order: &Order, field: usize) -> Vec<Vec<u32>> {
    let dropped = |segment: &Segment| vec![ann::DROPPED; segment.row_count(field)];
    let mut moved: Vec<Vec<u32>> = segments.iter().map(dropped).collect();
    let mut next = 0;
    for row in &order.rows {
        let input = row.input as usize;
        if let Some(old) = segments[input].row_of(field, row.doc) {
            moved[input][old] = next;
            next += 1;
        }
    }
    moved
}

/// A part and where its bytes lie.
#[derive(Clone, Copy, Debug)]
struct Placed {
    part: PartId,
    start: u64,
    end: u64,
    crc: u32,
}

fn places(segment: &Segment, parts: Vec<PartId>) -> Vec<Placed> {
    let placed = |part: PartId| {
        let (range, crc) = segment.place(part).unwrap_or((0..0, 0));
        Placed { part, start: range.start, end: range.end, crc }
    };
    let mut places: Vec<Placed> = parts.into_iter().map(placed).collect();
    places.sort_unstable_by_key(|place| place.start);
    places
}

/// Parts that lie close together are read in one go.
fn cut_reads(places: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut reads: Vec<Vec<Placed>> = Vec::new();
    for place in places {
        match reads.last_mut() {
            Some(read)
                if place.start.saturating_sub(read[read.len() - 1].end) <= GAP_BYTES_MAX
                    && place.end - read[0].start <= READ_BYTES_MAX =>
            {
                read.push(place);
            }
            _ => reads.push(vec![place]),
        }
    }
    reads
}
