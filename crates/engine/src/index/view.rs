//! What readers see of an index: one immutable snapshot, swapped whole.
//!
//! A reader takes the current [`View`] once and works on it as long as it likes; no lock is held
//! over a scan. Of its segments a view has only what the manifest says and which documents are
//! deleted: their bytes are read as they are needed ([`crate::fetch`]), and a [`Snapshot`] is a view
//! with what was read. Finding a memtable record by key needs the key maps as well: they are changed
//! and the view is swapped under one short write lock, so a reader that looks keys up under the read
//! lock sees maps and view of the same moment.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use roaring::RoaringBitmap;
use vb_commit::Prover;
use vb_search::ann::RowMask;
use vb_search::{Corrupt, DocId, Filter, Schema, Segment};

use super::body::{DeletedBitmap, SegmentMeta};
use super::chunk::{ChunkView, Place};
use super::keymap::KeyMap;
use crate::cache::Shelf;
use crate::query::{mask, mask_without};

/// One segment as of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct SegmentView {
    /// One allocation for as long as the segment is open: whoever may still read the object holds it.
    pub(crate) meta: Arc<SegmentMeta>,
    /// The segment without any part; a clone takes those that a call reads.
    pub(crate) blank: Segment,
    /// Documents that are overwritten or deleted, folded or not.
    pub(crate) deleted: Arc<RoaringBitmap>,
    /// Those of them that the newest manifest has.
    pub(crate) folded: Folded,
    /// How much of its codes was asked for piece by piece.
    pub(crate) heat: Arc<Heat>,
    /// Live rows of its vector fields, for searches by clusters.
    masks: Arc<Masks>,
    /// What the filters of late queries matched.
    filters: Arc<KnownFilters>,
    /// Parts that late queries needed.
    pub(crate) shelf: Arc<Shelf>,
}

/// What late filters matched among a segment's documents, the latest last. Queries come again with the same few filters,
/// and finding out what a filter matches can cost more than the search.
#[derive(Debug, Default)]
struct KnownFilters(Mutex<Vec<Arc<KnownFilter>>>);

/// How many are kept per segment: two bits per document each.
const FILTERS_KEPT: usize = 8;

/// The live documents that a filter matches, given which are deleted.
#[derive(Debug)]
struct KnownFilter {
    filter: Filter,
    deleted: Arc<RoaringBitmap>,
    matching: Arc<RoaringBitmap>,
    /// Their rows, by field.
    masks: Mutex<Vec<(usize, Arc<RowMask>)>>,
}

impl KnownFilter {
    /// Whether it is about this filter, and these deletions.
    fn is_of(&self, filter: &Filter, deleted: &Arc<RoaringBitmap>) -> bool {
        Arc::ptr_eq(&self.deleted, deleted) && self.filter == *filter
    }
}

/// Bytes of a segment that queries asked for piece by piece.
#[derive(Debug, Default)]
pub(crate) struct Heat(AtomicU64);

impl Heat {
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, atomic::Ordering::Relaxed);
    }

    /// Whether so many bytes were asked for.
    pub(crate) fn reached(&self, bytes: u64) -> bool {
        self.0.load(atomic::Ordering::Relaxed) >= bytes
    }
}

/// Masks of live rows, each with the deletions that it was made of.
#[derive(Debug, Default)]
struct Masks(Mutex<Vec<MaskOf>>);

#[derive(Debug)]
struct MaskOf {
    field: usize,
    deleted: Arc<RoaringBitmap>,
    mask: Arc<RowMask>,
}

/// Deletions of a segment as the newest manifest has them.
#[derive(Clone, Debug)]
pub(crate) struct Folded {
    pub(crate) bits: Arc<RoaringBitmap>,
    /// How the manifest holds them.
    pub(crate) stored: DeletedBitmap,
}

impl Folded {
    /// No document is deleted.
    pub(crate) fn none() -> Self {
        Self { bits: Arc::default(), stored: DeletedBitmap::None }
    }
}

