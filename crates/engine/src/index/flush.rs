//! Folding a frozen memtable into a segment and a manifest body.
//!
//! A flush starts from what the log says below one floor ([`Flush`]). Its live records are sorted on
//! the CPU pool and streamed into segment objects, nearly always one; then the index's writer task
//! commits the manifest, or finds that another manifest came first and gives the flush up. Beside the
//! memtable a flush holds the order of its rows and one window of them.
//!
//! A memtable of any size can be flushed: beyond [`SEGMENT_BYTES_MAX`] its records become several
//! segments, each a range of key hashes, so that none comes near the limits of the format.
//!
//! Segments without a live document are left out of the new manifest.

use std::ops::Range;
use std::sync::Arc;

use vb_commit::Store;
use vb_search::{
    AttributesBuilder, DocId, KeysBuilder, ListBuilder, MetadataWriter, Metric, NormsBuilder,
    Schema, SectionKind, VectorsWriter, row_norm,
};

use super::body::{Body, Counters, DeletedBitmap, SegmentEntry, SegmentMeta};
use super::chunk::ChunkView;
use super::clusters;
use super::clusters::Collector;
use super::collect::Writing;
use super::compact::store_bitmap;
use super::object::{SegmentWriter, SmallSection, in_reading_order, object_name};
use super::tables::Frozen;
use super::view::{Folded, SegmentView};
use crate::error::Error;
use crate::fetch::Origin;
use crate::options::Sabotage;
use crate::paths;
use crate::records::IndexId;

/// What goes into one segment at most, by the bytes that its rows take in a memtable. The encoding
/// of no section takes more than some times that, and its limit is 4 GiB.
const SEGMENT_BYTES_MAX: usize = 1 << 30;
/// Bytes of rows that are encoded in one go.
const WINDOW_BYTES: usize = 4 << 20;

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
    /// Where the frozen rows went.
    pub(crate) moved: Moved,
    /// Names of segments that the new manifest leaves out.
    pub(crate) emptied: Vec<u128>,
    /// How each kept segment's deletions are folded, by name.
    pub(crate) folded: Vec<(u128, Folded)>,
    /// Objects that only the new manifest names: garbage if it does not come about.
    pub(crate) written: Vec<String>,
    /// Bytes of the segment objects.
    pub(crate) bytes: u64,
    /// Keeps collection from the objects.
    pub(crate) writing: Vec<Arc<Writing>>,
}

/// Where each row of the frozen chunks is in the new segments.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// By chunk and row: the place among all new documents, or [`Moved::DEAD`].
    places: Vec<Vec<u32>>,
    /// The place of each new segment's first document.
    starts: Vec<u32>,
}

impl Moved {
    const DEAD: u32 = u32::MAX;

    /// The new segment and document of a row that was alive at the freeze.
    pub(crate) fn place(&self, chunk: usize, row: DocId) -> Option<(usize, DocId)> {
        let place = *self.places.get(chunk)?.get(row as usize)?;
        if place == Self::DEAD {
            return None;
        }
        let segment = self.starts.partition_point(|start| *start <= place).checked_sub(1)?;
        Some((segment, place - self.starts[segment]))
    }
}

/// Writes all objects of the flush. On failure what was written is removed as far as the store lets us.
pub(crate) async fn run(origin: &Origin, flush: &Flush) -> Result<Flushed, Error> {
    let mut flushed = begin(flush);
    match write_objects(origin, flush, &mut flushed).await {
        Ok(()) => {
            flushed.body.counters = counters(flush, &flushed);
            Ok(flushed)
        }
        Err(error) => {
            discard(&origin.context.store, flushed.written).await;
            Err(error)
        }
    }
}

/// Removes objects that no manifest names; failing costs space only.
pub(crate) async fn discard(store: &Store, paths: Vec<String>) {
    if let Err(error) = store.delete_all(&paths).await {
        tracing::warn!(%error, "could not remove objects that are no longer needed");
    }
}

fn begin(flush: &Flush) -> Flushed {
    Flushed {
        body: Body::empty(flush.schema.as_ref().clone()),
        segments: Vec::new(),
        moved: Moved::default(),
        emptied: Vec::new(),
        folded: Vec::new(),
        written: Vec::new(),
        bytes: 0,
        writing: Vec::new(),
    }
}

