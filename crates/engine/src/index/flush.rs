//! Folding a frozen memtable into a segment and a manifest body.
//!
//! A flush starts from what the log says below one floor ([`Flush`]). On the CPU pool its live
//! records become segments ([`build`]), nearly always one; the objects are written; then the index's writer task
//! commits the manifest, or finds that another manifest came first and discards the flush.
//!
//! A memtable of any size can be flushed: beyond [`SEGMENT_BYTES_MAX`] its records become several
//! segments, each a range of key hashes, so that none comes near the limits of the format.
//!
//! Segments without a live document are left out of the new manifest.

use std::sync::Arc;

use bytes::Bytes;
use vb_commit::Store;
use vb_kernel::Kernels;
use vb_search::{Corrupt, RowRef, Schema, Segment, SegmentBuilder, StoredSection};

use super::body::{
    BITMAP_INLINE_MAX, BitmapObject, Body, Counters, DeletedBitmap, SegmentEntry, SegmentMeta,
    encode_bitmap, lay_out, segment_header,
};
use super::chunk::ChunkView;
use super::tables::Frozen;
use super::view::{Folded, SegmentView};
use crate::context::Context;
use crate::error::Error;
use crate::paths;
use crate::records::IndexId;

/// What goes into one segment at most, by the bytes that its rows take in a memtable. The encoding
/// of no section takes more than some times that, and its limit is 4 GiB.
const SEGMENT_BYTES_MAX: usize = 1 << 30;

/// A flush to be carried out.
#[derive(Debug)]
pub(crate) struct Flush {
    pub(crate) id: IndexId,
    pub(crate) schema: Arc<Schema>,
    /// Number of the manifest the flush started from, its floor and its counters.
    pub(crate) base: u64,
    pub(crate) from: u64,
    pub(crate) counters: Counters,
    /// Slots below this are in `frozen`.
    pub(crate) floor: u64,
    pub(crate) frozen: Frozen,
}

/// A flush whose objects are written.
#[derive(Debug)]
pub(crate) struct Flushed {
    pub(crate) body: Body,
    /// The new segments; none if no record was left to write.
    pub(crate) segments: Vec<SegmentView>,
    /// The same, read back whole.
    pub(crate) built: Vec<Segment>,
    /// Names of segments that the new manifest leaves out.
    pub(crate) emptied: Vec<u128>,
    /// How each kept segment's deletions are folded, by name.
    pub(crate) folded: Vec<(u128, Folded)>,
    /// Objects that only the new manifest names: garbage if it does not come about.
    pub(crate) written: Vec<String>,
    /// Objects that only older manifests name: garbage once it has.
    pub(crate) replaced: Vec<String>,
    /// Bytes of the segment objects.
    pub(crate) bytes: usize,
}

/// A segment object in memory.
struct Built {
    object: Bytes,
    meta: SegmentMeta,
    segment: Segment,
}

/// Builds the segments and writes all objects of the flush. On failure what was written is removed
/// as far as the store lets us.
pub(crate) async fn run(context: &Context, flush: Arc<Flush>) -> Result<Flushed, Error> {
    let (job, kernels) = (Arc::clone(&flush), context.kernels);
    let random = Arc::clone(&context.options.random);
    let work = move || plan(&job, kernels, SEGMENT_BYTES_MAX, || random.id());
    let mut planned = context.pool.run(work).await?;
    match write_objects(context, &flush, &mut planned).await {
        Ok(()) => Ok(planned.done),
        Err(error) => {
            discard(&context.store, planned.done.written).await;
            Err(error)
        }
    }
}

/// Builds the segments, of `bytes_max` bytes of rows each, and the manifest body in memory; `name`
/// gives each segment its name.
pub(super) fn plan(
    flush: &Flush,
    kernels: Kernels,
    bytes_max: usize,
    mut name: impl FnMut() -> u128,
) -> Result<Planned, Error> {
    let rows = sorted_rows(&flush.frozen.chunks);
    let parts = cut(&rows, bytes_max);
    let built = parts.into_iter().map(|rows| build(&flush.schema, kernels, rows, name()));
    let built = built.collect::<Result<Vec<_>, _>>()?;
    plan_body(flush, built)
}