impl SegmentView {
    /// A segment of a manifest whose folded deletions are `folded`.
    ///
    /// # Errors
    /// If its table of sections does not hold together.
    pub(crate) fn new(
        schema: &Schema,
        meta: Arc<SegmentMeta>,
        folded: Folded,
    ) -> Result<Self, Corrupt> {
        let blank = Segment::of_parts(schema, meta.docs, meta.places())?;
        let (heat, masks, filters, shelf) = Default::default();
        let deleted = Arc::clone(&folded.bits);
        Ok(Self { blank, deleted, meta, folded, heat, masks, filters, shelf })
    }

    /// The same segment as of another manifest.
    pub(crate) fn with_folded(&self, folded: Folded) -> Self {
        Self {
            meta: Arc::clone(&self.meta),
            blank: self.blank.clone(),
            deleted: Arc::clone(&folded.bits),
            folded,
            heat: Arc::clone(&self.heat),
            masks: Arc::clone(&self.masks),
            filters: Arc::clone(&self.filters),
            shelf: Arc::clone(&self.shelf),
        }
    }

    /// The rows of a field that a search by clusters may find: those of the documents allowed, which
    /// are live, or all live ones; `None`: all there are. Needs the field's lists.
    pub(crate) fn row_mask(
        &self,
        segment: &Segment,
        field: usize,
        allowed: Option<&Arc<RoaringBitmap>>,
    ) -> Option<Arc<RowMask>> {
        match allowed {
            Some(docs) => Some(self.matching_rows(segment, field, docs)),
            None if self.deleted.is_empty() => None,
            None => Some(self.live_rows(segment, field)),
        }
    }

    /// The live documents that a filter matches. Needs the columns of its keys.
    pub(crate) fn matching(&self, segment: &Segment, filter: &Filter) -> Arc<RoaringBitmap> {
        if let Some(known) = self.known_matching(filter) {
            return known;
        }
        let matching = Arc::new(segment.select(filter) - self.deleted.as_ref());
        let known = KnownFilter {
            filter: filter.clone(),
            deleted: Arc::clone(&self.deleted),
            matching: Arc::clone(&matching),
            masks: Mutex::default(),
        };
        let mut kept = self.filters.0.lock();
        kept.retain(|old| Arc::ptr_eq(&old.deleted, &self.deleted) && old.filter != *filter);
        if kept.len() >= FILTERS_KEPT {
            kept.remove(0);
        }
        kept.push(Arc::new(known));
        matching
    }

    /// The answer of [`SegmentView::matching`], if it is known already.
    pub(crate) fn known_matching(&self, filter: &Filter) -> Option<Arc<RoaringBitmap>> {
        let mut kept = self.filters.0.lock();
        let place = kept.iter().position(|known| known.is_of(filter, &self.deleted))?;
        let known = kept.remove(place);
        kept.push(Arc::clone(&known));
        Some(Arc::clone(&known.matching))
    }

    /// Whether [`SegmentView::matching`] knows its answer already.
    pub(crate) fn knows(&self, filter: &Filter) -> bool {
        self.filters.0.lock().iter().any(|known| known.is_of(filter, &self.deleted))
    }

    /// The rows of documents, most likely those of [`SegmentView::matching`].
    fn matching_rows(
        &self,
        segment: &Segment,
        field: usize,
        docs: &Arc<RoaringBitmap>,
    ) -> Arc<RowMask> {
        let rows = || Arc::new(mask(segment, field, docs));
        let known = self.filters.0.lock();
        let known = known.iter().find(|known| Arc::ptr_eq(&known.matching, docs)).cloned();
        let Some(known) = known else { return rows() };
        let mut masks = known.masks.lock();
        if let Some((_, mask)) = masks.iter().find(|(of, _)| *of == field) {
            return Arc::clone(mask);
        }
        let rows = rows();
        masks.push((field, Arc::clone(&rows)));
        rows
    }