async fn write_objects(origin: &Origin, flush: &Flush, flushed: &mut Flushed) -> Result<(), Error> {
    for view in &flush.frozen.segments {
        fold_old(origin, flush, view, flushed).await?;
    }
    let chunks: Arc<[ChunkView]> = flush.frozen.chunks.as_slice().into();
    let of = Arc::clone(&chunks);
    let rows = origin.context.pool.run(move || sorted_rows(&of)).await;
    let rows = Rows { chunks, rows: rows.into() };
    let parts = rows.cut(SEGMENT_BYTES_MAX);
    flushed.moved = rows.moved(&parts);
    for part in parts {
        let name = object_name(origin.context.random(), flush.base);
        flushed.writing.push(Arc::new(origin.context.garbage.writing(name)));
        flushed.written.push(paths::segment(flush.id, name));
        let meta = write_segment(origin, &rows, part, name).await?;
        flushed.bytes += meta.length;
        add_new(origin, meta, flushed)?;
    }
    Ok(())
}

/// A segment that was there before: its deletions as of the freeze, or it is left out.
async fn fold_old(
    origin: &Origin,
    flush: &Flush,
    view: &SegmentView,
    flushed: &mut Flushed,
) -> Result<(), Error> {
    let name = view.meta.name;
    if view.live() == 0 {
        flushed.emptied.push(name);
        return Ok(());
    }
    let context = &origin.context;
    let unchanged = view.deleted.len() == view.folded.bits.len()
        || context.options.sabotage == Sabotage::FlushDropsBitmap;
    let folded = if unchanged {
        view.folded.clone()
    } else {
        let mut object = None;
        let bitmap = object_name(context.random(), flush.base);
        let stored = store_bitmap(&view.deleted, bitmap, &mut object);
        if let Some((bitmap, bytes)) = object {
            flushed.writing.push(Arc::new(context.garbage.writing(bitmap)));
            flushed.written.push(paths::bitmap(flush.id, bitmap));
            context.store.put(&paths::bitmap(flush.id, bitmap), bytes.into()).await?;
        }
        Folded { bits: Arc::clone(&view.deleted), stored }
    };
    let deleted = folded.stored.clone();
    flushed.folded.push((name, folded));
    flushed.body.segments.push(SegmentEntry { meta: view.meta.as_ref().clone(), deleted });
    Ok(())
}

fn add_new(origin: &Origin, meta: SegmentMeta, flushed: &mut Flushed) -> Result<(), Error> {
    let name = meta.name;
    flushed.body.segments.push(SegmentEntry { meta: meta.clone(), deleted: DeletedBitmap::None });
    let view = SegmentView::new(&origin.schema, Arc::new(meta), Folded::none())
        .map_err(|cause| origin.corrupt_segment(name, cause))?;
    flushed.segments.push(view);
    Ok(())
}

/// The hash of a record's key, and its chunk and row.
type SortedRow = (u64, u32, u32);

/// Live records of the chunks, sorted by (hash, key).
fn sorted_rows(chunks: &[ChunkView]) -> Vec<SortedRow> {
    let rows_of = |(number, view): (u32, &ChunkView)| {
        let rows = view.live_rows().map(|row| (view.chunk.hash(row), number, row));
        rows.collect::<Vec<_>>()
    };
    let mut rows: Vec<SortedRow> = (0..).zip(chunks).flat_map(rows_of).collect();
    let key = |row: &SortedRow| chunks[row.1 as usize].chunk.key(row.2);
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a).cmp(key(b))));
    rows
}

/// Sorted rows and the chunks that hold them. Cheap to clone.
#[derive(Clone, Debug)]
struct Rows {
    chunks: Arc<[ChunkView]>,
    rows: Arc<[SortedRow]>,
}

impl Rows {
    fn chunk(&self, row: &SortedRow) -> &super::chunk::Chunk {
        &self.chunks[row.1 as usize].chunk
    }

    fn bytes(&self, row: &SortedRow) -> usize {
        self.chunk(row).row_bytes(row.2)
    }