/// Cuts rows, in order, where a part would exceed `bytes_max`; each part has a row at least.
fn cut<'a, 'b>(mut rows: &'a [SortedRow<'b>], bytes_max: usize) -> Vec<&'a [SortedRow<'b>]> {
    let mut parts = Vec::new();
    while !rows.is_empty() {
        let mut bytes = 0usize;
        let fits = |(_, view, row): &&SortedRow<'_>| {
            bytes = bytes.saturating_add(view.chunk.row_bytes(*row));
            bytes <= bytes_max
        };
        let count = rows.iter().take_while(fits).count().max(1);
        let (part, rest) = rows.split_at(count);
        parts.push(part);
        rows = rest;
    }
    parts
}

/// Removes objects that no manifest names; failing costs space only.
pub(crate) async fn discard(store: &Store, paths: Vec<String>) {
    if let Err(error) = store.delete_all(&paths).await {
        tracing::warn!(%error, "could not remove objects that are no longer needed");
    }
}

/// A flush whose objects still have to be written.
pub(super) struct Planned {
    pub(super) done: Flushed,
    segment_objects: Vec<(u128, Bytes)>,
    bitmap_objects: Vec<(u128, Vec<u8>)>,
}

async fn write_objects(
    context: &Context,
    flush: &Flush,
    planned: &mut Planned,
) -> Result<(), Error> {
    for (number, bytes) in std::mem::take(&mut planned.bitmap_objects) {
        let name = context.random();
        let path = paths::bitmap(flush.id, name);
        planned.done.written.push(path.clone());
        planned.done.name_bitmap(number, name);
        context.store.put(&path, bytes.into()).await?;
    }
    for (name, object) in std::mem::take(&mut planned.segment_objects) {
        let path = paths::segment(flush.id, name);
        planned.done.written.push(path.clone());
        context.store.put(&path, object).await?;
    }
    Ok(())
}

impl Flushed {
    /// Gives the bitmap of the segment called `segment` its object name.
    fn name_bitmap(&mut self, segment: u128, name: u128) {
        let entry = self.body.segments.iter_mut().find(|entry| entry.meta.name == segment);
        let folded = self.folded.iter_mut().find(|(of, _)| *of == segment);
        let both =
            [entry.map(|entry| &mut entry.deleted), folded.map(|(_, folded)| &mut folded.stored)];
        for bitmap in both.into_iter().flatten() {
            if let DeletedBitmap::Object(object) = bitmap {
                object.name = name;
            }
        }
    }
}

/// Some sorted rows, one at least, as a segment.
fn build(
    schema: &Schema,
    kernels: Kernels,
    rows: &[SortedRow<'_>],
    name: u128,
) -> Result<Built, Error> {
    let hash = |row: Option<&SortedRow<'_>>| row.expect("a part has a row at least").0;
    let hashes = (hash(rows.first()), hash(rows.last()));
    let mut builder = SegmentBuilder::new(schema, kernels);
    let mut vectors = Vec::with_capacity(schema.vector_fields.len());
    for (_, view, row) in rows {
        let chunk = &view.chunk;
        vectors.clear();
        vectors.extend((0..schema.vector_fields.len()).map(|field| chunk.vector(field, *row)));
        builder.push(RowRef {
            key: chunk.key(*row),
            vectors: &vectors,
            metadata: chunk.metadata(*row).map(AsRef::as_ref),
            attributes: chunk.attributes(*row),
        });
    }
    let built = builder.finish();
    let mut object = segment_header(built.docs);
    let sections = lay_out(built.sections, &mut object);
    let object = Bytes::from(object);
    let meta =
        SegmentMeta { name, length: object.len() as u64, docs: built.docs, hashes, sections };
    let segment = open_built(schema, &meta, &object)?;
    Ok(Built { object, meta, segment })
}

/// Reads the segment back out of its own object: what is about to be written can be opened.
fn open_built(schema: &Schema, meta: &SegmentMeta, object: &Bytes) -> Result<Segment, Error> {
    let section = |entry: &super::body::SectionEntry| {
        let start = usize::try_from(entry.offset).expect("the object is in memory");
        let end = start + usize::try_from(entry.length).expect("the object is in memory");
        (entry.kind, entry.field, object.slice(start..end))
    };
    let sections: Vec<StoredSection> = meta.sections.iter().map(section).collect();
    Segment::open(schema, meta.docs, &sections).map_err(built_corrupt)
}

fn built_corrupt(corrupt: Corrupt) -> Error {
    Error::Corrupt {
        path: "a segment that was just built".to_owned(),
        offset: 0,
        reason: corrupt.to_string(),
    }
}

/// The hash of a record's key, and where the record is.
type SortedRow<'a> = (u64, &'a ChunkView, u32);

