//! What readers see of an index: one immutable snapshot, swapped whole.
//!
//! A reader takes the current [`View`] once and works on it as long as it likes; no lock is held
//! over a scan. Finding a memtable record by key needs the key maps as well: they are changed and
//! the view is swapped under one short write lock, so a reader that looks keys up under the read
//! lock sees maps and view of the same moment.

use std::cmp::Ordering;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::RwLock;
use roaring::RoaringBitmap;
use vb_search::{DocId, Segment};

use super::body::{DeletedBitmap, SegmentMeta};
use super::chunk::{ChunkView, Place};
use super::keymap::KeyMap;
use crate::query::Damaged;

/// One segment as of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct SegmentView {
    pub(crate) meta: Arc<SegmentMeta>,
    pub(crate) segment: Segment,
    /// Documents that are overwritten or deleted, folded or not.
    pub(crate) deleted: Arc<RoaringBitmap>,
    /// How many of these bits the newest manifest has, and how it holds them.
    pub(crate) folded: (u64, DeletedBitmap),
}

impl SegmentView {
    /// Marks a document deleted; false if it was already.
    pub(crate) fn kill(&mut self, doc: DocId) -> bool {
        !self.deleted.contains(doc) && Arc::make_mut(&mut self.deleted).insert(doc)
    }

    pub(crate) fn live(&self) -> u64 {
        u64::from(self.segment.docs()) - self.deleted.len()
    }
}

/// A snapshot of an index at one position of its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Oldest first.
    pub(crate) segments: Arc<[SegmentView]>,
    /// Chunks of the memtable that is being flushed.
    pub(crate) frozen: Arc<[ChunkView]>,
    /// Chunks of the memtable that takes writes.
    pub(crate) active: Arc<[ChunkView]>,
    /// Live records.
    pub(crate) live: u64,
}

/// A part of a view that numbers its own documents.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Segment(&'a SegmentView),
    Chunk(&'a ChunkView),
}

impl View {
    /// All parts: segments, then frozen, then active chunks.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        let chunks = self.frozen.iter().chain(self.active.iter());
        self.segments.iter().map(Source::Segment).chain(chunks.map(Source::Chunk))
    }

    pub(crate) fn source_count(&self) -> usize {
        self.segments.len() + self.frozen.len() + self.active.len()
    }

    /// The part of this number in the order of [`View::sources`].
    pub(crate) fn source(&self, number: usize) -> Source<'_> {
        if let Some(segment) = self.segments.get(number) {
            return Source::Segment(segment);
        }
        let number = number - self.segments.len();
        match self.frozen.get(number) {
            Some(chunk) => Source::Chunk(chunk),
            None => Source::Chunk(&self.active[number - self.frozen.len()]),
        }
    }

    /// The live document of a key in the segments.
    pub(crate) fn find_in_segments(&self, hash: u64, key: &[u8]) -> Option<(usize, DocId)> {
        let newest_first = self.segments.iter().enumerate().rev();
        newest_first
            .filter_map(|(number, view)| Some((number, view, view.segment.find_hashed(hash, key)?)))
            .find(|(_, view, doc)| !view.deleted.contains(*doc))
            .map(|(number, _, doc)| (number, doc))
    }
}

impl<'a> Source<'a> {
    pub(crate) fn key(self, doc: DocId) -> &'a [u8] {
        match self {
            Self::Segment(view) => view.segment.key(doc),
            Self::Chunk(view) => view.chunk.key(doc),
        }
    }

    pub(crate) fn key_bytes(self, doc: DocId) -> Bytes {
        match self {
            Self::Segment(view) => Bytes::copy_from_slice(view.segment.key(doc)),
            Self::Chunk(view) => Bytes::copy_from_slice(view.chunk.key(doc)),
        }
    }

    /// Metadata as it was put.
    pub(crate) fn metadata(self, doc: DocId) -> Result<Option<Bytes>, Damaged> {
        match self {
            Self::Segment(view) => view
                .segment
                .metadata(doc)
                .map_err(|cause| Damaged { segment: view.meta.name, cause }),
            Self::Chunk(view) => Ok(view.chunk.metadata(doc).cloned()),
        }
    }

    pub(crate) fn deleted(self) -> &'a RoaringBitmap {
        match self {
            Self::Segment(view) => &view.deleted,
            Self::Chunk(view) => &view.dead,
        }
    }

    pub(crate) fn vector(self, field: usize, doc: DocId) -> Option<&'a [f32]> {
        match self {
            Self::Segment(view) => view.segment.vector(field, doc),
            Self::Chunk(view) => view.chunk.vector(field, doc),
        }
    }

    pub(crate) fn vector_count(self, field: usize) -> usize {
        match self {
            Self::Segment(view) => view.segment.row_count(field),
            Self::Chunk(view) => view.chunk.vector_count(field),
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
    /// Number in [`View::sources`].
    pub(crate) source: usize,
    pub(crate) doc: DocId,
}

/// The published side of an open index.
#[derive(Debug, Default)]
pub(crate) struct Published {
    maps: RwLock<Maps>,
    view: ArcSwap<View>,
}

impl Published {
    /// The current snapshot.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Changes the maps and swaps the view in one step.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut Maps) -> View) {
        let mut maps = self.maps.write();
        self.view.store(Arc::new(change(&mut maps)));
    }

    /// Looks keys (with their hashes) up; returns the view the answers belong to.
    pub(crate) fn find(&self, keys: &[(u64, &[u8])]) -> (Arc<View>, Vec<Option<Found>>) {
        let maps = self.maps.read();
        let view = self.view();
        let in_memtable: Vec<Option<Found>> =
            keys.iter().map(|(hash, key)| find_in_memtables(&maps, &view, *hash, key)).collect();
        drop(maps);
        let found = keys.iter().zip(in_memtable).map(|((hash, key), found)| {
            found.or_else(|| {
                let (source, doc) = view.find_in_segments(*hash, key)?;
                Some(Found { source, doc })
            })
        });
        let found = found.collect();
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

/// Compares two documents of a view by their keys.
pub(crate) fn key_order(view: &View, a: vb_search::Place, b: vb_search::Place) -> Ordering {
    let key = |place: vb_search::Place| view.source(place.source as usize).key(place.doc);
    key(a).cmp(key(b))
}