    /// Rows from `start` on, while they take no more than `bytes_max`; one at least.
    fn fitting(&self, rows: Range<usize>, bytes_max: usize) -> Range<usize> {
        let mut bytes = 0usize;
        let fits = |row: &&SortedRow| {
            bytes = bytes.saturating_add(self.bytes(row));
            bytes <= bytes_max
        };
        let count = self.rows[rows.clone()].iter().take_while(fits).count().max(1);
        rows.start..rows.end.min(rows.start + count)
    }

    /// Cuts the rows, in order, where a part would exceed `bytes_max`; each part has a row at least.
    fn cut(&self, bytes_max: usize) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let mut start = 0;
        while start < self.rows.len() {
            let part = self.fitting(start..self.rows.len(), bytes_max);
            start = part.end;
            parts.push(part);
        }
        parts
    }

    fn moved(&self, parts: &[Range<usize>]) -> Moved {
        let dead = |view: &ChunkView| vec![Moved::DEAD; view.chunk.len()];
        let mut places: Vec<Vec<u32>> = self.chunks.iter().map(dead).collect();
        for (place, (_, chunk, row)) in (0..).zip(self.rows.iter()) {
            places[*chunk as usize][*row as usize] = place;
        }
        let starts = parts.iter().map(|part| number(part.start)).collect();
        Moved { places, starts }
    }
}

fn number(row: usize) -> u32 {
    u32::try_from(row).expect("a memtable is far below 2^32 rows")
}

/// Some sorted rows, one at least, as a segment object.
async fn write_segment(
    origin: &Origin,
    rows: &Rows,
    part: Range<usize>,
    name: u128,
) -> Result<SegmentMeta, Error> {
    let docs = number(part.len());
    let hashes = (rows.rows[part.start].0, rows.rows[part.end - 1].0);
    let mut object = SegmentWriter::begin(&origin.context.store, origin.id, name, docs).await?;
    let job = Job { origin, rows, part };
    let mut small = Vec::new();
    for field in 0..origin.schema.vector_fields.len() {
        let (count, lists) = job.lists(field).await;
        let (directory, collector) = job.vectors(&mut object, field, count).await?;
        small.push(directory);
        small.extend(lists);
        if let Some(collector) = collector {
            small.extend(clusters::finish(origin, field, docs, collector).await);
        }
    }
    small.push(job.metadata(&mut object).await?);
    small.extend(job.keys_and_attributes().await);
    let small = clusters::keep(origin, name, docs, small).await;
    object.small_sections(in_reading_order(small)).await?;
    Ok(object.finish(hashes).await?)
}

/// One segment being written.
struct Job<'a> {
    origin: &'a Origin,
    rows: &'a Rows,
    part: Range<usize>,
}