    fn live_rows(&self, segment: &Segment, field: usize) -> Arc<RowMask> {
        let mut masks = self.masks.0.lock();
        let known = masks.iter().find(|known| known.field == field);
        if let Some(known) = known.filter(|known| Arc::ptr_eq(&known.deleted, &self.deleted)) {
            return Arc::clone(&known.mask);
        }
        let mask = Arc::new(mask_without(segment, field, &self.deleted));
        masks.retain(|known| known.field != field);
        masks.push(MaskOf { field, deleted: Arc::clone(&self.deleted), mask: Arc::clone(&mask) });
        mask
    }

    /// Marks a document deleted; false if it was already.
    pub(crate) fn kill(&mut self, doc: DocId) -> bool {
        !self.deleted.contains(doc) && Arc::make_mut(&mut self.deleted).insert(doc)
    }

    pub(crate) fn docs(&self) -> u32 {
        self.meta.docs
    }

    pub(crate) fn live(&self) -> u64 {
        u64::from(self.docs()) - self.deleted.len()
    }

    /// Documents that the newest manifest does not say to be deleted.
    pub(crate) fn kept(&self) -> u64 {
        u64::from(self.docs()) - self.folded.bits.len()
    }

    /// Whether a key of this hash is in the range of the segment.
    pub(crate) fn may_hold(&self, hash: u64) -> bool {
        (self.meta.hashes.0..=self.meta.hashes.1).contains(&hash)
    }
}

/// A snapshot of an index at one position of its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// In the order of the manifest.
    pub(crate) segments: Arc<[SegmentView]>,
    /// Chunks of the memtable that is being flushed.
    pub(crate) frozen: Arc<[ChunkView]>,
    /// Chunks of the memtable that takes writes.
    pub(crate) active: Arc<[ChunkView]>,
    /// Live records.
    pub(crate) live: u64,
}

impl View {
    pub(crate) fn source_count(&self) -> usize {
        self.segments.len() + self.frozen.len() + self.active.len()
    }

    /// The chunk of this number among the sources.
    ///
    /// # Panics
    /// If it is that of a segment.
    pub(crate) fn chunk(&self, source: usize) -> &ChunkView {
        let number = source - self.segments.len();
        self.frozen.get(number).unwrap_or_else(|| &self.active[number - self.frozen.len()])
    }

    /// All chunks: frozen, then active.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &ChunkView> {
        self.frozen.iter().chain(self.active.iter())
    }
}

/// A view and its segments, in the same order, with the parts that were read of them.
///
/// What needs a part that was not read panics; each method says what it needs of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot<'a> {
    pub(crate) view: &'a View,
    pub(crate) segments: &'a [Segment],
}

/// A part of a snapshot that numbers its own documents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Segment(&'a SegmentView, &'a Segment),
    Chunk(&'a ChunkView),
}

impl<'a> Snapshot<'a> {
    /// The source of this number: segments come first, then frozen, then active chunks.
    pub(crate) fn source(self, number: usize) -> Source<'a> {
        match self.view.segments.get(number) {
            Some(segment) => Source::Segment(segment, &self.segments[number]),
            None => Source::Chunk(self.view.chunk(number)),
        }
    }

    /// Compares two documents by their keys. Needs keys.
    pub(crate) fn key_order(self, a: vb_search::Place, b: vb_search::Place) -> Ordering {
        let key = |place: vb_search::Place| self.source(place.source as usize).key(place.doc);
        key(a).cmp(key(b))
    }
}

impl<'a> Source<'a> {
    /// Needs keys.
    pub(crate) fn key(self, doc: DocId) -> &'a [u8] {
        match self {
            Self::Segment(_, segment) => segment.key(doc),
            Self::Chunk(view) => view.chunk.key(doc),
        }
    }

    /// Needs keys.
    pub(crate) fn key_bytes(self, doc: DocId) -> Bytes {
        Bytes::copy_from_slice(self.key(doc))
    }

    pub(crate) fn deleted(self) -> &'a RoaringBitmap {
        match self {
            Self::Segment(view, _) => &view.deleted,
            Self::Chunk(view) => &view.dead,
        }
    }

    /// Needs the field's lists and the extent of the document's vector.
    pub(crate) fn vector(self, field: usize, doc: DocId) -> Option<&'a [f32]> {
        match self {
            Self::Segment(_, segment) => segment.vector(field, doc),
            Self::Chunk(view) => view.chunk.vector(field, doc),
        }
    }
}