/// Live records of the chunks, sorted by (hash, key).
fn sorted_rows(chunks: &[ChunkView]) -> Vec<SortedRow<'_>> {
    let rows_of =
        |view| ChunkView::live_rows(view).map(move |row| (view.chunk.hash(row), view, row));
    let mut rows: Vec<SortedRow<'_>> = chunks.iter().flat_map(rows_of).collect();
    rows.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| a.1.chunk.key(a.2).cmp(b.1.chunk.key(b.2)))
    });
    rows
}

/// The new body, and what has to be written for it.
fn plan_body(flush: &Flush, built: Vec<Built>) -> Result<Planned, Error> {
    let mut planned = Planned {
        done: Flushed {
            body: Body::empty(flush.schema.as_ref().clone()),
            segments: Vec::new(),
            built: Vec::new(),
            emptied: Vec::new(),
            folded: Vec::new(),
            written: Vec::new(),
            replaced: Vec::new(),
            bytes: 0,
        },
        segment_objects: Vec::new(),
        bitmap_objects: Vec::new(),
    };
    for view in &flush.frozen.segments {
        plan_old(flush.id, view, &mut planned);
    }
    for built in built {
        plan_new(&flush.schema, built, &mut planned)?;
    }
    planned.done.body.counters = counters(flush, &planned.done);
    Ok(planned)
}

fn plan_old(id: IndexId, view: &SegmentView, planned: &mut Planned) {
    let name = view.meta.name;
    let unchanged = view.deleted.len() == view.folded.bits.len();
    if let (DeletedBitmap::Object(object), false) =
        (&view.folded.stored, unchanged && view.live() > 0)
    {
        planned.done.replaced.push(paths::bitmap(id, object.name));
    }
    if view.live() == 0 {
        planned.done.emptied.push(name);
        planned.done.replaced.push(paths::segment(id, name));
        return;
    }
    let deleted = if unchanged { view.folded.stored.clone() } else { fold_bitmap(view, planned) };
    let folded = Folded { bits: Arc::clone(&view.deleted), stored: deleted.clone() };
    planned.done.folded.push((name, folded));
    planned.done.body.segments.push(SegmentEntry { meta: view.meta.as_ref().clone(), deleted });
}

/// Small bitmaps go into the body, large ones become an object (named when it is written).
fn fold_bitmap(view: &SegmentView, planned: &mut Planned) -> DeletedBitmap {
    let bytes = encode_bitmap(&view.deleted);
    if bytes.len() <= BITMAP_INLINE_MAX {
        return DeletedBitmap::Inline(bytes.into());
    }
    let crc = vb_search::checksum(&bytes);
    let object = BitmapObject { name: 0, length: bytes.len() as u64, crc };
    planned.bitmap_objects.push((view.meta.name, bytes));
    DeletedBitmap::Object(object)
}

fn plan_new(schema: &Schema, built: Built, planned: &mut Planned) -> Result<(), Error> {
    let Built { object, meta, segment } = built;
    planned.done.bytes += object.len();
    planned.segment_objects.push((meta.name, object));
    let entry = SegmentEntry { meta: meta.clone(), deleted: DeletedBitmap::None };
    planned.done.body.segments.push(entry);
    let view = SegmentView::new(schema, Arc::new(meta), Folded::none()).map_err(built_corrupt)?;
    planned.done.segments.push(view);
    planned.done.built.push(segment);
    Ok(())
}

fn counters(flush: &Flush, done: &Flushed) -> Counters {
    let docs = done.body.segments.iter().map(|entry| u64::from(entry.meta.docs)).sum();
    let deleted = done.folded.iter().map(|(_, folded)| folded.bits.len()).sum();
    Counters {
        live: docs - deleted,
        docs,
        deleted,
        puts: flush.counters.puts.saturating_add(flush.frozen.puts),
        deletes: flush.counters.deletes.saturating_add(flush.frozen.deletes),
    }
}