impl Job<'_> {
    /// The rows, cut into pieces of work.
    fn windows(&self) -> Vec<Range<usize>> {
        let mut windows = Vec::new();
        let mut start = self.part.start;
        while start < self.part.end {
            let window = self.rows.fitting(start..self.part.end, WINDOW_BYTES);
            start = window.end;
            windows.push(window);
        }
        windows
    }

    fn docs(&self) -> u32 {
        number(self.part.len())
    }

    /// How many rows have the field; its lists and norms.
    async fn lists(&self, field: usize) -> (u32, Vec<SmallSection>) {
        let (rows, part, docs) = (self.rows.clone(), self.part.clone(), self.docs());
        let cosine = self.origin.schema.vector_fields[field].metric == Metric::Cosine;
        let kernels = self.origin.context.kernels;
        let work = move || {
            let (mut lists, mut norms) = (ListBuilder::default(), NormsBuilder::default());
            for (doc, row) in (0..).zip(&rows.rows[part]) {
                let Some(vector) = rows.chunk(row).vector(field, row.2) else { continue };
                lists.push(doc);
                if cosine {
                    norms.push(row_norm(kernels, vector));
                }
            }
            (lists.rows(), lists.finish(docs), norms.finish(docs))
        };
        let (count, lists, norms) = self.origin.context.pool.run(work).await;
        let field = field_number(field);
        let mut small = vec![(SectionKind::LISTS, field, lists)];
        if cosine {
            small.push((SectionKind::NORMS, field, norms));
        }
        (count, small)
    }

    /// Streams the vectors of a field; returns their directory, and the vectors for a cluster index if
    /// there are enough of them.
    async fn vectors(
        &self,
        object: &mut SegmentWriter,
        field: usize,
        count: u32,
    ) -> Result<(SmallSection, Option<Collector>), Error> {
        let mut collector = clusters::builder(self.origin, field, count as usize);
        let dimension = self.origin.schema.vector_fields[field].dimension;
        let mut writer = VectorsWriter::new(self.docs(), count, dimension);
        object.begin_section().await?;
        for window in self.windows() {
            let rows = self.rows.clone();
            let work = move || {
                for row in &rows.rows[window] {
                    if let Some(vector) = rows.chunk(row).vector(field, row.2) {
                        writer.push(vector);
                        collector.iter_mut().for_each(|collector| collector.push(vector));
                    }
                }
                collector.iter_mut().for_each(Collector::encode);
                let pieces = writer.take();
                (writer, collector, pieces)
            };
            let (back, collected, pieces) = self.origin.context.builders.run(work).await;
            (writer, collector) = (back, collected);
            object.append(pieces).await?;
        }
        let (pieces, streamed) = writer.finish();
        object.append(pieces).await?;
        Ok((object.end_section(field_number(field), streamed), collector))
    }

    /// Streams the metadata; returns its directory.
    async fn metadata(&self, object: &mut SegmentWriter) -> Result<SmallSection, Error> {
        let mut writer = MetadataWriter::new(self.docs());
        object.begin_section().await?;
        for window in self.windows() {
            let rows = self.rows.clone();
            let work = move || {
                for row in &rows.rows[window] {
                    writer.push(rows.chunk(row).metadata(row.2).map(AsRef::as_ref));
                }
                let pieces = writer.take();
                (writer, pieces)
            };
            let (back, pieces) = self.origin.context.pool.run(work).await;
            writer = back;
            object.append(pieces).await?;
        }
        let (pieces, streamed) = writer.finish();
        object.append(pieces).await?;
        Ok(object.end_section(0, streamed))
    }

    async fn keys_and_attributes(&self) -> Vec<SmallSection> {
        let (rows, part) = (self.rows.clone(), self.part.clone());
        let work = move || {
            let (mut keys, mut attributes) = <(KeysBuilder, AttributesBuilder)>::default();
            for row in &rows.rows[part] {
                keys.push(row.0, rows.chunk(row).key(row.2));
                attributes.push(rows.chunk(row).attributes(row.2));
            }
            let mut small = keys.finish();
            small.extend(attributes.finish().map(|(kind, bytes)| (kind, 0, bytes)));
            small
        };
        self.origin.context.pool.run(work).await
    }
}

fn field_number(field: usize) -> u8 {
    u8::try_from(field).expect("a schema has few fields")
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

#[cfg(test)]
mod tests {
    use super::super::chunk::{Incoming, append};
    use super::super::tests::{kernels, put_rows, schema};
    use super::*;

    #[test]
    fn a_large_memtable_becomes_several_segments_in_hash_order() {
        let keys: Vec<String> = (0..10).map(|number| format!("key {number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut chunks = Vec::new();
        append(&mut chunks, &schema(), kernels(), &mut Incoming::new(put_rows(&keys)));
        chunks[0].kill(3);
        let sorted = sorted_rows(&chunks);
        assert!(sorted.is_sorted_by(|a, b| a.0 < b.0));
        let rows = Rows { chunks: chunks.into(), rows: sorted.into() };
        let row_bytes = rows.bytes(&rows.rows[0]);
        for (bytes_max, docs) in
            [(0, vec![1; 9]), (4 * row_bytes, vec![4, 4, 1]), (usize::MAX, vec![9])]
        {
            let parts = rows.cut(bytes_max);
            assert_eq!(parts.iter().map(Range::len).collect::<Vec<_>>(), docs);
            let moved = rows.moved(&parts);
            assert_eq!(moved.place(0, 3), None);
            for (place, (_, chunk, row)) in rows.rows.iter().enumerate() {
                let (segment, doc) = moved.place(*chunk as usize, *row).unwrap();
                assert_eq!(parts[segment].start + doc as usize, place);
                assert!(parts[segment].contains(&place));
            }
        }
    }
}