/// Key maps of both memtables.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    pub(crate) active: KeyMap,
    pub(crate) frozen: KeyMap,
}

/// Where a key's live record is, as of one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Number of the source, as in [`Snapshot::source`].
    pub(crate) source: usize,
    pub(crate) doc: DocId,
}

/// The published side of an open index.
#[derive(Debug, Default)]
pub(crate) struct Published {
    maps: RwLock<Maps>,
    view: ArcSwap<View>,
    /// The segments of the newest manifest, perhaps ahead of the view: good for reading parts early.
    listed: ArcSwap<Vec<SegmentView>>,
    /// Whether the view lacks what the log is known to say: see [`Published::fall_behind`].
    behind: AtomicBool,
    /// The highest slot that the view shows.
    tip: AtomicU64,
    /// Proves where the log ends, once a view was published that is certain to count.
    prover: OnceLock<Prover>,
}

impl Published {
    /// The current snapshot.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Changes the maps and swaps the view in one step. The view is no longer behind.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Maps) -> View) {
        let mut maps = self.maps.write();
        self.view.store(Arc::new(change(&mut maps)));
        if self.behind.swap(false, atomic::Ordering::AcqRel) {
            // Nobody keeps a segment open that the view does not have.
            self.listed.store(Arc::default());
        }
    }

    /// Notes that the view shows all slots up to one.
    pub(crate) fn reach(&self, tip: u64, prover: Option<Prover>) {
        self.tip.fetch_max(tip, atomic::Ordering::Release);
        if let Some(prover) = prover {
            // The same one each time.
            let _ = self.prover.set(prover);
        }
    }

    /// Whether the view shows all slots up to one.
    pub(crate) fn shows(&self, seq: u64) -> bool {
        !self.is_behind() && self.tip.load(atomic::Ordering::Acquire) >= seq
    }

    /// What proves where the log ends, if the view may be used after the proof.
    pub(crate) fn prover(&self) -> Option<&Prover> {
        self.prover.get().filter(|_| !self.is_behind())
    }

    /// Says that readers must ask the writer before they use the view: there is none yet, or what
    /// was learnt from the log could not be made visible. The segments named are the newest.
    pub(crate) fn fall_behind(&self, segments: &[SegmentView]) {
        self.listed.store(Arc::new(segments.to_vec()));
        self.behind.store(true, atomic::Ordering::Release);
    }

    /// Whether the view must not be used before the writer was asked.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.load(atomic::Ordering::Acquire)
    }

    /// The segments that a reader will most likely meet once the view is current. Which of their
    /// documents are deleted is not known yet.
    pub(crate) fn likely_segments(&self) -> Arc<[SegmentView]> {
        match self.is_behind() {
            true => self.listed.load().as_slice().into(),
            false => Arc::clone(&self.view.load().segments),
        }
    }

    /// Looks keys (with their hashes) up in the memtables; returns the view the answers belong to.
    pub(crate) fn find_in_memtables(
        &self,
        keys: &[(u64, &[u8])],
    ) -> (Arc<View>, Vec<Option<Found>>) {
        let maps = self.maps.read();
        let view = self.view();
        let found =
            keys.iter().map(|(hash, key)| find_in_memtables(&maps, &view, *hash, key)).collect();
        (view, found)
    }
}

fn find_in_memtables(maps: &Maps, view: &View, hash: u64, key: &[u8]) -> Option<Found> {
    let found = |base: usize, place: Place| Found {
        source: view.segments.len() + base + place.chunk as usize,
        doc: place.row,
    };
    if let Some(place) = maps.active.find(&view.active, hash, key) {
        return Some(found(view.frozen.len(), place));
    }
    let place = maps.frozen.find(&view.frozen, hash, key)?;
    let dead = view.frozen[place.chunk as usize].is_dead(place.row);
    (!dead).then(|| found(0, place))
}
