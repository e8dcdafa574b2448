//! The writer's side of an index: applies log payloads, freezes the memtable, takes in a flush.
//!
//! There is at most one live document per key, over both memtables and all segments. Applying a put
//! or a delete therefore kills the key's older document wherever it stands: a bit in the dead rows
//! of a chunk or in the deletion bitmap of a segment. Nothing else marks a delete: until it is
//! folded, its log slot is what makes it durable, and the bit what makes it visible.
//!
//! A flush works on the documents and bits as of the freeze. What is killed later in the frozen
//! memtable is carried over to the new segments when they take the frozen chunks' place.
//!
//! Readers never see a state between two published views; see [`super::view`].

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;
use vb_kernel::Kernels;
use vb_search::{DocId, Schema, key_hash};

use super::body::DeletedBitmap;
use super::chunk::{ChunkView, Incoming, Place, append, delete_bytes, gather};
use super::event::IndexEvent;
use super::flush::Flushed;
use super::keymap::KeyMap;
use super::view::{Maps, Published, SegmentView, View};
use crate::paths;
use crate::records::IndexId;

/// Owned by the index's one writer task.
#[derive(Debug)]
pub(crate) struct Tables {
    schema: Arc<Schema>,
    kernels: Kernels,
    published: Arc<Published>,
    segments: Vec<SegmentView>,
    frozen: Memtable,
    active: Memtable,
    live: u64,
    /// Not published yet: the maps still belong to the tables that this one replaces.
    fresh: bool,
}

/// Records that are in no segment yet.
#[derive(Clone, Debug, Default)]
struct Memtable {
    chunks: Vec<ChunkView>,
    /// Bytes of records and deletes, what decides about flushing.
    bytes: usize,
    puts: u64,
    deletes: u64,
}

impl Memtable {
    fn is_empty(&self) -> bool {
        self.puts == 0 && self.deletes == 0
    }
}

/// The state a flush starts from: everything the log says below one floor.
#[derive(Clone, Debug)]
pub(crate) struct Frozen {
    /// Segments with the deletions as of the freeze.
    pub(crate) segments: Vec<SegmentView>,
    /// Chunks with their dead rows as of the freeze.
    pub(crate) chunks: Vec<ChunkView>,
    /// Records put and keys deleted since the last fold.
    pub(crate) puts: u64,
    pub(crate) deletes: u64,
}

/// The keys of one delete or the rows of one put, hashed, not yet visible.
enum Prepared {
    Put { incoming: Incoming, places: Vec<Place> },
    Delete { keys: Vec<Bytes>, hashes: Vec<u64> },
}

impl Tables {
    /// Tables of segments alone. Readers see them, and whatever the first [`Tables::apply`] brings,
    /// once that is done: one swap takes them from the tables before to these.
    pub(crate) fn new(
        schema: Arc<Schema>,
        kernels: Kernels,
        published: Arc<Published>,
        segments: Vec<SegmentView>,
    ) -> Self {
        let live = segments.iter().map(SegmentView::live).sum();
        Self {
            schema,
            kernels,
            published,
            segments,
            frozen: Memtable::default(),
            active: Memtable::default(),
            live,
            fresh: true,
        }
    }

    /// Applies events in order and makes all of them visible at once. They are taken one by one, so
    /// that a replay does not hold them all.
    ///
    /// # Errors
    /// The first error among the events. Nothing becomes visible, and the tables are of no use any
    /// more.
    pub(crate) fn apply<E>(
        &mut self,
        events: impl Iterator<Item = Result<IndexEvent, E>>,
    ) -> Result<(), E> {
        let prepared = events.map(|event| event.map(|event| self.prepare(event)));
        let prepared: Vec<Prepared> = prepared.collect::<Result<_, E>>()?;
        for event in &prepared {
            self.kill_in_segments(event);
        }
        let published = Arc::clone(&self.published);
        published.publish(|maps| {
            if std::mem::take(&mut self.fresh) {
                *maps = Maps::default();
            }
            for event in &prepared {
                self.resolve(maps, event);
            }
            self.view()
        });
        Ok(())
    }

    /// Bytes that wait for a flush, frozen ones too.
    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.active.bytes + self.frozen.bytes
    }

    /// Bytes that a freeze would take.
    pub(crate) fn active_bytes(&self) -> usize {
        self.active.bytes
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Whether a flush is under way (or failed and will be tried again).
    pub(crate) fn is_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    pub(crate) fn segments(&self) -> &[SegmentView] {
        &self.segments
    }

    /// Every object that the manifest of these tables names.
    pub(crate) fn object_paths(&self, id: IndexId) -> HashSet<String> {
        let bitmaps = self.segments.iter().filter_map(|view| match &view.folded.1 {
            DeletedBitmap::Object(object) => Some(paths::bitmap(id, object.name)),
            DeletedBitmap::None | DeletedBitmap::Inline(_) => None,
        });
        let segments = self.segments.iter().map(|view| paths::segment(id, view.meta.name));
        segments.chain(bitmaps).collect()
    }

    /// Sets the active memtable aside for a flush; the frozen one must be empty.
    pub(crate) fn freeze(&mut self) -> Frozen {
        assert!(!self.is_frozen(), "one flush at a time");
        self.frozen = std::mem::take(&mut self.active);
        let published = Arc::clone(&self.published);
        published.publish(|maps| {
            maps.frozen = std::mem::take(&mut maps.active);
            self.view()
        });
        Frozen {
            segments: self.segments.clone(),
            chunks: self.frozen.chunks.clone(),
            puts: self.frozen.puts,
            deletes: self.frozen.deletes,
        }
    }

    /// Takes in a committed flush: its segments (none if no record was left to write) replace the
    /// frozen chunks, the segments that it emptied are gone.
    pub(crate) fn swap(&mut self, at_freeze: &Frozen, flushed: Flushed) {
        let frozen = std::mem::take(&mut self.frozen);
        self.segments.retain(|view| !flushed.emptied.contains(&view.meta.name));
        for view in &mut self.segments {
            let mut folded = flushed.folded.iter();
            if let Some((_, folded)) = folded.find(|(name, _)| *name == view.meta.name) {
                view.folded.clone_from(folded);
            }
        }
        let mut new = flushed.segments;
        kill_carried_over(&mut new, &frozen.chunks, &at_freeze.chunks);
        self.segments.extend(new);
        let published = Arc::clone(&self.published);
        published.publish(|maps| {
            maps.frozen = KeyMap::default();
            self.view()
        });
    }

    fn view(&self) -> View {
        View {
            segments: self.segments.as_slice().into(),
            frozen: self.frozen.chunks.as_slice().into(),
            active: self.active.chunks.as_slice().into(),
            live: self.live,
        }
    }

    /// Copies rows into chunks. Readers do not see them yet: they hold other copies of the chunks.
    fn prepare(&mut self, event: IndexEvent) -> Prepared {
        match event {
            IndexEvent::Put(rows) => {
                let mut incoming = Incoming::new(rows);
                let chunks = &mut self.active.chunks;
                let (places, bytes) = append(chunks, &self.schema, self.kernels, &mut incoming);
                self.active.bytes += bytes;
                self.active.puts += places.len() as u64;
                Prepared::Put { incoming, places }
            }
            IndexEvent::Delete(keys) => {
                let keys = gather(&keys);
                self.active.bytes += keys.iter().map(|key| delete_bytes(key)).sum::<usize>();
                self.active.deletes += keys.len() as u64;
                let hashes = keys.iter().map(|key| key_hash(key)).collect();
                Prepared::Delete { keys, hashes }
            }
        }
    }

    /// A key's newest document in the segments; older ones were killed when that one came.
    fn kill_in_segments(&mut self, event: &Prepared) {
        for (hash, key) in event.hashed_keys() {
            let newest_first = self.segments.iter_mut().rev();
            let mut found =
                newest_first.filter_map(|view| Some((view.segment.find_hashed(hash, key)?, view)));
            if let Some((doc, view)) = found.next() {
                self.live -= u64::from(view.kill(doc));
            }
        }
    }

    fn resolve(&mut self, maps: &mut Maps, event: &Prepared) {
        for (number, (hash, key)) in event.hashed_keys().enumerate() {
            let chunks = &self.active.chunks;
            let old = match event {
                Prepared::Put { places, .. } => {
                    self.live += 1;
                    maps.active.insert(chunks, hash, key, places[number])
                }
                Prepared::Delete { .. } => maps.active.remove(chunks, hash, key),
            };
            if let Some(old) = old {
                self.live -= u64::from(kill(&mut self.active.chunks, old));
            } else if let Some(old) = maps.frozen.find(&self.frozen.chunks, hash, key) {
                self.live -= u64::from(kill(&mut self.frozen.chunks, old));
            }
        }
    }
}

impl Prepared {
    fn hashed_keys(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let (hashes, keys) = match self {
            Self::Put { incoming, .. } => (&incoming.hashes, &incoming.keys),
            Self::Delete { keys, hashes } => (hashes, keys),
        };
        hashes.iter().copied().zip(keys.iter().map(|key| key.as_ref()))
    }
}

fn kill(chunks: &mut [ChunkView], place: Place) -> bool {
    chunks[place.chunk as usize].kill(place.row)
}

/// Rows of the frozen chunks that died after the freeze are documents of the new segments.
fn kill_carried_over(new: &mut [SegmentView], now: &[ChunkView], at_freeze: &[ChunkView]) {
    for (now, then) in now.iter().zip(at_freeze) {
        let died: RoaringBitmap = now.dead.as_ref() - then.dead.as_ref();
        for row in &died {
            let mut found =
                new.iter_mut().filter_map(|view| Some((find(view, &now.chunk, row)?, view)));
            let (doc, view) =
                found.next().expect("a record that was alive at the freeze is in a new segment");
            view.kill(doc);
        }
    }
}

fn find(view: &SegmentView, chunk: &super::chunk::Chunk, row: DocId) -> Option<DocId> {
    view.segment.find_hashed(chunk.hash(row), chunk.key(row))
}
